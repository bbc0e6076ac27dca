#!/bin/sh
# Ways out of a pod, and into one: what a hostile image, a process in a pod, or another user of the host would try, each
# point of SECURITY.md by itself, on pods that root runs and on pods of an ordinary user.
#
#   conformance/peers/escapes.sh [DIRECTORY OF actool AND jetpack]
#
# One line a point: `held: POINT what`, `FAILED: POINT what`, or `skipped: reason`; exit status 1 when anything did not
# hold. What is attacked are files made for it, and a copy of jetpack; nothing is left behind. POINTS names the points to
# try, RUNNERS who runs the pods (root, user); all unless set. It is sh, so that FreeBSD runs its part as it is.
set -u
cd "$(dirname "$0")/../.." || exit
. conformance/peers/common.inc
find_binaries "${1:-}"

work=$(mktemp -d) && work=$(realpath "$work")
chmod 755 "$work"
system=$(uname -s)
failed=0
others=    # processes beside the pods

held() { echo "held: $1 $2 ($who)"; }
broke() { # POINT WHAT [SEEN]
    echo "FAILED: $1 $2 ($who)${3:+: $(printf %s "$3" | tr -c '[:print:]' '?' | cut -c 1-300)}"
    failed=1
}
# Holds when the text that was seen has nothing of the pattern; what did not even begin is told apart.
lacks() { # POINT WHAT TEXT PATTERN
    if printf '%s\n' "$3" | grep -qE -- "$4"; then broke "$1" "$2" "$3"; else held "$1" "$2"; fi
}
has() { # POINT WHAT TEXT PATTERN
    if printf '%s\n' "$3" | grep -qE -- "$4"; then held "$1" "$2"; else broke "$1" "$2" "$3"; fi
}
# The same, where the attack has to have been tried: without a sign of it nothing is shown.
tried() { # POINT WHAT TEXT PATTERN SIGN
    if printf '%s\n' "$3" | grep -qE -- "$5"; then lacks "$1" "$2" "$3" "$4"; else broke "$1" "$2" "it was not tried: $3"; fi
}
wanted() { case " ${POINTS:-all} " in *" all "* | *" $1 "*) ;; *) return 1 ;; esac; }

who=root
jp() { "$work/$who/jp" "$@"; }
pod() { jp run -d --net none "$@" 2>>"$work/log"; }
until_logged() { # POD PATTERN
    for _ in $(seq 20); do
        jp logs "$1" 2>/dev/null | grep -qE -- "$2" && return
        sleep 0.2
    done
    return 1
}
end_pod() { # POD
    jp stop --force "$1" >/dev/null 2>&1
    jp rm "$1" >/dev/null 2>&1
}

clean() {
    trap - EXIT INT TERM
    for pid in $others; do kill -9 "$pid" 2>/dev/null; done
    for who in root user; do
        for jp in "$work/$who/jp" "$work/$who/jp-first" "$work/$who/jp-second"; do
            [ -x "$jp" ] || continue
            for pod in $("$jp" list --no-legend 2>/dev/null | cut -d' ' -f1); do "$jp" stop --force "$pod" >/dev/null 2>&1; done
            "$jp" gc >/dev/null 2>&1
        done
    done
    # What no command could end.
    for pid in $(pgrep -f "$work" 2>/dev/null); do [ "$pid" = $$ ] || kill -9 "$pid" 2>/dev/null; done
    [ "$system" != Linux ] || for key in $keys; do "$probe" escape key-drop "$key" >/dev/null; done
    chmod -R u+rwx "$work" 2>/dev/null
    rm -rf "$work" 2>/dev/null || { sleep 1; rm -rf "$work"; }
}
keys=
trap clean EXIT
trap 'exit 1' INT TERM

# --- what is needed -------------------------------------------------------------------------------------------------

probe=$work/probe
if [ -n "${APPC_PROBE:-}" ]; then
    install -m 755 "$APPC_PROBE" "$probe"
elif [ -x "$bin/appc-conformance" ]; then
    "$bin/appc-conformance" probe "$probe" || fail "no probe"
else
    cargo run --quiet --locked --package appc-conformance -- probe "$probe" || fail "no probe"
fi

mkdir "$work/bin" "$work/root" "$work/user" "$work/open"
jetpack=$work/bin/jetpack
install -m 755 "$bin/jetpack" "$jetpack"

# A command line for each user and root directory: others become that user before they become jetpack.
runner() { # WHO NAME ROOT
    become=
    if [ "$1" = user ] && [ "$(id -u)" = 0 ]; then become="$probe escape as 12345 12345 '${groups:-}' env HOME=$work/user "; fi
    cat >"$work/$1/$2" <<RUN
#!/bin/sh
unset XDG_DATA_HOME XDG_CONFIG_HOME XDG_RUNTIME_DIR
exec timeout --foreground -k 5 25 $become"\${JETPACK:-$jetpack}" --root "$3" "\$@"
RUN
    chmod 755 "$work/$1/$2"
}
for who in root user; do runner $who jp "$work/$who/store"; done
[ "$(id -u)" != 0 ] || chown 12345:12345 "$work/user" "$work/open"

os=$(echo "$system" | tr '[:upper:]' '[:lower:]')
rootfs=$work/layout/rootfs
mkdir -p "$rootfs/bin" "$rootfs/etc" "$rootfs/data" "$rootfs/lib64"
cp "$probe" "$rootfs/probe"
mkdir "$rootfs/data/own"
chmod 1777 "$rootfs/data"
chmod 777 "$rootfs/data/own"
printf 'root:x:0:0::/:/probe\napp:x:1000:1000::/:/probe\n' >"$rootfs/etc/passwd"
printf 'root:x:0:\napp:x:1000:\n' >"$rootfs/etc/group"
printf genuine >"$rootfs/etc/mark"
printf secret >"$rootfs/secret"
chmod 600 "$rootfs/secret"

image() { # NAME EXEC(JSON) [MEMBERS OF APP] [MEMBERS OF MANIFEST] [USER]
    cat >"$work/layout/manifest" <<MANIFEST
{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "escapes.test/$1",
 "labels": [{"name": "os", "value": "$os"}]${4:+, $4},
 "app": {"exec": $2, "user": "${5:-0}", "group": "${5:-0}"${3:+, $3}}}
MANIFEST
    "$bin/actool" build --no-compression --overwrite "$work/layout" "$work/$1.aci" >/dev/null || fail "image $1"
}
isolator() { echo "\"isolators\": [{\"name\": \"$1\", \"value\": $2}]"; }

# --- what the attacks are aimed at ----------------------------------------------------------------------------------

victim=$work/victim
if [ "$system" = Linux ]; then
    up=../../../../../../../../../..
    [ "$(uname -m)" = x86_64 ] && "$probe" escape loader "$rootfs/lib64/ld-linux-x86-64.so.2"
    for number in 3 4 5 6 7; do
        printf '#!/proc/self/fd/%s/%s%s\n' $number $up "$victim" >"$rootfs/bin/by-$number"
    done
    printf '#!/proc/self/exe\n' >"$rootfs/bin/id"
    printf '#!/proc/1/exe\n' >"$rootfs/bin/first"
    chmod 755 "$rootfs"/bin/*
fi
# A program of the host's, which a dynamic loader of the image's would be asked to load.
bait() {
    rm -f "$victim"
    for program in /bin/true /usr/bin/true; do [ ! -e $program ] || cp "$(realpath $program)" "$victim"; done
    [ "$(id -u)" != 0 ] || [ $who = root ] || chown 12345 "$victim"
    sum=$(cksum <"$victim")
}
untouched() { # POINT WHAT
    if [ "$(cksum <"$victim")" = "$sum" ]; then held "$1" "$2"; else broke "$1" "$2" "a file of the host's was overwritten"; bait; fi
}

image wait '["/probe", "escape", "wait"]'
image facts '["/probe", "escape", "facts"]'

if [ -n "${RUNNERS:-}" ]; then all=$RUNNERS; elif [ "$(id -u)" = 0 ]; then all="root user"; else all=user; fi
[ "$system" = Linux ] || all=root
for who in $all; do
    # Not ours to hold.
    said=$(jp run --rm --net none "$work/facts.aci" 2>&1) && continue
    echo "skipped: no pods can be run by $who: $(printf %s "$said" | tail -n 1)"
    all=$(echo "$all" | sed "s/$who//")
done
[ -n "$(echo $all)" ] || exit 0

# A server that takes for ever, beside everything else.
wanted 11 && {
    "$probe" escape trailers "$work/port" &
    others="$others $!"
    (
        while [ ! -s "$work/port" ]; do sleep 0.1; done
        timeout 110 "$bin/actool" discover --insecure=http "localhost:$(cat "$work/port")/app" >"$work/trailers.out" 2>&1
        echo $? >"$work/trailers"
    ) &
    others="$others $!"
}

# --- 1, 2: programs and descriptors of the host's -------------------------------------------------------------------

descriptors() {
    point=1
    bait
    out=$(jp run --rm --net none "$work/facts.aci" 2>&1 7<"$work" 9</etc)
    has $point "an app of run finds no descriptor of the caller's or of jetpack's" "$out" '^descriptors $'
    one=$(pod "$work/facts.aci" 7<"$work" 9</etc)
    until_logged "$one" '^terminal'
    has $point "an app of run -d finds none either" "$(jp logs "$one")" '^descriptors $'
    end_pod "$one"
    one=$(pod "$work/wait.aci")
    out=$(jp exec "$one" /probe escape facts 2>&1 7<"$work" 9</etc)
    has $point "a command of exec finds none either" "$out" '^descriptors $'
    lacks $point "nor a directory as its standard input" "$(jp exec "$one" /probe escape facts 2>&1 <"$work")" 'a way out'
    lacks $point "nor does an app of run" "$(jp run -i --rm --net none "$work/facts.aci" 2>&1 <"$work")" 'a way out'
    echo kept >"$work/kept"
    jp exec "$one" /probe escape spoil >>"$work/kept" 2>"$work/err"
    jp run --rm --net none --exec /probe "$work/wait.aci" -- escape spoil >>"$work/kept" 2>>"$work/err"
    has $point "nor a file that it could read or empty as its standard output" "$(cat "$work/kept" "$work/err")" '^kept'
    [ "$system" = Linux ] || { end_pod "$one"; return; }

    for number in 3 4 5 6 7; do
        path=/proc/self/fd/$number/$up$victim
        jp run --rm --net none --exec "$path" "$work/wait.aci" >>"$work/log" 2>&1 7<"$work/bin"
        jp run --rm --net none --exec "/bin/by-$number" "$work/wait.aci" >>"$work/log" 2>&1 7<"$work/bin"
    done
    untouched $point "no program of the host's is found through a descriptor of run"
    for number in 3 4 5 6 7; do
        path=/proc/self/fd/$number/$up$victim
        pods=
        for program in "$path" "/bin/by-$number"; do
            pods="$pods $(pod --exec "$path" "$work/wait.aci" 7<"$work/bin")"
            jp exec "$one" "$program" >>"$work/log" 2>&1 7<"$work/bin"
        done
        for other in $pods; do end_pod "$other"; done
    done
    untouched $point "nor of run -d, nor of exec"
    for number in 3 4 5 6; do
        image handler '["/probe", "escape", "facts"]' \
            "\"eventHandlers\": [{\"name\": \"pre-start\", \"exec\": [\"/proc/self/fd/$number/$up$victim\"]}]"
        jp run --rm --net none "$work/handler.aci" >>"$work/log" 2>&1 7<"$work/bin"
    done
    untouched $point "nor of a handler"
    for door in cwd root; do
        for process in self 1; do
            (cd "$work/bin" && jp exec "$one" "/proc/$process/$door/$up$victim") >>"$work/log" 2>&1
            (cd "$work/bin" && jp run --rm --net none --exec "/proc/$process/$door/$up$victim" "$work/wait.aci") >>"$work/log" 2>&1
        done
    done
    untouched $point "nor through a directory that jetpack stands in"
    end_pod "$one"
}

upgraded() {
    point=2
    bait
    image lurk "[\"/probe\", \"escape\", \"lurk\", \"$victim\"]"
    one=$(pod "$work/lurk.aci")
    until_logged "$one" lurking
    # As package managers replace it.
    install -m 755 "$bin/jetpack" "$work/bin/new"
    mv "$work/bin/new" "$jetpack"
    for program in /bin/id /bin/first /proc/self/exe /proc/1/exe; do
        jp exec "$one" $program >>"$work/log" 2>&1
        jp exec "$one" /probe escape facts >>"$work/log" 2>&1
    done
    jp cp "$one:/etc/mark" "$work/open/mark.$who" >>"$work/log" 2>&1
    sleep 0.5
    tried $point "nothing but the image's programs is executed in sight of a pod" "$(jp logs "$one" 2>&1)" '^(seen|open|taken)' '^lurking'
    end_pod "$one"
    jp run --rm --net none --exec /bin/id "$work/wait.aci" >>"$work/log" 2>&1
    if cmp -s "$bin/jetpack" "$jetpack"; then
        held $point "jetpack is not overwritten through /proc/self/exe after an upgrade"
    else
        broke $point "jetpack is not overwritten through /proc/self/exe after an upgrade"
        install -m 755 "$bin/jetpack" "$jetpack"
    fi
    untouched $point "nor is anything that those who enter hold"
}

# --- 3, 4, 7, 8: namespaces, control groups, keys, capabilities -----------------------------------------------------

everything='mode=remove,set=@appc.io/empty'

own_files() {
    point=3
    image files '["/probe", "escape", "own-files"]' '' '' app
    for filter in "by default" "without a filter"; do
        set --
        [ "$filter" = "by default" ] || set -- --seccomp "$everything"
        one=$(pod "$@" "$work/files.aci")
        until_logged "$one" 'own files'
        out=$(jp exec "$one" /probe escape facts 2>&1)
        lacks $point "who enters takes no user from the app's own /etc/passwd, $filter" "$out" '^uid 0 '
        has $point "and enters as the app's user" "$out" '^uid 1000 '
        rm -f "$work/open/mark"
        jp cp "$one:/etc/mark" "$work/open/mark" >>"$work/log" 2>&1
        lacks $point "cp takes no file from a mount of the app's own, $filter" "$(cat "$work/open/mark" 2>/dev/null)" forged
        end_pod "$one"
    done
}

control_groups() {
    point=4
    image unshare '["/probe", "escape", "unshare"]'
    out=$(jp run --rm --net none "$work/unshare.aci" 2>&1)
    has $point "no new user namespace by default" "$out" '^none'
    image groups '["/probe", "escape", "groups"]' "$(isolator os/linux/capabilities-retain-set '{"set": ["CAP_CHOWN"]}')"
    image eat '["/probe", "escape", "eat"]'
    out=$(jp run --rm --net none --memory 64M "$work/eat.aci" 2>&1)
    if printf '%s\n' "$out" | grep -q '^eaten'; then
        echo "skipped: $point no limit of memory holds here ($who)"
        return
    fi
    out=$(jp run --rm --net none --memory 64M "$work/groups.aci" 2>&1)
    tried $point "an app does not lift its limits or change those of others" "$out" '^(changed|no limit)' '^(limited|no limit)'
    out=$(jp run --rm --net none --memory 64M --seccomp "$everything" "$work/groups.aci" 2>&1)
    tried $point "nor without a filter" "$out" '^(changed|no limit)' '^(limited|no limit)'
}

key_rings() {
    point=7
    key=appc-escapes-$$
    if ! "$probe" escape key-put $key host-secret >"$work/keys" 2>&1 || grep -q . "$work/keys"; then
        echo "skipped: $point no keys on this host: $(cat "$work/keys")"
        return
    fi
    keys=$key
    image keys "[\"/probe\", \"escape\", \"key-take\", \"$key\"]"
    out=$("$probe" escape key-session $key host-secret "$work/$who/jp" run --rm --net none "$work/keys.aci" 2>&1)
    tried $point "no key of the host's is read, seen or changed from a pod" "$out" '^(read|changed|listed)' '^(not )?read: user:'
    out=$("$probe" escape key-session $key host-secret "$work/$who/jp" run --rm --net none --seccomp "$everything" "$work/keys.aci" 2>&1)
    tried $point "without a filter the session's keyring is still another" "$out" '^read: session' '^(not )?read: user:'
}

capabilities() {
    point=8
    default=$(jp run --rm --net none "$work/facts.aci" 2>/dev/null | sed -n 's/^self CapBnd *//p')
    for set in retain remove; do
        value='{"set": ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_MODULE", "CAP_DAC_READ_SEARCH", "CAP_NET_ADMIN", "CAP_SYS_RAWIO", "CAP_BPF"]}'
        [ $set = retain ] || value='{"set": ["CAP_CHOWN"]}'
        image caps '["/probe", "escape", "facts"]' "$(isolator os/linux/capabilities-$set-set "$value")"
        said=$(jp run --rm --net none "$work/caps.aci" 2>"$work/err")
        got=$(printf '%s\n' "$said" | sed -n 's/^self CapBnd *//p')
        if [ -n "$default" ] && [ $((0x${got:-0} & ~0x$default)) = 0 ]; then
            held $point "an image takes no capability beyond the default set ($set)"
        else
            broke $point "an image takes no capability beyond the default set ($set)" "$got, by default $default"
        fi
    done
    image ptrace "[\"/probe\", \"escape\", \"doors\", \"1\", \"$victim\"]" \
        "$(isolator os/linux/capabilities-retain-set '{"set": ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]}')"
    bait
    out=$(jp run --rm --net none "$work/ptrace.aci" 2>&1)
    tried $point "an image does not look into the pod's first process" "$out" '^(open|attached)' '^tried'
    untouched $point "nor reach a file of the host's through it"
    out=$(jp run --rm --net none --seccomp "$everything" --caps-retain CAP_SYS_PTRACE,CAP_DAC_OVERRIDE "$work/ptrace.aci" 2>&1)
    tried $point "an app that was given CAP_SYS_PTRACE reaches no file through the first process" "$out" '^open: .*(root|cwd|fd|exe)' '^tried'
    untouched $point "and no file of the host's"
}

# --- 5, 12: terminals and descriptors of callers --------------------------------------------------------------------

terminals() {
    point=5
    one=$(pod "$work/wait.aci")
    for how in plain -t no-input; do
        case $how in
        plain) set -- "$work/$who/jp" exec "$one" /probe ;;
        -t) set -- "$work/$who/jp" exec -t "$one" /probe ;;
        no-input) set -- sh -c 'exec "$@" </dev/null' sh "$work/$who/jp" exec "$one" /probe ;;
        esac
        out=$("$probe" escape on-terminal password "$@" escape leave-reader /data/typed.$how 2>&1)
        rm -f "$work/open/typed"
        jp cp "$one:/data/typed.$how" "$work/open/typed" >>"$work/log" 2>&1
        got=$(cat "$work/open/typed" 2>/dev/null)
        if [ -z "$got" ]; then
            broke $point "exec on a terminal ($how)" "the reader left nothing: $out"
            continue
        fi
        lacks $point "who stays behind does not read the terminal that exec was called on ($how)" "$got" password
        has $point "nor type there ($how)" "$out" 'left there: "password"'
    done
    end_pod "$one"
}

kept() {
    point=12
    if [ "$(pod "$work/wait.aci" | timeout 10 cat | wc -l)" = 1 ]; then
        held $point "a detached pod does not keep the standard output of its caller"
    else
        broke $point "a detached pod does not keep the standard output of its caller"
    fi
    # The status of cat, which timeout ends when somebody still holds the pipe.
    begun=$(date +%s)
    { pod "$work/wait.aci" 8>&1 >/dev/null; } | { timeout 10 cat; echo $? >"$work/status"; }
    if [ "$(cat "$work/status")" = 0 ]; then
        held $point "nor another descriptor of it"
    else
        broke $point "nor another descriptor of it" "still open after $(($(date +%s) - begun)) seconds"
    fi
    for one in $(jp list --no-legend | cut -d' ' -f1); do end_pod "$one"; done
}

# --- 6, 16: root directories ----------------------------------------------------------------------------------------

copied() {
    point=6
    runner $who jp-first "$work/$who/first"
    runner $who jp-second "$work/$who/second"
    first() { "$work/$who/jp-first" "$@"; }
    second() { "$work/$who/jp-second" "$@"; }
    running=$(first run -d --net none "$work/wait.aci" 2>>"$work/log")
    ended=$(first run -d --net none --exec /probe "$work/wait.aci" -- escape fifo /data/kept 2>>"$work/log")
    for _ in $(seq 10); do
        first list --no-legend | grep -- "$ended" | grep -q exited && break
        sleep 0.2
    done
    first exec "$running" /probe escape own >/dev/null 2>&1
    before=$(cd "$work/$who/first/pods" && find . -path "*$ended*" 2>/dev/null | sort | cksum)
    cp -a "$work/$who/first" "$work/$who/second" 2>>"$work/log"
    for command in "gc" "stop --force $running" "rm $running" "rm $ended" "gc"; do
        # shellcheck disable=SC2086
        second $command >>"$work/log" 2>&1
    done
    # A root may have left its place for good, too.
    has $point "a copied root does not touch what the first one runs" "$(first exec "$running" /probe escape facts 2>&1)" '^uid'
    after=$(cd "$work/$who/first/pods" && find . -path "*$ended*" 2>/dev/null | sort | cksum)
    if [ "$before" = "$after" ]; then held $point "nor what it keeps"; else broke $point "nor what it keeps"; fi
    first stop --force "$running" >/dev/null 2>&1
    first gc >/dev/null 2>&1
    chmod -R u+rwx "$work/$who/second" 2>/dev/null
    rm -rf "$work/$who/second"
}

modes() {
    point=16
    runner $who jp-open "$work/$who/made-open"
    (umask 0 && "$work/$who/jp-open" run --net none "$work/facts.aci") >>"$work/log" 2>&1
    # What is inside images is theirs. Another user looks where there is one: what he does not get to he cannot write.
    set --
    [ "$(id -u)" != 0 ] || set -- "$probe" escape as 65534 65534 ''
    open=$("$@" find "$work/$who/made-open" \( -name rootfs -o -name upper \) -prune -o ! -type l -perm -0002 ! -perm -1000 -print 2>/dev/null)
    if [ -z "$open" ]; then held $point "nothing that jetpack makes can be written by others"; else broke $point "nothing that jetpack makes can be written by others" "$open"; fi
    "$work/$who/jp-open" gc >/dev/null 2>&1
    chmod 777 "$work/$who/made-open"
    if out=$("$work/$who/jp-open" run --rm --net none "$work/facts.aci" 2>&1); then
        broke $point "a root that others can write to is refused" "$out"
    else
        has $point "a root that others can write to is refused, with what to do" "$out" 'chmod'
    fi
    chmod 755 "$work/$who/made-open"
    [ "$(id -u)" = 0 ] || return
    if [ $who = root ]; then chown 12345 "$work/$who/made-open"; else chown 0 "$work/$who/made-open"; fi
    if out=$("$work/$who/jp-open" run --rm --net none "$work/facts.aci" 2>&1); then
        broke $point "a root of somebody else's is refused" "$out"
    else
        held $point "a root of somebody else's is refused"
    fi
    chmod -R u+rwx "$work/$who/made-open" 2>/dev/null
    rm -rf "$work/$who/made-open"
}

# --- 9, 10: those who do not want to end ----------------------------------------------------------------------------

ends() { # POINT WHAT COMMAND...
    about="$1 $2"
    shift 2
    begun=$(date +%s)
    if jp "$@" >>"$work/log" 2>&1; then held "${about%% *}" "${about#* }"; else broke "${about%% *}" "${about#* }" "no end in $(($(date +%s) - begun)) seconds"; fi
}

floods() {
    point=9
    image flood '["/probe", "escape", "flood", "2"]'
    one=$(pod "$work/flood.aci")
    sleep 1
    ends $point "an app that floods its output cannot put off stop" stop --time 1s "$one"
    end_pod "$one"
    one=$(pod "$work/flood.aci")
    sleep 1
    ends $point "nor stop --force" stop --force "$one"
    end_pod "$one"
    for how in "--time 1s" --force; do
        one=$(pod "$work/wait.aci")
        supervisor=$(jp status --json "$one" | sed -n 's/^  "pid": \([0-9]*\).*/\1/p')
        if [ -z "$supervisor" ]; then broke $point "a supervisor that was stopped ($how)" "no pid"; continue; fi
        kill -STOP "$supervisor"
        # shellcheck disable=SC2086
        ends $point "a supervisor that was stopped is no way to live on ($how)" stop $how "$one"
        kill -CONT "$supervisor" 2>/dev/null
        end_pod "$one"
    done
}

races() {
    point=10
    id=$(jp fetch --insecure=signature "$work/facts.aci" 2>>"$work/log")
    : >"$work/racing"
    for collector in a b; do
        (
            while [ -e "$work/racing" ]; do jp gc >/dev/null 2>"$work/gc.$collector" || cat "$work/gc.$collector" >>"$work/gc.failed"; done
        ) &
        others="$others $!"
    done
    rm -f "$work/gc.failed"
    bad=
    for _ in $(seq 25); do
        out=$(jp run --net none --stdout null "$id" 2>&1) || bad=$out
    done
    rm "$work/racing"
    sleep 0.5
    if [ -z "$bad" ]; then held $point "gc takes no pod away from run"; else broke $point "gc takes no pod away from run" "$bad"; fi
    if [ -s "$work/gc.failed" ]; then broke $point "two gc at once both succeed" "$(tail -n 2 "$work/gc.failed")"; else held $point "two gc at once both succeed"; fi
    jp gc >/dev/null 2>&1
}

# --- 13, 14: what is said -------------------------------------------------------------------------------------------

words() {
    point=13
    nasty='\u001b]0;owned\u0007\u009b2J\u202eforged\nforged line'
    image words "[\"/probe\", \"escape\", \"wait\", \"$nasty\"]" "\"environment\": [{\"name\": \"WORDS\", \"value\": \"$nasty\"}]" \
        "\"annotations\": [{\"name\": \"words\", \"value\": \"$nasty\"}]"
    image nowhere "[\"/no$nasty\"]"
    one=$(pod --annotation "words=$(printf 'a\033[2Jb')" "$work/words.aci")
    id=$(jp images --no-legend 2>/dev/null | awk '/words/ { print $1 }')
    out=$(
        jp images 2>&1
        jp image show "$id" 2>&1
        jp status "$one" 2>&1
        jp list 2>&1
        jp ps "$one" 2>&1
        jp ps 2>&1
        jp plan "$work/words.aci" 2>&1
        jp run --rm --net none "$work/nowhere.aci" 2>&1
        jp image rm "$(printf 'x\033[2J')" 2>&1
        "$bin/actool" validate "$work/words.aci" "$work/nowhere.aci" 2>&1
        "$bin/actool" ls "$work/nowhere.aci" 2>&1
    )
    end_pod "$one"
    # Of two bytes, which UTF-8 has for them; the last turns the direction of what follows.
    bad=$(printf '%s\n' "$out" | LC_ALL=C grep -e "$(printf '[\001-\010\013-\037\177]')" -e "$(printf '\302[\200-\237]')" -e "$(printf '\342\200\256')")
    if [ -z "$bad" ]; then
        held $point "no control character of an image's reaches a terminal"
    else
        broke $point "no control character of an image's reaches a terminal" "$bad"
    fi
    lacks $point "nor a line that is not ours" "$out" '^forged line'
}

notifications() {
    point=14
    image notify '["/probe", "escape", "wait"]' '' '"annotations": [{"name": "appc.io/executor/supports-systemd-notify", "value": "true"}]'
    one=$(jp run -d --net host "$work/notify.aci" 2>>"$work/log")
    if [ -z "$one" ]; then broke $point "a pod on the host's network" "$(tail -n 1 "$work/log")"; return; fi
    before=$(du -sk "$work/$who/store/pods" | cut -f1)
    out=$("$probe" escape as 65534 65534 '' "$probe" escape notify "$one" 2>&1)
    [ "$(id -u)" = 0 ] || out="not another user: $("$probe" escape notify "$one" 2>&1)"
    after=$(du -sk "$work/$who/store/pods" | cut -f1)
    tried $point "another user's word about a pod counts for nothing" "$(jp status --json "$one")" 'forged|"ready": "?[0-9]' '"state": "running"'
    if [ $((after - before)) -lt 4096 ]; then held $point "nor does a flood of them fill the disk"; else broke $point "nor does a flood of them fill the disk" "$((after - before)) KiB in 2 seconds"; fi
    ends $point "nor keep the pod from ending" stop --force "$one"
    end_pod "$one"
}

# --- 15: cp ---------------------------------------------------------------------------------------------------------

copies() {
    point=15
    one=$(pod "$work/wait.aci")
    rm -rf "$work/open/out"
    jp exec "$one" /probe escape mknod /data/disk >>"$work/log" 2>&1
    jp exec "$one" /probe escape fifo /data/fifo >>"$work/log" 2>&1
    jp cp "$one:/data" "$work/open/out" >>"$work/log" 2>&1
    jp cp "$one:/data/disk" "$work/open/disk" >>"$work/log" 2>&1
    if [ -n "$(find "$work/open" \( -type b -o -type c \) -print)" ]; then
        broke $point "cp makes no device of an app's choosing"
    else
        held $point "cp makes no device of an app's choosing"
    fi
    end_pod "$one"
    image swap '["/probe", "escape", "swap", "/data/own", "/secret"]' '' '' "$([ $who = root ] && echo app || echo 0)"
    one=$(pod "$work/swap.aci")
    sleep 0.3
    printf x >"$work/open/plain"
    rm -f "$work/open/pipe"
    mkfifo "$work/open/pipe"
    chmod 666 "$work/open/plain" "$work/open/pipe"
    [ "$(id -u)" != 0 ] || [ $who = root ] || chown 12345 "$work/open/plain" "$work/open/pipe"
    hung=
    for turn in $(seq 12); do
        for copy in "$work/open/plain $one:/data/own/f" "$work/open/pipe $one:/data/own/f" "$one:/data/own/f $work/open/f.$turn"; do
            # shellcheck disable=SC2086
            timeout 8 "$work/$who/jp" cp $copy >>"$work/log" 2>&1
            [ $? -ge 124 ] && hung="$copy" && break 2
        done
    done
    for turn in $(seq 40); do
        [ -z "$hung" ] || break
        timeout 8 "$work/$who/jp" cp "$work/open/pipe" "$one:/data/own/f" >>"$work/log" 2>&1
    done
    if [ -z "$hung" ]; then held $point "cp ends whatever the file turns into"; else broke $point "cp ends whatever the file turns into" "$hung"; fi
    has $point "cp changes no mode through a link" "$(jp exec "$one" /probe escape mode /secret 2>&1)" '^mode 600'
    end_pod "$one"
}

# --- 17: smaller ones -----------------------------------------------------------------------------------------------

smaller() {
    point=17
    one=$(pod --exec /probe "$work/wait.aci" -- escape facts)
    until_logged "$one" '^terminal'
    sleep 0.5
    touch -t "$(($(date +%Y) + 1))01010000" "$work/$who/store"/pods/*/"$one"/status "$work/$who/store/pods/$one/status" 2>/dev/null
    jp gc --grace 1h >>"$work/log" 2>&1
    has $point "gc --grace keeps a pod whose status lies in the future" "$(jp list --no-legend)" "$one"
    end_pod "$one"

    one=$(pod "$work/wait.aci")
    long=$(printf '%070000d' 0)
    out=$(jp exec "$one" "/$long" 2>&1)
    code=$?
    if [ $code -ge 125 ] && [ -n "$out" ]; then held $point "a program's name that is too long is told"; else broke $point "a program's name that is too long is told" "exit status $code, $(printf %s "$out" | cut -c 1-200)"; fi
    out=$(jp exec "$one" /probe escape facts "$long" "$long" "$long" "$long" "$long" "$long" 2>&1)
    code=$?
    if [ $code = 0 ] || [ -n "$out" ]; then held $point "so are arguments"; else broke $point "so are arguments" "exit status $code without a word"; fi
    out=$(jp run --rm --net none --exec "/$long" "$work/wait.aci" 2>&1)
    if [ -n "$out" ]; then held $point "and in run"; else broke $point "and in run"; fi
    has $point "and the app goes on" "$(jp exec "$one" /probe escape facts 2>&1)" '^uid'
    end_pod "$one"
    image dig '["/probe", "escape", "dig", "/data/own"]'
    jp run --net none "$work/dig.aci" >>"$work/log" 2>&1
    if (ulimit -n 256 && jp gc >>"$work/log" 2>&1); then held $point "gc removes deep directories that nobody may look into"; else broke $point "gc removes deep directories that nobody may look into" "$(tail -n 1 "$work/log")"; fi
    [ "$who" = user ] && [ "$(id -u)" = 0 ] || return 0

    groups=4,24
    runner user jp-groups "$work/user/store"
    groups=
    out=$("$work/user/jp-groups" run --rm --net none "$work/facts.aci" 2>&1)
    if printf '%s\n' "$out" | grep -qE '^uid .* groups (0)?$' || printf '%s\n' "$out" | grep -qi 'groups modified'; then
        held $point "the caller's supplementary groups are not kept in silence"
    else
        broke $point "the caller's supplementary groups are not kept in silence" "$out"
    fi
}

for who in $all; do
    wanted 1 && descriptors
    if [ "$system" = Linux ]; then
        wanted 2 && upgraded
        wanted 3 && if [ $who = root ]; then own_files; fi
        wanted 4 && control_groups
        wanted 7 && key_rings
        wanted 8 && capabilities
        wanted 14 && notifications
    fi
    wanted 5 && terminals
    wanted 6 && copied
    wanted 9 && floods
    wanted 10 && races
    wanted 12 && kept
    wanted 13 && words
    wanted 15 && copies
    wanted 16 && modes
    wanted 17 && smaller
done

wanted 11 && {
    who=discover
    for _ in $(seq 1100); do
        [ -s "$work/trailers" ] && break
        sleep 0.1
    done
    has 11 "a server that never stops sending trailers is given up" "$(cat "$work/trailers" 2>/dev/null)" '^[0-9]$'
}
[ $failed = 0 ] && echo OK
exit $failed
