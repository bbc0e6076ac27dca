//! `actool validate`: hold images, layouts and manifests against the specification.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use appc::diagnostic::{Diagnostic, FileReport, FileType, Severity, human, json, sarif};
use appc::schema::{Compat, Options as ManifestOptions, Profile};
use appc::spec;
use appc::validate::{self, Options};
use clap::ValueEnum;

use crate::error::CommandError;
use crate::input::Reading;
use crate::reading;

/// Hold images, layouts and manifests against the specification.
///
/// Finds every fault of every file and says where, which clause, and what to write instead.
/// Exits with 0 when there is no error, 1 when there is one, 2 for a wrong command line.
#[derive(clap::Args)]
pub struct Args {
    /// What the files are; seen from their content unless told
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    file_type: Option<Type>,
    /// What pod manifests are for
    #[arg(long, value_enum, default_value_t = ProfileArg::Template)]
    profile: ProfileArg,
    /// Make errors of warnings
    #[arg(long)]
    strict: bool,
    /// Give the looser answers of another tool where a decision names them
    #[arg(long, value_enum)]
    compat: Option<CompatArg>,
    /// How to tell
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Bytes of a manifest that are read
    #[arg(long, value_name = "BYTES", default_value_t = validate::MAX_MANIFEST)]
    max_manifest: u64,
    #[command(flatten)]
    reading: Reading,
    /// Files or directories; `-` is the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Type {
    /// An image archive
    #[value(alias = "appimage")]
    Image,
    /// A directory with `manifest` and `rootfs`
    Layout,
    /// An image or pod manifest
    Manifest,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileArg {
    /// Written by people; image ids and mounts may still be found out
    Template,
    /// Complete, as executors run it
    Reified,
}

#[derive(Clone, Copy, ValueEnum)]
enum CompatArg {
    /// The Go actool of appc/spec
    Go,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code scanning services
    Sarif,
}

pub fn run(args: &Args, quiet: bool) -> Result<ExitCode, CommandError> {
    let mut options = Options {
        manifest: ManifestOptions {
            profile: match args.profile {
                ProfileArg::Template => Profile::Template,
                ProfileArg::Reified => Profile::Reified,
            },
            strict: args.strict,
            compat: args.compat.map_or(Compat::None, |CompatArg::Go| Compat::Go),
            ..ManifestOptions::default()
        },
        max_manifest: args.max_manifest,
        reading: args.reading.options()?,
        file_type: args.file_type.map(|file_type| match file_type {
            Type::Image => FileType::Image,
            Type::Layout => FileType::Layout,
            Type::Manifest => FileType::Manifest,
        }),
    };
    // Several are checked at once, and soon one after the other.
    if let [file] = args.files.as_slice() {
        let length = std::fs::metadata(file).map_or(0, |about| about.len());
        options.reading.progress = reading::bar(&file.display().to_string(), length);
    }
    let mut reports = check_all(&args.files, &options);
    if quiet {
        for report in &mut reports {
            report.diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
        }
    }
    let mut out = BufWriter::new(appc::sys::output::stdout());
    match args.format {
        Format::Human => {
            let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            for report in &reports {
                human::write(&mut out, report, human::Style { color, quiet })?;
            }
        }
        Format::Json => json::write(&mut out, &reports)?,
        Format::Sarif => {
            sarif::write(&mut out, &reports, |id| spec::clause(id).map(|clause| clause.statement.clone()))?
        }
    }
    out.flush()?;
    let valid = reports.iter().all(|report| report.valid);
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks the files, several at a time where there are many, and reports in the order given.
fn check_all(files: &[PathBuf], options: &Options) -> Vec<FileReport> {
    // Below this many, starting a thread costs more than it brings.
    const EACH: usize = 64;
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(files.len().div_ceil(EACH)));
    if workers <= 1 {
        return files.iter().map(|file| check(file, options)).collect();
    }
    let next = AtomicUsize::new(0);
    let mut reports: Vec<(usize, FileReport)> = std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files.get(index) else { return done };
                done.push((index, check(file, options)));
            }
        };
        let handles: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for handle in handles {
            all.extend(handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    reports.sort_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

fn check(file: &Path, options: &Options) -> FileReport {
    let path = file.display().to_string();
    if path == "-" {
        return validate::reader("-", io::stdin(), options);
    }
    let asked = options.file_type.unwrap_or_else(|| validate::called(&path));
    // The first read tells a directory from a file, which spares asking for each of many files.
    let mut head = vec![0; 16 << 10];
    let opened = File::open(file).and_then(|mut open| {
        let count = loop {
            match open.read(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        Ok((open, count))
    });
    match opened {
        Ok((open, count)) => {
            head.truncate(count);
            validate::reader(&path, io::Cursor::new(head).chain(open), options)
        }
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => match options.file_type {
            None | Some(FileType::Layout) => validate::layout(&path, file, options),
            Some(_) => FileReport::new(path, asked)
                .with([Diagnostic::error("x.file.type", "is a directory")
                    .help("leave `--type` out, or name the file in it")]),
        },
        Err(error) => {
            let asked = if options.file_type.is_none() && file.is_dir() { FileType::Layout } else { asked };
            validate::unreadable(&path, asked, &error)
        }
    }
}
