//! `jetpack image export`: an image's archive as it came.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use appc::store::{Image, ImageRef};

use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::{find, reference};

/// Write an image's archive, byte for byte as it came.
#[derive(clap::Args)]
pub struct Args {
    /// ID, beginning of an ID, or name with labels
    #[arg(value_parser = reference)]
    image: ImageRef,
    /// File to write, ending in .aci; - is the standard output
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    overwrite: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let image = find(&context.store()?, &args.image)?;
    if args.file == Path::new("-") {
        let mut archive = image.archive()?;
        let mut out = appc::sys::output::stdout();
        io::copy(&mut archive, &mut out)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.file.extension().is_none_or(|extension| extension != "aci") {
        return Err(CommandError::usage(format!("{} must end in .aci (aci.ext)", args.file.display())));
    }
    write(&image, &args.file, args.overwrite)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes an image's archive into a file, whole or not at all.
pub fn write(image: &Image, file: &Path, overwrite: bool) -> Result<(), CommandError> {
    let mut archive = image.archive()?;
    let file = std::path::absolute(file)?;
    let failed = |error| io::Error::other(format!("write {}: {error}", file.display()));
    let parent = file.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    appc::sys::unfinished::note(new.path());
    io::copy(&mut archive, new.as_file_mut()).map_err(failed)?;
    readable(new.as_file()).map_err(failed)?;
    if overwrite {
        new.persist(&file).map_err(|error| failed(error.error))?;
    } else {
        new.persist_noclobber(&file).map_err(|error| failed(error.error))?;
    }
    Ok(())
}

/// A temporary file is its owner's alone; what is exported is a file like others.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}
