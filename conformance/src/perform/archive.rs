//! `do = "archive"`.

use std::fs;
use std::path::Path;

use super::{Bench, Outcome, judge, settled};
use crate::Failure;
use crate::case::{Archive, Packed, Verdict};
use crate::event::{Check, State};
use crate::make::archive::{self as make, Tar};
use crate::make::document;

pub fn perform(case: &Archive, bench: &Bench<'_>, work: &Path) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let mut sound = None;
    for (number, one) in case.expect.iter().enumerate() {
        let dir = work.join(number.to_string());
        let file = dir.join(&one.file);
        let (bytes, id) = packed(one, bench)?;
        fs::create_dir(&dir).and_then(|()| fs::write(&file, bytes)).map_err(|e| Failure::file(&file, e))?;
        let answer = judge::ask("validate", "appimage", &file, work, bench)?;
        let check = judge::judge(
            &judge::Due { clause: &one.clause, say: &one.say, verdict: one.verdict, under: &one.under },
            &answer,
            bench.target,
        );
        if one.verdict == Verdict::Invalid && sound.is_none() {
            sound = Some(accepted(bench, work)?);
        }
        outcome.checks.push(judge::controlled(check, one.verdict, sound.unwrap_or_default(), bench.target));
        if let Some(wanted) = &one.id {
            let expectation =
                format!("its image ID is {}", if wanted == "{sha512}" { "the hash of the tar" } else { wanted });
            let mut check =
                Check { clause: one.clause.clone(), expectation, state: State::Unsupported, why: None, evidence: None };
            if bench.driver.can("id") {
                let answer = judge::ask("id", "appimage", &file, work, bench)?;
                let said = answer.stdout.trim();
                check.state = if said == wanted.replace("{sha512}", &id) { State::Pass } else { State::Fail };
                check.evidence = Some(said.to_owned());
            } else {
                check.why = Some("the target has no action `id`".into());
            }
            outcome.checks.push(settled(check, bench.target));
        }
    }
    Ok(outcome)
}

/// Whether an archive with nothing wrong about it is accepted.
fn accepted(bench: &Bench<'_>, work: &Path) -> Result<bool, Failure> {
    let base = bench.suite.bases.get("smallest").ok_or_else(|| Failure::new("no base document named smallest"))?;
    let mut tar = Tar::default();
    tar.add(&make::usual("manifest", &make::bytes(base)));
    tar.add(&make::usual("rootfs", b""));
    let file = work.join("sound.aci");
    fs::write(&file, tar.finish()).map_err(|e| Failure::file(&file, e))?;
    Ok(judge::ask("validate", "appimage", &file, work, bench)?.succeeded())
}

/// The file's bytes, and the true image ID of the archive in it.
fn packed(one: &Packed, bench: &Bench<'_>) -> Result<(Vec<u8>, String), Failure> {
    if let Some(raw) = &one.raw {
        return Ok((raw.clone().into_bytes(), String::new()));
    }
    let base = bench.suite.bases.get("smallest").ok_or_else(|| Failure::new("no base document named smallest"))?;
    let manifest = document::changed(base, &one.set, &[], &[]).map_err(Failure::new)?;
    let manifest = make::bytes(&manifest);
    let mut tar = Tar::default();
    let entries = match &one.entries {
        Some(list) => make::entries(list, &manifest),
        None => [make::usual("manifest", &manifest), make::usual("rootfs", b"")]
            .into_iter()
            .chain(make::entries(&one.add, &manifest))
            .collect(),
    };
    entries.iter().for_each(|entry| tar.add(entry));
    let tar = tar.finish();
    let id = make::image_id(&tar);
    let mut bytes =
        make::compressed(tar, one.compress.as_deref()).map_err(|e| Failure::new(format!("failed to compress: {e}")))?;
    bytes.truncate(bytes.len().saturating_sub(one.cut));
    bytes.extend_from_slice(one.append.as_bytes());
    Ok((bytes, id))
}
