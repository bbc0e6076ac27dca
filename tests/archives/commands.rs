//! `actool`'s archive commands: what they print, write and refuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::fixtures::{Head, MANIFEST, Tar};
use crate::support::gpg::Gpg;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("layout/rootfs/bin")).unwrap();
        fs::write(place.path().join("layout/manifest"), MANIFEST).unwrap();
        fs::write(place.path().join("layout/rootfs/bin/sh"), "shell").unwrap();
        Self(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn actool(&self, arguments: &[&str]) -> Output {
        let actool = Path::new(env!("CARGO_BIN_EXE_actool"));
        Command::new(actool).args(arguments).current_dir(self.0.path()).env("SOURCE_DATE_EPOCH", "1").output().unwrap()
    }

    /// Standard output of a command that must succeed.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.actool(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must fail with code 1.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.actool(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn what_is_no_image_is_named() {
    let place = Place::new();
    place.said(&["build", "layout", "good.aci"]);
    place.write("bad.aci", "no archive");
    for command in [
        &["id", "bad.aci"][..],
        &["ls", "bad.aci"],
        &["cat-manifest", "bad.aci"],
        &["extract", "bad.aci", "into"],
        &["diff", "bad.aci", "good.aci"],
        &["diff", "good.aci", "bad.aci"],
    ] {
        let said = place.refused(command);
        assert!(said.contains("bad.aci") && !said.contains("good.aci"), "{command:?}: {said}");
    }
}

#[test]
fn a_key_that_is_nearly_right_is_told_when_it_is_built_in() {
    let place = Place::new();
    let manifest = String::from_utf8(MANIFEST.to_vec()).unwrap();
    place.write("layout/manifest", manifest.replacen('{', r#"{"labeles": [], "#, 1));
    let output = place.actool(&["build", "layout", "image.aci"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("`labeles` is not known"), "{said}");
}

#[test]
fn build_prints_the_id_that_id_prints() {
    let place = Place::new();
    let built = place.said(&["build", "layout", "image.aci"]);
    assert!(built.starts_with("sha512-") && built.len() == 7 + 128 + 1, "{built}");
    assert_eq!(place.said(&["id", "image.aci"]), built);
    assert_eq!(place.said(&["build", "--compression", "none", "layout", "plain.aci"]), built);
    assert_eq!(place.said(&["cat-manifest", "image.aci"]).as_bytes(), MANIFEST);
    assert!(place.refused(&["build", "layout", "image.aci"]).contains("there already"));
    assert_eq!(place.said(&["build", "--overwrite", "layout", "image.aci"]), built);
}

#[test]
fn build_takes_another_manifest_and_refuses_one_that_is_wrong() {
    let place = Place::new();
    place.write("other", br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/other"}"#);
    place.said(&["build", "--manifest", "other", "layout", "image.aci"]);
    assert!(place.said(&["cat-manifest", "image.aci"]).contains("example.com/other"));
    place.write("wrong", br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"Not A Name"}"#);
    let said = place.refused(&["build", "--manifest", "wrong", "layout", "wrong.aci"]);
    assert!(said.contains("error["), "{said}");
    assert!(!place.path("wrong.aci").exists());
    place.write("layout/stray", "");
    assert!(place.refused(&["build", "layout", "stray.aci"]).contains("aci.toplevel.noextra"));
}

#[test]
fn extract_makes_a_layout_and_never_over_something() {
    let place = Place::new();
    place.said(&["build", "layout", "image.aci"]);
    place.said(&["extract", "image.aci", "out"]);
    assert_eq!(fs::read(place.path("out/rootfs/bin/sh")).unwrap(), b"shell");
    assert_eq!(fs::read(place.path("out/manifest")).unwrap(), MANIFEST);
    assert!(place.refused(&["extract", "image.aci", "out"]).contains("there already"));
    fs::create_dir(place.path("empty")).unwrap();
    assert!(place.refused(&["extract", "image.aci", "empty"]).contains("there already"));
    assert!(place.refused(&["extract", "--max-size", "4k", "image.aci", "small"]).contains("x.aci.limits"));
    assert!(!place.path("small").exists());
    assert_eq!(place.actool(&["extract", "--max-size", "many", "image.aci", "x"]).status.code(), Some(2));
}

#[test]
fn a_broken_archive_is_told_by_entry_and_clause() {
    let place = Place::new();
    place.write("evil.aci", Tar::image().file("rootfs/../evil", b"x").end());
    for arguments in [&["id", "evil.aci"][..], &["cat-manifest", "evil.aci"], &["extract", "evil.aci", "out"]] {
        let said = place.refused(arguments);
        assert!(said.contains("rootfs/../evil") && said.contains("[x.aci.entry-name]"), "{said}");
    }
    for missing in [&["id", "none.aci"][..], &["id", "layout"], &["extract", "none.aci", "out"]] {
        assert!(place.refused(missing).starts_with("actool: failed to open "), "{missing:?}");
    }
}

#[test]
fn ls_lists_what_is_there_and_escapes_what_would_move_the_cursor() {
    let place = Place::new();
    let image = Tar::image()
        .file("rootfs/\u{1b}[2J", b"")
        .entry(Head::new(b'0', "rootfs/su").mode(0o4755), b"four")
        .symlink("rootfs/l", "su")
        .link("rootfs/h", "rootfs/su")
        .entry(Head::new(b'3', "rootfs/null").mode(0o666), b"");
    place.write("image.aci", image.end());
    let names = place.said(&["ls", "image.aci"]);
    assert_eq!(names, "manifest\nrootfs\nrootfs/\\u{1b}[2J\nrootfs/su\nrootfs/l\nrootfs/h\nrootfs/null\n");
    let long = place.said(&["ls", "-l", "image.aci"]);
    let lines: Vec<String> = long.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[3], "-rwsr-xr-x 0/0 4 2014-05-13T16:53:20Z rootfs/su");
    assert_eq!(lines[4], "lrw-r--r-- 0/0 0 2014-05-13T16:53:20Z rootfs/l -> su");
    assert_eq!(lines[5], "hrw-r--r-- 0/0 0 2014-05-13T16:53:20Z rootfs/h link to rootfs/su");
    assert_eq!(lines[6], "crw-rw-rw- 0/0 1,3 2014-05-13T16:53:20Z rootfs/null");
}

#[test]
fn diff_tells_entries_and_values_that_differ() {
    let place = Place::new();
    let other = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/other"}"#;
    place.write("a.aci", Tar::image().file("rootfs/same", b"s").file("rootfs/x", b"1").file("rootfs/old", b"").end());
    let changed = Tar::default().file("manifest", other).dir("rootfs").file("rootfs/new", b"");
    let changed = changed.entry(Head::new(b'0', "rootfs/x").mode(0o600), b"2").file("rootfs/same", b"s");
    place.write("b.aci", changed.end());
    let output = place.actool(&["diff", "a.aci", "b.aci"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "~ manifest /name: \"example.com/fixture\" -> \"example.com/other\"\n+ rootfs/new\n- rootfs/old\n~ rootfs/x: mode, content\n"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&place.actool(&["diff", "--json", "a.aci", "b.aci"]).stdout).unwrap();
    assert_eq!(
        json["entries"][2],
        serde_json::json!({"name": "rootfs/x", "change": "changed", "fields": ["mode", "content"]})
    );
    assert_eq!(place.said(&["diff", "a.aci", "a.aci"]), "");
}

#[test]
fn what_sign_signs_verify_verifies_and_nothing_else() {
    let Some(gpg) = Gpg::new() else { return };
    let place = Place::new();
    place.said(&["build", "layout", "image.aci"]);
    let fingerprint = gpg.key("alice@example.com", "ed25519", "never");
    place.write("secret", gpg.run(&["--armor", "--export-secret-keys", "alice@example.com"]));
    place.write("public", gpg.public("alice@example.com"));
    gpg.key("mallory@example.com", "rsa2048", "never");
    place.write("others", gpg.public("mallory@example.com"));
    place.said(&["sign", "--key", "secret", "image.aci"]);
    let signature = fs::read_to_string(place.path("image.aci.asc")).unwrap();
    assert!(signature.starts_with("-----BEGIN PGP SIGNATURE-----"));
    assert_eq!(place.said(&["verify", "--keyring", "public", "image.aci"]).trim(), fingerprint);
    assert_eq!(place.said(&["verify", "--keyring", "public", "image.aci", "image.aci.asc"]).trim(), fingerprint);
    let said = place.refused(&["verify", "--keyring", "others", "image.aci"]);
    assert!(
        said.contains(&format!("[disc.sigpolicy]: made by key {fingerprint}, which is not in the keyring")),
        "{said}"
    );
    assert!(place.refused(&["sign", "--key", "secret", "image.aci"]).contains("there already"));
    place.said(&["sign", "--overwrite", "--key", "secret", "image.aci"]);
    let mut bytes = fs::read(place.path("image.aci")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    place.write("image.aci", bytes);
    let said = place.refused(&["verify", "--keyring", "public", "image.aci"]);
    assert!(said.contains("[disc.sigpolicy]: it is not over these bytes: data or signature were changed"), "{said}");
    // Nothing of the key stays, and no agent.
    assert_eq!(super::world::names(place.0.path()).len(), 6);
}

/// Whoever ignores the ends of children hands that down.
#[test]
fn the_end_of_gpg_is_heard_whoever_starts_sign() {
    let place = Place::new();
    place.said(&["build", "layout", "image.aci"]);
    place.write("gpg", "#!/bin/sh\necho no key >&2\nexit 2\n");
    fs::set_permissions(place.path("gpg"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut deaf = Command::new("sh");
    deaf.args(["-c", r#"trap "" CHLD; PATH=. exec "$@""#, "sh", env!("CARGO_BIN_EXE_actool"), "sign", "image.aci"]);
    let output = deaf.current_dir(place.0.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("sign image.aci: no key")), (Some(1), true), "{said}");
}
