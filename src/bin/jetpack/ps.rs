//! `jetpack ps` and `jetpack top`: what runs in a pod, and what it uses.

use std::process::ExitCode;

use appc::executor::freebsd::usage;
use appc::pod::{PodDir, State};

use crate::context::Context;
use crate::error::CommandError;
use crate::init::with_system;

/// List the processes of a pod.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name
    #[arg(value_name = "POD")]
    pod: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show what pods use: processor time in seconds, memory in bytes, processes; on FreeBSD all that the host accounts for.
#[derive(clap::Args)]
pub struct TopArgs {
    /// UUIDs, beginnings of UUIDs, or names; all running pods unless told
    #[arg(value_name = "POD")]
    pods: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pod = context.pods()?.find(&args.pod)?;
    if pod.state() != State::Running {
        return Err(CommandError::failed(format!("list the processes of pod {}: it does not run", pod.uuid())));
    }
    #[cfg(target_os = "linux")]
    if context.model.is_none() {
        return linux::list(&pod, args.json);
    }
    if args.json {
        return Err(CommandError::usage("processes in a jail are listed as text only"));
    }
    let listed = with_system(context, |system| {
        usage::processes(system, pod.uuid())
            .map_err(|error| CommandError::failed(format!("list the processes of pod {}: {error}", pod.uuid())))
    })?;
    print!("{listed}");
    Ok(ExitCode::SUCCESS)
}

pub fn top(args: &TopArgs, context: &Context) -> Result<ExitCode, CommandError> {
    let pods = context.pods()?;
    let wanted = if args.pods.is_empty() {
        pods.list()?.into_iter().filter(|pod| pod.state() == State::Running).collect()
    } else {
        args.pods.iter().map(|text| pods.find(text)).collect::<Result<Vec<_>, _>>()?
    };
    let mut all = serde_json::Map::new();
    for pod in wanted {
        if pod.state() != State::Running {
            return Err(CommandError::failed(format!("ask what pod {} uses: it does not run", pod.uuid())));
        }
        let used = used(&pod, context)?;
        if args.json {
            let used = used.into_iter().map(|(name, value)| (name, value.into())).collect();
            all.insert(pod.uuid().to_string(), serde_json::Value::Object(used));
        } else {
            println!("{}", pod.uuid());
            let shown =
                |name: &str| usage::SHOWN.contains(&name) || name.ends_with("stall") || name.ends_with("pressure");
            for (name, value) in used.iter().filter(|(name, _)| shown(name)) {
                println!("  {name:<12} {value}");
            }
        }
    }
    if args.json {
        crate::output::json(all)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a pod uses, by resource.
pub fn used(pod: &PodDir, context: &Context) -> Result<Vec<(String, u64)>, CommandError> {
    #[cfg(target_os = "linux")]
    if context.model.is_none() {
        return linux::used(pod);
    }
    with_system(context, |system| {
        usage::used(system, pod.uuid()).map_err(|error| {
            let told = CommandError::failed(format!("ask what pod {} uses: {error}", pod.uuid()));
            match error.kind() {
                std::io::ErrorKind::Unsupported => told.hint("add kern.racct.enable=1 to /boot/loader.conf and reboot"),
                _ => told,
            }
        })
    })
}

#[cfg(target_os = "linux")]
pub mod linux {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::process::ExitCode;

    use appc::executor::linux::usage::{PodUsage, Processes};
    use appc::pod::PodDir;

    use crate::error::CommandError;

    /// The processes of the pod, in order.
    fn processes(pod: &PodDir) -> Result<Vec<i32>, CommandError> {
        let found = Processes::look().map_err(|error| CommandError::failed(format!("list /proc: {error}")))?;
        match found.of(pod) {
            [] => Err(CommandError::failed(format!("list the processes of pod {}: no app of it runs", pod.uuid()))),
            pids => Ok(pids.to_vec()),
        }
    }

    /// What they use together, under the names that FreeBSD gives the same, and what the kernel has counted for the pod's control
    /// group.
    pub fn used(pod: &PodDir) -> Result<Vec<(String, u64)>, CommandError> {
        let found = Processes::look().map_err(|error| CommandError::failed(format!("list /proc: {error}")))?;
        let PodUsage { pod: all, group, .. } = found.usage(pod);
        if all.processes == 0 {
            return Err(CommandError::failed(format!("ask what pod {} uses: no app of it runs", pod.uuid())));
        }
        let sums = [
            ("cputime", all.cpu.as_secs()),
            ("memoryuse", all.memory),
            ("swapuse", all.swap),
            ("maxproc", all.processes),
            ("nthr", all.threads),
        ];
        let mut used = sums.map(|(name, sum)| (name.to_owned(), sum)).to_vec();
        used.extend(group);
        Ok(used)
    }

    /// So often it is looked whether a process of a pod is still to be held: each time there may be new ones.
    const ROUNDS: usize = 1000;

    /// Sends STOP or CONT to all of them but the first, which is ours.
    pub fn signal_all(pod: &PodDir, signal: i32) -> Result<(), CommandError> {
        use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
        let failed = |why: String| CommandError::failed(format!("signal the processes of pod {}: {why}", pod.uuid()));
        let stops = signal == libc::SIGSTOP;
        let signal = if stops { Signal::STOP } else { Signal::CONT };
        let state = |pid: i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
        };
        let is_first = |pid: i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            numbers.is_some_and(|numbers| numbers.split_whitespace().last() == Some("1"))
        };
        // What is over needs no signal.
        let done = |pid: i32| match state(pid) {
            None | Some('Z' | 'X') => true,
            Some('T' | 't') => stops,
            Some(_) => !stops,
        };
        for _ in 0..ROUNDS {
            let mut left: Vec<i32> = processes(pod)?;
            left.retain(|&pid| !done(pid) && !is_first(pid));
            if left.is_empty() {
                return Ok(());
            }
            for pid in left {
                // The number may be another's by now: what is signalled is what is looked at again.
                let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
                    continue;
                };
                if processes(pod)?.contains(&pid) {
                    match pidfd_send_signal(&handle, signal) {
                        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                        Err(error) => return Err(failed(error.to_string())),
                    }
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Err(failed("new ones are made faster than that".to_owned()))
    }

    /// Lists them.
    pub fn list(pod: &PodDir, json: bool) -> Result<ExitCode, CommandError> {
        let pids = processes(pod)?;
        if !json {
            println!("{:>8}  {:>8}  COMMAND", "PID", "UID");
        }
        let mut facts = Vec::new();
        for pid in pids {
            // One that has ended meanwhile is none.
            let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
            let uid = fs::metadata(format!("/proc/{pid}")).map_or(0, |about| about.uid());
            // One that has renamed itself has filled up with zeros.
            let end = command.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            let command = &command[..end];
            let words: Vec<_> = command.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
            if json {
                facts.push(serde_json::json!({ "pid": pid, "uid": uid, "command": words }));
            } else {
                println!("{pid:>8}  {uid:>8}  {}", words.join(" ").trim_end());
            }
        }
        if json {
            crate::output::json(facts)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
