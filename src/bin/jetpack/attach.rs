//! `jetpack attach`: to a pod that was left running, as if it ran in the foreground.

use std::process::ExitCode;

use appc::executor::plan::{AppPlan, PodPlan, Stream};
use appc::executor::relay::Input;
use appc::pod::{Part, PodDir, State};
use appc::sys::signals::{FORWARDED, Watch};
use appc::sys::terminal::{self, Raw};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::context::Context;
use crate::error::CommandError;
use crate::logs;

/// Show what the apps of a running pod say from now on, pass input and signals on to it, and end as it ends.
///
/// What is typed goes to the app that was started with `--interactive` or `--tty`; its terminal is seen through this one, which control P and
/// control Q leave. The end of standard input is not passed on: others may attach later.
///
/// Signals mean to the pod what they mean to `jetpack run`: a TERM or INT asks its apps to end. A terminal that is hung up detaches, and leaves the pod running.
/// The exit code is the pod's; 125 where it does not run.
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
    /// Pass nothing on of standard input
    #[arg(long)]
    no_stdin: bool,
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
    let watch = Watch::new(&FORWARDED)?;
    let Reached { app, mut input, terminal } = reach(&pod, app, args.no_stdin)?;
    let mut detached = false;
    let shown = logs::Args::from_now_on(name.to_owned(), app, args.tail);
    logs::show_all(&shown, &pod, || {
        let came = wait(&watch, input.as_ref(), terminal.is_some());
        if let Some(input) = &mut input {
            input.go_on(came);
            detached |= input.is_left();
        }
        while let Some(signal) = watch.next() {
            match signal {
                libc::SIGHUP => detached = true,
                libc::SIGWINCH => see(&pod, terminal.as_ref())?,
                libc::SIGCONT => terminal.iter().for_each(Raw::again),
                // The terminal is to be given back as it was.
                signal if args.no_signals => detached |= is_end(signal),
                signal => unless_ended(pod.signal_supervisor(signal))?,
            }
        }
        Ok(!detached)
    })?;
    drop(terminal);
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

/// What is seen of a pod, and what can be typed there.
struct Reached {
    /// The only app that is shown.
    app: Option<String>,
    input: Option<Input>,
    /// Ours, raw for as long as the pod's is seen through it.
    terminal: Option<Raw>,
}

fn reach(pod: &PodDir, app: Option<&str>, no_input: bool) -> Result<Reached, CommandError> {
    let nothing = Reached { app: app.map(str::to_owned), input: None, terminal: None };
    if no_input {
        return Ok(nothing);
    }
    let plan: PodPlan = pod.read_json(Part::Plan)?;
    // A terminal has what is typed, where there is one, else whichever app of these reads first.
    let reads = |stream| plan.apps.iter().filter(move |app| app.stdio.stdin == stream);
    let seen = reads(Stream::Tty).next();
    let typed = |known: &AppPlan| app.is_none_or(|app| app == known.name);
    if !seen.into_iter().chain(reads(Stream::Stream).filter(|_| seen.is_none())).any(typed) {
        return Ok(nothing);
    }
    let Some(to) = pod.open_input()? else { return Ok(nothing) };
    let terminal = if seen.is_some() { Raw::new(std::io::stdin())? } else { None };
    see(pod, terminal.as_ref())?;
    let input = Some(Input::handed_over(to, terminal.is_some()));
    // Beside the words of others it could not be read.
    let app = seen.filter(|_| terminal.is_some()).map(|app| app.name.clone()).or(nothing.app);
    Ok(Reached { app, input, terminal })
}

/// Gives the pod's terminal the size of ours.
fn see(pod: &PodDir, terminal: Option<&Raw>) -> Result<(), CommandError> {
    match terminal.and_then(|_| terminal::size(std::io::stdin())) {
        Some(size) => unless_ended(pod.set_window(size)),
        None => Ok(()),
    }
}

fn is_end(signal: i32) -> bool {
    matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT)
}

fn unless_ended(done: Result<(), appc::pod::Error>) -> Result<(), CommandError> {
    match done {
        Err(error) if *error.kind() != appc::pod::Kind::Missing => Err(error.into()),
        _ => Ok(()),
    }
}

/// Until it is to be looked again; says whether input has come, or can go on.
fn wait(watch: &Watch, input: Option<&Input>, typed: bool) -> bool {
    let pause = if typed { logs::PAUSE / 5 } else { logs::PAUSE };
    let pause = Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() };
    let mut waiting = vec![PollFd::new(watch, PollFlags::IN)];
    let passes = input.and_then(Input::waits_for);
    waiting.extend(passes.map(|(stream, flags)| PollFd::from_borrowed_fd(stream, flags)));
    // Whatever it says, it is looked again.
    let _ = poll(&mut waiting, Some(&pause));
    waiting.get(1).is_some_and(|input| !input.revents().is_empty())
}
