//! Bars for transfers: bytes, rate, time left. Where somebody watches only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use appc::transport::{Progress, Watch};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const KNOWN: &str = "{msg} [{wide_bar}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
const UNKNOWN: &str = "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec}";

/// One bar for each transfer, if somebody watches.
pub fn bars() -> Option<Watch> {
    if !crate::reading::is_watched() {
        return None;
    }
    let all = MultiProgress::new();
    let bars: Mutex<HashMap<String, ProgressBar>> = Mutex::default();
    Some(Arc::new(move |progress: Progress<'_>| {
        let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(progress.url.to_string()).or_insert_with(|| all.add(bar(&progress)));
        bar.set_position(progress.received);
        if progress.total == Some(progress.received) {
            bar.finish_and_clear();
        }
    }))
}

fn bar(progress: &Progress<'_>) -> ProgressBar {
    let (bar, template) = match progress.total {
        Some(total) => (ProgressBar::new(total), KNOWN),
        None => (ProgressBar::new_spinner(), UNKNOWN),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let name = progress.url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    bar.with_message(name.to_owned())
}
