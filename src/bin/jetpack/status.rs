//! `jetpack status`: how a pod is.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use appc::executor::isolation::Report;
use appc::executor::local;
use appc::executor::plan::PodPlan;
use appc::executor::supervise::End;
use appc::pod::status::Cause;
use appc::pod::{Part, PodDir, State};
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;

/// Show a pod's state, its apps, and what of its isolation holds.
#[derive(clap::Args)]
pub struct Args {
    /// A UUID, the beginning of one, or a name
    pod: String,
    /// Wait until the pod has ended
    #[arg(long)]
    wait: bool,
    /// Wait until every app that tells when it is ready has told so; fail when the pod ends before
    #[arg(long, conflicts_with = "wait")]
    wait_ready: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a pod is.
#[derive(Serialize)]
pub struct Facts {
    uuid: String,
    name: Option<String>,
    state: State,
    /// Whether its processes are held.
    paused: bool,
    pid: Option<i32>,
    #[serde(flatten)]
    status: appc::pod::status::Status,
    /// What outlives its supervisor.
    lingers: Option<String>,
    isolation: Report,
    networks: serde_json::Value,
    /// Those that it has there, as long as it runs.
    addresses: Vec<IpAddr>,
}

impl Facts {
    /// As far as its files tell.
    pub fn of(pod: &PodDir) -> Result<Self, CommandError> {
        let uuid = pod.uuid();
        // One that does not read is not one of a pod that was never started.
        pod.read_status().map_err(|error| {
            CommandError::from(error)
                .hint(format!("a pod that runs writes it anew; `jetpack rm {uuid}` removes one that has ended"))
        })?;
        Ok(Self {
            uuid: pod.uuid().to_string(),
            name: pod.given_name(),
            state: pod.state(),
            paused: pod.is_paused(),
            pid: pod.supervisor(),
            status: pod.status_or_plan(),
            lingers: if pod.is_lost() { local::lingers(pod)? } else { None },
            isolation: pod.read_json(Part::Report).unwrap_or_default(),
            networks: pod.read_json(Part::Networks).unwrap_or_default(),
            addresses: local::addresses(pod),
        })
    }
}

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pod = context.pods()?.find(&args.pod)?;
    if args.wait {
        pod.wait()?;
    }
    if args.wait_ready {
        wait_until_ready(&pod)?;
    }
    let facts = Facts::of(&pod)?;
    if args.json {
        crate::output::json(facts)?;
    } else {
        print(&facts);
    }
    Ok(ExitCode::SUCCESS)
}

fn wait_until_ready(pod: &PodDir) -> Result<(), CommandError> {
    let plan: PodPlan = pod.read_json(Part::Plan)?;
    let telling = |name: &str| plan.apps.iter().any(|app| app.name == name && app.notifies);
    loop {
        let (state, status) = (pod.state(), pod.status());
        let ready =
            status.is_some_and(|status| status.apps.iter().all(|app| app.ready.is_some() || !telling(&app.name)));
        match state {
            State::Running if ready => return Ok(()),
            State::Running | State::Preparing | State::Prepared => std::thread::sleep(Duration::from_millis(20)),
            _ => return Err(CommandError::failed(format!("wait for pod {}: it has {state}", pod.uuid()))),
        }
    }
}

fn print(facts: &Facts) {
    println!("uuid: {}", facts.uuid);
    if let Some(name) = &facts.name {
        println!("name: {name}");
    }
    println!("state: {}{}", facts.state, if facts.paused { ", paused" } else { "" });
    for (word, value) in [("started", &facts.status.started), ("ended", &facts.status.ended)] {
        if let Some(value) = value {
            println!("{word}: {value}");
        }
    }
    for address in &facts.addresses {
        println!("address: {address}");
    }
    if let Some(code) = facts.status.exit_code {
        println!("exit code: {code}");
    }
    let troubles = &facts.status.troubles;
    if let Some(last) = &troubles.last {
        println!("troubles of its supervisor: {}, the last: {last}", troubles.count);
    }
    if let Some(what) = &facts.lingers {
        println!("lost with its supervisor, but {what}: `jetpack stop {}` ends it", facts.uuid);
    }
    for app in &facts.status.apps {
        let mut words = Vec::new();
        if let Some(pid) = app.pid {
            words.push(format!("running as process {pid}"));
        }
        if app.ready.is_some() {
            words.push("ready".to_owned());
        }
        // In quotes: it could say what stands beside it.
        words.extend(app.said.as_ref().map(|said| format!("says {said:?}")));
        for (phase, end) in [("pre-start", app.pre_start), ("main", app.main), ("post-stop", app.post_stop)] {
            words.extend(end.map(|end| format!("{phase} {}", ended(end))));
        }
        if app.restarts > 0 {
            let times = if app.restarts == 1 { "once".to_owned() } else { format!("{} times", app.restarts) };
            let before = app.previous.map(|end| format!(", the last time as it {}", ended(end))).unwrap_or_default();
            words.push(format!("started again {times}{before}"));
        }
        words.extend(app.again.as_ref().map(|at| format!("to be started again at {at}")));
        if app.cause == Some(Cause::Oom) {
            words.push("killed for lack of memory".to_owned());
        }
        words.extend(app.failure.clone());
        if words.is_empty() {
            words.push(if app.started.is_some() { "lost with its supervisor" } else { "not started" }.to_owned());
        }
        println!("app {}: {}", app.name, words.join(", "));
    }
    if !facts.isolation.level.is_default() {
        println!("isolation: {}", facts.isolation.level);
    }
    for verdict in &facts.isolation.verdicts {
        println!("isolation: {verdict}");
    }
}

fn ended(end: End) -> String {
    match end {
        End::Status(status) => format!("exited with {status}"),
        End::Signal(signal) => format!("ended by signal {signal}"),
    }
}
