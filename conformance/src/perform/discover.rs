//! `do = "discover"`: names are resolved, or fetched, against a server on this host.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use super::ground::Ground;
use super::pod::{self, Unmade};
use super::server::{Server, Site};
use super::{Bench, Outcome, hold};
use crate::Failure;
use crate::case::Discover;
use crate::driver::Values;
use crate::see;

pub fn perform(case: &Discover, bench: &Bench<'_>, work: &Path) -> Result<Outcome, Unmade> {
    let images = work.join("images");
    fs::create_dir_all(&images).map_err(|e| Failure::file(&images, e))?;
    let mut archives = BTreeMap::new();
    for (short, image) in &case.image {
        let made = pod::image(short, image, bench, work, &BTreeMap::new())?;
        archives.insert(short.clone(), fs::read(&made.file).map_err(|e| Failure::file(&made.file, e))?);
    }
    let names: Vec<&str> = case.names.values().map(String::as_str).collect();
    let mut pages = case.pages.clone();
    for (path, page) in &mut pages {
        bench.fault.page(path, &names, page);
    }
    let listener =
        TcpListener::bind("localhost:0").map_err(|e| Failure::new(format!("failed to listen on localhost: {e}")))?;
    let server =
        Server::start(listener, Site { pages, archives }).map_err(|e| Failure::new(format!("failed to serve: {e}")))?;
    let port = server.port.to_string();
    let mut seen = json!({ "server": format!("http://localhost:{port}") });
    let mut outcome = Outcome::default();
    for (label, name) in &case.names {
        let root = work.join(format!("root-{label}"));
        fs::create_dir(&root).map_err(|e| Failure::file(&root, e))?;
        if bench.target.run_as.as_deref() == Some("user") {
            super::run::give_away(&root)?;
        }
        let mut values = Values::from([
            ("name".into(), name.clone()),
            ("port".into(), port.clone()),
            ("root".into(), root.display().to_string()),
            ("work".into(), work.display().to_string()),
        ]);
        let ground = Ground::lay(bench, &mut values)?;
        let before = server.asked().len();
        let mut answer = bench.driver.ask(bench.fault.action(&case.ask), &values)?;
        bench.fault.answer(&case.ask, &values, &mut answer);
        outcome.watch(&case.ask, &answer);
        outcome.trouble.extend(ground.discard());
        // The port differs from run to run: findings are told without it.
        let plain = |text: &str| text.replace(&format!(":{port}"), "");
        let mut found = json!({ "exit": answer.code, "stdout": plain(&answer.stdout), "stderr": plain(&answer.stderr), "asked": server.asked()[before..].to_vec() });
        if let Ok(said) = serde_json::from_str::<Value>(&plain(&answer.stdout)) {
            found["said"] = said;
        }
        see::keep(&mut seen, &[label], found);
    }
    outcome.checks = hold(&case.expect, &seen, bench);
    Ok(outcome)
}
