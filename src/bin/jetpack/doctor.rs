//! `jetpack doctor`: whether this host can run pods, and what to do when it cannot.

use std::process::ExitCode;

use appc::executor::finding::Finding;
use appc::executor::freebsd::diagnose;

use crate::context::Context;
use crate::error::CommandError;
use crate::init::with_system;

/// Look at what this host needs to run pods, and say what to do about what is missing.
///
/// On Linux: kernel, namespaces, subordinate ids, control groups, overlay, filters, networks. On FreeBSD: root, ZFS, jails, resource
/// limits, packet filter, Linux images.
///
/// The exit code is 0 when pods can run, 1 when something that they need is missing.
#[derive(clap::Args)]
pub struct Args {
    /// The root dataset, on FreeBSD
    #[arg(long, value_name = "DATASET", default_value = "zroot/jetpack")]
    dataset: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let findings = look(args, context)?;
    if args.json {
        crate::output::json(findings.as_slice())?;
    } else {
        findings.iter().for_each(tell);
    }
    let lame = findings.iter().any(|finding| finding.needed && !finding.good);
    Ok(ExitCode::from(u8::from(lame)))
}

fn look(args: &Args, context: &Context) -> Result<Vec<Finding>, CommandError> {
    #[cfg(target_os = "linux")]
    if context.model.is_none() {
        return Ok(appc::executor::linux::diagnose(&context.cni(), &context.root()?));
    }
    let root = rustix::process::geteuid().is_root() || context.model.is_some();
    with_system(context, |system| Ok(diagnose(system, root, &args.dataset)))
}

fn tell(finding: &Finding) {
    let mark = match (finding.good, finding.needed) {
        (true, _) => "ok     ",
        (false, true) => "MISSING",
        (false, false) => "lacking",
    };
    println!("{mark}  {}: {}", finding.subject, finding.found);
    if let Some(remedy) = &finding.remedy {
        for line in remedy.lines() {
            println!("         {line}");
        }
    }
}
