//! Programs of the system that this process runs on.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use super::Real;
use super::system::{Program, Programs, Ran};

/// What a program may say before it is taken for one that went mad.
const SAID: u64 = 1 << 24;

/// What is handed to a program at once.
const PIECE: usize = 1 << 18;

impl Programs for Real {
    fn run(&mut self, program: Program, arguments: &[&str], input: &str) -> io::Result<Ran> {
        let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
        let mut child = start(program, arguments, stdin, Stdio::piped())?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not want it all says so by its exit status.
            let _ = stdin.write_all(input.as_bytes());
        }
        let mut output = String::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(SAID).read_to_string(&mut output)?;
        }
        ended(child).map(|ran| Ran { output, ..ran })
    }

    fn feed(&mut self, program: Program, arguments: &[&str], source: &mut dyn Read) -> io::Result<Ran> {
        let mut child = start(program, arguments, Stdio::piped(), Stdio::null())?;
        let mut failure = None;
        if let Some(mut stdin) = child.stdin.take() {
            let mut piece = vec![0; PIECE];
            loop {
                match source.read(&mut piece) {
                    Ok(0) => break,
                    // One that does not want it all says so by its exit status.
                    Ok(count) if stdin.write_all(&piece[..count]).is_err() => break,
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                        failure = Some(error);
                        break;
                    }
                    _ => {}
                }
            }
        }
        let ran = ended(child)?;
        failure.map_or(Ok(ran), Err)
    }

    fn drain(&mut self, program: Program, arguments: &[&str], target: &mut dyn Write) -> io::Result<Ran> {
        let mut child = start(program, arguments, Stdio::null(), Stdio::piped())?;
        let mut copied = Ok(0);
        if let Some(mut stdout) = child.stdout.take() {
            copied = io::copy(&mut stdout, target);
        }
        if copied.is_err() {
            let _ = child.kill();
        }
        let ran = ended(child)?;
        copied.map(|_| ran)
    }
}

/// A program by its full path, with an empty environment.
fn start(program: Program, arguments: &[&str], stdin: Stdio, stdout: Stdio) -> io::Result<Child> {
    Command::new(program.path())
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("start {}: {error}", program.path())))
}

/// Waits for its end. These programs complain in a few lines, which the pipe holds until they are read.
fn ended(mut child: Child) -> io::Result<Ran> {
    let mut complaint = String::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(SAID).read_to_string(&mut complaint)?;
    }
    let status = child.wait()?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(Ran { code, output: String::new(), complaint })
}
