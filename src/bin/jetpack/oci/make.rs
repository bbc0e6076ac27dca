//! `create`, `start`, `run`.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::executor::container::{self, Container, Options, Wish};
use appc::oci::bundle::Bundle;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::process::{attend, received};
use super::system::launch;
use super::{Context, Failed, console};

#[derive(clap::Args)]
pub struct CreateArgs {
    #[command(flatten)]
    making: Making,
}

#[derive(clap::Args)]
struct Making {
    /// The directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Another file than config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The socket that gets the near end of the terminal
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// The file that the process's number goes into
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Move to the root file system where it cannot be pivoted into, as on a ramdisk
    #[arg(long)]
    no_pivot: bool,
    /// Keep the caller's keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// So many descriptors above the standard streams stay open
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u16,
    /// Do not make it where something that it asks for does not hold
    #[arg(long)]
    strict: bool,
    /// Taken as others take it: its orphans are not this program's
    #[arg(long, hide = true)]
    no_subreaper: bool,
    /// What it is called
    #[arg(value_name = "CONTAINER")]
    id: String,
}

#[derive(clap::Args)]
pub struct StartArgs {
    /// What it is called
    #[arg(value_name = "CONTAINER")]
    id: String,
}

#[derive(clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    making: Making,
    /// Come back once it runs
    #[arg(short, long)]
    detach: bool,
    /// Do not remove it when it has ended
    #[arg(long)]
    keep: bool,
}

impl Making {
    fn open(&self) -> Result<Bundle, Failed> {
        Ok(match &self.config {
            Some(file) => Bundle::with(&self.bundle, file)?,
            None => Bundle::open(&self.bundle)?,
        })
    }

    fn make(&self, console: Option<OwnedFd>, context: &Context) -> Result<Container, Failed> {
        let bundle = self.open()?;
        // Those that systemd has passed on are behind the standard streams too.
        let passed = std::env::var("LISTEN_FDS").ok().and_then(|number| number.parse::<u16>().ok()).unwrap_or(0);
        let mut bundle = bundle;
        if let (1.., Some(process)) = (passed, &mut bundle.config.process) {
            process.env.extend([format!("LISTEN_FDS={passed}"), "LISTEN_PID=1".to_owned()]);
        }
        let wish = Wish {
            options: Options { groups: context.groups, no_pivot: self.no_pivot },
            console,
            pid_file: self.pid_file.clone(),
            preserve: i32::from(self.preserve_fds) + i32::from(passed),
            keep_keyring: self.no_new_keyring,
            strict: self.strict,
        };
        let (container, unmet) = launch::create(&context.root, &self.id, &bundle, &wish)?;
        unmet.iter().for_each(|verdict| context.warn(&verdict.to_string()));
        Ok(container)
    }
}

pub fn create(args: CreateArgs, context: &Context) -> Result<ExitCode, Failed> {
    args.making.make(console(args.making.console_socket.as_deref())?, context)?;
    Ok(ExitCode::SUCCESS)
}

pub fn start(args: &StartArgs, context: &Context) -> Result<ExitCode, Failed> {
    start_it(&context.container(&args.id)?, context)?;
    Ok(ExitCode::SUCCESS)
}

fn start_it(container: &Container, context: &Context) -> Result<(), Failed> {
    for error in launch::start(container)? {
        context.warn(&Failed::from(error).0);
    }
    Ok(())
}

pub fn run(args: RunArgs, context: &Context) -> Result<ExitCode, Failed> {
    let making = &args.making;
    let config = making.open()?.config;
    let own = config.process.is_some_and(|process| process.terminal) && !args.detach && making.console_socket.is_none();
    let (socket, near) = if own {
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        (Some(far), Some(near))
    } else {
        (console(making.console_socket.as_deref())?, None)
    };
    let container = making.make(socket, context)?;
    let terminal = near.map(received).transpose()?;
    let done = start_it(&container, context).and_then(|()| {
        let process = container.kept.process.map_or(0, |process| process.pid);
        if args.detach { Ok(ExitCode::SUCCESS) } else { attend(process, terminal) }
    });
    if done.is_err() || !args.detach && !args.keep {
        for error in container::delete(&container, true)? {
            context.warn(&Failed::from(error).0);
        }
    }
    done
}
