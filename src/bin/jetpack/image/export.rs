//! `jetpack image export`: an image's archive as it came, or images as a stream for another pool.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use appc::store::{Image, ImageRef};
use appc::stream::{Export, LeftOut, Token};
use appc::whole::{Draft, Overwrite};

use crate::context::Context;
use crate::error::CommandError;
use crate::obtain::{find, reference};

/// Write an image's archive, byte for byte as it came; or, with --zfs, images and all that they depend on as a stream for
/// `jetpack image import --zfs` on another host
#[derive(clap::Args)]
pub struct Args {
    /// ID, beginning of an ID, or name with labels
    #[arg(value_parser = reference)]
    image: ImageRef,
    /// File to write, ending in .aci; - is the standard output. With --zfs: further images
    #[arg(value_name = "FILE", required_unless_present = "zfs")]
    rest: Vec<String>,
    /// Replace the file if it is there
    #[arg(long, conflicts_with = "zfs")]
    overwrite: bool,
    /// Write a ZFS stream to the standard output: archives, datasets with their origins, signatures
    #[arg(long)]
    zfs: bool,
    /// Leave out what the other side has: this image and all that it depends on
    #[arg(long, value_name = "IMAGE", value_parser = reference, requires = "zfs", conflicts_with = "incremental")]
    since: Vec<ImageRef>,
    /// Leave out what the images depend on: the other side has that
    #[arg(long, requires = "zfs")]
    incremental: bool,
    /// Go on where a stream broke, as `jetpack image import --zfs --token` says on the other side
    #[arg(long, value_name = "TOKEN", requires = "zfs")]
    resume: Option<Token>,
    /// Send blocks so that any pool takes them: neither compressed as they lie in this one nor larger than 128 KiB
    #[arg(long, requires = "zfs")]
    plain: bool,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if args.zfs {
        return stream(args, context);
    }
    let image = find(&context.store()?, &args.image)?;
    let [file] = args.rest.as_slice() else {
        return Err(CommandError::usage("one image is written into one file; --zfs takes several images"));
    };
    let file = Path::new(file);
    if file == Path::new("-") {
        let mut archive = image.archive()?;
        let mut out = appc::sys::output::stdout();
        io::copy(&mut archive, &mut out)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    if file.extension().is_none_or(|extension| extension != "aci") {
        return Err(CommandError::usage(format!("{} must end in .aci (aci.ext)", file.display())));
    }
    write(&image, file, Overwrite::asked(args.overwrite))?;
    Ok(ExitCode::SUCCESS)
}

fn stream(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if io::stdout().is_terminal() {
        return Err(CommandError::usage("a stream is not shown on a terminal").hint("send it into a file or a pipe"));
    }
    let store = context.store()?;
    let mut images = vec![find(&store, &args.image)?];
    for text in &args.rest {
        images.push(find(&store, &reference(text).map_err(CommandError::usage)?)?);
    }
    let left_out = match (args.incremental, args.since.as_slice()) {
        (true, _) => LeftOut::Dependencies,
        (false, []) => LeftOut::Nothing,
        (false, since) => LeftOut::Since(since.iter().map(|image| find(&store, image)).collect::<Result<_, _>>()?),
    };
    let export = Export { images, left_out, plain: args.plain, resume: args.resume };
    let mut out = appc::sys::output::stdout();
    store.export_stream(&export, &mut out)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes an image's archive into a file, whole or not at all.
pub fn write(image: &Image, file: &Path, overwrite: Overwrite) -> Result<(), CommandError> {
    let mut archive = image.archive()?;
    let file = std::path::absolute(file)?;
    let failed = |error| io::Error::other(format!("write {}: {error}", file.display()));
    let mut draft = Draft::new(&file, 0o666).map_err(failed)?;
    io::copy(&mut archive, draft.file()).map_err(failed)?;
    draft.publish(overwrite).map_err(failed)?;
    Ok(())
}
