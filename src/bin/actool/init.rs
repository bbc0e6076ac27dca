//! `actool init`: a layout to begin with.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use appc::aci::program;
use appc::schema::patch::Edit;
use appc::whole::Overwrite;
use serde_json::json;

use crate::draft;
use crate::edits::Edits;
use crate::error::CommandError;
use crate::print;

/// Make a layout, a directory with manifest and rootfs, that `actool build` makes an image of. Prints the manifest's path.
///
/// The manifest gets the operating system and architecture that the app's program is made for, read from its file; nothing is run.
/// What the program needs and rootfs lacks is told. Options change the manifest as in `actool patch-manifest`.
#[derive(clap::Args)]
pub struct Args {
    /// The layout
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// A program, which is copied into rootfs with the libraries that it needs; or a directory whose content is
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    #[command(flatten)]
    edits: Edits,
    /// Replace the manifest where there is one
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let mut edits = args.edits.edits()?;
    let manifest = args.directory.join("manifest");
    let rootfs = args.directory.join("rootfs");
    if !args.overwrite && manifest.symlink_metadata().is_ok() {
        let error = CommandError::failed(format!("write {}: it is there already", manifest.display()));
        return Err(error.hint("--overwrite replaces it; `actool edit` changes it"));
    }
    let failed = |path: &Path, error: std::io::Error| CommandError::failed(format!("make {}: {error}", path.display()));
    fs::create_dir_all(&rootfs).map_err(|error| failed(&rootfs, error))?;
    match &args.from {
        Some(from) if from.is_dir() => {
            appc::executor::copy::tree(from, &rootfs).map_err(|error| failed(&rootfs, error))?;
        }
        Some(from) => {
            let program = copy_program(from, &rootfs)?;
            if !edits.iter().any(|edit| matches!(edit, Edit::SetApp("exec", _))) {
                edits.push(Edit::SetApp("exec", json!([program])));
            }
        }
        None => {}
    }
    let full = args.directory.canonicalize().map_err(|error| failed(&args.directory, error))?;
    let text = draft::edited(&draft::of(&rootfs, &draft::named(full.file_name()), &edits)?, &edits)?;
    if !print::manifest(&text) {
        return Err(CommandError::failed(format!("write {}: it would not be valid", manifest.display())));
    }
    draft::put(&manifest, &text, Overwrite::asked(args.overwrite))?;
    println!("{}", manifest.display());
    Ok(ExitCode::SUCCESS)
}

/// Copies a program of this host to `/bin` of the tree, and what it needs to where it looks for it.
fn copy_program(from: &Path, rootfs: &Path) -> Result<PathBuf, CommandError> {
    let real =
        from.canonicalize().map_err(|error| CommandError::failed(format!("open {}: {error}", from.display())))?;
    let host = Path::new("/");
    let needs = program::needs(host, &real)?;
    if let Some((what, of)) = needs.missing.first_key_value() {
        return Err(CommandError::failed(format!(
            "copy {}: {} needs {what}, which is nowhere here",
            from.display(),
            of.display()
        )));
    }
    let name = from.file_name().ok_or_else(|| CommandError::usage(format!("{} has no name", from.display())))?;
    let place = Path::new("/bin").join(name);
    let mut files: BTreeSet<(PathBuf, PathBuf)> = needs.files.into_iter().map(|file| (file.clone(), file)).collect();
    files.insert((real, place.clone()));
    for (source, target) in files {
        let source = program::within(host, &source).unwrap_or(source);
        copy(&source, rootfs, &target)?;
        eprintln!("{} copied to {}", source.display(), target.display());
    }
    Ok(place)
}

/// Copies one file, with its mode alone.
fn copy(source: &Path, rootfs: &Path, target: &Path) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::failed(format!("copy {} to {}: {error}", source.display(), target.display()))
    };
    // A tree that is there may have links on the way, which are those of a root directory.
    let directory = target.parent().unwrap_or(Path::new("/"));
    let mut at = rootfs.to_owned();
    for part in directory.components().skip(1) {
        let next = at.join(part);
        let inside = Path::new("/").join(next.strip_prefix(rootfs).unwrap_or(Path::new("")));
        at = match program::within(rootfs, &inside) {
            Some(there) => there,
            None => {
                fs::DirBuilder::new().mode(0o755).create(&next).map_err(failed)?;
                next
            }
        };
    }
    let target = at.join(target.file_name().unwrap_or_default());
    let content = fs::read(source).map_err(failed)?;
    let mode = fs::metadata(source).map_err(failed)?.permissions().mode();
    draft::put(&target, &content, Overwrite::Replace)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(mode & 0o755)).map_err(failed)
}
