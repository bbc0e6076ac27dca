//! `actool verify`: who signed an image.

use std::path::PathBuf;
use std::process::ExitCode;

use appc::trust::{self, Keyring};

use crate::error::CommandError;
use crate::{input, output};

/// Bytes of a keyring file that are read.
const MAX_KEYRING: u64 = 16 << 20;

/// Check the detached signature of an image, and print the fingerprint of the key that made it.
#[derive(clap::Args)]
pub struct Args {
    /// The public keys that count, armoured or binary, or of signify or minisign; those that gpg knows unless told
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// Print JSON: the fingerprint, whom the key belongs to, when the signature was made
    #[arg(long)]
    json: bool,
    /// The image
    #[arg(value_name = "ACI")]
    image: PathBuf,
    /// The signature; ACI.asc unless told, or ACI.sig or ACI.minisig with keys of signify
    #[arg(value_name = "ASC")]
    signature: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let keys = match &args.keyring {
        Some(path) => input::small(path, MAX_KEYRING)?,
        None => gpg_keys()?,
    };
    let keyring = Keyring::parse(&keys)?;
    let signature = match &args.signature {
        Some(signature) => signature.clone(),
        None => {
            let (openpgp, signify) = keyring.forms();
            let named = [(openpgp, ".asc"), (signify, ".sig"), (signify, ".minisig")];
            let named = named.into_iter().filter(|(wanted, _)| *wanted);
            let mut places = named.map(|(_, ending)| input::beside(&args.image, ending));
            let there = places.clone().find(|place| place.exists());
            there.or_else(|| places.next()).unwrap_or_else(|| input::beside(&args.image, ".asc"))
        }
    };
    let signature = input::small(&signature, trust::MAX_SIGNATURE as u64)?;
    let signer = trust::verify(&keyring, input::open(&args.image)?, &signature)?;
    if args.json {
        let made = signer.made.and_then(|made| jiff::Timestamp::try_from(made).ok()).map(|made| made.to_string());
        output::json(serde_json::json!({
            "fingerprint": signer.fingerprint.to_string(), "users": signer.users, "made": made,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for user in &signer.users {
        eprintln!("signed by {}", user.escape_debug());
    }
    println!("{}", signer.fingerprint);
    Ok(ExitCode::SUCCESS)
}

/// All public keys of the user's own keyring.
fn gpg_keys() -> Result<Vec<u8>, CommandError> {
    let output = std::process::Command::new("gpg")
        .args(["--batch", "--export"])
        .output()
        .map_err(|error| CommandError::failed(format!("run gpg: {error}")).hint("name the keys with --keyring FILE"))?;
    if output.stdout.is_empty() {
        return Err(CommandError::failed("find public keys: gpg knows none").hint("name the keys with --keyring FILE"));
    }
    Ok(output.stdout)
}
