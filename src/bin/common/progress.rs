//! A bar for what is read for long, where somebody watches.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};

use appc::aci::Progress;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on nobody watches: `--quiet`.
pub fn hide() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether somebody watches standard error.
pub fn is_watched() -> bool {
    !QUIET.load(Ordering::Relaxed) && std::io::stderr().is_terminal()
}

/// What has fewer bytes is read in a moment.
const LONG: u64 = 64 << 20;

/// Of something that has so many bytes; nothing where it is short, or nobody watches.
pub fn bar(name: &str, total: u64) -> Option<Progress> {
    let bar = shown(name, total)?;
    Some(Progress::new(move |read| bar.set_position(read)))
}

/// The bar itself, for whoever moves it.
pub fn shown(name: &str, total: u64) -> Option<ProgressBar> {
    if total < LONG || !is_watched() {
        return None;
    }
    let bar = ProgressBar::new(total).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{msg} [{wide_bar}] {binary_bytes}/{binary_total_bytes} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(appc::diagnostic::visible::line(name).into_owned());
    Some(bar)
}
