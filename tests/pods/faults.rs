//! Whatever goes wrong, whenever it does, nothing is left.

use serde_json::Value;

use crate::bed::Bed;

/// How many steps a pod of `image` is made by.
fn steps(bed: &Bed, arguments: &[&str]) -> usize {
    let plan: Value = serde_json::from_str(&bed.say(arguments)).unwrap();
    plan["steps"].as_array().unwrap().len()
}

#[test]
fn a_step_that_fails_leaves_nothing_behind() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("fails", "echo never");
    for step in 0..steps(&bed, &["plan", "--json", "--memory", "64M", &image]) {
        let (code, out, err) =
            bed.tell(&["run", "--rm", "--memory", "64M", "--inject", &format!("fail:{step}"), &image]);
        assert_eq!((code, out.as_str()), (125, ""), "step {step}: {err}");
        assert!(err.contains("a fault was injected here"), "{err}");
        assert_eq!(bed.say(&["list"]), "", "step {step}");
    }
    bed.assert_nothing_left();
}

#[test]
fn what_a_killed_supervisor_leaves_is_collected() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("killed", "echo never");
    for step in 0..steps(&bed, &["plan", "--json", "--memory", "64M", &image]) {
        let (code, out, _) = bed.tell(&["run", "--memory", "64M", "--inject", &format!("kill:{step}"), &image]);
        assert_eq!((code, out.as_str()), (-1, ""), "step {step}");
        bed.say(&["gc"]);
        assert_eq!(bed.say(&["list"]), "", "step {step}");
    }
    bed.assert_nothing_left();
}

#[test]
fn a_pod_ends_with_its_supervisor() {
    let Some(bed) = Bed::new() else { return };
    bed.say(&["run", "-d", "--name", "orphan", "--memory", "64M", &bed.script("orphan", "while :; do sleep 1; done")]);
    let status = bed.status("orphan");
    let supervisor = i32::try_from(status["pid"].as_i64().unwrap()).unwrap();
    let app = status["apps"][0]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(supervisor).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    bed.wait_for("the app's end", || !std::path::Path::new(&format!("/proc/{app}")).exists());
    bed.wait_for("the pod's end", || bed.status("orphan")["state"] == "exited");
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}
