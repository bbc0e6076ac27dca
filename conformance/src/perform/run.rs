//! `do = "run"`: images are fetched, a pod of them runs, the probe tells what it saw.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::ground::Ground;
use super::pod::{self, Unmade};
use super::{Bench, Outcome, hold, left, recorded};
use crate::Failure;
use crate::case::Run;
use crate::driver::{Answer, Values};
use crate::make::files;
use crate::see;

pub fn perform(case: &Run, bench: &Bench<'_>, work: &Path) -> Result<Outcome, Unmade> {
    if bench.probe.is_empty() {
        return Err(Failure::new("there is no probe for this target's platform").into());
    }
    let host = work.join("host");
    let root = work.join("root");
    let laid =
        fs::create_dir(&host).and_then(|()| fs::create_dir(&root)).and_then(|()| files::lay_out(&host, &case.host));
    laid.map_err(|e| Failure::file(&host, e))?;
    let known = BTreeMap::from([("host".to_owned(), host.display().to_string())]);
    let made = pod::images(&case.image, bench, work, &known)?;
    let known: BTreeMap<String, String> =
        known.into_iter().chain(made.iter().map(|one| (format!("id:{}", one.short), one.id.clone()))).collect();
    let mut manifest = pod::pod(case, &made, &known);
    bench.fault.pod(&mut manifest);
    let file = work.join("pod.json");
    fs::write(&file, manifest.to_string()).map_err(|e| Failure::file(&file, e))?;
    if bench.target.run_as.as_deref() == Some("user") {
        give_away(work)?;
    }
    let mut options = case.options.clone();
    bench.fault.options(&mut options);
    let mut values = Values::from([
        ("root".into(), root.display().to_string()),
        ("work".into(), work.display().to_string()),
        ("pod".into(), file.display().to_string()),
        ("host".into(), host.display().to_string()),
        ("options".into(), options.join("\n")),
        ("words".into(), case.words.clone().unwrap_or_default().join("\n")),
        ("uuid-file".into(), work.join("uuid").display().to_string()),
    ]);
    let ground = Ground::lay(bench, &mut values)?;
    let mut outcome = Outcome::default();
    let mut seen = json!({ "id": made.iter().map(|one| (one.short.clone(), json!(one.id))).collect::<Map<_, _>>() });
    // What went wrong on the suite's side is told when all is clean again.
    let done = fetched(&made, bench, &values, &mut seen).and_then(|there| match there {
        true => executed(case, bench, &made, values.clone(), &mut seen, &mut outcome),
        false => Ok(()),
    });
    if bench.driver.can("clean") {
        let answer = ask(bench, "clean", &values)?;
        see::keep(
            &mut seen,
            &["cleaned"],
            json!({ "exit": answer.code, "stderr": answer.stderr, "stdout": answer.stdout }),
        );
    }
    see::keep(&mut seen, &["host"], on_host(&host));
    see::keep(&mut seen, &["here"], here());
    outcome.trouble.extend(left::behind(work, &|kind, target| ground.has(kind, target)));
    outcome.trouble.extend(ground.discard());
    done?;
    see::keep(&mut seen, &["left"], json!(outcome.trouble));
    if bench.keep {
        // Only there for people: a report is made of the checks alone.
        let _ = fs::write(work.join("seen.json"), serde_json::to_vec_pretty(&seen).unwrap_or_default());
    }
    outcome.checks = hold(&case.expect, &seen, bench);
    Ok(outcome)
}

/// Asks the target, or the mutant that stands before it.
fn ask(bench: &Bench<'_>, action: &str, values: &Values) -> Result<Answer, Failure> {
    let mut values = values.clone();
    if bench.fault.action("options") == "no-options" {
        values.remove("options");
    }
    let mut answer = bench.driver.ask(bench.fault.action(action), &values)?;
    bench.fault.answer(action, &values, &mut answer);
    Ok(answer)
}

/// Brings the images into the target's store; a refusal stands where the pod's end would.
fn fetched(made: &[pod::Made], bench: &Bench<'_>, values: &Values, seen: &mut Value) -> Result<bool, Failure> {
    if !bench.driver.can("fetch") {
        return Ok(true);
    }
    for image in made {
        let mut values = values.clone();
        values.insert("file".into(), image.file.display().to_string());
        let answer = ask(bench, "fetch", &values)?;
        see::keep(
            seen,
            &["fetched", &image.short],
            json!({ "exit": answer.code, "stdout": answer.stdout, "stderr": answer.stderr }),
        );
        if !answer.succeeded() {
            see::keep(seen, &["exit"], json!(answer.code));
            see::keep(seen, &["stderr"], json!(answer.stderr));
            see::keep(seen, &["refused"], json!("fetch"));
            return Ok(false);
        }
    }
    Ok(true)
}

fn executed(
    case: &Run,
    bench: &Bench<'_>,
    made: &[pod::Made],
    values: Values,
    seen: &mut Value,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let action = if case.words.is_some() { "run-image" } else { "run" };
    let mut values = values;
    if let Some(first) = made
        .iter()
        .find(|one| case.image.get(&one.short).is_some_and(|image| image.main.is_some() || !image.app.is_empty()))
    {
        values.insert("image".into(), first.id.clone());
        values.insert("file".into(), first.file.display().to_string());
    }
    if case.together {
        let (first, second) = thread::scope(|scope| {
            let other = scope.spawn(|| ask(bench, action, &values));
            (ask(bench, action, &values), other.join())
        });
        let second = second.map_err(|_| Failure::new("the second run panicked"))??;
        see::keep(seen, &["other"], findings(&second));
        take(first?, seen, outcome);
        return Ok(());
    }
    for number in 0..case.times {
        let (answer, dialled) = thread::scope(|scope| {
            let dialling = case.dial.as_ref().map(|address| scope.spawn(|| dial(address)));
            let answer = ask(bench, action, &values);
            (answer, dialling.and_then(|thread| thread.join().ok()).flatten())
        });
        see::keep(seen, &["dialled"], json!(dialled));
        let answer = answer?;
        see::keep(seen, &["runs", &number.to_string()], findings(&answer));
        take(answer, seen, outcome);
    }
    // The names that a target gave to its pod, for the questions after it.
    if let Ok(uuid) = fs::read_to_string(values.get("uuid-file").map(String::as_str).unwrap_or_default()) {
        values.insert("uuid".into(), uuid.trim().to_owned());
    }
    if bench.driver.can("logs") {
        for app in case
            .app
            .iter()
            .map(|app| app.name.as_str())
            .chain(made.iter().filter(|_| case.app.is_empty()).map(|one| one.short.as_str()))
        {
            values.insert("app".into(), app.into());
            let answer = ask(bench, "logs", &values)?;
            see::keep(seen, &["logs", app], json!(answer.stdout));
        }
    }
    let mut told = false;
    for action in ["status", "isolation", "list"] {
        if bench.driver.can(action) {
            let answer = ask(bench, action, &values)?;
            let value = serde_json::from_str(&answer.stdout)
                .unwrap_or_else(|_| json!(format!("{}{}", answer.stdout, answer.stderr)));
            see::keep(seen, &[action], value);
            told |= action == "isolation" && answer.succeeded();
        }
    }
    if !told {
        // A target without a report of its own may tell on its way.
        let told = seen["stderr"].clone();
        see::keep(seen, &["isolation"], told);
    }
    Ok(())
}

fn take(answer: Answer, seen: &mut Value, outcome: &mut Outcome) {
    outcome.watch("run", &answer);
    if let (Value::Object(seen), Value::Object(found)) = (seen, findings(&answer)) {
        seen.extend(found);
    }
}

/// What a run told: how it ended, and what the probes said on its output.
fn findings(answer: &Answer) -> Value {
    let mut seen = json!({ "exit": answer.code, "stdout": answer.stdout, "stderr": answer.stderr });
    for line in answer.stdout.lines().chain(answer.stderr.lines()) {
        if let Some(record) = recorded::line(line) {
            for (path, value) in recorded::findings(&record) {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                see::keep(&mut seen, &path, value);
            }
            if recorded::ends_all(&record) {
                break;
            }
            continue;
        }
        // An executor may put its own mark before an app's line.
        let Some((_, said)) = line.split_once("@probe ") else { continue };
        let Ok(said) = serde_json::from_str::<Value>(said.trim_end()) else { continue };
        if let (Some(who), Some(path)) = (said["who"].as_str(), said["see"].as_array()) {
            let path: Vec<&str> = std::iter::once(who).chain(path.iter().filter_map(Value::as_str)).collect();
            see::keep(&mut seen, &path, said["value"].clone());
        }
    }
    seen
}

/// The host's files after the run: their text, mode and owner, by path.
fn on_host(dir: &Path) -> Value {
    let mut seen = Map::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
            let text = if found.is_file() { fs::read_to_string(&path).ok() } else { None };
            seen.insert(name, json!({ "text": text, "mode": format!("{:04o}", found.mode() & 0o7777), "uid": found.uid(), "gid": found.gid() }));
            if found.is_dir() {
                open.push(path);
            }
        }
    }
    Value::Object(seen)
}

/// What a server on the host's address says, given time to come up.
fn dial(address: &str) -> Option<String> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(8) {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let mut text = String::new();
            stream
                .set_read_timeout(Some(Duration::from_secs(2)))
                .and_then(|()| stream.read_to_string(&mut text))
                .ok()?;
            return Some(text);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// What pods are compared with: the suite's own surroundings.
fn here() -> Value {
    let link =
        |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).ok().map(|link| json!(link.display().to_string()));
    let namespaces: Map<_, _> = ["pid", "net", "ipc", "uts", "mnt"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), link(name)?)))
        .collect();
    let panic = fs::read_to_string("/proc/sys/kernel/panic").unwrap_or_default();
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    json!({ "ns": namespaces, "panic": panic.trim(), "hostname": name })
}

/// Makes a case's directory the ordinary user's. A suite that is an ordinary user's has made what is theirs already.
pub(super) fn give_away(dir: &Path) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let own = Some(crate::host::ORDINARY);
    std::os::unix::fs::lchown(dir, own, own).map_err(|e| Failure::file(dir, e))?;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            give_away(&path)?;
        } else {
            std::os::unix::fs::lchown(&path, own, own).map_err(|e| Failure::file(&path, e))?;
        }
    }
    Ok(())
}
