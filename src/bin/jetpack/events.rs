//! `jetpack events`: what happens to pods.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use appc::pod::Pods;
use appc::pod::events::{Event, Seen, What, between};
use appc::pod::status::End;
use jiff::Timestamp;
use uuid::Uuid;

use crate::context::Context;
use crate::error::CommandError;
use crate::logs::since;

/// Tell what happens to pods as it happens, a line each, until interrupted.
///
/// Pods are looked at ten times a second; nothing is written down for it. Of what is over before somebody looks that alone is told which a pod's files
/// tell still: a pod that came and was removed between two looks is not seen.
#[derive(clap::Args)]
pub struct Args {
    /// Of these alone: UUIDs, beginnings of UUIDs, or names
    #[arg(value_name = "POD")]
    pods: Vec<String>,
    /// Begin with what the pods that are there tell of the past: from a time (RFC 3339) on, or how long ago (90s, 10m, 2h)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// End when the past is told
    #[arg(long, requires = "since")]
    no_follow: bool,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

/// Between looks.
const PAUSE: Duration = Duration::from_millis(100);

pub fn run(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let pods = context.pods()?;
    let wanted = args.pods.iter().map(|text| Ok(pods.find(text)?.uuid())).collect::<Result<Vec<_>, CommandError>>()?;
    let mut looks = Looks { pods, wanted, changed: BTreeMap::new() };
    let mut before = BTreeMap::new();
    let mut after = looks.look(&before)?;
    if let Some(since) = args.since {
        let mut past = between(&before, &after, &now());
        past.retain(|event| event.time.parse::<Timestamp>().map_or(true, |time| time >= since));
        past.iter().try_for_each(|event| tell(event, args.json))?;
    }
    if args.no_follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(PAUSE);
        before = after;
        after = looks.look(&before)?;
        between(&before, &after, &now()).iter().try_for_each(|event| tell(event, args.json))?;
    }
}

fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

/// Looks at all pods, and reads those alone that have changed.
struct Looks {
    pods: Pods,
    /// All, where it has none.
    wanted: Vec<Uuid>,
    changed: BTreeMap<Uuid, SystemTime>,
}

impl Looks {
    fn look(&mut self, before: &BTreeMap<Uuid, Seen>) -> Result<BTreeMap<Uuid, Seen>, CommandError> {
        let mut after = BTreeMap::new();
        for pod in self.pods.list()? {
            let uuid = pod.uuid();
            if !self.wanted.is_empty() && !self.wanted.contains(&uuid) {
                continue;
            }
            // Its files are written by putting new ones in their places.
            let Ok(changed) = std::fs::metadata(pod.path()).and_then(|about| about.modified()) else { continue };
            let same = self.changed.insert(uuid, changed) == Some(changed);
            let known = before.get(&uuid).filter(|seen| same && !seen.is_in_hand()).cloned();
            after.insert(uuid, known.unwrap_or_else(|| Seen::of(&pod)));
        }
        self.changed.retain(|uuid, _| after.contains_key(uuid));
        Ok(after)
    }
}

fn tell(event: &Event, json: bool) -> Result<(), CommandError> {
    if json {
        let text = serde_json::to_string(event)?;
        print!("{}\n", appc::diagnostic::visible::json(&text));
        return Ok(());
    }
    let of = |app: &str, what: &str| format!("app {app} {what}");
    let what = match &event.what {
        What::Made => "made".to_owned(),
        What::Started => "started".to_owned(),
        What::Renamed => "renamed".to_owned(),
        What::Ended { exit_code: Some(code) } => format!("ended, exit code {code}"),
        What::Ended { exit_code: None } => "ended".to_owned(),
        What::Lost => "lost with its supervisor".to_owned(),
        What::Removed => "removed".to_owned(),
        What::AppStarted { app, restarts: 0 } => of(app, "started"),
        What::AppStarted { app, restarts } => of(app, &format!("started again, {restarts} times by now")),
        What::AppReady { app } => of(app, "ready"),
        What::AppEnded { app, end: Some(End::Status(status)) } => of(app, &format!("exited with {status}")),
        What::AppEnded { app, end: Some(End::Signal(signal)) } => of(app, &format!("ended by signal {signal}")),
        What::AppEnded { app, end: None } => of(app, "could not be started"),
    };
    let name = event.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    println!("{} {}{name} {what}", event.time, event.pod);
    Ok(())
}
