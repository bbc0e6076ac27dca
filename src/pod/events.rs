//! What has happened to pods, told from how they were and how they are: nothing is written down for it. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::status::{AppStatus, End, Status};
use super::{Part, PodDir, State};

/// How a pod is at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    name: Option<String>,
    made: Option<String>,
    state: State,
    status: Status,
}

impl Seen {
    /// As its files tell.
    pub fn of(pod: &PodDir) -> Self {
        let made = std::fs::metadata(pod.place(Part::Manifest)).and_then(|about| about.modified()).ok();
        let made = made.and_then(|made| jiff::Timestamp::try_from(made).ok()).map(|made| format!("{made:.6}"));
        // The state first: what is read then is at least as new.
        let state = pod.state();
        Self { name: pod.given_name(), made, state, status: pod.status().unwrap_or_default() }
    }

    /// Whether it may change without a file of it.
    pub fn is_in_hand(&self) -> bool {
        matches!(self.state, State::Running | State::Preparing)
    }

    fn is_made(&self) -> bool {
        !matches!(self.state, State::Embryo | State::Preparing | State::Removing)
    }
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When; what leaves no time behind has the one at which it was noticed.
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// To which pod.
    pub pod: Uuid,
    /// The pod's name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum What {
    /// The pod was made.
    Made,
    /// It was started.
    Started,
    /// It has another name.
    Renamed,
    /// It has ended.
    Ended {
        /// The code that `jetpack run` ended with.
        exit_code: Option<i32>,
    },
    /// Its supervisor was gone before it could write down how the pod ended.
    Lost,
    /// It was removed.
    Removed,
    /// The main process of an app was started.
    AppStarted {
        /// The app's name.
        app: String,
        /// How often it was started again.
        restarts: u64,
    },
    /// It says that it is ready.
    AppReady {
        /// The app's name.
        app: String,
    },
    /// It has ended, or could not be started.
    AppEnded {
        /// The app's name.
        app: String,
        /// How.
        end: Option<End>,
    },
}

/// What has happened between two looks at all pods, in the order of the times; `now` is the time of the second.
pub fn between(before: &BTreeMap<Uuid, Seen>, after: &BTreeMap<Uuid, Seen>, now: &str) -> Vec<Event> {
    let mut events = Vec::new();
    for (pod, seen) in after {
        of_pod(*pod, before.get(pod), seen, now, &mut events);
    }
    for (pod, seen) in before.iter().filter(|(pod, seen)| seen.is_made() && !after.contains_key(pod)) {
        events.push(Event { time: now.to_owned(), what: What::Removed, pod: *pod, name: seen.name.clone() });
    }
    // What is told of one pod at one time stays in its order.
    events.sort_by(|one, other| one.time.cmp(&other.time));
    events
}

fn of_pod(pod: Uuid, before: Option<&Seen>, after: &Seen, now: &str, events: &mut Vec<Event>) {
    let nothing = Status::default();
    let was_made = before.is_some_and(Seen::is_made);
    let mut tell = |time: Option<&String>, what: What| {
        let time = time.cloned().unwrap_or_else(|| now.to_owned());
        events.push(Event { time, what, pod, name: after.name.clone() });
    };
    if after.state == State::Removing {
        if was_made {
            tell(None, What::Removed);
        }
        return;
    }
    if !after.is_made() {
        return;
    }
    if !was_made {
        tell(after.made.as_ref(), What::Made);
    } else if before.is_some_and(|before| before.name != after.name) {
        tell(None, What::Renamed);
    }
    let was = before.map_or(&nothing, |before| &before.status);
    // One that is started once more begins with nothing.
    let was = if was.started == after.status.started { was } else { &nothing };
    if after.status.started.is_some() && was.started.is_none() {
        tell(after.status.started.as_ref(), What::Started);
    }
    for app in &after.status.apps {
        let none = AppStatus::default();
        of_app(was.apps.iter().find(|was| was.name == app.name).unwrap_or(&none), app, &mut tell);
    }
    if after.status.ended.is_some() && was.ended.is_none() {
        tell(after.status.ended.as_ref(), What::Ended { exit_code: after.status.exit_code });
    }
    let lost = |seen: &Seen| seen.state == State::Exited && seen.status.ended.is_none();
    if lost(after) && !before.is_some_and(lost) {
        tell(None, What::Lost);
    }
}

fn of_app(was: &AppStatus, app: &AppStatus, tell: &mut impl FnMut(Option<&String>, What)) {
    let name = || app.name.clone();
    // Its last life has ended since.
    if app.restarts > was.restarts && was.started.is_some() && was.main.is_none() {
        tell(None, What::AppEnded { app: name(), end: app.previous });
    }
    if app.started.is_some() && app.started != was.started {
        tell(app.started.as_ref(), What::AppStarted { app: name(), restarts: app.restarts });
    }
    if app.ready.is_some() && app.ready != was.ready {
        tell(app.ready.as_ref(), What::AppReady { app: name() });
    }
    let over = |app: &AppStatus| app.main.is_some() || app.failure.is_some();
    if over(app) && (!over(was) || app.started != was.started) {
        tell(app.ended.as_ref(), What::AppEnded { app: name(), end: app.main.or(app.pre_start) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(state: State, status: Status) -> Seen {
        Seen { name: Some("web".to_owned()), made: Some("1".to_owned()), state, status }
    }

    fn words(events: &[Event]) -> Vec<String> {
        let word = |event: &Event| {
            format!("{} {}", event.time, serde_json::to_value(&event.what).unwrap()["what"].as_str().unwrap())
        };
        events.iter().map(word).collect()
    }

    #[test]
    fn what_happened_between_two_looks_is_told_once_and_in_order() {
        let text = |text: &str| Some(text.to_owned());
        let (pod, nothing) = (Uuid::from_u128(1), BTreeMap::new());
        let app = AppStatus { name: "web".to_owned(), started: text("3"), ready: text("4"), ..AppStatus::default() };
        let running = Status { started: text("2"), apps: vec![app.clone()], ..Status::default() };
        let first = BTreeMap::from([(pod, seen(State::Running, running.clone()))]);
        assert_eq!(words(&between(&nothing, &first, "9")), ["1 made", "2 started", "3 app-started", "4 app-ready"]);
        assert_eq!(between(&first, &first, "9"), []);
        // Started again between the looks, and ended.
        let again = AppStatus {
            started: text("5"),
            ended: text("6"),
            restarts: 1,
            previous: Some(End::Status(1)),
            main: Some(End::Status(0)),
            ready: None,
            ..app
        };
        let ended = Status { ended: text("7"), exit_code: Some(0), apps: vec![again], ..running.clone() };
        let second = BTreeMap::from([(pod, seen(State::Exited, ended))]);
        assert_eq!(words(&between(&first, &second, "5")), ["5 app-ended", "5 app-started", "6 app-ended", "7 ended"]);
        assert_eq!(words(&between(&second, &nothing, "9")), ["9 removed"]);
        assert_eq!(
            words(&between(&first, &BTreeMap::from([(pod, seen(State::Exited, running.clone()))]), "9")),
            ["9 lost"]
        );
        let going = BTreeMap::from([(pod, seen(State::Removing, running))]);
        assert_eq!(words(&between(&second, &going, "9")), ["9 removed"]);
        assert_eq!(between(&going, &nothing, "9"), []);
    }
}
