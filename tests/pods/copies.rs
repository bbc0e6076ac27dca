//! What `jetpack cp` copies, and where to.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

use serde_json::json;

use super::bed::Bed;

/// A pod that runs for as long as the test does, with these lines run first.
fn pod(bed: &Bed, name: &str, script: &str) {
    let script = format!("{script}\necho > /ready; while :; do sleep 1; done");
    bed.say(&["run", "-d", "--name", name, &bed.image(name, "base", json!({"exec": ["/bin/sh", "-c", script]}))]);
    bed.wait_for("the app", || bed.tell(&["exec", name, "ls", "/ready"]).0 == 0);
}

fn end(bed: &Bed, name: &str) {
    bed.say(&["stop", "--force", name]);
    bed.say(&["gc"]);
    bed.assert_nothing_left();
}

#[test]
fn what_is_in_a_directory_is_copied_where_a_dot_says_so() {
    let Some(bed) = Bed::new() else { return };
    pod(&bed, "dots", "mkdir -p /d/sub /in1 /in2 /in3 /in4; echo 2 > /d/two; echo 3 > /d/sub/three; ln -s two /d/link");
    let at = |name: &str| bed.path(name).to_str().unwrap().to_owned();
    for directory in ["src", "out1", "out2"] {
        fs::create_dir(bed.path(directory)).unwrap();
    }
    fs::write(bed.path("src/one"), "1\n").unwrap();
    let inside = |path: &str| bed.say(&["exec", "dots", "ls", path]);
    bed.say(&["cp", &at("src/."), "dots:/in1"]);
    assert_eq!(inside("/in1"), "one\n");
    let plain = bed.command(&["cp", ".", "dots:/in2"]).current_dir(bed.path("src")).status().unwrap();
    assert!(plain.success());
    assert_eq!(inside("/in2"), "one\n");
    bed.say(&["cp", &at("src"), "dots:/in3"]);
    assert_eq!(inside("/in3"), "src\n");
    bed.say(&["cp", &at("src/"), "dots:/in4/"]);
    assert_eq!(inside("/in4"), "src\n");
    // What is not there is made, with the content.
    bed.say(&["cp", &at("src"), "dots:/new"]);
    assert_eq!(inside("/new"), "one\n");
    bed.say(&["cp", "dots:/d/.", &at("out1")]);
    let mut names: Vec<_> = fs::read_dir(bed.path("out1")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["link", "sub", "two"]);
    assert_eq!(fs::read_to_string(bed.path("out1/sub/three")).unwrap(), "3\n");
    bed.say(&["cp", "dots:/d", &at("out2")]);
    assert_eq!(fs::read_link(bed.path("out2/d/link")).unwrap().to_str(), Some("two"));
    bed.say(&["cp", "-L", "dots:/d/link", &at("followed")]);
    assert_eq!(fs::read_to_string(bed.path("followed")).unwrap(), "2\n");
    end(&bed, "dots");
}

/// A directory that is copied into leaves the one that is there as it is, or nobody but root could go on in it.
#[test]
fn directories_that_are_there_keep_their_modes() {
    let Some(bed) = Bed::new() else { return };
    pod(&bed, "modes", "mkdir /d");
    let src = bed.path("src");
    fs::create_dir_all(src.join("d")).unwrap();
    for directory in [src.clone(), src.join("d")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let before = bed.say(&["exec", "modes", "ls", "-ld", "/d"]);
    bed.say(&["cp", &format!("{}/.", src.display()), "modes:/"]);
    assert_eq!(before.get(..10), bed.say(&["exec", "modes", "ls", "-ld", "/d"]).get(..10));
    end(&bed, "modes");
}

#[test]
fn a_copy_that_would_not_go_where_it_seems_to_is_refused() {
    let Some(bed) = Bed::new() else { return };
    pod(&bed, "refused", "mkdir -p /dir/sub; echo 1 > /dir/sub/kept; echo mine > /file");
    fs::create_dir_all(bed.path("tree/dir")).unwrap();
    fs::write(bed.path("tree/dir/sub"), "").unwrap();
    fs::write(bed.path("f"), "x").unwrap();
    let at = |name: &str| bed.path(name).to_str().unwrap().to_owned();
    for (from, to, code, words) in [
        (at("f"), "refused:/nodir/".to_owned(), 1, "failed to write to /nodir/: there is no such directory"),
        (at("f"), "refused:/file/".to_owned(), 1, "Not a directory"),
        (at("f/"), "refused:/dir".to_owned(), 1, "Not a directory"),
        ("refused:/file".to_owned(), at("none/"), 1, "there is no such directory"),
        ("refused:/file".to_owned(), "-".to_owned(), 2, "./-"),
        ("-".to_owned(), "refused:/file".to_owned(), 2, "./-"),
        ("refused:".to_owned(), at("f"), 2, "a path is missing behind the colon"),
        (at("tree"), "refused:/file".to_owned(), 1, "what is there is no directory, and a directory is copied"),
        (at("tree/."), "refused:/".to_owned(), 1, "dir/sub: a directory is there, and no directory is copied"),
    ] {
        let (got, out, err) = bed.tell(&["cp", &from, &to]);
        assert!(got == code && err.contains(words), "{from} {to}: {got} {out}{err}");
    }
    assert_eq!(bed.say(&["exec", "refused", "cat", "/file", "/dir/sub/kept"]), "mine\n1\n");
    assert!(!bed.path("none").exists());
    bed.say(&["cp", "--overwrite", &at("tree/."), "refused:/"]);
    assert_eq!(bed.say(&["exec", "refused", "ls", "/dir"]), "sub\n");
    assert!(bed.say(&["exec", "refused", "ls", "-l", "/dir/sub"]).starts_with('-'));
    // Nothing under another name is left.
    assert!(!bed.say(&["exec", "refused", "ls", "-a", "/", "/dir"]).contains(".jetpack-"));
    end(&bed, "refused");
}

#[test]
fn what_would_give_rights_on_the_host_or_do_something_there_stays_inside() {
    let Some(bed) = Bed::of_root() else { return };
    for program in ["mkfifo", "chmod"] {
        assert!(bed.add_program("base", program), "{program}");
    }
    pod(&bed, "special", "mkdir /d; mkfifo /d/fifo; echo x > /d/run; chmod 4755 /d/run");
    let at = |name: &str| bed.path(name).to_str().unwrap().to_owned();
    // What the host has in /dev comes in only when asked for.
    let (code, _, err) = bed.tell(&["cp", "/dev/null", "special:/d/null"]);
    assert!(code == 1 && err.contains("failed to copy /dev/null: it is a device node"), "{err}");
    bed.say(&["cp", "--special", "/dev/null", "special:/d/null"]);
    for name in ["null", "fifo"] {
        let (code, _, err) = bed.tell(&["cp", &format!("special:/d/{name}"), &at(name)]);
        assert!(code == 1 && err.contains("it is a"), "{err}");
        assert!(!bed.path(name).exists());
    }
    let (code, _, err) = bed.tell(&["cp", "special:/d", &at("d")]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("jetpack: d/null is passed over: it is a device node\n"), "{err}");
    assert!(err.contains("jetpack: d/fifo is passed over: it is a FIFO\n"), "{err}");
    assert_eq!(fs::read_dir(bed.path("d")).unwrap().count(), 1);
    assert_eq!(fs::metadata(bed.path("d/run")).unwrap().permissions().mode() & 0o7777, 0o755);
    bed.say(&["cp", "--special", "special:/d", &at("all")]);
    assert!(fs::metadata(bed.path("all/null")).unwrap().file_type().is_char_device());
    assert_eq!(fs::metadata(bed.path("all/run")).unwrap().permissions().mode() & 0o7777, 0o4755);
    end(&bed, "special");
}

/// A volume's source is on the host: what is copied there must not be found again in what is copied.
#[test]
fn a_directory_is_not_copied_into_itself() {
    let Some(bed) = Bed::new() else { return };
    let shared = bed.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("x"), "x").unwrap();
    let image = bed.script("itself", "echo > /ready; while :; do sleep 1; done");
    let volume = format!("v,source={}", shared.display());
    bed.say(&["run", "-d", "--name", "itself", "--volume", &volume, "--mount", "volume=v,target=/v", &image]);
    let (code, _, err) = bed.tell(&["cp", "itself:/v", shared.to_str().unwrap()]);
    assert!(code == 1 && err.contains("cannot be copied into itself"), "{code}: {err}");
    end(&bed, "itself");
}

#[test]
fn links_of_the_host_are_copied_as_links() {
    let Some(bed) = Bed::new() else { return };
    pod(&bed, "links", "true");
    fs::write(bed.path("file"), "x").unwrap();
    symlink("/nowhere/at/all", bed.path("link")).unwrap();
    bed.say(&["cp", bed.path("link").to_str().unwrap(), "links:/link"]);
    assert_eq!(bed.say(&["exec", "links", "readlink", "/link"]), "/nowhere/at/all\n");
    // A link that is in the way is replaced, not followed.
    bed.say(&["cp", bed.path("file").to_str().unwrap(), "links:/link"]);
    assert_eq!(bed.say(&["exec", "links", "cat", "/link"]), "x");
    end(&bed, "links");
}
