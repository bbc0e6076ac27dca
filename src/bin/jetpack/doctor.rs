//! `jetpack doctor`: whether this host can run pods, and what to do when it cannot.

use std::process::ExitCode;

use appc::executor::finding::Finding;
use appc::executor::freebsd::{attempt, diagnose};
use appc::executor::model::freebsd::Saved;

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
    /// Make and take away once what pods on FreeBSD are made of: a clone, devices, a jail, rules
    #[arg(long = "try")]
    attempt: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let mut findings = look(args, context)?;
    if args.attempt {
        findings.extend(tried(args, context)?);
    }
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
    let mut findings = with_system(context, |system| Ok(diagnose(system, root, &args.dataset)))?;
    for finding in findings.iter_mut().filter(|finding| !finding.good) {
        finding.remedy = match finding.subject.as_str() {
            "privilege" => Some("run jetpack as root".to_owned()),
            "datasets" => Some(format!("run jetpack init --dataset {}", args.dataset)),
            _ => continue,
        };
    }
    Ok(findings)
}

fn tried(args: &Args, context: &Context) -> Result<Vec<Finding>, CommandError> {
    let root = context.root()?;
    if let Some(file) = &context.model {
        let mut saved = Saved::open(file)?;
        let findings = attempt(saved.model.clone(), &root, &args.dataset);
        saved.save()?;
        return Ok(findings);
    }
    #[cfg(target_os = "freebsd")]
    {
        Ok(attempt(appc::executor::freebsd::Real, &root, &args.dataset))
    }
    #[cfg(not(target_os = "freebsd"))]
    {
        Err(CommandError::failed("try that on this system: it is about FreeBSD hosts".to_owned())
            .hint("--host model:freebsd asks the model of one"))
    }
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
