//! Any bytes on a connection: no panic, an answer that is HTTP or none, and never a word of another pod.
#![no_main]

mod pods;

use std::sync::{Arc, OnceLock};

use appc::metadata::{Limits, Pods, exchange};
use libfuzzer_sys::fuzz_target;

static PODS: OnceLock<Arc<Pods>> = OnceLock::new();

fuzz_target!(|request: &[u8]| {
    if pods::names_the_other(request) {
        return;
    }
    let response = exchange(PODS.get_or_init(pods::pods), Limits::of_one_pod(), request).expect("no socket, no failure");
    assert!(response.is_empty() || response.starts_with(b"HTTP/1."));
    assert!(!pods::names_the_other(&response));
});
