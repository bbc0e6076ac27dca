//! What the root of a case stands on where a target makes it, a dataset say: `prepare` makes it, `discard` takes it away.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Bench;
use crate::Failure;
use crate::driver::Values;

/// The pool in which datasets of cases are made, where no `APPC_POOL` names another.
const POOL: &str = "zroot";

/// The pool in which datasets of cases are made.
pub fn pool() -> String {
    std::env::var("APPC_POOL").unwrap_or_else(|_| POOL.to_owned())
}

/// The ground of one case. What is not discarded before is when this goes.
pub struct Ground<'a> {
    bench: &'a Bench<'a>,
    values: Values,
    laid: bool,
}

impl<'a> Ground<'a> {
    /// Has the target make it, if it makes any; the commands of the case can name it too.
    pub fn lay(bench: &'a Bench<'a>, values: &mut Values) -> Result<Self, Failure> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        values.insert("dataset".into(), format!("{}/appc-{}-{number}", pool(), std::process::id()));
        let laid = bench.driver.can("prepare");
        let ground = Ground { bench, values: values.clone(), laid };
        if laid {
            let answer = bench.driver.ask("prepare", values)?;
            if !answer.succeeded() {
                return Err(Failure::new(format!("`prepare` {}: {}", answer.ending(), answer.stderr.trim())));
            }
        }
        Ok(ground)
    }

    /// Whether a mount is part of the ground itself: the root and trees of images, which stay with it.
    pub fn has(&self, kind: &str, target: &str) -> bool {
        self.laid && kind == "zfs" && !target.contains("/pods/")
    }

    /// Has it taken away; why not, where that fails.
    pub fn discard(mut self) -> Option<String> {
        self.end()
    }

    fn end(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.laid) || !self.bench.driver.can("discard") {
            return None;
        }
        match self.bench.driver.ask("discard", &self.values) {
            Ok(answer) if answer.succeeded() => None,
            Ok(answer) => Some(format!("`discard` {}: {}", answer.ending(), answer.stderr.trim())),
            Err(failure) => Some(failure.to_string()),
        }
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        // The case has failed already, and for its own reason.
        let _ = self.end();
    }
}
