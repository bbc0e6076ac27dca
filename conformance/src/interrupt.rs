//! SIGINT and SIGTERM: the commands that run are ended, what the cases made is taken away, and the program ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::Failure;

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Heeds the signals from now on; the second one ends the program as it stands.
pub fn heed() -> std::io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&ASKED))?;
        flag::register(signal, Arc::clone(&ASKED))?;
    }
    Ok(())
}

/// After a signal nothing is begun any more but cleaning up.
pub fn allows(action: &str) -> Result<(), Failure> {
    if came() && action != "clean" { Err(Failure::interrupted()) } else { Ok(()) }
}

/// Whether one has come.
pub fn came() -> bool {
    ASKED.load(Ordering::Relaxed)
}
