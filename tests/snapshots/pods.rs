//! Pods and containers that run.

use appc_needs::{Need, skip};

use super::{PROGRAMS, Scene};

/// A directory with an image that says something and ends with 3, and one that goes on. Nothing where no pods run.
fn scene() -> Option<Scene> {
    if !rustix::process::geteuid().is_root() {
        skip(Need::Root, "pods of ordinary users tell what of them does not hold, by user and host");
        return None;
    }
    let mut scene = Scene::new(&PROGRAMS);
    scene.prepare("actool init --from /bin/sh --name example.com/talk --exec /bin/sh talk");
    scene.prepare("cp \"$(command -v sleep)\" talk/rootfs/bin/sleep && cp -R talk loop && cp -R talk bundle");
    let app = |name: &str, script: &str| {
        format!(
            r#"{{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/{name}",
                "app": {{"exec": ["/bin/sh", "-c", "{script}"], "user": "0", "group": "0"}}}}"#
        )
    };
    scene.write("talk/manifest", app("talk", "echo hello; echo oops >&2; echo new >/new; exit 3"));
    scene.write("loop/manifest", app("loop", "trap : USR1; while :; do /bin/sleep 60 & wait; done"));
    for name in ["talk", "loop"] {
        scene.prepare(&format!("actool build --owner-root {name} {name}.aci"));
    }
    let first = scene.output("jetpack run --rm talk.aci");
    if first.status.code() != Some(3) {
        skip(Need::Pods, format_args!("no pods can be run here: {}", String::from_utf8_lossy(&first.stderr)));
        return None;
    }
    // How old a pod is, in tables; numbers of processes; what they use.
    scene.changing(r"\b\d+s  ", "[AGE]  ");
    scene.changing(r"(?m)^ *\d{2,}( +\d+  )", "     [PID]$1");
    scene.changing(r"( process |pid\W+)\d{2,}", "$1[PID]");
    scene.changing(r"\[\d+(,\d+)*\]", "[PIDS]");
    scene.changing(r#"("owner": ?")[^"]+"#, "$1[USER]");
    scene.changing(r"((cputime|memoryuse|swapuse|maxproc|nthr)\W+)\d+", "$1[N]");
    Some(scene)
}

#[test]
fn a_pod_runs_ends_and_is_looked_into() {
    let Some(mut scene) = scene() else { return };
    scene
        .line("jetpack run --pod-name one talk.aci")
        .line("jetpack list")
        .line("jetpack list --json")
        .line("jetpack list -q")
        .line("jetpack list --format '{name} {exit}'")
        .line("jetpack status one | grep -v ^isolation")
        .line("jetpack status one --json | sed '/\"isolation\"/,$d'")
        .line("jetpack logs one")
        .line("jetpack logs one --json")
        .line("jetpack logs one --timestamps")
        .line("jetpack diff one")
        .line("jetpack diff one --json")
        .line("jetpack cp one:/new copy && cat copy")
        .line("jetpack export one out.aci")
        .line("jetpack commit one --name example.com/new:2")
        .line("jetpack cat-manifest one --pretty")
        .line("jetpack inspect one | head -n 5")
        .line("jetpack start one; true")
        .line("jetpack wait one")
        .line("jetpack wait --json one")
        .line("jetpack rename one two")
        .line("jetpack exec two /bin/true")
        .line("jetpack attach two")
        .line("jetpack rm two")
        .line("jetpack prepare --pod-name three talk.aci")
        .line("jetpack run-prepared three; true")
        .line("jetpack gc")
        .line("jetpack build --name example.com/built talk.aci -- /bin/sh -c 'echo built'")
        .line("jetpack plan talk.aci | sed '1s/^ *0  .*/first step/; 2,$d'")
        .line("jetpack plan talk.aci --json | head -n 2")
        .line("jetpack run --rm --exec /bin/missing talk.aci")
        .line("jetpack image rm example.com/built")
        .is("pods-ended");
}

#[test]
fn a_pod_that_runs_is_shown_and_told_what_to_do() {
    let Some(mut scene) = scene() else { return };
    scene
        .line("jetpack run -d --pod-name web loop.aci")
        .line("jetpack list")
        .line("jetpack status web | grep -v ^isolation")
        .line("jetpack ps web")
        .line("jetpack ps web --json")
        .line("jetpack top web")
        .line("jetpack top web --json")
        .line("jetpack metrics | grep -E '(pods|app_up|restarts_total)[{]'")
        .line("jetpack metrics --output missing/jetpack.prom")
        .line("jetpack exec web /bin/sh -c 'echo inside' </dev/null")
        .line("jetpack exec web /bin/sh -c 'exit 4' </dev/null")
        .line("jetpack exec web /bin/missing </dev/null")
        .line("jetpack pause web")
        .line("jetpack list")
        .line("jetpack resume web")
        .line("jetpack kill --signal USR1 web")
        .line("jetpack events --no-follow --since 1h web")
        .line("jetpack events --no-follow --since 1h web --json")
        .line("jetpack rm web")
        .line("timeout 0.2 jetpack attach web; true")
        .line("jetpack stop --time 1s web")
        .line("jetpack wait web")
        .line("jetpack rm web")
        .is("pods-running");
}

#[test]
fn a_container_of_an_engine_is_made_shown_and_taken_away() {
    let Some(mut scene) = scene() else { return };
    // A container that runs holds what its maker said things into: nobody may wait for the end of that.
    scene.prepare("jetpack-oci spec --bundle bundle");
    scene.prepare("sed -i 's/\"terminal\": true/\"terminal\": false/' bundle/config.json");
    scene.prepare("sed -i 's#\"sh\"#\"/bin/sh\", \"-c\", \"while :; do /bin/sleep 60; done\"#' bundle/config.json");
    if !scene
        .output("jetpack-oci run --detach --bundle bundle first >/dev/null 2>&1 && jetpack-oci delete -f first")
        .status
        .success()
    {
        return skip(Need::Pods, "no containers can be run here");
    }
    scene
        .line("jetpack-oci --version")
        .line("jetpack-oci features | head -n 4")
        .line("mkdir new && jetpack-oci spec --bundle new && head -n 4 new/config.json")
        .line("jetpack-oci create --bundle bundle one >/dev/null 2>&1")
        .line("jetpack-oci state one")
        .line("jetpack-oci start one")
        .line("jetpack-oci list -q")
        .line("jetpack-oci list --format json")
        .line("jetpack-oci ps one --format json")
        .line("jetpack-oci exec one /bin/sh -c 'echo inside'")
        .line("jetpack-oci exec one /bin/sh -c 'exit 4'")
        .line("jetpack-oci exec one /bin/missing")
        .line("jetpack-oci pause one")
        .line("jetpack-oci state one | grep status")
        .line("jetpack-oci resume one")
        .line("jetpack-oci update --pids-limit 100 one")
        .line("jetpack-oci events --stats one | cut -c 1-27")
        .line("jetpack-oci delete one")
        .line("jetpack-oci start one")
        .line("jetpack-oci create --bundle bundle one >/dev/null 2>&1")
        .line("jetpack-oci kill one KILL")
        .line("while jetpack-oci state one | grep -q running; do sleep 0.05; done")
        .line("jetpack-oci state one")
        .line("jetpack-oci delete one")
        .line("jetpack-oci list")
        .line("jetpack-oci run --detach --bundle bundle two >/dev/null 2>&1 && jetpack-oci delete -f two")
        .is("containers");
}

#[test]
fn what_is_wrong_with_containers_is_told() {
    let mut scene = Scene::new(&PROGRAMS);
    scene.write("bad/config.json", "{\"ociVersion\": \"2.0.0\"}");
    scene
        .line("jetpack-oci")
        .line("jetpack-oci crate one")
        .line("jetpack-oci create one")
        .line("jetpack-oci create --bundle bad one")
        .line("jetpack-oci run --bundle nowhere one")
        .line("jetpack-oci run --bundle bad a/b")
        .line("jetpack-oci spec --bundle nowhere")
        .line("jetpack-oci features all")
        .line("jetpack-oci list --format yaml")
        .line("jetpack-oci kill nothing BUZZ")
        .line("jetpack-oci update nothing --pids-limit many");
    for command in ["start", "state", "delete", "ps", "kill", "pause", "resume", "update", "events --stats"] {
        scene.line(&format!("jetpack-oci {command} nothing"));
    }
    scene.line("jetpack-oci exec nothing /bin/true").is("containers-faults");
}
