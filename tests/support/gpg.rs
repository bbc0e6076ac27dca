//! Keys and signatures by a real gpg.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use appc_needs::{Need, skip};

/// A home of its own, with the agent stopped when it is dropped.
pub struct Gpg(tempfile::TempDir);

impl Gpg {
    /// None, and a word why, where there is no gpg.
    pub fn new() -> Option<Self> {
        if Command::new("gpg").arg("--version").output().is_err() {
            skip(Need::Gpg, "gpg is not installed");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        Some(Self(home))
    }

    /// Runs gpg and gives what it wrote.
    pub fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn command(&self) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--homedir", self.0.path().to_str().unwrap(), "--batch", "--yes", "--pinentry-mode", "loopback"]);
        command.args(["--passphrase", ""]);
        command
    }

    /// Makes a key and gives its fingerprint.
    pub fn key(&self, user: &str, algorithm: &str, expires: &str) -> String {
        self.run(&["--quick-gen-key", user, algorithm, "sign", expires]);
        self.fingerprint(user)
    }

    /// The fingerprint of a user's primary key.
    pub fn fingerprint(&self, user: &str) -> String {
        let listed = String::from_utf8(self.run(&["--with-colons", "--list-keys", user])).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// The public key, armoured.
    pub fn public(&self, user: &str) -> Vec<u8> {
        self.run(&["--armor", "--export", user])
    }

    /// A detached signature over `data` with more options.
    pub fn sign(&self, user: &str, data: &[u8], options: &[&str]) -> Vec<u8> {
        let (file, out) = (self.path("data"), self.path("data.asc"));
        std::fs::write(&file, data).unwrap();
        let mut arguments = options.to_vec();
        arguments.extend([
            "--local-user",
            user,
            "--output",
            out.to_str().unwrap(),
            "--detach-sign",
            file.to_str().unwrap(),
        ]);
        self.run(&arguments);
        std::fs::read(out).unwrap()
    }

    /// A file in the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--homedir", self.0.path().to_str().unwrap(), "--kill", "all"]).output();
    }
}
