//! Programs that a bundle has run at points of the container's life. Each finds on its standard input what the container is doing.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::executor::{Error, Kind};
use crate::oci::bundle::Hook;

/// Runs `hooks` of this kind one after the other.
///
/// # Errors
/// [`Kind::Io`] of the first that fails, or takes longer than it may: those behind it are not run.
pub fn run(kind: &str, hooks: &[Hook], state: &Value) -> Result<(), Error> {
    for (number, hook) in hooks.iter().enumerate() {
        one(hook, state).map_err(|error| Error::new(Kind::Io, format!("run {kind} hook #{number}")).because(error))?;
    }
    Ok(())
}

/// Runs each of `hooks`, whatever becomes of the others. Gives what went wrong.
pub fn run_all(kind: &str, hooks: &[Hook], state: &Value) -> Vec<Error> {
    hooks.iter().filter_map(|hook| run(kind, std::slice::from_ref(hook), state).err()).collect()
}

fn one(hook: &Hook, state: &Value) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", hook.path.display()));
    let mut command = Command::new(&hook.path);
    if let Some((name, arguments)) = hook.args.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear();
    command.envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(named)?;
    let until = hook.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    if let Some(mut to) = child.stdin.take() {
        // One that does not want to know may have ended.
        let _ = to.write_all(state.to_string().as_bytes());
    }
    let status = wait(&mut child, until).map_err(named)?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(named(io::Error::other(format!("it ended with {status}")))),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            Err(named(io::Error::new(io::ErrorKind::TimedOut, "it took longer than it may")))
        }
    }
}

fn wait(child: &mut Child, until: Option<Instant>) -> io::Result<Option<std::process::ExitStatus>> {
    let Some(until) = until else { return child.wait().map(Some) };
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
