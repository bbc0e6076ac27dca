//! `delete`, `kill`, `pause`, `resume`, `update`.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use appc::executor::container::{self, Status};
use appc::oci::bundle::{BlockIo, Cpu, Memory, Pids, Resources};

use super::{Context, Failed, system};

#[derive(clap::Args)]
pub struct IdArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// What is refused, whatever its words are.
#[derive(clap::Args)]
pub struct Refused {
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    _words: Vec<String>,
}

#[derive(clap::Args)]
pub struct DeleteArgs {
    /// End it first where it runs; one that is not there is no error
    #[arg(short, long)]
    force: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

#[derive(clap::Args)]
pub struct KillArgs {
    /// To all its processes
    #[arg(short, long)]
    all: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    id: String,
    /// By name or number
    #[arg(value_name = "SIGNAL", default_value = "SIGTERM")]
    signal: String,
}

pub fn delete(args: &DeleteArgs, context: &Context) -> Result<ExitCode, Failed> {
    let container = match context.root.open(&args.id) {
        Err(error) if args.force && *error.kind() == appc::executor::Kind::Missing => {
            // What was left of one that was never whole.
            appc::executor::remove_tree(&context.root.place(&args.id)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        found => found?,
    };
    for error in container::delete(&container, args.force)? {
        context.warn(&Failed::from(error).0);
    }
    Ok(ExitCode::SUCCESS)
}

pub fn kill(args: &KillArgs, context: &Context) -> Result<ExitCode, Failed> {
    let container = context.container(&args.id)?;
    let signal = appc::sys::signals::named(&args.signal)
        .ok_or_else(|| Failed::new(format!("send {}: there is no such signal", args.signal)))?;
    // Where others' processes are its own there is no first one with which all end.
    let own = cfg!(target_os = "freebsd")
        || container.config()?.namespace("pid").is_some_and(|namespace| namespace.path.is_none());
    if args.all || !own && signal == libc::SIGKILL {
        container.signal_all(signal);
        return Ok(ExitCode::SUCCESS);
    }
    let paused = container.status() == Status::Paused;
    container.signal(signal)?;
    if paused && signal == libc::SIGKILL {
        // In version 1 of control groups one that stands still does not even die.
        let _ = container.freeze(false);
    }
    Ok(ExitCode::SUCCESS)
}

pub fn freeze(args: &IdArgs, freeze: bool, context: &Context) -> Result<ExitCode, Failed> {
    let container = context.container(&args.id)?;
    let doing = if freeze { "pause" } else { "resume" };
    match (container.status(), freeze) {
        (Status::Running | Status::Created, true) | (Status::Paused, false) => {}
        (status, _) => {
            let why = if freeze { "container not running or created" } else { "container not paused" };
            return Err(Failed::new(format!("{doing} the container {}: {why}: {}", args.id, status.word())));
        }
    }
    container.freeze(freeze)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub struct UpdateArgs {
    /// The file that says all of it, as `linux.resources` of config.json; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Bytes that may be used
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    memory: Option<i64>,
    /// Bytes to which it is pushed back when memory is short
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Bytes that may be used together with swap
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    memory_swap: Option<i64>,
    /// Taken as others take it: the kernel counts its own memory no longer
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, hide = true, value_parser = bytes)]
    kernel_memory: Option<i64>,
    /// Bytes of the kernel's buffers for TCP
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    kernel_memory_tcp: Option<i64>,
    /// Microseconds
    #[arg(long, value_name = "USEC")]
    cpu_period: Option<u64>,
    /// Microseconds in a period
    #[arg(long, value_name = "USEC", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Microseconds that may be saved up
    #[arg(long, value_name = "USEC")]
    cpu_burst: Option<u64>,
    /// Relative weight
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// Real-time microseconds
    #[arg(long, value_name = "USEC")]
    cpu_rt_period: Option<u64>,
    /// Real-time microseconds in a period
    #[arg(long, value_name = "USEC", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<i64>,
    /// Which processors
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Which nodes of memory
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Whether it gets only what others leave
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// How many processes
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Relative weight for block devices
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// The container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// A number, or one with `k`, `m`, `g`, `t` behind it.
fn bytes(text: &str) -> Result<i64, String> {
    let word = text.to_ascii_lowercase();
    let word = word.strip_suffix('b').unwrap_or(&word);
    let word = word.strip_suffix('i').unwrap_or(word);
    let units = [('k', 10), ('m', 20), ('g', 30), ('t', 40)];
    let (number, shift) =
        units.iter().find_map(|(unit, shift)| Some((word.strip_suffix(*unit)?, *shift))).unwrap_or((word, 0));
    let number = number.parse::<i64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| format!("`{text}` is no number of bytes: 1048576, 1024k, 1m, -1 are"))
}

impl UpdateArgs {
    fn asked(&self) -> Result<Resources, Failed> {
        let Some(file) = &self.resources else {
            return Ok(Resources {
                memory: Some(Memory {
                    limit: self.memory,
                    reservation: self.memory_reservation,
                    swap: self.memory_swap,
                    kernel_tcp: self.kernel_memory_tcp,
                    ..Memory::default()
                }),
                cpu: Some(Cpu {
                    shares: self.cpu_share,
                    quota: self.cpu_quota,
                    burst: self.cpu_burst,
                    period: self.cpu_period,
                    realtime_runtime: self.cpu_rt_runtime,
                    realtime_period: self.cpu_rt_period,
                    cpus: self.cpuset_cpus.clone(),
                    mems: self.cpuset_mems.clone(),
                    idle: self.cpu_idle,
                }),
                pids: Some(Pids { limit: self.pids_limit }),
                block_io: Some(BlockIo { weight: self.blkio_weight, ..BlockIo::default() }),
                ..Resources::default()
            });
        };
        let doing = |error: &dyn std::fmt::Display| Failed::new(format!("read {}: {error}", file.display()));
        let mut text = Vec::new();
        let read = if file.as_os_str() == "-" {
            std::io::stdin().lock().read_to_end(&mut text)
        } else {
            std::fs::File::open(file).and_then(|mut open| open.read_to_end(&mut text))
        };
        read.map_err(|error| doing(&error))?;
        serde_json::from_slice(&text).map_err(|error| doing(&error))
    }
}

pub fn update(args: UpdateArgs, context: &Context) -> Result<ExitCode, Failed> {
    let container = context.container(&args.id)?;
    if container.status() == Status::Stopped {
        return Err(Failed::new(format!("update the container {}: container not running", args.id)));
    }
    for lacking in system::update(&container, &args.asked()?)? {
        context.warn(&lacking);
    }
    Ok(ExitCode::SUCCESS)
}
