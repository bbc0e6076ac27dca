//! Where files of the host's administrator and of a user are.

use std::env;
use std::path::{Path, PathBuf};

/// The directory of the host's configuration.
fn host_directory() -> &'static Path {
    Path::new(if cfg!(target_os = "freebsd") { "/usr/local/etc/jetpack" } else { "/etc/jetpack" })
}

/// The directory that this user's configuration is in: the host's for its administrator.
pub(super) fn own_directory() -> Option<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    user_directory().map(|user| user.join("jetpack")).or_else(|| root.then(|| host_directory().to_owned()))
}

pub(super) fn system_trust_directories() -> Vec<PathBuf> {
    let shipped = if cfg!(target_os = "freebsd") { "/usr/local/share/jetpack" } else { "/usr/lib/jetpack" };
    let host = Some(host_directory()).filter(|host| own_directory().is_none_or(|own| own != *host));
    [Some(Path::new(shipped)), host].into_iter().flatten().map(|directory| directory.join("trust")).collect()
}

pub(super) fn credential_directories() -> Vec<PathBuf> {
    let own = own_directory().filter(|own| own != host_directory());
    [Some(host_directory().to_owned()), own].into_iter().flatten().map(|directory| directory.join("auth.d")).collect()
}

/// Where a user keeps configuration.
fn user_directory() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // The superuser's home may be somebody else's under sudo: only what is named counts for him.
    let home = if rustix::process::geteuid().is_root() { None } else { absolute("HOME") };
    absolute("XDG_CONFIG_HOME").or_else(|| home.map(|home| home.join(".config")))
}

/// The files that are read, in this order.
pub(super) fn files() -> Vec<PathBuf> {
    let system = if cfg!(target_os = "freebsd") { "/usr/local/etc/jetpack.toml" } else { "/etc/jetpack.toml" };
    let mut files = vec![PathBuf::from(system)];
    if let Some(user) = user_directory() {
        let (plain, nested) = (user.join("jetpack.toml"), user.join("jetpack/config.toml"));
        files.push(if plain.exists() { plain } else { nested });
    }
    files
}
