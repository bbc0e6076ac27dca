//! Detached signatures: made by gpg, or with a secret key of signify or minisign.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use appc::trust::SecretKey;

use crate::error::CommandError;

/// Who signs.
pub struct Signer {
    how: How,
    passphrase_file: Option<PathBuf>,
}

enum How {
    /// One of gpg's keys, its own choice unless told.
    Gpg {
        home: Option<Home>,
        user: Option<String>,
    },
    Signify(Box<SecretKey>),
}

/// A home for gpg of which nothing stays: its directory goes, and so does the agent that gpg starts there.
struct Home(tempfile::TempDir);

impl Drop for Home {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--kill", "all"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

impl Signer {
    /// One of the keys that gpg knows.
    pub fn known_to_gpg(user: Option<String>, passphrase_file: Option<PathBuf>) -> Self {
        Self { how: How::Gpg { home: None, user }, passphrase_file }
    }

    /// The secret key of OpenPGP in a file.
    pub fn of_file(key: &Path, passphrase_file: Option<PathBuf>) -> Result<Self, CommandError> {
        let made = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir();
        let home = Home(made.map_err(|error| CommandError::failed(format!("make a home for gpg: {error}")))?);
        let signer = Self { how: How::Gpg { home: Some(home), user: None }, passphrase_file };
        signer.gpg(&["--import".as_ref(), key.as_os_str()], &format!("read {}", key.display()))?;
        Ok(signer)
    }

    /// The secret key of signify or minisign in a file.
    pub fn signify(key: &Path, passphrase_file: Option<&Path>) -> Result<Self, CommandError> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| CommandError::failed(format!("read {}: {error}", path.display())))
        };
        let passphrase = passphrase_file.map(|path| {
            read(path).map(|bytes| String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned())
        });
        let secret = SecretKey::parse(&read(key)?, passphrase.transpose()?.as_deref())
            .map_err(|error| CommandError::failed(format!("use {}: {}", key.display(), appc::error::chain(&error))))?;
        Ok(Self { how: How::Signify(Box::new(secret)), passphrase_file: None })
    }

    /// What is added to the name of an image for that of its signature.
    pub fn ending(&self) -> &'static str {
        match &self.how {
            How::Gpg { .. } => ".asc",
            How::Signify(secret) => secret.ending(),
        }
    }

    /// A signature over a file as it is.
    pub fn sign(&self, image: &Path) -> Result<Vec<u8>, CommandError> {
        let doing = format!("sign {}", image.display());
        match &self.how {
            How::Signify(secret) => secret
                .sign(|| File::open(image))
                .map_err(|error| CommandError::failed(format!("{doing}: {}", appc::error::chain(&error)))),
            How::Gpg { user, .. } => {
                let mut arguments: Vec<&OsStr> = vec!["--armor".as_ref(), "--output".as_ref(), "-".as_ref()];
                if let Some(user) = user {
                    arguments.extend::<[&OsStr; 2]>(["--local-user".as_ref(), user.as_ref()]);
                }
                arguments.extend::<[&OsStr; 3]>(["--detach-sign".as_ref(), "--".as_ref(), image.as_os_str()]);
                self.gpg(&arguments, &doing)
            }
        }
    }

    /// The public keys that its signatures are checked with.
    #[allow(dead_code, reason = "not all commands publish them")]
    pub fn public_keys(&self) -> Result<Vec<u8>, CommandError> {
        match &self.how {
            How::Signify(secret) => Ok(secret.public_key().into_bytes()),
            How::Gpg { user, .. } => {
                let mut arguments: Vec<&OsStr> = vec!["--armor".as_ref(), "--export".as_ref()];
                arguments.extend(user.as_ref().map(AsRef::<OsStr>::as_ref));
                self.gpg(&arguments, "export the public key")
            }
        }
    }

    fn gpg(&self, arguments: &[&OsStr], doing: &str) -> Result<Vec<u8>, CommandError> {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--yes"]);
        if let How::Gpg { home: Some(home), .. } = &self.how {
            command.arg("--homedir").arg(home.0.path());
        }
        if let Some(path) = &self.passphrase_file {
            command.args(["--pinentry-mode", "loopback", "--passphrase-file"]).arg(path);
        }
        let output = command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| CommandError::failed(format!("run gpg: {error}")).hint("signing takes GnuPG's gpg"))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(CommandError::failed(format!("{doing}: {}", said.trim().replace('\n', "; "))))
    }
}
