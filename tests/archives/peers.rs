//! Other people's tar programs: what they write is read, what is written they read, and names mean the same.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use appc::aci::{self, BuildOptions, Compression, Data, Entry, Findings, ReadOptions, Sink};
use appc_needs::{Need, skip};
use proptest::prelude::*;

use super::fixtures::{Head, Tar, harmless, record};

#[derive(Default)]
struct Names(Vec<String>);

impl Sink for Names {
    fn entry(&mut self, entry: &Entry, _: &mut Data<'_, '_>) -> aci::Result<()> {
        self.0.push(entry.display_name());
        Ok(())
    }
}

/// Names as our reader sees them, where it finds nothing wrong.
fn ours(bytes: &[u8]) -> Option<Vec<String>> {
    let mut names = Names::default();
    let options = ReadOptions { findings: Findings::Fail, ..ReadOptions::default() };
    aci::read(bytes, &options, &mut names).ok().map(|_| names.0)
}

/// Names as GNU tar sees them, tidied as ours are, where it does not complain.
fn theirs(bytes: &[u8], at: &Path) -> Option<Vec<String>> {
    fs::write(at, bytes).unwrap();
    let output =
        Command::new("tar").args(["--quoting-style=literal", "-tPf"]).arg(at).stderr(Stdio::piped()).output().ok()?;
    if !output.status.success() || !output.stderr.is_empty() {
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    let tidy = |name: &str| {
        let parts: Vec<_> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
    };
    Some(text.lines().map(tidy).collect())
}

fn gnu_tar() -> bool {
    let there =
        Command::new("tar").arg("--version").output().is_ok_and(|output| output.stdout.starts_with(b"tar (GNU"));
    if !there {
        skip(Need::GnuTar, "there is no GNU tar");
    }
    there
}

#[test]
fn gnu_tar_sees_the_names_that_we_see() {
    if !gnu_tar() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for (name, bytes) in harmless("/outside") {
        if let (Some(ours), Some(theirs)) = (ours(&bytes), theirs(&bytes, &place.path().join("x"))) {
            assert_eq!(ours, theirs, "{name}");
            compared += 1;
        }
    }
    assert!(compared > 8, "only {compared} could be compared");
}

fn mutations() -> impl Strategy<Value = Vec<u8>> {
    let long = format!("rootfs/{}", "n".repeat(180));
    let base = Tar::image()
        .dir("rootfs/a")
        .file("rootfs/a/b", &[1; 700])
        .link("rootfs/a/c", "rootfs/a/b")
        .pax([("path", long.as_bytes()), ("mtime", b"1.5")])
        .file("rootfs/n", b"x")
        .entry(super::fixtures::Head::new(b'L', "././@LongLink"), &[b"rootfs/", &[b'g'; 150][..], b"\0"].concat())
        .file("rootfs/g", b"y")
        .entry(super::fixtures::Head::new(b'g', "g"), &record("comment", b"hello"))
        .pax([("size", &b"600"[..])])
        .entry(super::fixtures::Head::new(b'0', "rootfs/s").size("00000000000"), &[2; 600])
        .symlink("rootfs/l", "a/b")
        .end();
    let length = base.len();
    let digit =
        prop_oneof![Just(b'0'), Just(b'1'), Just(b'5'), Just(b'x'), Just(b'/'), Just(b'.'), Just(0u8), any::<u8>()];
    proptest::collection::vec((0..length, digit), 0..4).prop_map(move |changes| {
        let mut bytes = base.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
            // Most changes would fall to the checksum alone: make it right again where it was a header's.
            let block = at / 512 * 512;
            if bytes[block + 257..block + 262] == *b"ustar" {
                bytes[block + 148..block + 156].fill(b' ');
                let sum: u32 = bytes[block..block + 512].iter().map(|&byte| u32::from(byte)).sum();
                bytes[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn where_both_accept_a_bent_archive_both_see_the_same(bytes in mutations()) {
        if gnu_tar() {
            let place = tempfile::tempdir().unwrap();
            if let (Some(ours), Some(theirs)) = (ours(&bytes), theirs(&bytes, &place.path().join("x")))
                && ours.iter().all(|name| name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\'))
            {
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in mutations(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(bytes.len());
        let checked = aci::validate::image(&bytes[..cut], &ReadOptions::default()).unwrap();
        prop_assert!(!checked.diagnostics.is_empty());
    }
}

#[test]
fn what_gnu_tar_writes_is_read_in_all_its_formats() {
    if !gnu_tar() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let from = place.path();
    fs::create_dir_all(from.join("rootfs").join("d".repeat(120))).unwrap();
    fs::write(from.join("manifest"), super::fixtures::MANIFEST).unwrap();
    fs::write(from.join("rootfs").join("d".repeat(120)).join("f".repeat(150)), "long").unwrap();
    let sparse = fs::File::create(from.join("rootfs/sparse")).unwrap();
    for block in [1u64, 30, 60, 90, 120, 150, 180] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", block << 16).unwrap();
    }
    sparse.set_len(20 << 20).unwrap();
    for arguments in [
        &["--format=gnu"][..],
        &["--format=gnu", "--sparse"],
        &["--format=pax"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
    ] {
        let output = Command::new("tar")
            .args(arguments)
            .args(["-cf", "-", "-C"])
            .arg(from)
            .args(["manifest", "rootfs"])
            .output()
            .unwrap();
        let into = from.join("image");
        aci::extract(&output.stdout[..], &into, &aci::ExtractOptions { sync: false, ..Default::default() })
            .unwrap_or_else(|error| panic!("{arguments:?}: {error:?}"));
        assert!(
            fs::read(into.join("rootfs/sparse")).unwrap() == fs::read(from.join("rootfs/sparse")).unwrap(),
            "{arguments:?}"
        );
        let long = into.join("rootfs").join("d".repeat(120)).join("f".repeat(150));
        assert_eq!(fs::read(long).unwrap(), b"long", "{arguments:?}");
        fs::remove_dir_all(into).unwrap();
    }
}

#[test]
fn what_has_no_content_is_followed_by_the_next_header() {
    struct Names(Vec<String>);
    impl Sink for Names {
        fn entry(&mut self, entry: &Entry, _: &mut Data<'_, '_>) -> aci::Result<()> {
            self.0.push(format!("{} {}", entry.display_name(), entry.size));
            Ok(())
        }
    }
    // GNU tar and Python extract them all so; GNU tar's list alone takes some of their sizes for content.
    for flag in b'1'..=b'6' {
        let head = Head::new(flag, "rootfs/odd").to("rootfs/a").size("00000000005");
        let bytes = Tar::image().file("rootfs/a", b"hello").entry(head, b"").file("rootfs/z", b"end").end();
        let mut names = Names(Vec::new());
        let read = aci::read(&bytes[..], &ReadOptions::default(), &mut names).unwrap();
        assert_eq!(names.0[2..], ["rootfs/a 5", "rootfs/odd 0", "rootfs/z 3"]);
        assert!(read.diagnostics.iter().any(|found| found.clause == "x.aci.entry-size"), "{:?}", read.diagnostics);
    }
}

#[test]
fn attributes_are_read_in_whose_form_they_are() {
    #[derive(Default)]
    struct Attributes(Vec<(Vec<u8>, Vec<u8>)>);
    impl Sink for Attributes {
        fn entry(&mut self, entry: &Entry, _: &mut Data<'_, '_>) -> aci::Result<()> {
            self.0.extend(entry.xattrs.clone());
            Ok(())
        }
    }
    let bytes = Tar::image()
        .pax([
            ("LIBARCHIVE.xattr.user.both", &b"b2xk"[..]),
            ("SCHILY.xattr.user.both", b"new"),
            ("LIBARCHIVE.xattr.user.one%3D", b"AAE"),
            ("SCHILY.xattr.user.a%3Db%25", b"c"),
            ("SCHILY.acl.default", b"user::rwx,group::r-x,other::---"),
            ("SCHILY.acl.access", b"user:nobody:rwx"),
            ("RHT.security.selinux", b"label"),
        ])
        .file("rootfs/x", b"")
        .end();
    let mut found = Attributes::default();
    aci::read(&bytes[..], &ReadOptions::default(), &mut found).unwrap();
    let acl = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    let expected = [
        (&b"user.both"[..], &b"new"[..]),
        (b"user.a=b%", b"c"),
        (b"user.one=", b"\0\x01"),
        (b"system.posix_acl_default", acl),
        // Names mean nothing without the writer's users: told as it stands when it is not applied.
        (b"SCHILY.acl.access", b"user:nobody:rwx"),
        (b"security.selinux", b"label"),
    ];
    assert_eq!(found.0, expected.map(|(name, value)| (name.to_vec(), value.to_vec())));
}

#[test]
fn gzip_and_gnu_tar_read_what_is_built() {
    if !gnu_tar() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("layout");
    fs::create_dir_all(from.join("rootfs")).unwrap();
    fs::write(from.join("manifest"), super::fixtures::MANIFEST).unwrap();
    let noise: Vec<u8> = (0u32..700_000).flat_map(|number| (number / 3).wrapping_mul(40_503).to_le_bytes()).collect();
    fs::write(from.join("rootfs/noise"), &noise).unwrap();
    let sparse = fs::File::create(from.join("rootfs/sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 5 << 20).unwrap();
    // More than a ustar header can say, and nearly nothing in the archive.
    sparse.set_len(9 << 30).unwrap();
    drop(sparse);
    for compression in [Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd] {
        let mut bytes = Vec::new();
        aci::build(&from, &BuildOptions { compression, ..BuildOptions::default() }, &mut bytes).unwrap();
        let image = place.path().join("image.aci");
        fs::write(&image, &bytes).unwrap();
        let into = place.path().join("into");
        fs::create_dir(&into).unwrap();
        let output = Command::new("tar")
            .arg(format!("--{compression}"))
            .arg("-xf")
            .arg(&image)
            .arg("-C")
            .arg(&into)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("Cannot exec") {
            skip(Need::Program, format_args!("tar lacks {compression}"));
        } else {
            assert!(output.status.success() && said.is_empty(), "{compression}: {said}");
            assert!(fs::read(into.join("rootfs/noise")).unwrap() == noise, "{compression}");
            assert_eq!(fs::metadata(into.join("rootfs/sparse")).unwrap().len(), 9 << 30, "{compression}");
        }
        fs::remove_dir_all(into).unwrap();
    }
}
