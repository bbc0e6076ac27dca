//! `actool edit`: a manifest in the user's editor.

use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use appc::aci::{self, Overwrite};
use appc::validate::MAX_MANIFEST;

use crate::draft;
use crate::edits::Edits;
use crate::error::CommandError;
use crate::input;
use crate::print;

/// Change the manifest of an image, of a layout, or a manifest file, in an editor or by options. Prints an image's new ID.
///
/// The editor is $VISUAL, else $EDITOR, else vi. What it leaves is held against the specification, and is kept only when it is
/// valid. With options as of `actool patch-manifest` no editor is started.
#[derive(clap::Args)]
pub struct Args {
    /// An image, a layout or a manifest
    #[arg(value_name = "IMAGE.aci|DIR|FILE")]
    what: PathBuf,
    #[command(flatten)]
    edits: Edits,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let edits = args.edits.edits()?;
    let change = |old: &[u8]| if edits.is_empty() { edited(old) } else { checked(draft::edited(old, &edits)?) };
    if args.what.extension().is_some_and(|extension| extension == "aci") && !args.what.is_dir() {
        let done =
            aci::patch_file(&args.what, &args.what, Overwrite::Replace, None, |summary| change(&summary.manifest))?;
        println!("{}", done.image_id);
        return Ok(ExitCode::SUCCESS);
    }
    let file = if args.what.is_dir() { args.what.join("manifest") } else { args.what.clone() };
    let old = input::small(&file, MAX_MANIFEST)?;
    let new = change(&old)?;
    if new != old {
        draft::put(&file, &new, Overwrite::Replace)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the editor leaves of the manifest, once it is valid.
fn edited(old: &[u8]) -> Result<Vec<u8>, CommandError> {
    let failed = |error: std::io::Error| CommandError::failed(format!("edit the manifest: {error}"));
    // Editors know by the name what they have before them.
    let mut file = tempfile::Builder::new().prefix("manifest-").suffix(".json").tempfile().map_err(failed)?;
    let shown = serde_json::from_slice::<serde_json::Value>(old).ok();
    let shown = shown.filter(|_| !old.contains(&b'\n')).and_then(|value| serde_json::to_vec_pretty(&value).ok());
    file.write_all(shown.as_deref().unwrap_or(old)).map_err(failed)?;
    loop {
        open_editor(file.path())?;
        let new = input::small(file.path(), MAX_MANIFEST)?;
        if shown.as_deref() == Some(new.as_slice()) {
            return Ok(old.to_vec());
        }
        let valid = checked(new);
        if valid.is_ok() || !std::io::stdin().is_terminal() {
            return valid;
        }
        eprint!("edit it again? [Y/n] ");
        let mut answer = String::new();
        if std::io::stdin().read_line(&mut answer).map_err(failed)? == 0 || answer.trim().eq_ignore_ascii_case("n") {
            return valid;
        }
    }
}

/// The manifest, if it is valid; else its findings are told.
fn checked(manifest: Vec<u8>) -> Result<Vec<u8>, CommandError> {
    if print::manifest(&manifest) {
        Ok(manifest)
    } else {
        Err(CommandError::failed("keep the manifest: it is not valid; nothing was changed"))
    }
}

/// By a shell, as the variables hold words, not a path.
fn open_editor(file: &Path) -> Result<(), CommandError> {
    let chosen =
        ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    let editor = chosen.unwrap_or_else(|| "vi".into());
    let ended = Command::new("/bin/sh")
        .args(["-c", "eval \"$EDITOR_IN_USE\" '\"$1\"'", "sh"])
        .arg(file)
        .env("EDITOR_IN_USE", &editor)
        .status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CommandError::failed(format!(
            "edit the manifest: {} ended with {status}; nothing was changed",
            editor.display()
        ))),
        Err(error) => Err(CommandError::failed(format!("start the editor {}: {error}", editor.display()))),
    }
}
