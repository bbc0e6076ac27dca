//! What cannot be run is told, with its clause, by the tool's own exit codes, and nothing is left.

use serde_json::json;

use super::bed::Bed;

#[test]
fn an_image_that_cannot_be_run_is_refused_with_a_clause() {
    let Some(bed) = Bed::new() else { return };
    let app = |more: serde_json::Value| {
        let mut app = json!({"exec": ["/bin/true"]});
        app.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app
    };
    let cases = [
        ("noapp", json!(null), 125, "pm.apps.app"),
        ("noexec", json!({}), 125, "im.app.exec.type"),
        ("missing", json!({"exec": ["/nope"]}), 127, "im.app.exec.slash"),
        ("unknown", json!({"exec": ["nope"]}), 127, "im.app.exec.path-search"),
        ("plain", json!({"exec": ["/etc/passwd"]}), 126, "im.app.exec.slash"),
        ("user", app(json!({"user": "zork"})), 125, "im.app.user.required"),
        ("group", app(json!({"group": "zork"})), 125, "im.app.group.required"),
        ("directory", app(json!({"workingDirectory": "/missing"})), 125, "im.app.workdir.missing"),
        ("mount", app(json!({"mountPoints": [{"name": "v", "path": "/v"}]})), 125, "pod.reified.mounts"),
    ];
    for (name, app, code, clause) in cases {
        let image = bed.image(name, "base", app);
        for line in [&["run", &image][..], &["run", "-d", &image]] {
            let (got, out, err) = bed.tell(line);
            assert_eq!((got, out.as_str()), (code, ""), "{name}: {err}");
            assert!(err.contains(clause), "{name}: {err}");
        }
        bed.say(&["gc"]);
    }
    bed.assert_nothing_left();
}

#[test]
fn strictly_what_is_not_enforced_is_refused_before_anything_is_made() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("strict", "echo ran");
    let isolator = "example.com/novel=true";
    let (code, out, err) = bed.tell(&["run", "--strict", "--isolator", isolator, &image]);
    assert_eq!((code, out.as_str()), (125, ""));
    assert!(err.contains("iso.unknown.ignore"), "{err}");
    bed.assert_nothing_left();
    let (code, out, err) = bed.tell(&["run", "--rm", "--isolator", isolator, &image]);
    assert_eq!((code, out.as_str()), (0, "ran\n"));
    assert!(err.contains("example.com/novel ignored"), "{err}");
    bed.assert_nothing_left();
}

/// 1 and 2 could be an app's own exit status.
#[test]
fn a_command_line_that_cannot_be_understood_has_the_tools_own_exit_code() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("usage", "true");
    for line in [&["run"][..], &["run", "--no-such-option", &image], &["run", "--memory", "lots", &image], &["exec"]] {
        assert_eq!(bed.tell(line).0, 125, "{line:?}");
    }
    // What is said of an image has no image to be said of.
    for said in [&["--user", "1"][..], &["--readonly-rootfs"], &["--memory", "1M"], &["--", "-c", "exit 3"]] {
        let (code, _, err) = bed.tell(&[&["run", "--pod-manifest", "/dev/null"], said].concat());
        assert_eq!(code, 125, "{said:?}");
        assert!(err.contains("cannot be used with"), "{said:?}: {err}");
    }
    assert_eq!(bed.tell(&["run", "--help"]).0, 0);
    assert_eq!(bed.tell(&["list", "run", "--no-such-option"]).0, 2);
    assert_eq!(bed.tell(&["run", "--label", "os=plan9", &image]).0, 125);
    bed.assert_nothing_left();
}

#[test]
fn options_that_contradict_each_other_or_say_nothing_are_refused() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("contrary", "echo ran");
    let environment = bed.path("environment");
    std::fs::write(&environment, "GOOD=1\n\n# of old\nnot a name=1\n").unwrap();
    let environment = environment.to_str().unwrap();
    let retain = r#"os/linux/capabilities-retain-set={"set":["CAP_CHOWN"]}"#;
    let remove = r#"os/linux/capabilities-remove-set={"set":["CAP_CHOWN"]}"#;
    let cases: [(&[&str], &str); 12] = [
        (&["--env-file", environment], "environment:4: `not a name`"),
        (&["--exec", ""], "it is empty"),
        (&["--readonly-rootfs=maybe"], "neither true nor false"),
        (&["--caps-retain", "chown", "--caps-remove", "kill"], "cannot be used with --caps-retain"),
        (&["--isolator", retain, "--isolator", remove], "[iso.caps.exclusive]"),
        (&["--seccomp", "mode=retain,read", "--seccomp", "mode=remove,read"], "cannot be used together"),
        (&["--annotation", "a=b", "--annotation", "a=c"], "given twice"),
        (&["--pod-annotation", "a=b", "--pod-annotation", "a=c"], "given twice"),
        (&["--volume", "v", "--volume", "v,kind=empty"], "given twice"),
        (&["--volume", "v,kind=empty,source=/tmp"], "an empty volume has no source"),
        (&["--volume", "v,source=a/../b"], "goes up with `..`"),
        (&["--port", "http=1.2.3:80"], "`1.2.3` is not an IPv4 address"),
    ];
    for (options, told) in cases {
        let (code, out, err) = bed.tell(&[&["run"], options, &[image.as_str()]].concat());
        assert_eq!((code, out.as_str()), (125, ""), "{options:?}: {err}");
        assert!(err.contains(told), "{options:?}: {err}");
    }
    let (code, out, err) = bed.tell(&["run", "--rm", "--volume", "v,source=/tmp,mode=0700", &image]);
    assert_eq!((code, out.as_str()), (0, "ran\n"), "{err}");
    assert!(err.contains("`mode` means nothing"), "{err}");
    bed.assert_nothing_left();
}

#[test]
fn planning_touches_nothing() {
    let Some(bed) = Bed::new() else { return };
    let image = bed.script("planned", "echo ran");
    let text = bed.say(&["plan", "--executor", "linux", &image]);
    assert!(text.contains("make the pod's namespaces") && text.contains("[pod.ns.pid]"), "{text}");
    bed.assert_nothing_left();
}
