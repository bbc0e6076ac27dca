//! Running a process that may hang, crash or talk without end.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::Answer;
use crate::{Failure, interrupt};

/// The longest that a process may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

/// The most that is kept of one stream.
const KEPT: usize = 4 << 20;

/// Whether there is such a program, for somebody who runs it in any directory.
pub fn there(program: &str, dir: &Path) -> bool {
    let runnable = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return runnable(&dir.join(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|place| runnable(&place.join(program)))
}

/// Runs a command to its end, or to the end of patience, with nothing to read.
pub fn run(mut command: Command, patience: Patience) -> Result<Answer, Failure> {
    command.stdin(Stdio::null());
    run_with_input(command, patience)
}

/// Runs a command with the standard input that it has.
pub fn run_with_input(mut command: Command, patience: Patience) -> Result<Answer, Failure> {
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn() {
        Ok(child) => child,
        // It was there when the run began, so it is the target's doing that it cannot be had any longer.
        Err(e) => return Ok(Answer { broken: Some(format!("could not be started: {e}")), ..Answer::default() }),
    };
    let (sender, receiver) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        drain(pipe, sender.clone(), true);
    }
    if let Some(pipe) = child.stderr.take() {
        drain(pipe, sender.clone(), false);
    }
    drop(sender);
    let deadline = Instant::now() + patience.0;
    let (status, hung) =
        wait(&mut child, deadline).map_err(|e| Failure::new(format!("failed to wait for a process: {e}")))?;
    let mut answer = Answer { code: status.code(), signal: status.signal(), hung, ..Answer::default() };
    // A process left behind may hold the pipes open: what is there after a while is what counts.
    let last = Instant::now() + Duration::from_secs(2);
    while let Ok((out, text)) = receiver.recv_timeout(last.saturating_duration_since(Instant::now())) {
        *(if out { &mut answer.stdout } else { &mut answer.stderr }) = String::from_utf8_lossy(&text).into_owned();
    }
    Ok(answer)
}

fn drain(mut pipe: impl Read + Send + 'static, sender: mpsc::Sender<(bool, Vec<u8>)>, out: bool) {
    thread::spawn(move || {
        let mut text = Vec::new();
        let mut part = [0; 16 * 1024];
        while let Ok(read) = pipe.read(&mut part) {
            if read == 0 {
                break;
            }
            let room = KEPT.saturating_sub(text.len());
            text.extend_from_slice(&part[..read.min(room)]);
        }
        // Nobody waits any longer when the receiver is gone.
        let _ = sender.send((out, text));
    });
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<(std::process::ExitStatus, bool)> {
    let mut pause = Duration::from_millis(1);
    // What is done to clean up after a signal is not ended by that signal.
    let cleaning = interrupt::came();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, false));
        }
        if Instant::now() >= deadline || (interrupt::came() && !cleaning) {
            kill_group(child.id());
            return Ok((child.wait()?, true));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Kills the process and everything that it started in its group.
pub fn kill_group(leader: u32) {
    let group = i32::try_from(leader).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // Fails only when there is nothing left to kill.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}
