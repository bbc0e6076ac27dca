//! `jetpack cp`: copy files into an app and out of it.

use std::path::Path;
use std::process::ExitCode;

use appc::executor::copy::Options;
use appc::executor::local;

use crate::context::Context;
use crate::error::CommandError;

/// Copy a file or a directory between an app of a pod and the host.
///
/// Into a directory that is there it goes under its own name, else it gets the name that the target has. DIR/. is what is in
/// a directory. A target with a slash behind it has to be a directory that is there. Directories are merged, files
/// and links replaced. Owners stay what they are, as far as the caller may set them.
///
/// Regular files, directories and symbolic links are copied. Other files are passed over and told, and out of an app no
/// setuid and setgid bits or file capabilities come, unless --special says so.
#[derive(clap::Args)]
pub struct Args {
    /// Copy what SOURCE leads to where it is a link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Let a file take the place of a directory, and a directory that of a file
    #[arg(long)]
    overwrite: bool,
    /// Copy device nodes, FIFOs and sockets too, and keep bits and attributes that give rights on the host
    #[arg(long)]
    special: bool,
    /// Keep owners, as is always done
    #[arg(short, long)]
    archive: bool,
    /// What: a path here, or POD[:APP]:PATH
    source: String,
    /// Where to: a path here, or POD[:APP]:PATH
    target: String,
}

/// A place in an app.
struct Inside<'a> {
    pod: &'a str,
    app: Option<&'a str>,
    path: &'a Path,
}

/// `POD:PATH` or `POD:APP:PATH`; anything with a slash before the first colon is a path of the host's.
fn inside(text: &str) -> Option<Inside<'_>> {
    let (pod, rest) = text.split_once(':').filter(|(pod, _)| !pod.is_empty() && !pod.contains('/'))?;
    match rest.split_once(':') {
        Some((app, path)) if !app.contains('/') => {
            Some(Inside { pod, app: Some(app).filter(|app| !app.is_empty()), path: Path::new(path) })
        }
        _ => Some(Inside { pod, app: None, path: Path::new(rest) }),
    }
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let _ = args.archive;
    for text in [&args.source, &args.target] {
        if text == "-" {
            return Err(CommandError::usage("cp reads and writes no streams; a file of that name is ./-").hint(
                "`jetpack exec POD -- tar -cf - PATH` writes one, and `tar -xf -` reads one, where the app has tar",
            ));
        }
        if inside(text).is_some_and(|place| place.path.as_os_str().is_empty()) {
            return Err(CommandError::usage(format!("{text}: a path is missing behind the colon")));
        }
    }
    let tell = |path: &Path, what: &str| eprintln!("jetpack: {} is passed over: it is {what}", path.display());
    let Args { follow_link: follow, overwrite, special, .. } = *args;
    let options = Options { special, overwrite, follow, tell: &tell };
    let pods = context.pods()?;
    let copied = match (inside(&args.source), inside(&args.target)) {
        (Some(source), None) => {
            local::copy_out(&pods.find(source.pod)?, source.app, source.path, Path::new(&args.target), &options)
        }
        (None, Some(target)) => {
            local::copy_in(&pods.find(target.pod)?, target.app, Path::new(&args.source), target.path, &options)
        }
        _ => return Err(CommandError::usage("one of the two has to be POD[:APP]:PATH, and one a path here")),
    };
    copied?;
    Ok(ExitCode::SUCCESS)
}
