//! Programs that a bundle has run at points of the container's life. Each finds on its standard input what the container is doing.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
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
    // One that does not want to know may have ended, or not read it all.
    let told = child.stdin.take().map(|to| (to, state.to_string().into_bytes()));
    let status = wait(&mut child, told, until).map_err(named)?;
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

/// Waits for its end, and tells it meanwhile as much as it wants to hear.
fn wait(
    child: &mut Child,
    mut told: Option<(ChildStdin, Vec<u8>)>,
    until: Option<Instant>,
) -> io::Result<Option<std::process::ExitStatus>> {
    if let Some((to, _)) = &told {
        rustix::io::ioctl_fionbio(to, true)?;
    }
    loop {
        if let Some((to, rest)) = &mut told {
            match to.write(rest) {
                Ok(count) if count < rest.len() => drop(rest.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => told = None,
            }
        }
        if told.is_none() && until.is_none() {
            return child.wait().map(Some);
        }
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
