//! Any path and any form with the right token: no panic, a reason on one line, and never a word of another pod.
#![no_main]

mod pods;

use std::sync::{Arc, OnceLock};

use appc::metadata::{Asked, Pods};
use hyper::Method;
use libfuzzer_sys::fuzz_target;

static PODS: OnceLock<Arc<Pods>> = OnceLock::new();

fuzz_target!(|input: (bool, &str, &[u8])| {
    let (post, path, body) = input;
    if pods::names_the_other(body) {
        return;
    }
    let method = if post { Method::POST } else { Method::GET };
    let path = format!("/{}/acMetadata/v1/{path}", pods::TOKEN);
    let asked = Asked { method: &method, path: &path, content_type: None, body };
    let answer = PODS.get_or_init(pods::pods).answer(&asked);
    assert!(!pods::names_the_other(&answer.body));
    if !answer.status.is_success() {
        assert_eq!(answer.body.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
});
