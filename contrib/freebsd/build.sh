#!/usr/bin/env bash
# Builds the workspace for FreeBSD on another system: lints it, compiles its tests, links its binaries.
#
#   contrib/freebsd/build.sh [--static] [--binaries] [--debug] [--deny-warnings]
#
#   --static         link the binaries without shared libraries; the probe is linked so wherever that can be done: zig
#                    cannot, and leaves the last step for the machine, appc-probe.o
#   --binaries       only the binaries: no lints, no tests
#   --debug          the profile for development: built in half the time, slow where it runs
#   --deny-warnings  a lint's warning is an error
#
# Standard output holds the absolute paths of the binaries, one a line; all else goes to standard error.
# Honoured when set: CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER, CC_x86_64_unknown_freebsd, AR_x86_64_unknown_freebsd
# (so that a sysroot of one's own release can be linked against), CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_RUSTFLAGS,
# CARGO_TARGET_DIR. What is not set is done by zig's compiler and linker, with a start and stub libraries of our own, as
# zig's are those of 14.0: the binaries run on FreeBSD 13.2 and later, which is looked at in each that is shipped.
# Where no toolchain can be had the last line is `FREEBSD CROSS-BUILD SKIPPED: <reason>` and the exit status 0.
set -euo pipefail

readonly target=x86_64-unknown-freebsd
# The oldest whose headers zig has; nothing that C code here uses of them has changed since 13.2.
readonly zig_target=x86_64-freebsd.14.0
readonly zig_version=0.17.1

static=false
checks=true
profile=release
lint_options=()
for option in "$@"; do
    case $option in
        --static) static=true ;;
        --binaries) checks=false ;;
        --debug) profile=debug ;;
        --deny-warnings) lint_options=(-- -D warnings) ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        *) echo "build.sh: unknown option $option (--help tells which there are)" >&2; exit 2 ;;
    esac
done

cd "$(dirname "$(readlink -f "$0")")/../.."
target_dir=$(readlink -m "${CARGO_TARGET_DIR:-target}")
# What is fetched or written for the build alone: the linker and compiler wrappers, zig, Debian's packages.
tools=$target_dir/freebsd-tools
mkdir -p "$tools"

say() { echo "build.sh: $*" >&2; }
skip() { echo "FREEBSD CROSS-BUILD SKIPPED: $*"; exit 0; }

# The standard library for the target: there already, by rustup, or compiled from Debian's sources.
cargo_options=()
have_std() { compgen -G "$(rustc --print target-libdir --target $target 2>/dev/null)/libstd-*" >/dev/null; }
find_rust() {
    command -v cargo >/dev/null || skip "no cargo on this system"
    have_std && return
    if command -v rustup >/dev/null && rustup target add $target >&2 && have_std; then return; fi
    say "rustup cannot provide $target; trying Debian's rustc-web and rust-web-src"
    debian_rust || skip "neither rustup nor Debian's rustc-web provides the standard library for $target"
}

# Debian's compiler and library sources, unpacked beside the build (the packages conflict with a packaged rustup).
debian_rust() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    local root=$tools/debian
    if [ ! -x "$root/usr/bin/rustc" ]; then
        rm -rf "$root" "$tools/packages"
        mkdir -p "$tools/packages"
        local version
        version=$(apt-cache madison rust-web-src 2>/dev/null | awk 'NR == 1 { print $3 }')
        [ -n "$version" ] || return 1
        (cd "$tools/packages" &&
            apt-get download rustc-web="$version" libstd-rust-web-dev="$version" rust-web-src="$version" >&2) || return 1
        mkdir -p "$root.new"
        local package
        for package in "$tools"/packages/*.deb; do dpkg-deb -x "$package" "$root.new" || return 1; done
        rm -rf "$tools/packages"
        mv "$root.new" "$root"
    fi
    export RUSTC=$root/usr/bin/rustc RUSTC_BOOTSTRAP=1
    "$RUSTC" --version >&2 || return 1
    local sources sysroot
    sources=$(compgen -G "$root/usr/src/rustc-*/library" | head -1)
    sysroot=$("$RUSTC" --print sysroot)
    [ -n "$sources" ] || return 1
    mkdir -p "$sysroot/lib/rustlib/src/rust"
    ln -sfn "$sources" "$sysroot/lib/rustlib/src/rust/library"
    cargo_options+=(-Zbuild-std=std,panic_abort,test)
    if $checks; then say "lints skipped: Debian's compiler comes without a matching clippy"; fi
    lints=false
}

# zig, from the path, an installed PyPI package, or fetched from PyPI into the target directory.
zig_of_python() {
    python3 -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))' 2>/dev/null
}
find_zig() {
    command -v python3 >/dev/null || { command -v zig && return; skip "no linker for $target: neither zig nor python3 to fetch it"; }
    zig_of_python && return
    PYTHONPATH=$tools/python zig_of_python && return
    command -v zig && return
    say "fetching zig $zig_version from PyPI"
    if ! python3 -m pip install -q --target "$tools/python" ziglang==$zig_version >&2; then
        # Debian keeps pip apart from python3; a virtual environment brings its own.
        python3 -m venv "$tools/venv" >&2 &&
            "$tools/venv/bin/pip" install -q --target "$tools/python" ziglang==$zig_version >&2 ||
            skip "no linker for $target: ziglang cannot be fetched from PyPI"
    fi
    PYTHONPATH=$tools/python zig_of_python || skip "no linker for $target: ziglang was fetched but does not run"
}

write_tool() { # NAME, script on standard input
    cat >"$tools/$1.new"
    chmod 755 "$tools/$1.new"
    # Unchanged wrappers keep their time stamps, so that nothing is built again because of them.
    if cmp -s "$tools/$1.new" "$tools/$1"; then rm "$tools/$1.new"; else mv "$tools/$1.new" "$tools/$1"; fi
}

# Libraries to link against that name what 13.2's have, in the versions that they have there, and where a program begins.
make_stubs() { # ZIG
    local list=contrib/freebsd/libraries-13.2.txt begin=contrib/freebsd/start.c stubs=$tools/stubs
    local new=$tools/stubs.new library name script
    if [ -e "$stubs/made" ] && cat "$list" "$begin" | cmp -s - "$stubs/made"; then return; fi
    say "making stubs of 13.2's libraries"
    "$tools/cc" -O1 -fno-stack-protector -fno-stack-check -fPIC -c "$begin" -o "$tools/start.o"
    rm -rf "$stubs" "$new"
    mkdir "$new"
    for library in libc.so.7 libthr.so.3 libgcc_s.so.1 libm.so.5 libutil.so.9 librt.so.1 libexecinfo.so.1; do
        # Versions as the linker wants them told, then the symbols themselves.
        awk -v library="$library" '$1 == library {
            for (i = 3; i <= NF; i++) { split($i, part, ":"); names[$2] = names[$2] " " part[1] ";" }
        }
        END { for (version in names) print version " { global:" names[version] " };" }' "$list" >"$new/versions"
        awk -v library="$library" '$1 == library {
            for (i = 3; i <= NF; i++) {
                size = split($i, part, ":") > 1 ? part[2] : 0
                print ".globl " part[1] "\n.type " part[1] ", @" (size ? "object" : "function")
                print (size ? ".bss\n" : ".text\n") part[1] ": .skip " (size ? size : 1)
                print ".size " part[1] ", . - " part[1]
            }
        }' "$list" >"$new/stub.s"
        "$tools/cc" -c "$new/stub.s" -o "$new/stub.o"
        name=${library%%.so*}
        script=()
        # Of some libraries nothing is used, but the crate `libc` names them.
        if [ -s "$new/versions" ]; then script=(--version-script "$new/versions"); fi
        "$1" ld.lld -m elf_x86_64_fbsd -shared -soname "$library" ${script[@]+"${script[@]}"} -o "$new/$name.so" "$new/stub.o"
    done
    cp "$new/libthr.so" "$new/libpthread.so"
    cat "$list" "$begin" >"$new/made"
    mv "$new" "$stubs"
}

# A binary that names anything that came after 13.2 does not start there.
check_binary() { # FILE
    local late
    command -v readelf >/dev/null || { say "no readelf: $1 is not looked at"; return; }
    late=$(readelf -V "$1" | grep -oE 'FBSD_1\.([7-9]|[1-9][0-9])' | sort -u | tr '\n' ' ') || true
    if [ -n "$late" ]; then
        say "$1 names $late: it does not start on 13.2"
        exit 1
    fi
}

find_linker_and_compiler() {
    if [ -n "${CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER:-}" ] &&
        [ -n "${CC_x86_64_unknown_freebsd:-}" ] && [ -n "${AR_x86_64_unknown_freebsd:-}" ]; then
        return
    fi
    [ -n "${CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER:-}" ] || by_zig=true
    local zig
    zig=$(find_zig) || { echo "$zig"; exit 1; }
    case $zig in *SKIPPED*) echo "$zig"; exit 0 ;; esac
    # crate `cc` names the target as Rust does, which zig does not know. zig traps undefined behaviour by default,
    # which would turn harmless habits of C libraries into crashes.
    write_tool cc <<END
#!/usr/bin/env bash
arguments=()
for argument in "\$@"; do
    case \$argument in --target=*) ;; *) arguments+=("\$argument") ;; esac
done
exec "$zig" cc -target $zig_target -fno-sanitize=undefined "\${arguments[@]}"
END
    make_stubs "$zig"
    # Rust speaks to a C compiler; zig's would link for 14.0, so this speaks to the linker itself. The crate `libc` names
    # libraries that nothing here uses; whoever does is told of undefined symbols.
    write_tool linker <<END
#!/usr/bin/env bash
arguments=()
object=()
program=true
while [ \$# -gt 0 ]; do
    case \$1 in
        -Wl,*)
            IFS=, read -r -a words <<<"\${1#-Wl,}"
            arguments+=("\${words[@]}")
            ;;
        -shared) program=false; arguments+=("\$1") ;;
        -m64 | -no-pie | -nodefaultlibs | -nostartfiles | -fuse-ld=*) ;;
        -lkvm | -lmemstat | -lprocstat | -ldevstat) ;;
        -o) output=\$2; arguments+=(-o "\$2"); shift ;;
        *.o | *.rlib | *.a) arguments+=("\$1"); object+=("\$1") ;;
        *) arguments+=("\$1") ;;
    esac
    shift
done
link=("$zig" ld.lld -m elf_x86_64_fbsd)
# The probe has to be linked statically, for which there is no C library here: all of it but that, for 13.2's own cc.
case \$output in
    */appc_probe-*) "\${link[@]}" -r --strip-debug -T "$tools/object.ld" -o "\$output.o" "\${object[@]}" || exit ;;
esac
if \$program; then
    arguments+=("$tools/start.o" --dynamic-linker=/libexec/ld-elf.so.1
        --export-dynamic-symbol=environ --export-dynamic-symbol=__progname)
fi
exec "\${link[@]}" --eh-frame-hdr -L "$tools/stubs" "\${arguments[@]}"
END
    # What the compiler keeps for itself.
    write_tool object.ld <<<'SECTIONS { /DISCARD/ : { *(.llvmbc .llvmcmd) } }'
    write_tool ar <<END
#!/usr/bin/env bash
exec "$zig" ar "\$@"
END
    export CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER=${CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER:-$tools/linker}
    export CC_x86_64_unknown_freebsd=${CC_x86_64_unknown_freebsd:-$tools/cc}
    export AR_x86_64_unknown_freebsd=${AR_x86_64_unknown_freebsd:-$tools/ar}
    "$CC_x86_64_unknown_freebsd" --version >/dev/null 2>&1 || skip "the C compiler $CC_x86_64_unknown_freebsd does not run"
}

lints=$checks
by_zig=false
find_rust
find_linker_and_compiler
say "linker $CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER, C compiler $CC_x86_64_unknown_freebsd"

# One profile for all, so that dependencies are compiled once; without link-time optimisation, which costs minutes
# over this many test binaries.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
options=(--locked --target $target ${cargo_options[@]+"${cargo_options[@]}"})
[ $profile = debug ] || options+=(--release)
# The generator of the types runs where the sources are written: it is linted, not shipped.
shipped=(--workspace --exclude schema-codegen)

if $lints; then cargo clippy "${options[@]}" --workspace --all-targets ${lint_options[@]+"${lint_options[@]}"} >&2; fi
# Tests and binaries in one build: apart they would choose other features, and most would be compiled twice.
targets=(--bins)
if $checks; then targets=(--all-targets); fi

static_flags="${CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_RUSTFLAGS:-} -C target-feature=+crt-static"
build_static() {
    CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_RUSTFLAGS=$static_flags \
        cargo build "${options[@]}" --target-dir "$target_dir/freebsd-static" "$@" >&2
}

if $static; then
    if $by_zig; then
        say "zig has no static C library for FreeBSD: set CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER to a linker that has"
        exit 1
    fi
    build_static "${shipped[@]}" "${targets[@]}"
    binaries=$target_dir/freebsd-static/$target/$profile
    probe=$binaries/appc-probe
else
    cargo build "${options[@]}" "${shipped[@]}" "${targets[@]}" >&2
    binaries=$target_dir/$target/$profile
    # The probe runs in root file systems that have no libraries, so it is linked statically where the linker can.
    if $by_zig; then
        probe=$binaries/appc-probe.o
        for linked in "$binaries"/deps/appc_probe-*.o; do
            if [ "${linked%.o}" -ef "$binaries/appc-probe" ]; then cp "$linked" "$probe"; fi
        done
        say "on the FreeBSD machine: cc -static -pthread -o appc-probe appc-probe.o -lm"
    elif build_static --package appc-probe; then
        probe=$target_dir/freebsd-static/$target/$profile/appc-probe
    else
        say "the probe is linked with shared libraries, which root file systems do not have: the suite refuses it"
        probe=$binaries/appc-probe
    fi
fi

for binary in actool jetpack appc-conformance; do
    if $by_zig; then check_binary "$binaries/$binary"; fi
    echo "$binaries/$binary"
done
echo "$probe"

# The specification's own validator of executors, for conformance/peers/ace-validator.sh there.
ace=$target_dir/freebsd-tools/ace-validator
if command -v go >/dev/null && [ -d /usr/share/gocode/src/github.com/appc/spec/ace ] &&
    GOOS=freebsd GOARCH=amd64 GOPATH=/usr/share/gocode GO111MODULE=off CGO_ENABLED=0 GOCACHE=$target_dir/freebsd-tools/go \
        go build -o "$ace" github.com/appc/spec/ace >&2; then
    echo "$ace"
else
    say "the ACE validator is left out: it needs golang-go and golang-github-appc-spec-dev"
fi
