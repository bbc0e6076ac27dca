//! Images of layers made on the spot, and a place to convert them in.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A layer in the making.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// An entry of any kind; names go into the header as they are.
    pub fn entry(mut self, name: &str, kind: tar::EntryType, mode: u32, target: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_500_000_000);
        header.set_size(content.len() as u64);
        let bytes = header.as_mut_bytes();
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(name, tar::EntryType::Directory, mode, "", b"")
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.entry(name, tar::EntryType::Regular, 0o644, "", content.as_bytes())
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        self.entry(name, tar::EntryType::Symlink, 0o777, target, b"")
    }

    pub fn hard(self, name: &str, target: &str) -> Self {
        self.entry(name, tar::EntryType::Link, 0o644, target, b"")
    }

    /// A file with an extended attribute, said in a PAX header.
    pub fn with_xattr(mut self, name: &str, attribute: &str, value: &[u8]) -> Self {
        let key = format!("SCHILY.xattr.{attribute}");
        self.0.append_pax_extensions([(key.as_str(), value)]).unwrap();
        self.file(name, "")
    }

    /// A directory whose header claims a size, with nothing behind it.
    pub fn sized_directory(mut self, name: &str) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(4096);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        self.0.get_mut().extend_from_slice(header.as_bytes());
        self
    }

    pub fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

#[derive(Clone, Copy)]
pub enum Codec {
    Plain,
    Gzip,
    Zstd,
}

pub fn packed(tar: &[u8], codec: Codec) -> (Vec<u8>, &'static str) {
    match codec {
        Codec::Plain => (tar.to_vec(), "application/vnd.oci.image.layer.v1.tar"),
        Codec::Gzip => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(tar).unwrap();
            (gzip.finish().unwrap(), "application/vnd.oci.image.layer.v1.tar+gzip")
        }
        Codec::Zstd => (zstd::encode_all(tar, 1).unwrap(), "application/vnd.oci.image.layer.v1.tar+zstd"),
    }
}

/// An image of layers; its documents can be bent before it is written.
pub struct Image {
    pub config: Value,
    pub layers: Vec<Value>,
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub diff_ids: Vec<String>,
}

impl Image {
    pub fn new() -> Self {
        let config = json!({ "os": "linux", "architecture": "amd64", "config": { "Entrypoint": ["/bin/a"] } });
        Self { config, layers: Vec::new(), blobs: BTreeMap::new(), diff_ids: Vec::new() }
    }

    pub fn of(layers: impl IntoIterator<Item = Layer>) -> Self {
        let codecs = [Codec::Gzip, Codec::Zstd, Codec::Plain].into_iter().cycle();
        layers.into_iter().zip(codecs).fold(Self::new(), |image, (layer, codec)| image.layer(&layer.tar(), codec))
    }

    pub fn layer(mut self, tar: &[u8], codec: Codec) -> Self {
        let (blob, kind) = packed(tar, codec);
        self.diff_ids.push(digest(tar));
        self.layers.push(json!({ "mediaType": kind, "digest": digest(&blob), "size": blob.len() }));
        self.blobs.insert(digest(&blob), blob);
        self
    }

    pub fn config(mut self, run: Value) -> Self {
        self.config["config"] = run;
        self
    }

    /// Configuration, manifest.
    pub fn documents(&self) -> (Vec<u8>, Vec<u8>) {
        let mut config = self.config.clone();
        if config.get("rootfs").is_none() {
            config["rootfs"] = json!({ "type": "layers", "diff_ids": self.diff_ids });
        }
        let config = serde_json::to_vec_pretty(&config).unwrap();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len(),
            },
            "layers": self.layers,
        });
        (config, serde_json::to_vec(&manifest).unwrap())
    }

    /// Writes it as a layout, or adds it to one.
    pub fn layout(&self, directory: &Path, tag: &str) {
        let (config, manifest) = self.documents();
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        let put = |bytes: &[u8]| fs::write(blob(directory, &digest(bytes)), bytes).unwrap();
        put(&config);
        put(&manifest);
        for (name, bytes) in &self.blobs {
            fs::write(blob(directory, name), bytes).unwrap();
        }
        let index = directory.join("index.json");
        let mut there: Value = fs::read(&index)
            .map_or(json!({ "schemaVersion": 2, "manifests": [] }), |bytes| serde_json::from_slice(&bytes).unwrap());
        there["manifests"].as_array_mut().unwrap().push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&manifest), "size": manifest.len(),
            "annotations": { "org.opencontainers.image.ref.name": tag },
        }));
        fs::write(index, there.to_string()).unwrap();
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }

    /// Writes it as `docker save` did: each layer in a directory of its own, one that is listed twice as a link.
    pub fn docker_save(&self, tars: &[Vec<u8>], out: &Path, tag: &str) {
        let (config, _) = self.documents();
        let mut archive = tar::Builder::new(fs::File::create(out).unwrap());
        let mut put = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, bytes).unwrap();
        };
        let name = format!("{}.json", &digest(&config)[7..]);
        put(&name, &config);
        let paths: Vec<String> = (0..tars.len()).map(|number| format!("{number:064}/layer.tar")).collect();
        let list = json!([{ "Config": name, "RepoTags": [tag], "Layers": paths }]);
        put("manifest.json", list.to_string().as_bytes());
        for (number, (path, bytes)) in paths.iter().zip(tars).enumerate() {
            match tars[..number].iter().position(|other| other == bytes) {
                None => {
                    let mut header = tar::Header::new_ustar();
                    header.set_size(bytes.len() as u64);
                    header.set_mode(0o644);
                    archive.append_data(&mut header, path, &bytes[..]).unwrap();
                }
                Some(first) => {
                    let mut header = tar::Header::new_ustar();
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    archive.append_link(&mut header, path, format!("../{}", paths[first])).unwrap();
                }
            }
        }
        archive.finish().unwrap();
    }
}

pub fn blob(directory: &Path, digest: &str) -> PathBuf {
    directory.join("blobs").join(digest.replace(':', "/"))
}

/// A directory to work in.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn actool(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_actool")).args(arguments).current_dir(self.0.path()).output().unwrap()
    }

    /// Standard output and error of a command that must succeed.
    pub fn done(&self, arguments: &[&str]) -> (String, String) {
        let output = self.actool(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {told}");
        (String::from_utf8(output.stdout).unwrap(), told)
    }

    /// Standard error of a command that must fail with code 1 and leave nothing new here.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let before = self.names();
        let output = self.actool(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert_eq!(self.names(), before, "{arguments:?} left something");
        told
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The manifest of an image.
    pub fn manifest(&self, image: &str) -> Value {
        serde_json::from_str(&self.done(&["cat-manifest", image]).0).unwrap()
    }
}

/// What is in an image below `rootfs`: kind, mode, content or target of each name; hard links share a mark.
pub fn tree(archive: &Path) -> BTreeMap<String, String> {
    let bytes = fs::read(archive).unwrap();
    let mut plain = Vec::new();
    if flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).is_err() {
        plain = bytes;
    }
    let mut tree = BTreeMap::new();
    for entry in tar::Archive::new(&plain[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let Some(path) = path.strip_prefix("rootfs") else { continue };
        let path = path.trim_matches('/').to_owned();
        let mode = entry.header().mode().unwrap();
        let link = entry.link_name_bytes().map(|target| String::from_utf8(target.into_owned()).unwrap());
        let what = match (entry.header().entry_type(), link) {
            (tar::EntryType::Directory, _) => format!("directory {mode:o}"),
            (tar::EntryType::Symlink, Some(target)) => format!("link to {target}"),
            (tar::EntryType::Link, Some(target)) => format!("same as {}", target.strip_prefix("rootfs/").unwrap()),
            (kind, _) => {
                let mut content = String::new();
                entry.read_to_string(&mut content).unwrap();
                format!("{kind:?} {mode:o} {content}")
            }
        };
        assert!(tree.insert(path.clone(), what).is_none(), "{path} stands twice");
    }
    tree
}
