//! Subordinate ids: which users and groups of the host someone without privilege may have in a user namespace.
//!
//! `/etc/subuid` and `/etc/subgid` grant ranges, a line `NAME-OR-NUMBER:FIRST:COUNT` each; newuidmap(1) and newgidmap(1),
//! which have the privilege, write the maps.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::steps::IdMap;
use crate::executor::{Error, Kind};

/// Where the two programs are looked for: never along the caller's own path.
const PLACES: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/bin", "/run/wrappers/bin"];

/// One user and one group: what everyone may have.
pub fn one(uid: u32, gid: u32) -> IdMap {
    IdMap { users: vec![(0, uid, 1)], groups: vec![(0, gid, 1)] }
}

/// The caller as root, and all that is granted beyond.
///
/// # Errors
/// Why there is no more than one.
pub fn map(uid: u32, gid: u32) -> Result<IdMap, String> {
    program("newuidmap").and(program("newgidmap"))?;
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let passwd = read("/etc/passwd");
    let grant =
        |path: &str| granted(&read(path), &passwd, uid).ok_or_else(|| format!("{path} grants none to user {uid}"));
    let (users, groups) = (grant("/etc/subuid")?, grant("/etc/subgid")?);
    Ok(IdMap { users: vec![(0, uid, 1), (1, users.0, users.1)], groups: vec![(0, gid, 1), (1, groups.0, groups.1)] })
}

/// A program of the host's.
///
/// # Errors
/// That it is not there.
pub(super) fn program(name: &str) -> Result<PathBuf, String> {
    let found = PLACES
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0));
    found.ok_or_else(|| format!("the program {name} is not installed"))
}

/// The first range that the file grants to a user, by name or by number.
fn granted(file: &str, passwd: &str, uid: u32) -> Option<(u32, u32)> {
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    });
    file.lines().find_map(|line| {
        let (owner, range) = line.trim().split_once(':')?;
        let (first, count) = range.split_once(':')?;
        let (first, count): (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
        let fits = count > 0 && first.checked_add(count).is_some();
        ((owner == number || Some(owner) == name) && fits).then_some((first, count))
    })
}

/// Has the maps of a new user namespace written, that of the process `pid`.
///
/// # Errors
/// What the program that writes them says.
pub fn write(pid: i32, ids: &IdMap) -> Result<(), Error> {
    for (name, map) in [("newuidmap", &ids.users), ("newgidmap", &ids.groups)] {
        let failed = |why: String| Error::new(Kind::Unsupported, "map the subordinate ids of the pod").because(why);
        let mut command = Command::new(program(name).map_err(failed)?);
        command.env_clear().arg(pid.to_string());
        for (inside, outside, count) in map {
            command.args([inside.to_string(), outside.to_string(), count.to_string()]);
        }
        let output = command.output().map_err(|error| failed(format!("{name}: {error}")))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_granted_by_name_or_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        let file = "bob:100000:65536\n1001:300000:10\nann:200000:65536\nann:400000:1\n";
        assert_eq!(granted(file, passwd, 1000), Some((200_000, 65_536)));
        assert_eq!(granted(file, passwd, 1001), Some((300_000, 10)));
        assert_eq!(granted(file, passwd, 0), None);
        for broken in ["ann:200000", "ann:x:1", "ann:1:0", "ann:4294967295:2", "", "ann::"] {
            assert_eq!(granted(broken, passwd, 1000), None, "{broken}");
        }
    }
}
