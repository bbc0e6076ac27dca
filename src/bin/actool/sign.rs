//! `actool sign`: a detached signature beside an image, made by gpg.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::error::CommandError;
use crate::input;

/// Sign an image: writes ACI.asc, an armoured detached signature over the file as it is.
#[derive(clap::Args)]
pub struct Args {
    /// The image
    #[arg(value_name = "ACI")]
    image: PathBuf,
    /// Sign with the secret key in this file instead of one that gpg knows
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Which of gpg's keys: a fingerprint or an address
    #[arg(long, value_name = "KEY", conflicts_with = "key")]
    local_user: Option<String>,
    /// The passphrase of the key is on the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Replace the signature where there is one
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let out = input::signature_of(&args.image);
    if !args.overwrite && out.symlink_metadata().is_ok() {
        return Err(CommandError::failed(format!("write {}: it is there already", out.display()))
            .hint("--overwrite replaces it"));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Its name appears when it is whole.
    let private = tempfile::Builder::new().prefix(".sign").tempdir_in(parent);
    let private = private.map_err(|error| CommandError::failed(format!("write {}: {error}", out.display())))?;
    let home = match &args.key {
        Some(_) => {
            let made = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir();
            Some(Home(made.map_err(|error| CommandError::failed(format!("make a home for gpg: {error}")))?))
        }
        None => None,
    };
    if let (Some(home), Some(key)) = (&home, &args.key) {
        gpg(Some(home), args, &["--import".as_ref(), key.as_os_str()])?;
    }
    let made = private.path().join("signature");
    let mut arguments: Vec<&OsStr> = vec!["--armor".as_ref(), "--output".as_ref(), made.as_os_str()];
    if let Some(user) = &args.local_user {
        arguments.push("--local-user".as_ref());
        arguments.push(user.as_ref());
    }
    arguments.push("--detach-sign".as_ref());
    arguments.push("--".as_ref());
    arguments.push(args.image.as_os_str());
    gpg(home.as_ref(), args, &arguments)?;
    fs::rename(&made, &out).map_err(|error| CommandError::failed(format!("write {}: {error}", out.display())))?;
    Ok(ExitCode::SUCCESS)
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

fn gpg(home: Option<&Home>, args: &Args, arguments: &[&OsStr]) -> Result<(), CommandError> {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--quiet", "--yes"]);
    if let Some(home) = home {
        command.arg("--homedir").arg(home.0.path());
    }
    if let Some(path) = &args.passphrase_file {
        command.args(["--pinentry-mode", "loopback", "--passphrase-file"]).arg(path);
    }
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| CommandError::failed(format!("run gpg: {error}")).hint("signing takes GnuPG's gpg"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(CommandError::failed(format!("sign {}: {}", args.image.display(), said.trim().replace('\n', "; "))))
}
