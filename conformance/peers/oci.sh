#!/usr/bin/env bash
# OCI images beside those who know them longest: built by buildah, pushed to docker-registry over TLS, fetched and run by jetpack; ours
# pushed, read by skopeo, unpacked by umoci and run by podman. Trees are compared name by name, attribute by attribute.
# oci.sh [DIRECTORY WITH THE BINARIES]
set -euo pipefail
cd "$(dirname "$0")/../.."
source conformance/peers/common.inc
[ "$(id -u)" = 0 ] || skip "needs root"
need buildah buildah
need skopeo skopeo
need umoci umoci
need docker-registry docker-registry
need openssl openssl
need oci-image-tool oci-image-tool
need /bin/busybox busybox-static
find_binaries "$@"

work=$(mktemp -d)
registry=
clean() {
    [ -z "$registry" ] || kill "$registry" 2>/dev/null || true
    "$bin/jetpack" --root "$work/root" gc >/dev/null 2>&1 || true
    umount "$work"/storage/vfs 2>/dev/null || true
    chmod -R u+rwX "$work" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT
passed=0
same() { # WHAT EXPECTED FOUND
    cmp -s "$2" "$3" || { diff "$2" "$3" | head -20; fail "$1"; }
    passed=$((passed + 1))
}
is() { # WHAT EXPECTED FOUND
    [ "$2" = "$3" ] || fail "$1: expected \`$2\`, found \`$3\`"
    passed=$((passed + 1))
}

# All of a tree: kind, mode, owner, size, links, time, target, content, attributes; directories' times alone are left out, since those
# that only names imply have none to keep.
describe() { # ROOT
    (
        cd "$1"
        find . -mindepth 1 \( -type d -printf '%P %y %m %U:%G\n' -o -printf '%P %y %m %U:%G %s %n %T@ %l\n' \) | sort
        find . -type f -print0 | sort -z | xargs -0r sha256sum
        command -v getfattr >/dev/null && find . -print0 | sort -z | xargs -0r getfattr -h -d -m - 2>/dev/null || true
    )
}
unpacked() { # LAYOUT:TAG NAME
    [ "$2" != ours ] || oci-image-tool validate --type image --ref "name=${1##*:}" "${1%:*}" >"$work/log" 2>&1 || {
        tail -n 3 "$work/log"
        fail "oci-image-tool finds $1 valid"
    }
    umoci unpack --image "$1" "$work/$2" >/dev/null 2>&1 || fail "umoci unpacks $1"
    describe "$work/$2/rootfs" >"$work/$2.tree"
    chmod -R u+rwX "$work/$2"
    rm -rf "${work:?}/$2"
}

storage=(--storage-driver vfs --root "$work/storage" --runroot "$work/run")
mkdir "$work/context"
cp /bin/busybox "$work/context/busybox"
cat >"$work/context/many" <<'END'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "busybox=/bin/busybox; $busybox --install -s /bin; $busybox mkdir -p /etc /data/d /opaque/in; echo root:x:0:0::/:/bin/sh >/etc/passwd; echo web:x:33:34::/:/bin/sh >>/etc/passwd; echo log:x:4:web >/etc/group"]
RUN echo 1 >/data/a; ln /data/a /data/b; echo x >/data/d/x; chmod 555 /data/d; ln -s data /link; echo o >/opaque/in/o; mkfifo /data/pipe
RUN rm /data/a; ln /data/b /data/c; rm -rf /data/d; mkdir /data/d; echo y >/data/d/y
RUN rm -rf /opaque; mkdir /opaque; echo new >/opaque/new; rm /link; mkdir /link; echo z >/link/z
RUN true
RUN rm -rf /link; echo file >/link; chmod 4755 /data/c
USER web
WORKDIR /data
ENV GREETING=hello
EXPOSE 80/tcp
LABEL made=here
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/sh"]
CMD ["-c", "echo $GREETING from $(id -u):$(id -g) in $(pwd)"]
END
cat >"$work/context/stages" <<'END'
FROM scratch AS one
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin; /bin/busybox echo built >/built"]
FROM scratch
COPY --from=one /bin /bin
COPY --from=one /built /built
ENTRYPOINT ["/bin/cat", "/built"]
END
for image in many stages; do
    buildah "${storage[@]}" bud --layers --isolation chroot -f "$work/context/$image" -t "$image:1" "$work/context" >"$work/log" 2>&1 || {
        tail -n 5 "$work/log"
        skip "buildah cannot build here"
    }
done

# A registry with a certificate of its own.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cat >"$work/registry.yml" <<END
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "127.0.0.1:$port", tls: { certificate: $work/cert.pem, key: $work/key.pem } }
END
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
registry=$!
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
done
export SSL_CERT_FILE=$work/cert.pem
host=localhost:$port
jetpack=("$bin/jetpack" --root "$work/root")

for image in many stages; do
    buildah "${storage[@]}" push --tls-verify=false "$image:1" "docker://$host/$image:1" >"$work/log" 2>&1 || { tail -n 3 "$work/log"; fail "buildah pushes $image"; }
    skopeo copy --src-tls-verify=false "docker://$host/$image:1" "oci:$work/$image:1" >/dev/null 2>&1 || fail "skopeo copies $image"
    unpacked "$work/$image:1" theirs

    # Squashed, one a layer, and back.
    "$bin/actool" import "$work/$image:1" "$work/$image.aci" --name "example.com/$image" 2>/dev/null >/dev/null || fail "actool imports $image"
    "$bin/actool" validate --strict -q "$work/$image.aci" || fail "the import of $image is valid"
    "$bin/actool" export oci "$work/$image.aci" "$work/squashed" --tag x >/dev/null || fail "actool exports $image"
    unpacked "$work/squashed:x" ours
    same "$image squashed is the same tree" "$work/theirs.tree" "$work/ours.tree"
    "$bin/actool" import --layers "$work/$image:1" "$work/layers" --name "example.com/$image" 2>/dev/null >/dev/null || fail "actool imports the layers of $image"
    top=$(find "$work/layers" -name '*.aci' | sort | tail -n 1)
    "$bin/actool" export oci "$top" "$work/layered" --tag x >/dev/null || fail "actool exports the layers of $image"
    unpacked "$work/layered:x" ours
    same "$image in layers is the same tree" "$work/theirs.tree" "$work/ours.tree"
    "$bin/actool" export oci "$top" "$work/identical" --tag x --blobs "$work/$image" >/dev/null || fail "actool exports $image with blobs"
    is "$image has its digest again" "$(skopeo inspect --format '{{.Digest}}' "oci:$work/$image:1")" "$(skopeo inspect --format '{{.Digest}}' "oci:$work/identical:x")"
    "$bin/actool" export docker-archive "$top" "$work/saved.tar" --tag "example.com/$image:1" >/dev/null || fail "actool saves $image"
    skopeo copy "docker-archive:$work/saved.tar" "oci:$work/resaved:1" >/dev/null 2>&1 || fail "skopeo reads what actool saved of $image"
    unpacked "$work/resaved:1" ours
    same "$image saved is the same tree" "$work/theirs.tree" "$work/ours.tree"
    skopeo copy "oci:$work/$image:1" "docker-archive:$work/theirs.tar:example.com/$image:1" >/dev/null 2>&1 || fail "skopeo saves $image"
    "$bin/actool" import "$work/theirs.tar" "$work/theirs.aci" >/dev/null 2>&1 || fail "actool imports what skopeo saved of $image"

    # From the registry, and to it.
    id=$("${jetpack[@]}" fetch "docker://$host/$image:1" 2>/dev/null) || fail "jetpack fetches $image"
    is "fetching $image again gives the same" "$id" "$("${jetpack[@]}" fetch "docker://$host/$image:1" 2>/dev/null)"
    "${jetpack[@]}" push "$id" "docker://$host/$image:ours" >/dev/null || fail "jetpack pushes $image"
    skopeo copy --src-tls-verify=false "docker://$host/$image:ours" "oci:$work/pushed:1" >/dev/null 2>&1 || fail "skopeo reads what jetpack pushed of $image"
    unpacked "$work/pushed:1" ours
    same "$image pushed is the same tree" "$work/theirs.tree" "$work/ours.tree"
    for what in .config.User .config.Env .config.Entrypoint .config.Cmd .config.WorkingDir .config.Labels .config.StopSignal; do
        is "$image pushed keeps $what" "$(skopeo inspect --config --raw "oci:$work/$image:1" | python3 -c "import json,sys; print(json.load(sys.stdin)['config'].get('${what##*.}'))")" \
            "$(skopeo inspect --config --raw "oci:$work/pushed:1" | python3 -c "import json,sys; print(json.load(sys.stdin)['config'].get('${what##*.}'))")"
    done
    rm -rf "$work"/{squashed,layered,layers,identical,resaved,pushed,saved.tar,theirs.tar,theirs.aci}
done

is "jetpack runs many" "hello from 33:34 in /data" "$("${jetpack[@]}" run --rm --net none "docker://$host/many:1" 2>"$work/log" || tail -n 5 "$work/log")"
is "flags that fingers know" "bye from 0:0 in /" "$("${jetpack[@]}" run --rm --net none -e GREETING=bye -u 0:0 -w / "docker://$host/many:1" 2>"$work/log" || tail -n 5 "$work/log")"
mkdir "$work/volume"
echo inside >"$work/volume/file"
is "a volume where it is wanted" "inside" "$("${jetpack[@]}" run --rm --net none --volume "$work/volume:/data:ro" --entrypoint /bin/cat "docker://$host/many:1" -- /data/file 2>"$work/log" || tail -n 5 "$work/log")"
is "jetpack runs stages" "built" "$("${jetpack[@]}" run --rm --net none "docker://$host/stages:1" 2>"$work/log" || tail -n 5 "$work/log")"
# Where control groups are of both versions crun runs nothing: it is shown a namespace in which there is the second alone.
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    alone=(env)
else
    alone=(unshare --mount --propagation private sh -c 'umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"' sh)
fi
if command -v podman >/dev/null; then
    podman=("${alone[@]}" podman "${storage[@]}" run --rm --pull=always --tls-verify=false --network=none --cgroups=disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --security-opt seccomp=unconfined)
    if "${podman[@]}" "docker://$host/stages:1" >"$work/log" 2>&1; then
        is "podman runs ours" "hello from 33:34 in /data" "$("${podman[@]}" "docker://$host/many:ours" 2>/dev/null)"
    else
        echo "skipped: podman runs ours: podman runs nothing here ($(tail -n 1 "$work/log"))"
    fi
fi
skopeo copy --src-tls-verify=false "docker://$host/many:ours" "oci:$work/pushed:1" >/dev/null 2>&1
umoci unpack --image "$work/pushed:1" "$work/bundle" >/dev/null 2>&1 || fail "umoci makes a bundle of ours"
python3 - "$work/bundle/config.json" <<'END'
import json, sys
config = json.load(open(sys.argv[1]))
config["process"]["terminal"] = False
config["process"].pop("rlimits", None)
config["linux"]["resources"] = {}
json.dump(config, open(sys.argv[1], "w"))
END
for runtime in "crun --cgroup-manager=disabled" runc; do
    command -v "${runtime%% *}" >/dev/null || continue
    # shellcheck disable=SC2086
    said=$("${alone[@]}" $runtime run --bundle "$work/bundle" "appc-$$" 2>"$work/log") || true
    # What says nothing at all of ours is kept from it by the host.
    if [ -z "$said" ]; then
        echo "skipped: ${runtime%% *} runs ours: $(tail -n 1 "$work/log")"
        continue
    fi
    is "${runtime%% *} runs ours" "hello from 33:34 in /data" "$said"
done
echo "ok: $passed comparisons with buildah, docker-registry, skopeo, umoci, oci-image-tool, podman, crun, runc"
