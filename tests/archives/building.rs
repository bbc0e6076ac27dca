//! Building: everything of a tree is kept, and the same tree gives the same image.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use appc::aci::{self, BuildOptions, Compression, ExtractOptions, Kind, Overwrite, ReadOptions};
use appc::sys::xattr;
use appc_needs::{Need, skip};
use rustix::fs::{FileType, Mode, Timespec, Timestamps, UTIME_OMIT};

use super::fixtures::MANIFEST;

/// A layout with one of everything, as far as this user may make it. Times are set.
fn layout(at: &Path) {
    let root = at.join("rootfs");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(at.join("manifest"), MANIFEST).unwrap();
    fs::write(root.join("bin/tool"), "tool").unwrap();
    fs::hard_link(root.join("bin/tool"), root.join("bin/another")).unwrap();
    symlink("tool", root.join("bin/link")).unwrap();
    fs::hard_link(root.join("bin/link"), root.join("bin/link2")).unwrap();
    symlink("x".repeat(300), root.join("long-target")).unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff\x80")), "bytes").unwrap();
    let deep = root.join("d".repeat(200)).join("e".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(255)), "deep").unwrap();
    fs::write(root.join("t".repeat(120)), "").unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::create_dir(root.join("sealed")).unwrap();
    fs::write(root.join("sealed/file"), "sealed").unwrap();
    let mut sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all(b"front").unwrap();
    sparse.seek(SeekFrom::Start(3 << 20)).unwrap();
    sparse.write_all(b"middle").unwrap();
    sparse.set_len(8 << 20).unwrap();
    drop(sparse);
    for (name, mode) in [("bin/tool", 0o4755), ("empty", 0o2711), ("sealed/file", 0o400), ("sealed", 0o1555)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    stamp(&root, &mut 0);
}

/// Gives everything a time of its own, with nanoseconds, some before 1970.
fn stamp(path: &Path, count: &mut i64) {
    if path.symlink_metadata().unwrap().is_dir() {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for name in names {
            stamp(&name, count);
        }
    }
    *count += 1;
    let time = Timespec { tv_sec: 1_000_000_000 * (*count % 3 - 1) + *count, tv_nsec: 123_456_700 * (*count % 5) };
    let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// All that an archive keeps of a tree, line by line.
fn describe(path: &Path, root: &Path, lines: &mut Vec<String>) {
    let metadata = path.symlink_metadata().unwrap();
    let content = match () {
        () if metadata.is_symlink() => format!("{:?}", fs::read_link(path).unwrap()),
        () if metadata.is_file() => {
            format!("{} bytes {:?}", metadata.len(), &fs::read(path).map(|bytes| sum(&bytes)).ok())
        }
        () => String::new(),
    };
    let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
    let owner = (metadata.uid(), metadata.gid());
    let time = (metadata.mtime(), metadata.mtime_nsec());
    let name = path.strip_prefix(root).unwrap();
    lines.push(format!("{name:?} {:o} {owner:?} {time:?} {links} {content}", metadata.mode()));
    if metadata.is_dir() {
        for name in super::world::names(path) {
            describe(&path.join(name), root, lines);
        }
    }
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |sum: u64, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

fn described(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    describe(root, root, &mut lines);
    lines
}

fn built(layout: &Path, options: &BuildOptions) -> (aci::Built, Vec<u8>) {
    let mut bytes = Vec::new();
    let built = aci::build(layout, options, &mut bytes).unwrap();
    (built, bytes)
}

fn plain() -> BuildOptions {
    BuildOptions { compression: Compression::None, ..BuildOptions::default() }
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("layout");
    layout(&from);
    let attributes = xattrs(&from.join("rootfs"));
    let (built, bytes) = built(&from, &BuildOptions::default());
    let into = place.path().join("image");
    let summary =
        aci::extract(&bytes[..], &into, &ExtractOptions { sync: false, ..ExtractOptions::default() }).unwrap();
    assert_eq!(summary.image_id, built.image_id);
    assert_eq!(described(&into.join("rootfs")), described(&from.join("rootfs")));
    assert_eq!(fs::read(into.join("manifest")).unwrap(), MANIFEST);
    let sparse = fs::metadata(into.join("rootfs/sparse")).unwrap();
    assert!(sparse.blocks() * 512 < sparse.len() / 2, "{} blocks", sparse.blocks());
    for (name, attribute, value) in attributes {
        let file = File::open(into.join("rootfs").join(name)).unwrap();
        assert_eq!(xattr::get(file.as_fd(), attribute.as_bytes()).unwrap(), value, "{attribute} of {name}");
    }
}

/// Sets what the file system and this user allow, and tells what that was.
fn xattrs(root: &Path) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    // A capability set: version 2, effective, CAP_NET_RAW permitted. An ACL: version 2, with an entry for user 12.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let acl = [(1u16, 7u16, u32::MAX), (2, 4, 12), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 1, u32::MAX)];
    let acl = [2u32.to_le_bytes().to_vec()].into_iter().chain(acl.iter().map(|(tag, permissions, id)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    }));
    let wanted = [
        ("bin/tool", "user.note", b"a\0b=c\n".to_vec()),
        ("bin", "user.of-a-directory", b"d".to_vec()),
        ("sealed/file", "security.capability", capability),
        ("empty", "system.posix_acl_access", acl.collect::<Vec<_>>().concat()),
    ];
    let set = |name: &str, attribute: &str, value: &[u8]| {
        let file = File::open(root.join(name)).map_err(|error| error.to_string())?;
        xattr::set(file.as_fd(), attribute.as_bytes(), value).map_err(|error| error.to_string())
    };
    let mut done = Vec::new();
    for (name, attribute, value) in wanted {
        match set(name, attribute, &value) {
            Ok(()) => done.push((name, attribute, value)),
            Err(error) => skip(Need::Attributes, format_args!("{attribute} cannot be set here: {error}")),
        }
    }
    done
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    layout(&one);
    // The other is made in another order: directories list names in another one, inodes differ.
    fs::create_dir_all(other.join("rootfs/sealed")).unwrap();
    fs::write(other.join("rootfs/zzz"), "").unwrap();
    fs::remove_file(other.join("rootfs/zzz")).unwrap();
    fs::remove_dir(other.join("rootfs/sealed")).unwrap();
    layout(&other);
    for compression in [Compression::None, Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd] {
        let options = BuildOptions { compression, ..BuildOptions::default() };
        let (first, bytes) = built(&one, &options);
        let (second, same) = built(&other, &options);
        assert_eq!(first.image_id, second.image_id, "{compression}");
        assert!(bytes == same, "{compression}");
        assert_eq!(aci::read(&bytes[..], &ReadOptions::default(), &mut aci::Nothing).unwrap().image_id, first.image_id);
    }
}

#[test]
fn the_manifest_has_the_time_of_the_epoch_or_of_the_newest_file() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("layout");
    layout(&from);
    let seconds = |options: &BuildOptions| {
        let (_, bytes) = built(&from, options);
        u64::from_str_radix(std::str::from_utf8(&bytes[136..147]).unwrap(), 8).unwrap()
    };
    let newest = walk(&from.join("rootfs")).into_iter().map(|metadata| metadata.mtime()).max().unwrap();
    assert_eq!(seconds(&plain()), u64::try_from(newest).unwrap());
    assert_eq!(seconds(&BuildOptions { epoch: Some(12345), ..plain() }), 12345);
}

#[test]
fn times_later_than_the_epoch_become_it_and_earlier_ones_stay() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("layout");
    fs::create_dir_all(from.join("rootfs/etc")).unwrap();
    fs::write(from.join("manifest"), MANIFEST).unwrap();
    let epoch = 1_000_000_000;
    let at = |seconds, nanos| UNIX_EPOCH + Duration::new(seconds, nanos);
    let times = [
        ("earlier", at(epoch - 1, 500_000_000), at(epoch - 1, 500_000_000)),
        ("exact", at(epoch, 0), at(epoch, 0)),
        ("fraction", at(epoch, 1), at(epoch, 0)),
        ("later", at(epoch + 7, 0), at(epoch, 0)),
    ];
    for (name, time, _) in times {
        File::create(from.join("rootfs/etc").join(name)).unwrap().set_modified(time).unwrap();
    }
    // Newer than all of them: the directory and the link.
    symlink("later", from.join("rootfs/etc/link")).unwrap();
    let (_, bytes) = built(&from, &BuildOptions { epoch: Some(1_000_000_000), ..plain() });
    let into = place.path().join("image");
    aci::extract(&bytes[..], &into, &ExtractOptions { sync: false, ..ExtractOptions::default() }).unwrap();
    let modified = |name: &str| into.join("rootfs/etc").join(name).symlink_metadata().unwrap().modified().unwrap();
    for (name, _, due) in times {
        assert_eq!(modified(name), due, "{name}");
    }
    assert_eq!((modified("link"), modified("")), (at(epoch, 0), at(epoch, 0)));
}

fn walk(path: &Path) -> Vec<fs::Metadata> {
    let mut found = vec![path.symlink_metadata().unwrap()];
    if found[0].is_dir() {
        found.extend(super::world::names(path).iter().flat_map(|name| walk(&path.join(name))));
    }
    found
}

#[test]
fn what_is_excluded_is_not_there_and_a_hard_link_to_it_becomes_the_file() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("layout");
    layout(&from);
    let exclude = ["/bin/another", "sealed", "*-utf8-*"].map(str::to_owned).to_vec();
    let (_, bytes) = built(&from, &BuildOptions { exclude, ..plain() });
    let into = place.path().join("image");
    aci::extract(&bytes[..], &into, &ExtractOptions { sync: false, ..ExtractOptions::default() }).unwrap();
    let names: Vec<_> = described(&into.join("rootfs"));
    assert!(!names.iter().any(|line| line.contains("another") || line.contains("sealed") || line.contains("utf8")));
    assert_eq!(fs::read(into.join("rootfs/bin/tool")).unwrap(), b"tool");
}

#[test]
fn owner_root_gives_everything_to_root() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("layout");
    layout(&from);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(from.join("rootfs/bin/tool"), Some(3_000_000), Some(77)).unwrap();
    }
    let (_, bytes) = built(&from, &BuildOptions { owner_root: true, ..plain() });
    struct Owners(Vec<(u32, u32)>);
    impl aci::Sink for Owners {
        fn entry(&mut self, entry: &aci::Entry, _: &mut aci::Data<'_, '_>) -> aci::Result<()> {
            self.0.push((entry.uid, entry.gid));
            Ok(())
        }
    }
    let mut owners = Owners(Vec::new());
    aci::read(&bytes[..], &ReadOptions::default(), &mut owners).unwrap();
    assert!(owners.0.iter().all(|owner| *owner == (0, 0)));
    owners.0.clear();
    let (_, bytes) = built(&from, &plain());
    aci::read(&bytes[..], &ReadOptions::default(), &mut owners).unwrap();
    assert!(!rustix::process::geteuid().is_root() || owners.0.contains(&(3_000_000, 77)));
}

#[test]
fn sockets_are_left_out_and_told_and_pipes_are_not_opened() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("layout");
    layout(&from);
    let socket = std::os::unix::net::UnixListener::bind(from.join("rootfs/socket")).unwrap();
    // Opened for reading, the pipe in the layout would hold this up for ever.
    let (built, bytes) = built(&from, &plain());
    drop(socket);
    assert!(built.diagnostics.iter().any(|found| found.place.entry.as_deref() == Some("rootfs/socket")));
    let into = place.path().join("image");
    aci::extract(&bytes[..], &into, &ExtractOptions { sync: false, ..ExtractOptions::default() }).unwrap();
    assert!(!into.join("rootfs/socket").exists());
    assert!(into.join("rootfs/pipe").symlink_metadata().unwrap().file_type().is_fifo());
}

#[test]
fn an_output_that_makes_no_sense_is_refused_and_nothing_is_written() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("layout");
    layout(&from);
    fs::write(place.path().join("there.aci"), "precious").unwrap();
    let before = super::world::names(place.path());
    let tree = described(&from);
    let to = |name: &str, overwrite| aci::build_file(&from, &plain(), &place.path().join(name), overwrite).map(|_| ());
    for (name, kind) in [
        ("there.aci", Kind::Exists),
        ("image.tar", Kind::Refused),
        (".aci", Kind::Refused),
        ("layout/x.aci", Kind::Refused),
        ("layout/rootfs/x.aci", Kind::Refused),
        ("none/x.aci", Kind::Io),
    ] {
        assert_eq!(*to(name, Overwrite::Refuse).unwrap_err().kind(), kind, "{name}");
    }
    symlink("layout/rootfs", place.path().join("way-in")).unwrap();
    assert_eq!(*to("way-in/x.aci", Overwrite::Refuse).unwrap_err().kind(), Kind::Refused);
    fs::remove_file(place.path().join("way-in")).unwrap();
    assert_eq!(super::world::names(place.path()), before);
    assert_eq!(described(&from), tree);
    assert_eq!(fs::read(place.path().join("there.aci")).unwrap(), b"precious");
    to("there.aci", Overwrite::Replace).unwrap();
    assert!(fs::read(place.path().join("there.aci")).unwrap().starts_with(b"manifest\0"));
    for (compression, level) in [(Compression::Gzip, 0), (Compression::Bzip2, 10), (Compression::Zstd, 20)] {
        let options = BuildOptions { compression, level: Some(level), ..BuildOptions::default() };
        assert_eq!(*aci::build(&from, &options, Vec::new()).unwrap_err().kind(), Kind::Refused);
    }
}
