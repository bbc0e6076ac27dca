#!/usr/bin/env bash
# A chain of images made from a real Debian root (base, two layers of packages that both stand on it, an app on both with a
# whitelist), rendered by us and compared entry by entry (kinds, modes, owners, links, times, xattrs, contents) with the
# specification's recipe carried out over the archives by python's tarfile, and with what the kernel's overlay shows.
# Ends with `skipped: <reason>` where it cannot run.
#
#   conformance/peers/debian-chain.sh [DIRECTORY OF actool AND jetpack [DEBIAN ROOT]]
set -euo pipefail
cd "$(dirname "$0")/../.."

source conformance/peers/common.inc

[ "$(uname -s)" = Linux ] || skip "overlays are Linux's"
[ "$(id -u)" = 0 ] || skip "needs root"
for tool in python3 dpkg-deb apt-get; do command -v $tool >/dev/null || skip "needs $tool"; done

find_binaries "${1:-}"

work=$(mktemp -d)
cleanup() { umount "$work/overlay" 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
jetpack() { "$bin/jetpack" --root "$work/store" "$@"; }

layout() { # NAME FURTHER-KEYS
    mkdir -p "$work/$1/rootfs"
    printf '{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/%s"%s}' "$1" "$2" >"$work/$1/manifest"
}
on() { # NAME...
    local list=()
    for name in "$@"; do list+=("{\"imageName\":\"example.com/$name\"}"); done
    (IFS=,; echo ",\"dependencies\":[${list[*]}]")
}

layout base ""
if [ $# -gt 1 ]; then
    rm -r "$work/base/rootfs"
    cp -a "$2" "$work/base/rootfs"
else
    rmdir "$work/base/rootfs"
    debian_root "$work/base/rootfs"
    rm -rf "$work/base/rootfs/var/cache/apt/archives"
fi
mkdir "$work/debs"
(cd "$work/debs" && apt-get download less nano netcat-openbsd file >/dev/null 2>&1) || skip "packages cannot be downloaded"
layout editors "$(on base)"
layout tools "$(on base)"
dpkg-deb -x "$work"/debs/nano_*.deb "$work/editors/rootfs"
dpkg-deb -x "$work"/debs/less_*.deb "$work/editors/rootfs"
dpkg-deb -x "$work"/debs/netcat-openbsd_*.deb "$work/tools/rootfs"
dpkg-deb -x "$work"/debs/file_*.deb "$work/tools/rootfs"
# What Debian has as a link (/bin -> usr/bin) the layer has as a directory, a directory of Debian's becomes a file, and a file
# gets two names and an attribute.
mkdir "$work/tools/rootfs/media"; rmdir "$work/tools/rootfs/media"; echo gone >"$work/tools/rootfs/media"
ln "$work/tools/rootfs/media" "$work/tools/rootfs/media-too"
python3 -c 'import os,sys; os.setxattr(sys.argv[1], "user.test", b"value")' "$work/tools/rootfs/media" 2>/dev/null || true
layout both "$(on editors tools)"
layout app "$(on editors tools),\"pathWhitelist\":[\"/bin/sh\",\"/usr/bin/nano\",\"/etc/os-release\",\"/usr/lib/os-release\",\"/media\",\"/app\",\"/usr/share/doc/file\"]"
echo app >"$work/app/rootfs/app"

for name in base editors tools both app; do
    "$bin/actool" build "$work/$name" "$work/$name.aci" >/dev/null
    jetpack fetch --pull never "$work/$name.aci" >/dev/null
done
jetpack image verify --all >/dev/null

cat >"$work/model.py" <<'PYTHON'
"""The specification's recipe over archives, and a comparison with a tree. Slow and obvious."""
import json, os, stat, sys, tarfile

def load(name):
    archive = tarfile.open(os.path.join(work, name + ".aci"))
    return json.load(archive.extractfile("manifest")), archive

def keeps(lists, path):
    return all(path == "" or any(listed == path or listed.startswith(path + "/") for listed in one) for one in lists)

def extract(tree, name, lists, counter=[0]):
    manifest, archive = load(name)
    own = [path.strip("/") for path in manifest.get("pathWhitelist", [])]
    lists = lists + ([own] if own else [])
    for dependency in manifest.get("dependencies", []):
        extract(tree, dependency["imageName"].removeprefix("example.com/"), lists)
    counter[0] += 1
    for entry in archive:
        if entry.name == "manifest":
            continue
        path = entry.name.removeprefix("rootfs").strip("/")
        if not keeps(lists, path) or entry.ischr() or entry.isblk():
            continue
        source = archive.getmember(entry.linkname) if entry.islnk() else entry
        old = tree.get(path)
        if not (old and old[1].isdir() and source.isdir()):
            for below in [other for other in tree if other.startswith(path + "/")]:
                del tree[below]
        tree[path] = (archive, source, (counter[0], source.name))

def xattrs(path):
    names = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("trusted.")]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}

def compare(tree, root):
    faults, files, there = [], {}, {""}
    for directory, names, more in os.walk(root):
        for name in names + more:
            there.add(os.path.relpath(os.path.join(directory, name), root))
    for path in sorted(there ^ set(tree)):
        faults.append(f"/{path}: {'is there' if path in there else 'is missing'}")
    for path in sorted(there & set(tree)):
        archive, entry, identity = tree[path]
        real = os.path.join(root, path)
        about = os.lstat(real)
        kinds = [(stat.S_ISDIR, entry.isdir()), (stat.S_ISLNK, entry.issym()), (stat.S_ISREG, entry.isreg())]
        if any(bool(kind(about.st_mode)) != due for kind, due in kinds):
            faults.append(f"/{path}: is of another kind")
            continue
        due = [("owner", (about.st_uid, about.st_gid), (entry.uid, entry.gid))]
        time = float(entry.pax_headers.get("mtime", entry.mtime))
        due.append(("time", int(about.st_mtime), int(time // 1)))
        if entry.issym():
            due.append(("target", os.readlink(real), entry.linkname))
        else:
            due.append(("mode", stat.S_IMODE(about.st_mode), entry.mode))
            attributes = {key.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape")
                          for key, value in entry.pax_headers.items() if key.startswith("SCHILY.xattr.")}
            if not any(name.startswith("security.") for name in attributes):
                due.append(("attributes", xattrs(real), attributes))
        if entry.isreg():
            due.append(("content", open(real, "rb").read(), archive.extractfile(entry).read()))
        faults += [f"/{path}: {what} is {is_!r:.80}, not {was!r:.80}" for what, is_, was in due if is_ != was]
        if not entry.isdir():
            inode = (about.st_dev, about.st_ino)
            if files.setdefault(inode, identity) != identity:
                faults.append(f"/{path}: shares its file with another")
    by_identity = {}
    for path in there & set(tree):
        if not tree[path][1].isdir():
            by_identity.setdefault(tree[path][2], set()).add(os.lstat(os.path.join(root, path)).st_ino)
    faults += [f"{identity[1]}: its names are several files" for identity, inodes in by_identity.items() if len(inodes) > 1]
    return faults

work, name, root = sys.argv[1:]
tree = {}
extract(tree, name, [])
faults = compare(tree, root)
print("\n".join(faults[:20]) or f"{name}: {len(tree)} paths as the recipe has them: {os.path.basename(os.path.dirname(root)) or root}")
sys.exit(bool(faults))
PYTHON

cat >"$work/layers.py" <<'PYTHON'
import json, sys
passes = json.load(sys.stdin)["rendered"]
print(":".join(f"{sys.argv[1]}/trees/{one['image']}/rootfs" for one in reversed(passes)))
PYTHON

for name in editors both app; do
    jetpack image render "example.com/$name" "$work/rendered-$name"
    python3 "$work/model.py" "$work" $name "$work/rendered-$name/rootfs"
done
mkdir "$work/overlay"
for name in editors both; do
    layers=$(jetpack image show --json "example.com/$name" | python3 "$work/layers.py" "$work/store")
    [ -n "$layers" ] || { echo "layers of $name are not known"; exit 1; }
    mount -t overlay overlay -o "lowerdir=$layers" "$work/overlay"
    python3 "$work/model.py" "$work" $name "$work/overlay"
    umount "$work/overlay"
done
jetpack image verify --all >/dev/null
jetpack image gc --grace 0s >/dev/null
[ -z "$(jetpack images)" ] && [ -z "$(ls "$work/store/incoming" "$work/store/trees" | grep -v : | tr -d '\n')" ] || { echo "gc left something"; exit 1; }
echo "OK: a chain of Debian images is rendered as the recipe says"
