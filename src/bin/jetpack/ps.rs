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
fn used(pod: &PodDir, context: &Context) -> Result<Vec<(String, u64)>, CommandError> {
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

    use appc::pod::PodDir;

    use crate::error::CommandError;

    /// The unit of times in procfs, in seconds' parts: USER_HZ, on every architecture that is left.
    const TICKS: u64 = 100;

    /// The processes of the pid namespace that the pod's apps are in, in order.
    fn processes(pod: &PodDir) -> Result<Vec<i32>, CommandError> {
        let namespace = |pid: i32| fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|about| about.ino());
        let status = pod.status();
        let ours = status.iter().flat_map(|status| &status.apps).filter_map(|app| namespace(app.pid?)).next();
        let Some(ours) = ours else {
            return Err(CommandError::failed(format!("list the processes of pod {}: no app of it runs", pod.uuid())));
        };
        let entries = fs::read_dir("/proc").map_err(|error| CommandError::failed(format!("list /proc: {error}")))?;
        let mut pids: Vec<i32> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.retain(|&pid| namespace(pid) == Some(ours));
        pids.sort_unstable();
        Ok(pids)
    }

    /// What a process may wait for as it is short.
    const SHORT: [&str; 3] = ["cpu", "memory", "io"];

    /// What the kernel counts by name in a file of a group: the file, the line, what we call it.
    const COUNTED: [(&str, &str, &str); 3] = [
        ("cpu.stat", "throttled_usec", "cputhrottled"),
        ("memory.events", "oom_kill", "oomkills"),
        ("pids.events", "max", "forksrefused"),
    ];

    /// The pod's control group of version 2, where it has one.
    fn group(pod: &PodDir) -> Option<std::path::PathBuf> {
        let pid = pod.status()?.apps.iter().find_map(|app| app.pid)?;
        let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let name = format!("jetpack-{}", pod.uuid());
        let below = std::path::Path::new(own);
        let pods = below.ancestors().find(|path| {
            path.file_name().and_then(|last| last.to_str()).is_some_and(|last| last.trim_end_matches(".scope") == name)
        })?;
        ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .iter()
            .map(|mount| std::path::Path::new(mount).join(pods))
            .find(|group| group.join("cgroup.procs").exists())
    }

    /// What the kernel has counted for the pod's group, where that has the controller: bytes of memory with what files hold of it, now
    /// and at most; microseconds for which some process has waited for what is short, and how much of the last ten seconds that was, in
    /// hundredths; what limits have done; bytes read and written.
    pub(super) fn accounted(group: &std::path::Path) -> Vec<(String, u64)> {
        let read = |name: &str| fs::read_to_string(group.join(name)).unwrap_or_default();
        let mut all = Vec::new();
        let mut add = |name: &str, value: Option<u64>| all.extend(value.map(|value| (name.to_owned(), value)));
        add("memorycharged", read("memory.current").trim().parse().ok());
        add("memorypeak", read("memory.peak").trim().parse().ok());
        for what in SHORT {
            let text = read(&format!("{what}.pressure"));
            let some = text.lines().find_map(|line| line.strip_prefix("some "));
            let field = |name: &str| {
                let mut words = some?.split(' ');
                words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            };
            // Before the point stands what is whole.
            let recent = field("avg10").and_then(|share| share.split('.').next());
            add(&format!("{what}stall"), field("total").and_then(|total| total.parse().ok()));
            add(&format!("{what}pressure"), recent.and_then(|share| share.parse().ok()));
        }
        for (file, line, name) in COUNTED {
            let text = read(file);
            let value = text.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
            add(name, value);
        }
        let moved = read("io.stat");
        for (key, name) in [("rbytes=", "ioread"), ("wbytes=", "iowritten")] {
            let each = moved.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
            add(name, each.reduce(u64::saturating_add));
        }
        all
    }

    /// What they use together, under the names that FreeBSD gives the same, and what the kernel has counted for the pod's control
    /// group. What has ended counts there alone.
    pub fn used(pod: &PodDir) -> Result<Vec<(String, u64)>, CommandError> {
        let mut sums = [("cputime", 0), ("memoryuse", 0), ("swapuse", 0), ("maxproc", 0), ("nthr", 0)];
        for pid in processes(pod)? {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
            };
            // The name stands in parentheses and may hold anything; user and system time are the 14th and 15th field.
            let times = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(2);
            let spent: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
            let kilobytes = |name| field(name).unwrap_or(0) * 1024;
            let one = [spent, kilobytes("VmRSS"), kilobytes("VmSwap"), 1, field("Threads").unwrap_or(0)];
            sums.iter_mut().zip(one).for_each(|((_, sum), more)| *sum += more);
        }
        sums[0].1 /= TICKS;
        let mut used = sums.map(|(name, sum)| (name.to_owned(), sum)).to_vec();
        used.extend(group(pod).iter().flat_map(|group| accounted(group)));
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::linux::accounted;

    #[test]
    fn what_the_kernel_counts_for_a_group_is_told_and_what_it_does_not_is_left_out() {
        let group = tempfile::tempdir().unwrap();
        assert_eq!(accounted(group.path()), []);
        for (name, text) in [
            ("memory.current", "8192\n"),
            ("memory.peak", "nonsense\n"),
            ("cpu.pressure", "some avg10=12.50 avg60=1.00 avg300=0.00 total=731\n"),
            ("io.pressure", "full avg10=1.00 avg60=1.00 avg300=0.00 total=9\n"),
            ("cpu.stat", "usage_usec 5\nnr_throttled 2\nthrottled_usec 77\n"),
            ("memory.events", "oom 3\noom_kill 2\noom_group_kill 1\n"),
            ("pids.events", "max 4\n"),
            ("io.stat", "8:0 rbytes=1 wbytes=2 rios=9\n8:16 rbytes=10 wbytes=20\n"),
        ] {
            std::fs::write(group.path().join(name), text).unwrap();
        }
        let told = accounted(group.path());
        let told: Vec<(&str, u64)> = told.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let expected = [
            ("memorycharged", 8192),
            ("cpustall", 731),
            ("cpupressure", 12),
            ("cputhrottled", 77),
            ("oomkills", 2),
            ("forksrefused", 4),
            ("ioread", 11),
            ("iowritten", 22),
        ];
        assert_eq!(told, expected);
    }
}
