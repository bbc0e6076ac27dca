//! `actool patch-manifest`: what is asked for changes, nothing else does.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn actool(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_actool")).args(args).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An image with a manifest that has keys nobody knows, and a file with odd times.
fn image(directory: &Path) -> std::path::PathBuf {
    let layout = directory.join("layout");
    fs::create_dir_all(layout.join("rootfs/bin")).unwrap();
    let file = fs::File::create(layout.join("rootfs/bin/app")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_400_000_000, 123_456_789)).unwrap();
    fs::write(layout.join(format!("rootfs/{}", "long-name-".repeat(15))), "x").unwrap();
    let manifest = json!({
        "zeta": {"b": 1, "a": 2},
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a",
        "labels": [{"name": "os", "value": "linux"}],
        "app": {"user": "0", "group": "0", "exec": ["/bin/app"],
            "isolators": [{"name": "os/linux/capabilities-remove-set", "value": {"set": ["CAP_KILL"]}}]},
    });
    fs::write(layout.join("manifest"), manifest.to_string()).unwrap();
    let out = directory.join("a.aci");
    let built = actool(&["build", "--no-compression", text(&layout), text(&out)]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    out
}

fn manifest(image: &Path) -> Value {
    let shown = actool(&["cat-manifest", text(image)]);
    assert!(shown.status.success());
    serde_json::from_slice(&shown.stdout).unwrap()
}

#[test]
fn changes_are_made_and_the_rest_of_the_archive_stays_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let from = image(directory.path());
    let to = directory.path().join("b.aci");
    let done = actool(&[
        "patch-manifest",
        "--no-compression",
        "--name",
        "example.com/b",
        "--exec",
        "/bin/app --debug",
        "--user",
        "7",
        "--label",
        "arch=amd64",
        "--annotation",
        "authors=me",
        "--environment",
        "A=b=c",
        "--path-whitelist",
        "/bin/app",
        "--dependency",
        "example.com/base,size=5,label.os=linux",
        "--mounts",
        "work,path=/opt,readOnly=true",
        "--ports",
        "http,protocol=tcp,port=80:dns,protocol=udp,port=53,count=2",
        "--capability",
        "CAP_CHOWN",
        "--isolators",
        "resource/cpu,limit=1:os/linux/no-new-privileges,true",
        "--supplementary-groups",
        "4,5",
        "--seccomp-mode",
        "retain,errno=EPERM",
        "--seccomp-set",
        "read,write",
        text(&from),
        text(&to),
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let patched = manifest(&to);
    assert_eq!(patched["name"], "example.com/b");
    assert_eq!(patched["zeta"].to_string(), r#"{"b":1,"a":2}"#);
    assert_eq!(patched.as_object().unwrap().keys().next().unwrap(), "zeta");
    assert_eq!(patched["app"]["exec"], json!(["/bin/app", "--debug"]));
    assert_eq!(patched["app"]["environment"], json!([{"name": "A", "value": "b=c"}]));
    assert_eq!(patched["app"]["ports"][1]["count"], 2);
    assert_eq!(patched["dependencies"][0]["labels"], json!([{"name": "os", "value": "linux"}]));
    let names: Vec<&str> =
        patched["app"]["isolators"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "resource/cpu",
            "os/linux/no-new-privileges",
            "os/linux/capabilities-retain-set",
            "os/linux/seccomp-retain-set"
        ]
    );

    // Behind the manifest, which stands first, the archives are the same.
    let rest = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let at = bytes.windows(7).position(|window| window == b"rootfs\0" || window == b"rootfs/").unwrap();
        bytes[at..].to_vec()
    };
    assert!(rest(&from) == rest(&to));
    assert!(actool(&["validate", text(&to)]).status.success());
    let id = String::from_utf8(done.stdout).unwrap();
    assert_eq!(String::from_utf8(actool(&["id", text(&to)]).stdout).unwrap(), id);
}

#[test]
fn replacing_is_in_place_and_keeps_mode_and_compression() {
    let directory = tempfile::tempdir().unwrap();
    let from = image(directory.path());
    fs::set_permissions(&from, PermissionsExt::from_mode(0o640)).unwrap();
    let done = actool(&[
        "patch-manifest",
        "--replace",
        "--remove-label",
        "os",
        "--remove-isolator",
        "os/linux/capabilities-remove-set",
        text(&from),
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fs::metadata(&from).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(manifest(&from).get("labels"), None);
    assert_eq!(manifest(&from)["app"].get("isolators"), None);
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn what_makes_no_valid_image_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let from = image(directory.path());
    let before = fs::read(&from).unwrap();
    let to = directory.path().join("b.aci");
    for (args, code, why) in [
        (vec!["--name", "Bad Name", text(&from), text(&to)], 1, "error[types.acidentifier.charset]: manifest:1:"),
        (
            vec!["--remove-label", "nothing", text(&from), text(&to)],
            1,
            "failed to remove `nothing` from `labels`: it is not there",
        ),
        (vec!["--name", "example.com/b", text(&from), text(&from)], 2, "input and output are the same file"),
        (vec!["--label", "novalue", text(&from), text(&to)], 2, "--label: `novalue` is not NAME=VALUE"),
        (vec!["--seccomp-mode", "retain", text(&from), text(&to)], 2, "--seccomp-set <CALLS>"),
        (
            vec!["--capability", "CAP_KILL", "--revoke-capability", "CAP_KILL", text(&from), text(&to)],
            2,
            "'--capability <CAPS>' cannot be used with '--revoke-capability <CAPS>'",
        ),
        (vec!["--name", "example.com/b", text(&from)], 2, "<OUTPUT.aci>"),
        (
            vec!["--name", "example.com/b", text(&from), "/nonexistent/b.aci"],
            1,
            "failed to write /nonexistent/b.aci: No such file or directory",
        ),
    ] {
        let done = actool(&[vec!["patch-manifest"], args.clone()].concat());
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(code) && told.contains(why), "{args:?}: {told}");
        assert!(!to.exists());
    }
    assert!(fs::read(&from).unwrap() == before);
    fs::write(&to, "mine").unwrap();
    let done = actool(&["patch-manifest", "--name", "example.com/b", text(&from), text(&to)]);
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(fs::read(&to).unwrap(), b"mine");
}

/// One entry, before it a PAX header of `records`.
fn entry(archive: &mut tar::Builder<Vec<u8>>, name: &str, size_field: u64, content: &[u8], records: &[(&str, &[u8])]) {
    archive.append_pax_extensions(records.iter().copied()).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_mode(if name == "rootfs" { 0o755 } else { 0o4755 });
    header.set_entry_type(if name == "rootfs" { tar::EntryType::Directory } else { tar::EntryType::Regular });
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size_field);
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

#[test]
fn attributes_times_and_sizes_that_stand_in_extended_headers_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("a.aci"), directory.path().join("b.aci"));
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a"}).to_string();
    let mut archive = tar::Builder::new(Vec::new());
    let size = manifest.len().to_string();
    // The size in the manifest's own header is of no meaning beside the record.
    entry(&mut archive, "manifest", 0, manifest.as_bytes(), &[("size", size.as_bytes()), ("mtime", b"1400000000.75")]);
    entry(&mut archive, "rootfs", 0, b"", &[("mtime", b"1400000000.000000001")]);
    let records: &[(&str, &[u8])] = &[
        ("mtime", b"1400000000.123456789"),
        ("SCHILY.xattr.user.note", b"a\0b"),
        ("SCHILY.xattr.security.capability", b"\x01"),
    ];
    entry(&mut archive, "rootfs/ping", 5, b"hello", records);
    let bytes = archive.into_inner().unwrap();
    // The builder trusts the size field, so the manifest's content stands where none was announced: put it in its blocks.
    fs::write(&from, padded(&bytes, manifest.as_bytes())).unwrap();
    assert!(actool(&["validate", text(&from)]).status.success());

    let done =
        actool(&["patch-manifest", "--no-compression", "--name", "example.com/longer-name", text(&from), text(&to)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(self::manifest(&to)["name"], "example.com/longer-name");
    let rest = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let at = bytes.windows(20).position(|window| window == b"1400000000.000000001").unwrap();
        bytes[at..].to_vec()
    };
    assert!(rest(&from) == rest(&to));
    assert!(actool(&["validate", text(&to)]).status.success());
}

/// `archive` with the content behind the manifest's header filled up to whole blocks.
fn padded(archive: &[u8], content: &[u8]) -> Vec<u8> {
    let at = archive.windows(content.len()).position(|window| window == content).unwrap();
    let (head, rest) = archive.split_at(at);
    let mut bytes = [head, content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    let rest = &rest[content.len()..];
    // What the builder put behind it to fill its block.
    let zeros = (512 - (at + content.len()) % 512) % 512;
    bytes.extend(if rest[..zeros.min(rest.len())].iter().all(|byte| *byte == 0) { &rest[zeros..] } else { rest });
    bytes
}
