//! `actool sign`: a detached signature beside an image, made by gpg or with a key of signify.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::CommandError;
use crate::input;
use crate::signing::Signer;
use appc::whole::{Draft, Overwrite};

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
    /// Sign with this secret key of signify, which writes ACI.sig, or of minisign, which writes ACI.minisig
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "local_user"])]
    signify_key: Option<PathBuf>,
    /// The passphrase of the key is on the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Replace the signature where there is one
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let passphrase_file = args.passphrase_file.clone();
    let signer = match (&args.signify_key, &args.key) {
        (Some(key), _) => Signer::signify(key, passphrase_file.as_deref())?,
        (None, Some(key)) => Signer::of_file(key, passphrase_file)?,
        (None, None) => Signer::known_to_gpg(args.local_user.clone(), passphrase_file),
    };
    let out = input::beside(&args.image, signer.ending());
    if !args.overwrite && out.symlink_metadata().is_ok() {
        return Err(CommandError::failed(format!("write {}: it is there already", out.display()))
            .hint("--overwrite replaces it"));
    }
    let failed = |error| CommandError::failed(format!("write {}: {error}", out.display()));
    let signature = signer.sign(&args.image)?;
    // Its name appears when it is whole.
    let mut draft = Draft::new(&out, 0o666).map_err(failed)?;
    draft.file().write_all(&signature).map_err(failed)?;
    draft.publish(Overwrite::asked(args.overwrite)).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
