//! Where files of the host's administrator and of a user are.

use std::path::{Path, PathBuf};

use super::Variables;

/// The directory of the host's configuration.
fn host_directory() -> &'static Path {
    Path::new(if cfg!(target_os = "freebsd") { "/usr/local/etc/jetpack" } else { "/etc/jetpack" })
}

/// The directory that this user's configuration is in: the host's for its administrator.
pub(super) fn own_directory(variable: &Variables<'_>) -> Option<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    user_directory(variable).map(|user| user.join("jetpack")).or_else(|| root.then(|| host_directory().to_owned()))
}

pub(super) fn system_trust_directories(variable: &Variables<'_>) -> Vec<PathBuf> {
    let shipped = if cfg!(target_os = "freebsd") { "/usr/local/share/jetpack" } else { "/usr/lib/jetpack" };
    let host = Some(host_directory()).filter(|host| own_directory(variable).is_none_or(|own| own != *host));
    [Some(Path::new(shipped)), host].into_iter().flatten().map(|directory| directory.join("trust")).collect()
}

pub(super) fn credential_directories(variable: &Variables<'_>) -> Vec<PathBuf> {
    let own = own_directory(variable).filter(|own| own != host_directory());
    [Some(host_directory().to_owned()), own].into_iter().flatten().map(|directory| directory.join("auth.d")).collect()
}

/// Where a user keeps configuration.
fn user_directory(variable: &Variables<'_>) -> Option<PathBuf> {
    // The superuser's home may be somebody else's under sudo: only what is named counts for him.
    let home = if rustix::process::geteuid().is_root() { None } else { absolute(variable, "HOME") };
    absolute(variable, "XDG_CONFIG_HOME").or_else(|| home.map(|home| home.join(".config")))
}

/// The base directory specification: a relative path in a variable is to be ignored.
fn absolute(variable: &Variables<'_>, name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Where images and pods are kept when nobody says where: the system's place for the superuser,
/// `$XDG_DATA_HOME/jetpack` (`~/.local/share/jetpack`) for everybody else. Nothing for an ordinary user without a home.
pub(super) fn default_root(variable: &Variables<'_>) -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from(if cfg!(target_os = "freebsd") { "/var/db/jetpack" } else { "/var/lib/jetpack" }));
    }
    let data = absolute(variable, "XDG_DATA_HOME");
    let data = data.or_else(|| absolute(variable, "HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("jetpack"))
}

/// The files that are read, in this order.
pub(super) fn files(variable: &Variables<'_>) -> Vec<PathBuf> {
    let system = if cfg!(target_os = "freebsd") { "/usr/local/etc/jetpack.toml" } else { "/etc/jetpack.toml" };
    let mut files = vec![PathBuf::from(system)];
    if let Some(user) = user_directory(variable) {
        let (plain, nested) = (user.join("jetpack.toml"), user.join("jetpack/config.toml"));
        files.push(if plain.exists() { plain } else { nested });
    }
    files
}

/// Where podman and its like say where registries are: what a variable names, else the user's file, else the host's.
pub fn registry_files(variable: &Variables<'_>) -> Vec<PathBuf> {
    const NAME: &str = "containers/registries.conf";
    if let Some(named) = absolute(variable, "CONTAINERS_REGISTRIES_CONF") {
        return vec![named];
    }
    let hosts = if cfg!(target_os = "freebsd") { "/usr/local/etc" } else { "/etc" };
    user_directory(variable).into_iter().chain([PathBuf::from(hosts)]).map(|place| place.join(NAME)).collect()
}
