#!/bin/sh
# A runtime in a few lines: `runtime.sh fetch ROOT IMAGE`, `runtime.sh run ROOT POD`. It unpacks, sets a few variables and changes the root.
# Far from conforming, and meant so: the suite tells by how much. Needs python3 to read JSON.
set -eu
command=$1 root=$2 file=$3

json() { # json FILE EXPRESSION: the value of a Python expression on the document `d`
    python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}

case $command in
fetch)
    mkdir -p "$root"
    tar -xf "$file" -C "$(mktemp -d "$root/incoming.XXXXXX")"
    unpacked=$(ls -td "$root"/incoming.* | head -n 1)
    name=$(json "$unpacked/manifest" 'd["name"].replace("/", "_")')
    rm -rf "${root:?}/$name"
    mv "$unpacked" "$root/$name"
    ;;
run)
    status=0
    for number in $(json "$file" '" ".join(map(str, range(len(d["apps"]))))'); do
        app=$(json "$file" "d['apps'][$number]['name']")
        image=$root/$(json "$file" "d['apps'][$number]['image']['name'].replace('/', '_')")
        exec=$(json "$image/manifest" '" ".join(__import__("shlex").quote(word) for word in d["app"]["exec"])')
        # shellcheck disable=SC2086
        eval "env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin AC_APP_NAME=\$app container=example-sh chroot \"\$image/rootfs\" $exec" || status=$?
    done
    exit "$status"
    ;;
esac
