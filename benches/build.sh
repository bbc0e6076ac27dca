#!/bin/sh
# Committing what a pod changed: ten files of a parent of 600 MB, and then many entries, beside what packing the whole tree costs.
#
#   benches/build.sh [DIRECTORY OF actool AND jetpack]
#
# Takes a host that runs pods, and 2 GB. What is made is removed.
set -eu
cd "$(dirname "$0")/.."
[ -x /usr/bin/time ] || { echo "skipped: /usr/bin/time is not installed"; exit 0; }
[ -x /bin/busybox ] || { echo "skipped: busybox is not installed"; exit 0; }
if [ $# -gt 0 ]; then
    bin=$(realpath "$1")
else
    cargo build --release --quiet --package appc --bin actool --bin jetpack
    bin=$PWD/target/release
fi
place=$(mktemp -d)
jetpack() { "$bin/jetpack" --root "$place/root" --insecure=signature "$@"; }
trap 'jetpack gc --grace 0s >/dev/null 2>&1 || true; rm -rf "$place"' EXIT INT TERM

layout=$place/layout
mkdir -p "$layout/rootfs/bin" "$layout/rootfs/data"
cp /bin/busybox "$layout/rootfs/bin/sh"
ln -s sh "$layout/rootfs/bin/rm"
for directory in $(seq 60); do
    mkdir "$layout/rootfs/data/$directory"
    head -c 10000000 /dev/urandom | split -b 100000 -a 3 -d - "$layout/rootfs/data/$directory/f"
done
cat >"$layout/manifest" <<'END'
{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/parent","app":{"exec":["/bin/sh","-c","true"],"user":"0","group":"0"}}
END
"$bin/actool" build --no-compression "$layout" "$place/parent.aci" >/dev/null
rm -rf "$layout"
jetpack fetch "$place/parent.aci" >/dev/null 2>&1
echo "parent: $(find "$place/root/trees" -type f | wc -l) files, $(du -sm "$place/root/trees" | cut -f1) MB"
timed() { # WHAT COMMAND...
    what=$1
    shift
    /usr/bin/time -f "$what: %e s, %M KiB" "$bin/jetpack" --root "$place/root" "$@" >/dev/null 2>"$place/said" || { cat "$place/said"; exit 1; }
    tail -n 1 "$place/said"
}
few='i=1; while [ $i -le 10 ]; do echo $i >> /data/$i/f001; i=$((i + 1)); done'
jetpack run --name few example.com/parent --exec /bin/sh -- -c "$few"
timed "diff of ten changed files" diff few
timed "commit of ten changed files" commit few --name example.com/few
timed "the same, flat" commit few --name example.com/flat --flat
gone='i=1; while [ $i -le 10 ]; do echo $i > /data/$i/f001; i=$((i + 1)); done; rm -r /data/60'
jetpack run --name gone example.com/parent --exec /bin/sh -- -c "$gone"
timed "the same with a directory gone" commit gone --name example.com/gone
many='i=0; while [ $i -lt 20000 ]; do : > /data/1/n$i; i=$((i + 1)); done'
jetpack run --name many example.com/parent --exec /bin/sh -- -c "$many"
timed "commit of 20,000 new entries" commit many --name example.com/many
