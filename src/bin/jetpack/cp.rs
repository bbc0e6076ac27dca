//! `jetpack cp`: copy files into an app and out of it.

use std::path::Path;
use std::process::ExitCode;

use appc::executor::local;

use crate::context::Context;
use crate::error::CommandError;

/// Copy files or directories between an app of a pod and the host.
#[derive(clap::Args)]
pub struct Args {
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
    let pods = context.pods()?;
    match (inside(&args.source), inside(&args.target)) {
        (Some(source), None) => {
            local::copy_out(&pods.find(source.pod)?, source.app, source.path, Path::new(&args.target))?;
        }
        (None, Some(target)) => {
            local::copy_in(&pods.find(target.pod)?, target.app, Path::new(&args.source), target.path)?;
        }
        _ => return Err(CommandError::usage("one of the two has to be POD[:APP]:PATH, and one a path here")),
    }
    Ok(ExitCode::SUCCESS)
}
