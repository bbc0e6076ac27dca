//! `actool patch-manifest`: an image with another manifest.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use appc::aci::{self, Compression, Overwrite};
use appc::schema::patch::Edit;
use appc::validate::MAX_MANIFEST;

use crate::draft;
use crate::edits::Edits;
use crate::error::CommandError;
use crate::input;
use crate::print;

/// Copy an image and change its manifest. Prints the new image's ID.
///
/// All other entries stay as they are, attributes and times included; so do unknown keys and the order of keys. The result is validated.
/// Lists are written `NAME,key=value,...:NAME,...`; what is named there replaces what has its name and is added otherwise.
#[derive(clap::Args)]
pub struct Args {
    /// Take the whole manifest from this file; other changes are made to it
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    edits: Edits,
    /// Change the image in its place
    #[arg(long, conflicts_with = "output")]
    replace: bool,
    /// Replace the output where there is one
    #[arg(long)]
    overwrite: bool,
    /// Do not compress the result
    #[arg(long)]
    no_compression: bool,
    /// The image
    #[arg(value_name = "INPUT.aci")]
    input: PathBuf,
    /// The changed image
    #[arg(value_name = "OUTPUT.aci", required_unless_present = "replace")]
    output: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let edits = args.edits.edits()?;
    let out = args.output.as_ref().unwrap_or(&args.input);
    if !args.replace && same(&args.input, out) {
        return Err(CommandError::usage("input and output are the same file").hint("use --replace"));
    }
    if !args.replace && out.extension().is_none_or(|extension| extension != "aci") {
        return Err(CommandError::failed(format!("write {}: the name of an image file ends in `.aci`", out.display())));
    }
    let instead = match &args.manifest {
        None => None,
        Some(path) => Some(input::small(path, MAX_MANIFEST)?),
    };
    let overwrite = Overwrite::asked(args.replace || args.overwrite);
    let compression = args.no_compression.then_some(Compression::None);
    let built = aci::patch_file(&args.input, out, overwrite, compression, |summary| {
        let old = instead.as_deref().unwrap_or(&summary.manifest);
        changed(old, &edits)
    })?;
    println!("{}", built.image_id);
    Ok(ExitCode::SUCCESS)
}

/// The manifest with the changes, if it is valid; else its findings are told.
fn changed(old: &[u8], edits: &[Edit]) -> Result<Vec<u8>, CommandError> {
    let text = if edits.is_empty() { old.to_vec() } else { draft::edited(old, edits)? };
    if print::manifest(&text) {
        Ok(text)
    } else {
        Err(CommandError::failed("patch the image: the result is not valid"))
    }
}

fn same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    one == other || id(one).is_some_and(|one| Some(one) == id(other))
}
