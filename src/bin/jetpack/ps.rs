//! `jetpack ps` and `jetpack top`: what runs in a pod, and what it uses.

use std::process::ExitCode;

use appc::executor::freebsd::usage;
use appc::pod::State;

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

/// Show what pods use of the resources that a FreeBSD host accounts for.
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
        let used = with_system(context, |system| {
            usage::used(system, pod.uuid()).map_err(|error| {
                let told = CommandError::failed(format!("ask what pod {} uses: {error}", pod.uuid()));
                match error.kind() {
                    std::io::ErrorKind::Unsupported => {
                        told.hint("add kern.racct.enable=1 to /boot/loader.conf and reboot")
                    }
                    _ => told,
                }
            })
        })?;
        if args.json {
            let used = used.into_iter().map(|(name, value)| (name, value.into())).collect();
            all.insert(pod.uuid().to_string(), serde_json::Value::Object(used));
        } else {
            println!("{}", pod.uuid());
            for (name, value) in used.iter().filter(|(name, _)| usage::SHOWN.contains(&name.as_str())) {
                println!("  {name:<12} {value}");
            }
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::process::ExitCode;

    use appc::pod::PodDir;

    use crate::error::CommandError;

    /// The processes of the pid namespace that the pod's apps are in.
    pub fn list(pod: &PodDir, json: bool) -> Result<ExitCode, CommandError> {
        let namespace = |pid: i32| fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|about| about.ino());
        let status = pod.status();
        let ours = status.iter().flat_map(|status| &status.apps).filter_map(|app| namespace(app.pid?)).next();
        let Some(ours) = ours else {
            return Err(CommandError::failed(format!("list the processes of pod {}: no app of it runs", pod.uuid())));
        };
        if !json {
            println!("{:>8}  {:>8}  COMMAND", "PID", "UID");
        }
        let mut facts = Vec::new();
        let entries = fs::read_dir("/proc").map_err(|error| CommandError::failed(format!("list /proc: {error}")))?;
        let mut pids: Vec<i32> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        for pid in pids.into_iter().filter(|&pid| namespace(pid) == Some(ours)) {
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
            println!("{:#}", serde_json::Value::from(facts));
        }
        Ok(ExitCode::SUCCESS)
    }
}
