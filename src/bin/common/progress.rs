//! A bar for what is read for long, where somebody watches.

use std::io::IsTerminal as _;

use appc::aci::Progress;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// What has fewer bytes is read in a moment.
const LONG: u64 = 64 << 20;

/// Of something that has so many bytes; nothing where it is short, or standard error is no terminal.
pub fn bar(name: &str, total: u64) -> Option<Progress> {
    if total < LONG || !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(total).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{msg} [{wide_bar}] {binary_bytes}/{binary_total_bytes} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(appc::diagnostic::visible::line(name).into_owned());
    Some(Progress::new(move |read| bar.set_position(read)))
}
