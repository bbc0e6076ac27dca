//! What becomes of isolators of capabilities and system calls, in words.

use super::capabilities::Bounding;
use super::default_calls;
use super::seccomp::Selection;
use crate::executor::isolation::Outcome;
use crate::executor::plan::{AppPlan, Isolation};

/// What became of a capability isolator.
pub fn bounded(bounding: &Bounding, lacking: bool) -> Outcome {
    let mut how = Vec::new();
    if !bounding.refused.is_empty() {
        how.push(format!(
            "the operator does not allow {}, which is beyond the default set (caps-allow)",
            bounding.refused.join(", ")
        ));
    }
    if !bounding.unknown.is_empty() {
        how.push(format!("this system does not know {}", bounding.unknown.join(", ")));
    }
    if lacking {
        how.push("this host's own processes lack some of the capabilities".to_owned());
    }
    if how.is_empty() { Outcome::Enforced } else { Outcome::modified(how.join("; ")) }
}

/// Which calls the default filter lets pass beyond those that come with capabilities; nothing: all.
pub fn allowed_calls(selection: &Selection, app: &AppPlan) -> Option<Vec<String>> {
    let mut allowed = app.consent.calls.clone();
    if allowed.iter().any(|call| call == "all") || app.consent.own_calls && selection.nothing_blocked {
        return None;
    }
    if app.consent.own_calls {
        // Every list of calls has these; what some of their uses do is another matter.
        let plain = |call: &&String| !["clone", "clone3", "socket"].contains(&call.as_str());
        allowed.extend(selection.named.iter().filter(plain).cloned());
    }
    Some(allowed)
}

/// What became of a seccomp isolator.
pub fn filtered(selection: &Selection, app: &AppPlan, bounding: &Bounding) -> Outcome {
    let mut how = Vec::new();
    if !selection.unknown.is_empty() {
        how.push(format!("this system does not know {}", selection.unknown.join(", ")));
    }
    if let Some(allowed) = allowed_calls(selection, app) {
        let retains = app.isolators.iter().any(|isolation| matches!(isolation, Isolation::SeccompRetain { .. }));
        let refused = |call: &&str| {
            default_calls::needs_consent(call, bounding.keep) && !allowed.iter().any(|allowed| allowed == call)
        };
        let refused: Vec<&str> = selection.named.iter().map(String::as_str).filter(refused).collect();
        if retains && selection.nothing_blocked {
            how.push("the operator does not allow the calls that a pod has no need of (seccomp-allow)".to_owned());
        } else if !refused.is_empty() {
            how.push(format!("the operator does not allow {} (seccomp-allow)", refused.join(", ")));
        }
    }
    if how.is_empty() { Outcome::Enforced } else { Outcome::modified(how.join("; ")) }
}
