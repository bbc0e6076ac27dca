//! What `jetpack` does without a pod, command by command.

use super::scene;

#[test]
fn images_are_brought_in_shown_and_taken_out() {
    scene()
        .line("jetpack fetch web.aci")
        .line("jetpack fetch --json web.aci")
        .line("jetpack fetch ./layout")
        .line("jetpack images")
        .line("jetpack images --json")
        .line("jetpack images -q")
        .line("jetpack image list --json | head -n 3")
        .line("jetpack image list")
        .line("jetpack image show example.com/web")
        .line("jetpack image show example.com/web --json")
        .line("jetpack image inspect example.com/web | head -n 4")
        .line("jetpack image cat-manifest example.com/web | head -n 4")
        .line("jetpack image export example.com/web out.aci && cmp out.aci web.aci")
        .line("jetpack image extract example.com/web copy && ls copy")
        .line("jetpack image render example.com/web tree && ls tree")
        .line("jetpack image verify example.com/web")
        .line("jetpack image verify example.com/web --json")
        .line("jetpack push example.com/web ./site --prefix example.com --url https://example.com/images --unsigned")
        .line("jetpack push --json example.com/web ./site --unsigned")
        .line("jetpack image gc")
        .line("jetpack image gc --grace 0s --dry-run --json")
        .line("jetpack image gc --grace 0s --json | sed 's/\"bytes\": .*/\"bytes\": [N]/'")
        .line("jetpack fetch web.aci && jetpack image rm example.com/web")
        .line("jetpack images")
        .line("jetpack images --json")
        .is("jetpack-images");
}

#[test]
fn this_host_is_shown() {
    let mut scene = scene();
    scene.changing(r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]");
    scene
        .line("jetpack config")
        .line("jetpack config --json | head -n 7")
        .line("jetpack trust add --registry example.com")
        .line("jetpack trust list")
        .line("jetpack trust list --json")
        .line("jetpack trust remove --registry example.com")
        .line("jetpack trust list")
        .line("jetpack key export key.pem && jetpack key import key.pem")
        .line("jetpack list")
        .line("jetpack list --json")
        .line("jetpack gc")
        .line("jetpack gc --json")
        .line("jetpack init --host model:freebsd")
        .line("jetpack doctor | sed -n 's/kernel: .*/kernel: [RELEASE]/p'")
        .line("jetpack doctor --json | head -n 4")
        .line("timeout 1 jetpack metadata-service --listen 127.0.0.1:0 || true")
        .line("jetpack version")
        .line("jetpack version --json")
        .line("jetpack completions zsh | head -n 1")
        .line("jetpack man pages && ls pages | head -n 3")
        .is("jetpack-host");
}

#[test]
fn what_is_wrong_is_told() {
    let mut scene = scene();
    scene
        .line("jetpack")
        .line("jetpack ruin")
        .line("jetpack --config missing.toml list")
        .line("echo 'retrys = 3' >bad.toml; jetpack --config bad.toml list")
        .line("echo 'retries = -3' >bad.toml; jetpack --config bad.toml list")
        .line("jetpack --root bad.json list")
        .line("jetpack fetch")
        .line("jetpack fetch missing.aci")
        .line("jetpack fetch ./bad.json")
        .line("jetpack fetch example.com/Web")
        .line("jetpack fetch --pull always web.aci")
        .line("jetpack fetch --pull never example.com/web")
        .line("jetpack images --jsn")
        .line("jetpack image")
        .line("jetpack image list web");
    for command in ["show", "inspect", "cat-manifest", "verify", "rm"] {
        scene.line(&format!("jetpack image {command} example.com/web"));
    }
    for command in ["export", "extract", "render"] {
        scene.line(&format!("jetpack image {command} example.com/web out.aci"));
    }
    scene
        .line("jetpack image import bad.json")
        .line("jetpack image gc --grace soon")
        .line("jetpack push example.com/web site --prefix example.com --url https://example.com --unsigned")
        .line("jetpack trust add missing.asc --all-names")
        .line("jetpack trust add missing.asc")
        .line("jetpack trust remove 0123 --all-names")
        .line("jetpack trust list --josn")
        .line("jetpack key export bad.json/key.pem")
        .line("jetpack key import bad.json")
        .line("jetpack config --yaml")
        .line("jetpack doctor now")
        .line("jetpack init --host plan9")
        .line("jetpack gc --grace -5s")
        .line("jetpack version 2")
        .line("jetpack completions tcsh")
        .line("jetpack man bad.json/pages")
        .line("jetpack metadata-service")
        .line("jetpack metadata-service --listen nowhere")
        .is("jetpack-faults");
}

#[test]
fn what_is_wrong_with_pods_is_told() {
    let mut scene = scene();
    scene
        .line("jetpack run")
        .line("jetpack run missing.aci")
        .line("jetpack run ./bad.json")
        .line("jetpack run --pod-manifest missing.json")
        .line("echo '{\"acKind\": \"PodManifest\", \"acVersion\": \"0.8.11\", \"apps\": []}' >pod.json; jetpack run --pod-manifest pod.json")
        .line("sed -i s/PodManifest/ImageManifest/ pod.json; jetpack run --pod-manifest pod.json")
        .line("jetpack run --memory lots web.aci")
        .line("jetpack run --volume data,kind=tape web.aci")
        .line("jetpack prepare missing.aci")
        .line("jetpack plan missing.aci")
        .line("jetpack plan --json")
        .line("jetpack build missing.aci -- /bin/true")
        .line("jetpack build web.aci")
        .line("jetpack list --filter colour=red");
    for command in [
        "attach",
        "cat-manifest",
        "diff",
        "exec",
        "inspect",
        "kill",
        "logs",
        "pause",
        "ps",
        "resume",
        "rm",
        "run-prepared",
    ] {
        scene.line(&format!("jetpack {command} nothing"));
    }
    for command in ["start", "status", "stop", "top", "wait", "events"] {
        scene.line(&format!("jetpack {command} nothing"));
    }
    scene
        .line("jetpack commit nothing")
        .line("jetpack cp nothing:/etc/motd motd")
        .line("jetpack cp motd other")
        .line("jetpack export nothing out.aci")
        .line("jetpack rename nothing something")
        .is("jetpack-pods-faults");
}
