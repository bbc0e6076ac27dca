//! `jetpack run`: make a pod of images or of a pod manifest, and run it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::executor::journal::Fault;
use appc::executor::lifecycle::Supervision;
use appc::executor::local::{self, Begin, Damage};
use appc::pod::PodDir;
use appc::sys::background::{Side, leave_behind};

use crate::assemble;
use crate::context::Context;
use crate::error::CommandError;
use crate::prepare::save_uuid;

/// Run a pod: the apps of the images named, or those of a pod manifest.
///
/// The exit code is that of the first app that failed, else 0; 125 when jetpack itself, or the app's pre-start handler,
/// failed before the app started, 126 when the app's program cannot be executed, 127 when it is not there, 128+N when
/// signal N ended the app.
///
/// Signals to jetpack are for the apps: HUP, QUIT, USR1, USR2, ALRM and CONT reach their main processes as they are, WINCH too where
/// no terminal is involved. TERM and INT do and ask them to end within the time of `jetpack stop`; a second INT ends them at once.
/// A HUP because the terminal is gone asks them to end too. What nohup or a shell's `&` has jetpack ignore stays ignored.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pod: assemble::PodArgs,
    #[command(flatten)]
    start: Start,
    /// Take the place of the pod that has the name: what runs of it is asked to end, as by `jetpack stop`, and it is removed
    #[arg(long)]
    replace: bool,
    /// Write the pod's UUID into this file
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,
}

/// How a pod is run.
#[derive(clap::Args)]
pub struct Start {
    /// Leave the pod running, print its UUID
    #[arg(short, long)]
    detach: bool,
    /// Remove the pod when it has ended
    #[arg(long)]
    rm: bool,
    /// Let a step fail, or end the supervisor after it, to see that nothing is left: fail:N, kill:N
    #[arg(long, hide = true, value_parser = fault)]
    inject: Option<Fault>,
}

fn fault(text: &str) -> Result<Fault, String> {
    let wrong = || format!("`{text}` is neither fail:N nor kill:N");
    let (what, step) = text.split_once(':').ok_or_else(wrong)?;
    let step = step.parse().map_err(|_| wrong())?;
    match what {
        "fail" => Ok(Fault::Fail(step)),
        "kill" => Ok(Fault::Stop(step)),
        _ => Err(wrong()),
    }
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let begin = || -> Result<ExitCode, CommandError> {
        let pods = context.pods()?;
        let (draft, _held) = assemble::draft(&args.pod, context)?;
        if args.replace {
            assemble::make_way(&draft, &pods, context)?;
        }
        let (pod, _) = draft.prepare(&pods, Begin::AtOnce)?;
        if let Err(error) = save_uuid(args.uuid_file_save.as_deref(), &pod) {
            local::remove(&pods, pod, Damage::Keeps)?;
            return Err(error);
        }
        start(pod, Begin::AtOnce, &args.start, context)
    };
    begin().map_err(CommandError::before_start)
}

/// How pods are supervised that run in the foreground.
pub fn supervision(context: &Context) -> Supervision {
    Supervision {
        grace: context.config.stop_grace.value,
        log_limit: context.config.log_limit.value,
        voice: crate::context::voice,
        notify: std::env::var_os("NOTIFY_SOCKET"),
        ..Supervision::default()
    }
}

/// Runs a pod that is prepared and in hand. One that cannot be started is removed where it was made to begin at once, and
/// else stays prepared.
pub fn start(pod: PodDir, begin: Begin, how: &Start, context: &Context) -> Result<ExitCode, CommandError> {
    let root = context.root()?;
    let pods = context.pods()?;
    let mut supervision = Supervision {
        foreground: !how.detach,
        fault: how.inject.unwrap_or_default(),
        passing: how.rm,
        ..supervision(context)
    };
    if how.detach {
        let uuid = pod.uuid();
        match leave_behind().map_err(|error| CommandError::failed(format!("leave the pod running: {error}")))? {
            Side::Ahead(None) => {
                // The pod runs, whether or not somebody reads its name.
                let _ = writeln!(appc::sys::output::stdout(), "{uuid}");
                return Ok(ExitCode::SUCCESS);
            }
            // It has told why.
            Side::Ahead(Some(status)) => return Ok(ExitCode::from(u8::try_from(status & 0xff).unwrap_or(125))),
            Side::Behind(leash) => {
                supervision.leash = Some(leash);
                pod.sign_lock()?;
            }
        }
    }
    let ending = match local::start(&pod, &root, supervision, assemble::tell_report) {
        Ok(ending) => ending,
        Err(error) if *error.kind() == appc::executor::Kind::Interrupted => {
            // As if someone had killed us: nothing is undone, nobody is told.
            local::die();
        }
        Err(error) => {
            let cleared = match begin {
                Begin::AtOnce => local::remove(&pods, pod, Damage::Keeps).map(drop),
                Begin::Later => local::unstart(&pods, &pod),
            };
            if let Err(left) = cleared {
                eprintln!("jetpack: failed to {}", appc::error::chain(&left));
            }
            return Err(error.into());
        }
    };
    if how.rm {
        local::remove(&pods, pod, Damage::Keeps)?;
    }
    match ending.failure {
        Some(error) => Err(CommandError::from(error)),
        None => Ok(ExitCode::from(u8::try_from(ending.code & 0xff).unwrap_or(125))),
    }
}
