//! A running `jetpack metadata-service` with a root of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use appc::metadata::{Facts, Registration, Token};
use tempfile::TempDir;
use uuid::Uuid;

pub fn jetpack(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
    command.arg("--root").arg(root).args(arguments);
    command
}

pub struct Service {
    pub root: TempDir,
    pub process: Child,
    pub base: String,
}

impl Service {
    pub fn start(more: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (process, base) = launch(root.path(), more);
        Self { root, process, base }
    }

    pub fn register(&self, facts: Facts) -> Result<Registration, appc::metadata::Error> {
        Registration::new(&self.root.path().join("metadata.sock"), facts)
    }

    pub fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let port = self.base.rsplit_once(':').unwrap().1.to_owned();
        (self.process, self.base) = launch(self.root.path(), &["--listen", &format!("127.0.0.1:{port}")]);
    }

    /// A line of `/proc/PID/status` in kilobytes.
    #[cfg(target_os = "linux")]
    pub fn kilobytes(&self, what: &str) -> u64 {
        kilobytes(self.process.id(), what)
    }
}

/// A line of `/proc/PID/status` of any process in kilobytes.
#[cfg(target_os = "linux")]
pub fn kilobytes(process: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// An image of one app, `main`, in which busybox runs a script; its archive.
#[cfg(target_os = "linux")]
pub fn busybox(root: &Path, script: &str) -> std::path::PathBuf {
    let (layout, image) = (root.join("layout"), root.join("main.aci"));
    std::fs::create_dir_all(layout.join("rootfs/bin")).unwrap();
    std::fs::copy("/bin/busybox", layout.join("rootfs/bin/busybox")).unwrap();
    let manifest = serde_json::json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "localhost/main",
        "app": {"exec": ["/bin/busybox", "sh", "-c", script], "user": "0", "group": "0"}});
    std::fs::write(layout.join("manifest"), manifest.to_string()).unwrap();
    let actool = Command::new(env!("CARGO_BIN_EXE_actool")).arg("build").arg(&layout).arg(&image).output();
    assert!(actool.unwrap().status.success());
    image
}

impl Drop for Service {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn launch(root: &Path, more: &[&str]) -> (Child, String) {
    let listen: &[&str] = if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    let mut command = jetpack(root, &[&["metadata-service"], listen, more].concat());
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (process, line.trim_end().strip_prefix("listening on ").unwrap().to_owned())
}

pub fn facts() -> Facts {
    let id = "0".repeat(128);
    let manifest = format!(r#"{{"acKind":"PodManifest","apps":[{{"name":"main","image":{{"id":"sha512-{id}"}}}}]}}"#);
    Facts {
        uuid: Uuid::new_v4(),
        token: Token::generate().unwrap(),
        pod_manifest: manifest.into(),
        image_manifests: BTreeMap::from([("main".to_owned(), br#"{"acKind":"ImageManifest"}"#.to_vec())]),
    }
}
