#!/usr/bin/env bash
# A Debian as its users have it, in an emulator: systemd, control groups v2, a security module, a user with a lingering session.
# Boots it and runs the suite and tests of pods inside, as root and as that user; the reports come back.
#
#   conformance/vm/debian.sh [--all | --selinux | --scenes] [--shell] [--only root|user] [--kvm] [DIRECTORY OF THE BINARIES [DIRECTORY FOR THE REPORTS]]
#
#   (nothing)   the areas that depend on a system most, the tests of control groups, and the scenes: what CI has time for
#   --all       the whole suite and more tests; then once more with SELinux in place of AppArmor, permissive. What no run has
#               checked is told, and is a failure
#   --scenes    the scenes alone (conformance/vm/scenes): engines over jetpack-oci, a stranger who installs the package and follows the
#               documents, pods as services, over a reboot. --selinux and --only play none
#   --selinux   SELinux in place of AppArmor: the cases of its area as root
#   --shell     a console in the guest (user root, no password) instead of the checks; the binaries are in /appc/bin
#   --only WHO  one of the two users
#   --kvm       skipped where there is an emulator only
#
# The system is made of Debian's packages by mmdebstrap and kept in ${XDG_CACHE_HOME:-~/.cache}/appc/vm under a hash of what it
# is made of. qemu uses KVM where that is seen to start the kernel, else it emulates; APPC_VM_ACCEL=kvm or =tcg has it one way.
# Ends with `skipped: <reason>` where it cannot run.
set -euo pipefail
cd "$(dirname "$0")/../.."

source conformance/peers/common.inc

module=apparmor shell=false only= all=false kvm=false scenes=all
while [ $# -gt 0 ]; do
    case $1 in
        --all) all=true ;;
        --scenes) scenes=only ;;
        --selinux) module=selinux ;;
        --shell) shell=true ;;
        --kvm) kvm=true ;;
        --only) only=${2:?--only root or --only user}; shift ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        -*) echo "debian.sh: unknown option $1 (--help tells which there are)" >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done

[ "$(uname -sm)" = "Linux x86_64" ] || skip "the guest is a Debian for x86_64 and takes the binaries of this system"
[ "$(id -u)" = 0 ] || skip "needs root, to make the guest's root file system"
need qemu-system-x86_64 qemu-system-x86
need mmdebstrap mmdebstrap
need mke2fs e2fsprogs
need debugfs e2fsprogs

find_binaries "${1:-}"
reports=$(realpath -m "${2:-$(dirname "$bin")/vm-reports}")
# The suite and the probe come along, and the tests where they were built beside the binaries.
programs="actool jetpack"
if [ $scenes = all ]; then
    programs+=" appc-conformance"
    [ -x "$bin/appc-conformance" ] || [ -n "${1:-${BIN:-}}" ] || cargo build --quiet --release --locked --package appc-conformance
    [ -x "$bin/appc-conformance" ] || fail "there is no appc-conformance in $bin"
    probe=${APPC_PROBE:-$(dirname "$bin")/probe/x86_64-unknown-linux-gnu/release/appc-probe}
    [ -x "$probe" ] || "$bin/appc-conformance" run --clause env.container >/dev/null || true
    [ -x "$probe" ] || skip "there is no static probe at $probe"
fi

suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
packages=systemd-sysv,dbus,dbus-user-session,libpam-systemd,udev,linux-image-cloud-amd64,kmod,procps,iproute2,attr,libcap2-bin
packages+=,busybox-static,gpg,xz-utils,zstd,bzip2,time,jq,uidmap,slirp4netns,passt,iptables,containernetworking-plugins
packages+=,apparmor,selinux-basics,selinux-policy-default,crun,runc,podman,libc-bin,ca-certificates,curl,containerd,docker-registry
# What a stranger's apt finds in a repository on the disk, as the guest has no network: what the package recommends, and what
# reads the numbers of pods.
offered="uidmap slirp4netns passt containernetworking-plugins iptables dbus-user-session prometheus-node-exporter"

# One user, whose session starts with the system; a service that carries the checks and ends the machine.
customize=$(cat <<'END'
root=$1
chroot "$root" useradd --create-home --shell /bin/bash appc
chroot "$root" passwd --delete root >/dev/null
mkdir -p "$root/var/lib/systemd/linger" "$root/appc"
touch "$root/var/lib/systemd/linger/appc"
echo debian >"$root/etc/hostname"
printf '127.0.0.1 localhost debian\n' >"$root/etc/hosts"
printf '/dev/vda / ext4 defaults 0 1\n/dev/vdb /appc ext4 defaults 0 2\n' >"$root/etc/fstab"
cat >"$root/etc/systemd/system/appc.service" <<UNIT
[Unit]
Description=checks
ConditionKernelCommandLine=appc.checks
After=multi-user.target systemd-user-sessions.service user@1000.service
[Service]
Type=oneshot
ExecStart=/appc/checks
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
ExecStopPost=/bin/sh -c '[ -e /run/appc-again ] || systemctl poweroff --no-block'
TimeoutStartSec=infinity
Delegate=yes
[Install]
WantedBy=graphical.target
UNIT
chroot "$root" systemctl enable appc.service >/dev/null 2>&1
chroot "$root" systemctl set-default graphical.target >/dev/null 2>&1
rm -f "$root"/etc/systemd/system/timers.target.wants/*
if [ -d "$root/etc/selinux" ]; then
    rm -f "$root/.autorelabel"
    # The type of containers, which Debian's policy has not.
    printf '(type container_t)\n(roletype system_r container_t)\n(typeattributeset domain (container_t))\n' >"$root/tmp/container.cil"
    chroot "$root" semodule --noreload --install=/tmp/container.cil
    rm "$root/tmp/container.cil"
fi
# Started by the scenes that want them.
chroot "$root" systemctl disable containerd.service docker-registry.service >/dev/null 2>&1
mkdir -p "$root/srv/repository"
chroot "$root" apt-get install --yes --download-only --reinstall --no-install-recommends --option Dir::Cache::archives=/srv/repository $OFFERED >/dev/null
cd "$root/srv/repository"
rm -rf lock partial
for file in *.deb; do
    dpkg-deb --field "$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(sha256sum <"$file" | cut -d ' ' -f 1)"
done >Packages
cd /
# What an image of nginx is made of.
mmdebstrap --quiet --variant=extract --include=nginx-light --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    "$SUITE" "$root/srv/nginx.tar" ${MIRROR:+"$MIRROR"}
END
)

key=$(printf '%s\n' "$suite" "$packages" "$offered" "$customize" | sha256sum | cut -c 1-16)
system=${XDG_CACHE_HOME:-$HOME/.cache}/appc/vm/$key
work=$(mktemp -d)
emulator=
cleanup() {
    [ -z "$emulator" ] || kill "$emulator" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# A boot sector that leaves the machine: what cannot do that much is known before there is a system.
kvm_starts() {
    [ -w /dev/kvm ] || return
    { printf '\272\364\000\260\020\356\364\353\375'; head -c 501 /dev/zero; printf '\125\252'; } >"$work/sector"
    local ended=0
    # In a shell of its own, which says that qemu has crashed to nobody.
    (timeout --signal=KILL 10 qemu-system-x86_64 -accel kvm -cpu max -m 64 -drive "file=$work/sector,format=raw,snapshot=on" \
        -display none -serial none -monitor none -nic none -device isa-debug-exit,iobase=0xf4,iosize=4; exit $?) >/dev/null 2>&1 || ended=$?
    [ $ended = 33 ]
}
! $kvm || kvm_starts || skip "KVM starts no machine here, and an emulator takes minutes"

if [ ! -e "$system/made" ]; then
    echo "making a Debian $suite"
    mirror=$(sed -nE 's/^(deb +(\[[^]]*\] +)?|URIs: *)([^ ]+).*/\3/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -n 1 || true)
    printf '%s\n' "$customize" >"$work/customize"
    OFFERED=$offered SUITE=$suite MIRROR=$mirror mmdebstrap --quiet --variant=minbase --include="$packages" --customize-hook="sh $work/customize \"\$1\"" \
        "$suite" "$work/root" ${mirror:+"$mirror"} >"$work/log" 2>&1 || {
        tail -n 3 "$work/log"
        skip "mmdebstrap failed, most likely without a mirror"
    }
    mkdir -p "$system"
    cp "$work"/root/boot/vmlinuz-* "$system/vmlinuz"
    cp "$work"/root/boot/initrd.img-* "$system/initrd"
    rm -rf "$work"/root/var/lib/apt/lists/* "$work"/root/var/cache/apt/*
    mke2fs -q -t ext4 -d "$work/root" "$work/disk" 6G >/dev/null
    mv "$work/disk" "$system/disk"
    rm -rf "$work/root"
    touch "$system/made"
fi

# The second disk: binaries, suite, tests, and room for reports.
cargo=$work/appc
mkdir -p "$cargo/bin" "$cargo/results/root" "$cargo/results/user"
for binary in $programs; do cp "$bin/$binary" "$cargo/bin/"; done
strip --strip-debug "$cargo"/bin/* 2>/dev/null || true
[ $scenes = only ] || cp "$probe" "$cargo/bin/appc-probe-static"
cp -r conformance spec schema fixtures "$cargo/"
rm -rf "$cargo/conformance/src"
tests=$(find "$bin/deps" -maxdepth 1 -name 'all-*' -type f -executable -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -n 1 | cut -d ' ' -f 2)
[ -z "$tests" ] || { cp "$tests" "$cargo/bin/tests"; strip --strip-debug "$cargo/bin/tests" 2>/dev/null || true; }
printf '%s\n' "$bin" >"$cargo/bin-was"
# What is run: areas of the suite for root and for the user, none for all of it; names of tests.
of_root="--area isolators --area isolators-linux --area isolators-resource"
of_user="--area isolators --area isolators-resource"
of_tests="pods::groups::a_pod pods::groups::an_app"
if $all; then
    of_root='' of_user='' of_tests="pods::groups pods::isolators pods::confinement pods::endings"
fi
[ $module = apparmor ] || { of_root="--area isolators-linux"; only=root of_tests=; }
# In this order; what comes behind `boot` finds the system started again.
played="engines stranger services boot"
[ -z "$only" ] || played=
if [ -n "$played" ]; then
    mkdir "$cargo/results/scenes"
    cp -r docs README.md "$cargo/"
    DPKG_DEB_COMPRESSOR_LEVEL=0 contrib/debian/build.sh --binaries "$bin" --output "$cargo/package" >/dev/null 2>&1 || fail "contrib/debian/build.sh makes no package"
fi
printf '%s\n' "$played" >"$cargo/played"
printf '%s\n' "$of_root" >"$cargo/of-root"
printf '%s\n' "$of_user" >"$cargo/of-user"
printf '%s\n' "$of_tests" >"$cargo/of-tests"
cat >"$cargo/checks" <<'END'
#!/bin/sh
# What runs in the guest. The tests know their programs by the path where they were built.
exec 2>&1
bin=$(cat /appc/bin-was)
mkdir -p "$(dirname "$bin")" && ln -sfn /appc/bin "$bin"
chmod 755 / /appc; chown -R appc: /appc/results/user
read -r line </proc/cmdline
say() { echo "guest: $(cut -d ' ' -f 1 /proc/uptime)s: $*"; }
# Scenes up to one named boot, for which the system starts again.
play() { # SCENE...
    for scene; do
        if [ "$scene" = boot ] && [ ! -e /appc/again ]; then
            touch /appc/again /run/appc-again
            sync
            say "starts again"
            systemctl reboot
            exit
        fi
        said=/appc/results/scenes/$scene
        bash "/appc/conformance/vm/scenes/$scene" >"$said.txt" 2>&1
        echo $? >"$said.code"
        say "$scene: $(grep -E '^(ok|skipped|FAILED): ' "$said.txt" | tail -n 1)"
    done
}
end() {
    say "done"
    sync
    exit
}
case $line in *appc.whole*) touch /appc/whole ;; esac
if [ -e /appc/again ]; then
    play boot
    end
fi
say "$(uname -r), $(systemctl --version | head -n 1), control groups: $(stat -f -c %T /sys/fs/cgroup), $(cat /sys/kernel/security/lsm)"
cat >/appc/one <<'ONE'
#!/bin/sh
# As one user: the suite, then tests.
who=$1 target=$2
export APPC_SUITE=/appc/conformance APPC_PROBE=/appc/bin/appc-probe-static APPC_JETPACK=/appc/bin/jetpack APPC_ACTOOL=/appc/bin/actool
# Limits, user namespaces and scopes are there: a test that skips for want of them is wrong.
export APPC_REQUIRE=linux,pods,limits
cd /tmp
/appc/bin/appc-conformance --suite /appc/conformance run --target "$target" $(cat "/appc/of-$who") \
    --report "/appc/results/$who/suite" >"/appc/results/$who/suite.txt" 2>&1
echo $? >"/appc/results/$who/suite.code"
tests=$(cat /appc/of-tests)
if [ -x /appc/bin/tests ] && [ -n "$tests" ]; then
    /appc/bin/tests $tests >"/appc/results/$who/tests.txt" 2>&1
    echo $? >"/appc/results/$who/tests.code"
fi
ONE
chmod 755 /appc/one
case $line in
    *appc.only=user* | *appc.scenes*) ;;
    *) say "as root"; /appc/one root jetpack-linux; say "suite: $(tail -n 1 /appc/results/root/suite.txt)" ;;
esac
case $line in
    *appc.only=root* | *appc.scenes*) ;;
    *)
        say "as an ordinary user"
        runuser -u appc -- env HOME=/home/appc XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus \
            systemd-run --user --quiet --wait --pipe --collect --property=Delegate=yes /appc/one user jetpack-linux-rootless
        say "suite: $(tail -n 1 /appc/results/user/suite.txt)"
        ;;
esac
# What pods leave in a system that is used by nobody else is a fault. systemd takes a moment to let go of a scope.
sleep 2
{
    grep /jetpack /proc/mounts
    find /sys/fs/cgroup -name '*jetpack*' -type d
    systemctl list-units --all --no-legend --plain 'jetpack*'
    runuser -u appc -- env XDG_RUNTIME_DIR=/run/user/1000 systemctl --user list-units --all --no-legend --plain 'jetpack*'
} >/appc/results/left.txt 2>&1
play $(cat /appc/played)
end
END
chmod 755 "$cargo/checks"
mke2fs -q -t ext4 -d "$cargo" "$work/disk" 3G >/dev/null

# That /dev/kvm is there says little: one inside of another machine may start no kernel, or take minutes for what is emulated in
# seconds. The kernel itself, without a disk, ends in a panic, and has to come that far in time.
kvm_works() {
    timeout --signal=KILL 20 qemu-system-x86_64 -accel kvm -cpu max -m 512 -kernel "$system/vmlinuz" -append "console=ttyS0 panic=-1" \
        -nic none -nographic -no-reboot </dev/null 2>&1 | grep -a 'Kernel panic' >/dev/null
}
accel=${APPC_VM_ACCEL:-}
if [ -z "$accel" ]; then
    if kvm_starts && kvm_works; then accel=kvm; else accel=tcg; fi
fi
! $kvm || [ "$accel" = kvm ] || skip "KVM starts no kernel here, and an emulator takes minutes"
[ "$accel" != tcg ] || accel=tcg,thread=multi
echo "qemu: ${accel%%,*}"

options="root=/dev/vda rw console=ttyS0 quiet"
if $all || [ "$accel" = kvm ]; then options+=" appc.whole"; fi
[ $module = apparmor ] || options+=" security=selinux selinux=1 enforcing=0"
$shell || options+=" appc.checks"
[ -z "$only" ] || options+=" appc.only=$only"
[ $scenes != only ] || options+=" appc.scenes"
machine=(-accel "$accel" -cpu max -m 3072 -smp 2 -kernel "$system/vmlinuz" -initrd "$system/initrd"
    -drive "file=$system/disk,if=virtio,format=raw,snapshot=on" -drive "file=$work/disk,if=virtio,format=raw,cache=unsafe"
    -nic none -nographic)
if $shell; then
    qemu-system-x86_64 "${machine[@]}" -append "$options"
    exit
fi
: >"$work/console"
timeout "${APPC_VM_TIMEOUT:-3600}" qemu-system-x86_64 "${machine[@]}" -append "$options" </dev/null >>"$work/console" 2>&1 &
emulator=$!
# What the guest says, as it says it.
tail --pid=$emulator -n +1 -f "$work/console" | grep --line-buffered -ao 'guest: .*' || true
ended=0
wait "$emulator" || ended=$?
emulator=
# debugfs writes over nothing that is there: an earlier report would be taken for this one.
rm -rf "$reports/results"
mkdir -p "$reports"
debugfs -R "rdump /results $reports" "$work/disk" >/dev/null 2>&1 || true
cp "$work/console" "$reports/console.txt"
[ $ended = 0 ] || { tail -n 20 "$work/console"; fail "the guest did not end by itself (exit status $ended)"; }

status=0
for who in root user; do
    for what in suite tests; do
        code=$reports/results/$who/$what.code
        [ -e "$code" ] || continue
        text=$reports/results/$who/$what.txt
        echo "$who: $what: $(grep -aE 'clauses:|test result' "$text" | tail -n 1 || true)"
        [ "$(cat "$code")" = 0 ] || { status=1; grep -aE 'FAIL|fail  |failed|panicked|required' "$text" | head -n 40 || true; }
    done
done
[ ! -s "$reports/results/left.txt" ] || { status=1; echo "left behind:"; cat "$reports/results/left.txt"; }
for scene in $played; do
    said=$reports/results/scenes/$scene
    [ -e "$said.code" ] || { status=1; echo "$scene: was not played"; continue; }
    grep -aE '^(ok|skipped): ' "$said.txt" | sed "s/^/$scene: /" || true
    [ "$(cat "$said.code")" = 0 ] || { status=1; tail -n 40 "$said.txt"; }
done
[ $scenes = only ] || [ -e "$reports/results/$([ "$only" = user ] && echo user || echo root)/suite.code" ] || fail "the guest has run nothing: see $reports"
[ $status = 0 ] || fail "see $reports"
echo "debian: all that was run held${module:+ ($module)}"
$all || exit 0

# Once more with the other module; a clause that every run has skipped is one that nobody has checked.
bash conformance/vm/debian.sh --selinux "$bin" "$reports/selinux"
skipped() { awk '/^  skipped / { print $3 }' "$1" | sort -u; }
never=$(comm -12 <(skipped "$reports/results/root/suite.txt") <(skipped "$reports/selinux/results/root/suite.txt"))
if [ -e "$reports/results/user/suite.txt" ]; then
    never=$(comm -12 <(echo "$never") <(skipped "$reports/results/user/suite.txt"))
fi
[ -z "$never" ] || fail "skipped by every run: $never"
echo "debian: no clause is skipped by all runs"
