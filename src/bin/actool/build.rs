//! `actool build`: a layout becomes an archive.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use appc::aci::{self, BuildOptions, Built, Compression, Overwrite, ReadOptions};
use appc::diagnostic::Severity;
use appc::validate::MAX_MANIFEST;
use indicatif::{ProgressBar, ProgressStyle};

use crate::draft;
use crate::edits::Edits;
use crate::error::CommandError;
use crate::input;
use crate::print;

/// Build an image from a layout: a directory with manifest and rootfs. Prints the image ID.
///
/// With --rootfs there is no layout: the directory is what the image holds, and its manifest is written as `actool init` would.
/// The same input gives the same image, bit for bit. The manifest's time is the newest one in rootfs; with SOURCE_DATE_EPOCH it is that one,
/// and so is the time of every file that has a later one.
#[derive(clap::Args)]
pub struct Args {
    /// The layout, and the image to be written
    #[arg(value_names = ["DIR", "OUT.aci"], required = true, num_args = 1..=2)]
    paths: Vec<PathBuf>,
    /// Make the image of this directory, as its root file system
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    #[command(flatten)]
    edits: Edits,
    /// Replace the image where there is one
    #[arg(long)]
    overwrite: bool,
    /// How to compress
    #[arg(long, value_name = "CODEC", default_value = "gzip")]
    compression: Codec,
    /// As --compression none
    #[arg(long, conflicts_with = "compression")]
    no_compression: bool,
    /// How hard to compress: 1 to 9 for gzip and bzip2, 0 to 9 for xz, 1 to 19 for zstd
    #[arg(long)]
    level: Option<u32>,
    /// Everything belongs to root, whoever owns the files
    #[arg(long)]
    owner_root: bool,
    /// Leave out what matches below rootfs (*, ?, [a-z], ** for any directories; without a slash at any depth)
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// A manifest instead of the layout's own
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// A codec, as a command line names it.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Codec {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    None,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Gzip => Self::Gzip,
            Codec::Bzip2 => Self::Bzip2,
            Codec::Xz => Self::Xz,
            Codec::Zstd => Self::Zstd,
            Codec::None => Self::None,
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, CommandError> {
    let (directory, image) = match (&args.rootfs, args.paths.as_slice()) {
        (None, [layout, image]) => (layout, image),
        (Some(rootfs), [image]) => (rootfs, image),
        (None, _) => return Err(CommandError::usage("a layout and the image to be written are needed, DIR OUT.aci")),
        (Some(_), _) => {
            return Err(CommandError::usage("with --rootfs the image to be written is needed alone, OUT.aci"));
        }
    };
    let edits = args.edits.edits()?;
    let given = match &args.manifest {
        None => None,
        Some(path) => Some(input::small(path, MAX_MANIFEST)?),
    };
    let (manifest, valid) = match &args.rootfs {
        Some(rootfs) => {
            let begun = match given {
                Some(given) => given,
                None => draft::of(rootfs, &draft::named(image.file_stem()), &edits)?,
            };
            let manifest = draft::edited(&begun, &edits)?;
            let valid = print::manifest(&manifest);
            (Some(manifest), valid)
        }
        None => {
            let mut checked = aci::validate::layout(directory, &ReadOptions::default())?;
            if given.is_some() {
                // The layout's own does not matter then.
                checked.diagnostics.retain(|found| {
                    found.place.entry.as_deref() != Some("manifest") && found.clause != "aci.toplevel.two"
                });
            }
            let mut valid = checked.diagnostics.iter().all(|found| found.severity < Severity::Error);
            print::findings(&checked.diagnostics);
            let manifest = match given.or(checked.manifest) {
                Some(begun) if !edits.is_empty() => Some(draft::edited(&begun, &edits)?),
                begun => begun,
            };
            if let Some(manifest) = &manifest {
                valid &= print::manifest(manifest);
            }
            (manifest, valid)
        }
    };
    if !valid {
        let what = if args.rootfs.is_some() { "manifest" } else { "layout" };
        return Err(CommandError::failed(format!("build {}: the {what} is not valid", image.display())));
    }
    let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => Some(text.parse().map_err(|_| CommandError::usage("SOURCE_DATE_EPOCH is no number of seconds"))?),
        Err(_) => None,
    };
    let progress = Arc::new(AtomicU64::new(0));
    let options = BuildOptions {
        compression: match args.compression {
            _ if args.no_compression => Compression::None,
            codec => codec.into(),
        },
        level: args.level,
        owner_root: args.owner_root,
        exclude: args.exclude.clone(),
        manifest,
        bare: args.rootfs.is_some(),
        epoch,
        progress: Some(Arc::clone(&progress)),
    };
    let overwrite = Overwrite::asked(args.overwrite);
    let built = watched(&progress, || aci::build_file(directory, &options, image, overwrite));
    let built = built.map_err(|error| match error.kind() {
        aci::Kind::Exists => CommandError::from(error).hint("--overwrite replaces it"),
        _ => error.into(),
    })?;
    print::findings(&built.diagnostics);
    println!("{}", built.image_id);
    Ok(ExitCode::SUCCESS)
}

/// Shows how far it is, where somebody watches.
fn watched(progress: &AtomicU64, work: impl FnOnce() -> aci::Result<Built>) -> aci::Result<Built> {
    if !crate::reading::is_watched() {
        return work();
    }
    let style = ProgressStyle::with_template("{spinner} {bytes} {bytes_per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                bar.set_position(progress.load(Ordering::Relaxed));
                bar.tick();
                thread::park_timeout(Duration::from_millis(100));
            }
            bar.finish_and_clear();
        });
        let built = work();
        done.store(true, Ordering::Release);
        built
    })
}
