//! Images written down entry by entry, and trees read back, for the tests of store and renderer.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use appc::store::{Image, Import, Store};

/// One entry of an archive below `rootfs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root file system; empty for the root.
    pub path: String,
    pub what: What,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: u64,
    /// The value of `user.test`, for files and directories.
    pub attribute: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Directory,
    File(String),
    Link(String),
    /// Another name of a file of the same image.
    Hard(String),
}

impl Entry {
    pub fn directory(path: &str) -> Self {
        Self::new(path, What::Directory, 0o755)
    }

    pub fn file(path: &str, content: &str) -> Self {
        Self::new(path, What::File(content.into()), 0o644)
    }

    pub fn link(path: &str, target: &str) -> Self {
        Self::new(path, What::Link(target.into()), 0o777)
    }

    pub fn hard(path: &str, target: &str) -> Self {
        Self::new(path, What::Hard(target.into()), 0o644)
    }

    fn new(path: &str, what: What, mode: u32) -> Self {
        Self { path: path.into(), what, mode, owner: (0, 0), mtime: 1_000_000_000, attribute: None }
    }
}

/// A plain archive of a manifest and entries, in their order.
pub fn archive(manifest: &serde_json::Value, entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    let text = manifest.to_string();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "manifest", text.as_bytes()).unwrap();
    for entry in entries {
        if let Some(value) = &entry.attribute {
            archive.append_pax_extensions([("SCHILY.xattr.user.test", value.as_bytes())]).unwrap();
        }
        let path = if entry.path.is_empty() { "rootfs".to_owned() } else { format!("rootfs/{}", entry.path) };
        let mut header = tar::Header::new_ustar();
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0.into());
        header.set_gid(entry.owner.1.into());
        header.set_mtime(entry.mtime);
        header.set_size(0);
        match &entry.what {
            What::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                archive.append_data(&mut header, path, [].as_slice()).unwrap();
            }
            What::File(content) => {
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
            What::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                archive.append_link(&mut header, path, target).unwrap();
            }
            What::Hard(target) => {
                header.set_entry_type(tar::EntryType::Link);
                archive.append_link(&mut header, path, format!("rootfs/{target}")).unwrap();
            }
        }
    }
    archive.into_inner().unwrap()
}

/// A manifest that is only a name and what is given besides.
pub fn manifest(name: &str, besides: serde_json::Value) -> serde_json::Value {
    let mut manifest = serde_json::json!({ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": name });
    for (key, value) in besides.as_object().into_iter().flatten() {
        manifest[key] = value.clone();
    }
    manifest
}

/// A small image with one file that holds its name.
pub fn small(name: &str, besides: serde_json::Value) -> Vec<u8> {
    archive(&manifest(name, besides), &[Entry::directory(""), Entry::file("who", name)])
}

/// Imports without waiting for the disk.
pub fn import(store: &Store, archive: &[u8]) -> appc::store::Result<Image> {
    let mut import = Import::new("test.aci");
    import.extract.sync = false;
    store.import(archive, import)
}

/// What is at a path of a tree. Names of one file share `file`, which is their first path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `directory`, `file:CONTENT`, `link:TARGET`.
    pub what: String,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: i64,
    pub attribute: Option<String>,
    pub file: Option<String>,
}

/// Reads a tree, the slow way.
pub fn read_tree(root: &Path) -> BTreeMap<String, Seen> {
    let mut seen = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let about = fs::symlink_metadata(&path).unwrap();
        let kind = about.file_type();
        let what = if kind.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("link:{}", fs::read_link(&path).unwrap().display())
        } else {
            format!("file:{}", fs::read_to_string(&path).unwrap())
        };
        let name = String::from_utf8(path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec()).unwrap();
        let attribute = if kind.is_symlink() { None } else { attribute(&path) };
        let file = (!kind.is_dir()).then(|| format!("{}:{}", about.dev(), about.ino()));
        let mode = about.mode() & 0o7777;
        let owner = (about.uid(), about.gid());
        seen.insert(name, Seen { what, mode, owner, mtime: about.mtime(), attribute, file });
    }
    name_files(&mut seen);
    seen
}

/// Names each file by its first path.
pub fn name_files(seen: &mut BTreeMap<String, Seen>) {
    let mut first = BTreeMap::new();
    for (path, entry) in seen.iter_mut() {
        if let Some(file) = &mut entry.file {
            *file = first.entry(file.clone()).or_insert_with(|| path.clone()).clone();
        }
    }
}

fn attribute(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    let value = appc::sys::xattr::get(std::os::fd::AsFd::as_fd(&file), b"user.test").ok()?;
    Some(String::from_utf8(value).unwrap())
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
