//! Who an app's processes are: decided from the rendered rootfs alone, never from the host (decision 40).

use std::io::{self, BufRead, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, Kind};
use crate::id::Id;

/// The most of `/etc/passwd` or `/etc/group` that is read, in bytes: nobody is to be found behind it.
pub(crate) const LIMIT: u64 = 64 << 20;
/// The longest line of these, in bytes.
const LINE: u64 = 1 << 16;

/// Gives owner and group of a path.
pub(crate) type OwnerOf<'a> = dyn Fn(&Path) -> Result<(u32, u32), Error> + 'a;

/// One of the two files, to be read from its beginning.
pub(crate) type Lines<'a> = Option<&'a mut dyn BufRead>;

/// What the rootfs knows about users: its two files, where it has them, and who owns a path in it.
pub(crate) struct Rootfs<'a> {
    /// `/etc/passwd`
    pub passwd: Lines<'a>,
    /// `/etc/group`
    pub group: Lines<'a>,
    /// Owner and group of a path, links resolved inside the rootfs.
    pub owner: &'a OwnerOf<'a>,
}

/// A user of the rootfs with the group of its processes, by number, and what passwd says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// User id.
    pub uid: Id,
    /// Group id.
    pub gid: Id,
    /// Name, where passwd has the user.
    pub name: Option<String>,
    /// Home directory, where passwd has one.
    pub home: Option<String>,
    /// Shell, where passwd has one.
    pub shell: Option<String>,
}

impl Identity {
    /// Whoever `user` and `group` mean in this rootfs.
    ///
    /// # Errors
    /// [`Kind::Missing`] where it has none, [`Kind::Io`] where its files cannot be read.
    pub fn find(user: &str, group: &str, rootfs: Rootfs<'_>) -> Result<Self, Error> {
        let (uid, entry) = find_user(user, rootfs.passwd, rootfs.owner)?;
        Ok(Self::of(uid, find_group(group, rootfs.group, rootfs.owner)?, entry))
    }

    fn of(uid: Id, gid: Id, entry: Option<Vec<String>>) -> Self {
        let field = |index: usize| entry.as_ref()?.get(index).filter(|text| !text.is_empty()).cloned();
        Self { uid, gid, name: field(0), home: field(5), shell: field(6) }
    }
}

/// How a command that is run beside an app differs from the app's own processes.
#[derive(Clone, Debug, Default)]
pub struct Otherwise {
    /// Its user, as manifests have them.
    pub user: Option<String>,
    /// Its group, likewise; without, where there is a user, the one that passwd has of it.
    pub group: Option<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub working_directory: Option<PathBuf>,
}

impl Otherwise {
    /// Who the command is, where it is not who the app is. Groups beyond the one are the app's own alone.
    ///
    /// # Errors
    /// As [`Identity::find`].
    pub(crate) fn identity(&self, own: &Identity, rootfs: Rootfs<'_>) -> Result<Option<Identity>, Error> {
        Ok(Some(match (&self.user, &self.group) {
            (None, None) => return Ok(None),
            (Some(user), Some(group)) => Identity::find(user, group, rootfs)?,
            (None, Some(group)) => Identity { gid: find_group(group, rootfs.group, rootfs.owner)?, ..own.clone() },
            (Some(user), None) => {
                let (uid, entry) = find_user(user, rootfs.passwd, rootfs.owner)?;
                let gid = entry.as_ref().and_then(|fields| fields.get(3)?.parse().ok()).unwrap_or(own.gid);
                Identity::of(uid, gid, entry)
            }
        }))
    }

    /// Puts its variables in the place of those of the same names.
    pub(crate) fn put_environment(&self, environment: &mut Vec<(String, String)>) {
        environment.retain(|(name, _)| self.environment.iter().all(|(other, _)| other != name));
        environment.extend(self.environment.iter().cloned());
    }
}

/// A name in passwd, else a number, else the owner of a path; with the fields that passwd has of it.
fn find_user(user: &str, passwd: Lines<'_>, owner: &OwnerOf<'_>) -> Result<(Id, Option<Vec<String>>), Error> {
    let number = match user.parse::<Id>() {
        Ok(number) => Some(number),
        // A name that begins like a path is looked for as well, but its owner is no reason to fail before that.
        Err(_) if user.starts_with('/') => owner(Path::new(user)).map(|(uid, _)| uid.try_into().ok()).unwrap_or(None),
        Err(_) => None,
    };
    let mut of_number = None;
    let found = search(passwd, "passwd", |fields| {
        let of_user = fields.len() >= 4;
        if of_user && of_number.is_none() && number.is_some() && fields[2].parse().ok() == number {
            of_number = Some(fields.iter().map(|&field| field.to_owned()).collect());
        }
        of_user && fields[0] == user
    })?;
    match (found, number) {
        (Some(fields), _) => {
            let uid = fields[2].parse().map_err(|_| unusable("user", user, "passwd", &fields[2]))?;
            Ok((uid, Some(fields)))
        }
        (None, Some(uid)) => Ok((uid, of_number)),
        (None, None) if user.starts_with('/') => {
            let (uid, _) = owner(Path::new(user))?;
            Err(unusable("user", user, "passwd", &uid.to_string()))
        }
        (None, None) => Err(unknown("user", user, "passwd")),
    }
}

/// A name in group, else a number, else the group of a path.
fn find_group(group: &str, lines: Lines<'_>, owner: &OwnerOf<'_>) -> Result<Id, Error> {
    let found = search(lines, "group", |fields| fields.len() >= 3 && fields[0] == group)?;
    match (found, group.parse()) {
        (Some(fields), _) => fields[2].parse().map_err(|_| unusable("group", group, "group", &fields[2])),
        (None, Ok(gid)) => Ok(gid),
        (None, Err(_)) if group.starts_with('/') => {
            let (_, gid) = owner(Path::new(group))?;
            gid.try_into().map_err(|_| unusable("group", group, "group", &gid.to_string()))
        }
        (None, Err(_)) => Err(unknown("group", group, "group")),
    }
}

/// The fields of the first line that `wanted` takes.
fn search(lines: Lines<'_>, file: &str, mut wanted: impl FnMut(&[&str]) -> bool) -> Result<Option<Vec<String>>, Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, format!("read /etc/{file} of the rootfs")).because(error);
    let Some(lines) = lines else { return Ok(None) };
    let (mut line, mut sofar) = (Vec::new(), 0);
    loop {
        line.clear();
        let length = (&mut *lines).take(LINE + 1).read_until(b'\n', &mut line).map_err(failed)? as u64;
        if length == 0 {
            return Ok(None);
        }
        sofar += length;
        if length > LINE {
            return Err(failed(io::Error::other(format!("a line of it is longer than {LINE} bytes"))));
        }
        if sofar > LIMIT {
            return Err(failed(io::Error::other(format!("it is longer than {LIMIT} bytes"))));
        }
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        let text = text.trim_end_matches('\n').trim_end_matches('\r');
        if text.starts_with(['#', '+', '-']) {
            continue;
        }
        let fields: Vec<&str> = text.split(':').collect();
        if wanted(&fields) {
            return Ok(Some(fields.into_iter().map(str::to_owned).collect()));
        }
    }
}

fn unknown(what: &str, name: &str, file: &str) -> Error {
    Error::new(Kind::Missing, format!("find the {what} `{name}`"))
        .clause(if what == "user" { "im.app.user.required" } else { "im.app.group.required" })
        .because(format!(
            "/etc/{file} of the rootfs has no such {what}, and it is neither a number up to {} nor an absolute path",
            Id::LAST
        ))
}

fn unusable(what: &str, name: &str, file: &str, id: &str) -> Error {
    Error::new(Kind::Missing, format!("find the {what} `{name}`"))
        .clause(if what == "user" { "im.app.user.required" } else { "im.app.group.required" })
        .because(format!("the rootfs (its /etc/{file}) gives it the id `{id}`, and {}", crate::id::NoId))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n1000:x:7:7::/h:\nweb:x:33:44:www:/srv:/bin/false\nbad:x:y:0::/:\n\
        minus:x:4294967295:44::/:\n";
    const GROUP: &str = "root:x:0:\nweb:x:44:a,b\nminus:x:4294967295:\n";

    fn find_in(passwd: &str, file: &str, user: &str, group: &str) -> Result<Identity, Error> {
        let (mut passwd, mut file) = (passwd.as_bytes(), file.as_bytes());
        let rootfs = Rootfs { passwd: Some(&mut passwd), group: Some(&mut file), owner: &|_| Ok((33, 45)) };
        Identity::find(user, group, rootfs)
    }

    fn find(user: &str, group: &str) -> Result<(u32, u32), Error> {
        find_in(PASSWD, GROUP, user, group).map(|found| (found.uid.get(), found.gid.get()))
    }

    #[test]
    fn a_name_wins_over_a_number_even_when_it_is_all_digits() {
        assert_eq!(find("1000", "web").unwrap(), (7, 44));
        assert_eq!(find_in(PASSWD, GROUP, "33", "0").unwrap().name.as_deref(), Some("web"));
        assert_eq!(find("web", "4294967294").unwrap(), (33, 4_294_967_294));
    }

    #[test]
    fn a_path_means_its_owner_and_group() {
        let found = find_in(PASSWD, GROUP, "/srv/data", "/srv/data").unwrap();
        assert_eq!((found.uid.get(), found.gid.get(), found.home.as_deref()), (33, 45, Some("/srv")));
    }

    #[test]
    fn what_is_neither_name_nor_number_nor_path_is_an_error() {
        for name in ["nobody", "4294967295", "+5", "-1", "", "bad", "minus"] {
            assert!(find(name, "0").is_err(), "{name}");
        }
        for name in ["nogroup", "4294967295", "minus"] {
            assert!(find("0", name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_owner_that_is_no_id_is_nobody() {
        let rootfs = Rootfs { passwd: None, group: None, owner: &|_| Ok((u32::MAX, u32::MAX)) };
        assert!(Identity::find("/x", "0", rootfs).is_err());
        let rootfs = Rootfs { passwd: None, group: None, owner: &|_| Ok((u32::MAX, u32::MAX)) };
        assert!(Identity::find("0", "/x", rootfs).is_err());
    }

    #[test]
    fn a_rootfs_without_files_knows_numbers_only() {
        let bare = || Rootfs { passwd: None, group: None, owner: &|_| Ok((0, 0)) };
        let nobody = Identity { uid: Id::ROOT, gid: Id::ROOT, name: None, home: None, shell: None };
        assert_eq!(Identity::find("0", "0", bare()).unwrap(), nobody);
        assert!(Identity::find("root", "0", bare()).is_err());
    }

    #[test]
    fn who_stands_far_behind_in_a_long_file_is_found_whole() {
        let mut long = GROUP.repeat(40_000);
        assert!(long.len() > 1 << 20);
        long.push_str("video:x:4455:\n");
        assert_eq!(find_in(PASSWD, &long, "0", "video").unwrap().gid.get(), 4455);
    }

    #[test]
    fn a_file_or_line_beyond_the_limits_is_an_error_that_names_them() {
        let line = format!("video:x:4455:{}\n", "a".repeat(1 << 16));
        let error = crate::error::chain(&find_in(PASSWD, &line, "0", "video").unwrap_err());
        assert!(error.contains("/etc/group") && error.contains("65536"), "{error}");
        struct Endless(u64);
        impl io::Read for Endless {
            fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
                for line in bytes.chunks_mut(1 << 12) {
                    line.fill(b'a');
                    line[line.len() - 1] = b'\n';
                }
                self.0 += bytes.len() as u64;
                Ok(bytes.len())
            }
        }
        let mut endless = io::BufReader::with_capacity(1 << 20, Endless(0));
        let rootfs = Rootfs { passwd: Some(&mut endless), group: None, owner: &|_| Ok((0, 0)) };
        let error = crate::error::chain(&Identity::find("web", "0", rootfs).unwrap_err());
        assert!(error.contains("/etc/passwd") && error.contains("67108864"), "{error}");
        assert!(endless.get_ref().0 < 2 * LIMIT);
    }
}
