//! `jetpack attach`: to a pod that was left running, as if it ran in the foreground.

use std::process::ExitCode;

use appc::pod::State;
use appc::sys::signals::{FORWARDED, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::context::Context;
use crate::error::CommandError;
use crate::logs;

/// Show what the apps of a running pod say from now on, pass signals on to it, and end as it ends.
///
/// Signals mean to the pod what they mean to `jetpack run`: a TERM or INT asks its apps to end. A terminal that is hung up detaches, and leaves the pod running.
/// Standard input is not passed on: `jetpack exec -t` gives a shell beside the app. The exit code is the pod's; 125 where it does not run.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name; of one app with `:APP` behind it
    #[arg(value_name = "POD[:APP]")]
    pod: String,
    /// Show the last lines of what was said before
    #[arg(short = 'n', long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    tail: usize,
    /// Let signals detach, and leave the pod running
    #[arg(long)]
    no_signals: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    attach(args, context).map_err(CommandError::before_start)
}

fn attach(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (name, app) = args.pod.split_once(':').map_or((args.pod.as_str(), None), |(pod, app)| (pod, Some(app)));
    let pod = context.pods()?.find(name)?;
    if pod.state() != State::Running {
        let hint = format!("`jetpack logs {name}` shows what its apps have said");
        return Err(CommandError::failed(format!("attach to pod {}: it is {}", pod.uuid(), pod.state())).hint(hint));
    }
    let watch = Watch::new(if args.no_signals { &[] } else { &FORWARDED })?;
    let pause = Timespec { tv_sec: 0, tv_nsec: logs::PAUSE.subsec_nanos().into() };
    let mut detached = false;
    let shown = logs::Args::from_now_on(name.to_owned(), app.map(str::to_owned), args.tail);
    logs::show_all(&shown, &pod, || {
        // Whatever it says, it is looked again.
        let _ = poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&pause));
        while let Some(signal) = watch.next() {
            match signal {
                libc::SIGHUP => detached = true,
                // These are about this process and its window.
                libc::SIGCONT | libc::SIGWINCH => {}
                signal => match pod.signal_supervisor(signal) {
                    Err(error) if *error.kind() != appc::pod::Kind::Missing => return Err(error.into()),
                    _ => {}
                },
            }
        }
        Ok(!detached)
    })?;
    if detached {
        return Ok(ExitCode::SUCCESS);
    }
    // The last is said before the end is written down.
    pod.wait()?;
    match pod.status().and_then(|status| status.exit_code) {
        Some(code) => Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(125))),
        // Removed by whoever runs it, or lost with its supervisor.
        None => Err(CommandError::failed(format!("tell how pod {} has ended: nobody knows", pod.uuid()))),
    }
}
