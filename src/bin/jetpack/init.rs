//! `jetpack init`: the datasets that images and pods live in.

use std::path::Path;
use std::process::ExitCode;

use appc::executor::freebsd::System;
use appc::executor::freebsd::datasets::initialise;
use appc::executor::freebsd::system::{Program, Ran};
use appc::executor::model::freebsd::Saved;

use crate::context::Context;
use crate::error::CommandError;

/// Make the datasets for images and pods on a FreeBSD host.
///
/// What is there already is adopted. Elsewhere nothing has to be made.
#[derive(clap::Args)]
pub struct Args {
    /// The root dataset
    #[arg(long, value_name = "DATASET", default_value = "zroot/jetpack")]
    dataset: String,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let root = context.root()?;
    if cfg!(target_os = "linux") && context.model.is_none() {
        println!("{}: made when it is first needed; there is nothing to prepare", root.display());
        return Ok(ExitCode::SUCCESS);
    }
    let done = with_system(context, |system| {
        initialise(system, &args.dataset, &root).map_err(|error| {
            let why = error.to_string();
            let told = CommandError::failed(format!("make the datasets below {}: {why}", args.dataset));
            let no_zfs = ["/dev/zfs", "/sbin/zfs", "libzfs", "ZFS modules"].iter().any(|words| why.contains(words));
            match pools(system).as_slice() {
                [pool, ..] if why.contains("no such pool") => {
                    told.hint(format!("say --dataset {pool}/jetpack, which is in a pool of this host"))
                }
                [] if no_zfs || why.contains("no such pool") => {
                    told.hint("make a pool or name one by --dataset; without ZFS nothing needs to be made")
                }
                _ if why.contains("cannot mount") => told.hint(format!(
                    "give it a place: zfs set canmount=on mountpoint={} {}",
                    root.display(),
                    args.dataset
                )),
                _ => told,
            }
        })
    })?;
    if let Some(file) = &context.model {
        let mut saved = Saved::open(file)?;
        saved.model.keep_on_disk(&root)?;
        saved.save()?;
    }
    for dataset in &done.made {
        println!("{dataset}");
    }
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if real(&done.mountpoint) != real(&root) {
        return Err(CommandError::failed(format!(
            "use {}: it is mounted at {}, not at {}",
            args.dataset,
            done.mountpoint.display(),
            root.display()
        ))
        .hint(format!("say --root {}, or name another --dataset", done.mountpoint.display())));
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of the host's pools; none where there is no ZFS.
fn pools(system: &mut dyn System) -> Vec<String> {
    let listed = system.run(Program::Zpool, &["list", "-H", "-o", "name"], "").and_then(Ran::success);
    listed.unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Lets `work` have the FreeBSD system that this call is about: the one it runs on, or the model of `--host`.
pub fn with_system<T>(
    context: &Context,
    work: impl FnOnce(&mut dyn System) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    if let Some(file) = &context.model {
        let mut saved = Saved::open(file)?;
        let done = work(&mut saved.model)?;
        saved.save()?;
        return Ok(done);
    }
    #[cfg(target_os = "freebsd")]
    {
        work(&mut appc::executor::freebsd::Real)
    }
    #[cfg(not(target_os = "freebsd"))]
    {
        let _ = work;
        Err(CommandError::failed("do that on this system: it is about FreeBSD hosts".to_owned())
            .hint("--host model:freebsd asks the model of one"))
    }
}
