# What the peers share; sourced by them, in the repository's root.

# A skip is not a pass: it is counted where APPC_SKIPPED names a file, and fails where APPC_REQUIRE names peers.
skip() {
    echo "skipped: $1"
    [ -z "${APPC_SKIPPED:-}" ] || echo "skipped: peers: $(basename "$0"): $1" >>"$APPC_SKIPPED"
    case ,${APPC_REQUIRE:-}, in *,peers,*) echo "required, and not met: $1"; exit 1 ;; esac
    exit 0
}
fail() { echo "FAILED: $*"; exit 1; }

need() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null || [ -x "$1" ] && return
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || skip "needs $2"
    { apt-get update && apt-get install --yes --no-install-recommends "$2"; } >/dev/null 2>&1 || skip "failed to install $2"
}

# Sets `bin` to where actool and jetpack are: the directory given, $BIN, or built here.
find_binaries() { # [DIRECTORY]
    if [ -n "${1:-${BIN:-}}" ]; then
        bin=$(realpath "${1:-$BIN}")
    else
        cargo build --quiet --release --locked --package appc --bin actool --bin jetpack
        bin=$(realpath "${CARGO_TARGET_DIR:-target}/release")
    fi
}

# A small Debian with a few servers, its packages' files kept, as a new directory. DEBIAN_ROOT, where it is set, names a
# directory that holds one for all peers; the first that asks makes it.
debian_root() { # DIRECTORY
    local root=${DEBIAN_ROOT:-$1}
    if [ ! -d "$root" ]; then
        need debootstrap debootstrap
        local mirror suite
        # The host's own mirror, where it names one.
        mirror=$(sed -nE 's/^(deb +(\[[^]]*\] +)?|URIs: *)([^ ]+).*/\3/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -n 1 || true)
        suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
        debootstrap --variant=minbase --include=nginx-light,redis-server,lighttpd "$suite" "$root.new" ${mirror:+"$mirror"} >"$root.log" 2>&1 || {
            tail -n 3 "$root.log"
            rm -rf "$root.new"
            skip "debootstrap failed, most likely without a mirror"
        }
        # The Go actool opens device nodes and reads them for ever; an executor brings its own.
        find "$root.new/dev" -mindepth 1 -delete
        rm -rf "$root.new/var/lib/apt/lists" "$root.log"
        mv "$root.new" "$root"
    fi
    [ "$root" = "$1" ] || cp --archive "$root" "$1"
}
