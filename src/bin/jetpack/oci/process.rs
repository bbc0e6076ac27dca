//! `exec`, and whoever waits for a process.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::executor::container::Entry;
use appc::executor::relay::{Relay, watched};
use appc::executor::supervise::End;
use appc::id::Id;
use appc::oci::bundle::{Capabilities, Process};
use appc::sys::signals::Watch;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitOptions, waitpid};
#[cfg(target_os = "linux")]
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};

use super::system::{self, enter};
use super::{Context, Failed, console};

#[derive(clap::Args)]
pub struct ExecArgs {
    /// The socket that gets the near end of the terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Where it starts
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Adds to its environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Who it is
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Further groups
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<Id>,
    /// The file that says all of it, as `process` of config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Come back once it runs
    #[arg(short, long)]
    detach: bool,
    /// The file that its number goes into
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// A label of SELinux
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// A profile of AppArmor
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// It cannot gain privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Adds to what it may
    #[arg(short, long, value_name = "CAPABILITY")]
    cap: Vec<String>,
    /// So many descriptors above the standard streams stay open
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u16,
    /// The control group below the container's that it joins
    #[arg(long, value_name = "[CONTROLLER:]PATH")]
    cgroup: Option<String>,
    /// Even though the container stands still
    #[arg(long)]
    ignore_paused: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    id: String,
    /// The program and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl ExecArgs {
    fn process(&self, of_container: Option<Process>) -> Result<Process, Failed> {
        let mut process = match &self.process {
            Some(file) => {
                let doing = |error: &dyn std::fmt::Display| Failed::new(format!("read {}: {error}", file.display()));
                let text = std::fs::read(file).map_err(|error| doing(&error))?;
                return serde_json::from_slice(&text).map_err(|error| doing(&error));
            }
            None => of_container.unwrap_or_default(),
        };
        process.args.clone_from(&self.command);
        process.terminal = self.tty;
        process.env.extend(self.env.iter().cloned());
        if let Some(cwd) = &self.cwd {
            process.cwd.clone_from(cwd);
        }
        if let Some(user) = &self.user {
            let (uid, gid) = user.split_once(':').map_or((user.as_str(), None), |(uid, gid)| (uid, Some(gid)));
            let number = |text: &str| {
                text.parse::<Id>().map_err(|error| Failed::new(format!("use --user {user}: `{text}`: {error}")))
            };
            process.user.uid = number(uid)?;
            if let Some(gid) = gid {
                process.user.gid = number(gid)?;
            }
        }
        process.user.additional_gids.extend(&self.additional_gids);
        process.no_new_privileges |= self.no_new_privs;
        process.apparmor_profile = self.apparmor.clone().or(process.apparmor_profile);
        process.selinux_label = self.process_label.clone().or(process.selinux_label);
        if !self.cap.is_empty() {
            let sets = process.capabilities.get_or_insert_with(Capabilities::default);
            for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
                set.extend(self.cap.iter().cloned());
            }
        }
        Ok(process)
    }
}

pub fn exec(args: ExecArgs, context: &Context) -> Result<ExitCode, Failed> {
    let container = context.container(&args.id)?;
    let process = args.process(container.config()?.process)?;
    let own = process.terminal && !args.detach && args.console_socket.is_none();
    let (socket, near) = if own {
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        (Some(far), Some(near))
    } else {
        (console(args.console_socket.as_deref())?, None)
    };
    let entry = Entry {
        console: socket,
        pid_file: args.pid_file.clone(),
        preserve: i32::from(args.preserve_fds),
        keep_keyring: false,
        group: args.cgroup.clone(),
        though_paused: args.ignore_paused,
    };
    let (pid, _) = enter::enter(&container, &process, &entry)?;
    if args.detach {
        return Ok(ExitCode::SUCCESS);
    }
    attend(pid.as_raw_pid(), near.map(received).transpose()?)
}

/// The near end of a terminal, which has come by this socket.
pub fn received(from: OwnedFd) -> Result<OwnedFd, Failed> {
    system::terminal_from(&from).map_err(|error| Failed::new(format!("set up the terminal: none has come: {error}")))
}

/// Waits for the end of the child `pid`, passes signals on to it, and shows its terminal through ours.
pub fn attend(pid: i32, terminal: Option<OwnedFd>) -> Result<ExitCode, Failed> {
    let pid = Pid::from_raw(pid).ok_or_else(|| Failed::new("wait for the process: it has no number"))?;
    let watch = Watch::new(&watched())?;
    let ended = || match waitpid(Some(pid), WaitOptions::NOHANG)? {
        Some((_, status)) => {
            let signal = status.terminating_signal().map(End::Signal);
            Ok(Some(signal.unwrap_or(End::Status(status.exit_status().unwrap_or(1)))))
        }
        None => Ok(None),
    };
    let send = |signal| {
        if let Some(signal) = rustix::process::Signal::from_named_raw(signal) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    };
    let end = match terminal {
        Some(near) => {
            let make = || {
                let far = far_end(&near)?;
                Ok((near, far))
            };
            let (relay, streams) = Relay::new(true, crate::context::voice, make)?;
            drop(streams);
            relay.run(&watch, ended, send)?
        }
        None => loop {
            if let Some(end) = ended()? {
                break end;
            }
            let _ = poll(&mut [PollFd::new(&watch, PollFlags::IN)], None);
            while let Some(signal) = watch.next() {
                if signal != libc::SIGCHLD {
                    send(signal);
                }
            }
        },
    };
    Ok(ExitCode::from(u8::try_from(end.code()).unwrap_or(1)))
}

#[cfg(target_os = "linux")]
fn far_end(near: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    ioctl_tiocgptpeer(near, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}

/// It is one of the host's here.
#[cfg(target_os = "freebsd")]
fn far_end(near: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    let name = rustix::pty::ptsname(near, Vec::new())?;
    open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
}
