//! Where a store is when nobody says where.

use std::env;
use std::path::PathBuf;

/// The root that holds when neither the command line nor a configuration names one: the system's for the
/// superuser, `$XDG_DATA_HOME/jetpack` (`~/.local/share/jetpack`) for everybody else. `None` for an ordinary user
/// without a home.
pub fn default_root() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from(if cfg!(target_os = "freebsd") { "/var/db/jetpack" } else { "/var/lib/jetpack" }));
    }
    // The base directory specification: a relative path in the variable is to be ignored.
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("jetpack"))
}
