//! Who an app's processes are: decided from the rendered rootfs alone, never from the host (decision 40).

use std::path::Path;

use super::{Error, Kind};

/// The most of `/etc/passwd` or `/etc/group` that is read, in bytes.
pub const LIMIT: u64 = 1 << 20;

/// Gives owner and group of a path.
pub type OwnerOf<'a> = dyn Fn(&Path) -> Result<(u32, u32), Error> + 'a;

/// What the rootfs knows about users: its two files, where it has them, and who owns a path in it.
pub struct Rootfs<'a> {
    /// `/etc/passwd`, at most [`LIMIT`] bytes of it.
    pub passwd: Option<&'a [u8]>,
    /// `/etc/group`, likewise.
    pub group: Option<&'a [u8]>,
    /// Owner and group of a path, links resolved inside the rootfs.
    pub owner: &'a OwnerOf<'a>,
}

/// A user of the rootfs, by number, and what its passwd says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Name, where passwd has the user.
    pub name: Option<String>,
    /// Home directory, where passwd has one.
    pub home: Option<String>,
    /// Shell, where passwd has one.
    pub shell: Option<String>,
}

/// The user that `user` means in this rootfs: a name in passwd, else a number, else the owner of a path.
pub fn user(user: &str, rootfs: &Rootfs<'_>) -> Result<User, Error> {
    let passwd = || lines(rootfs.passwd).filter(|fields| fields.len() >= 4);
    let entry = passwd().find(|fields| fields[0] == user);
    let entry = match entry {
        Some(entry) => Some((entry[2].parse().map_err(|_| unusable("user", user, "passwd", entry[2]))?, entry)),
        None => None,
    };
    let (uid, entry) = match (entry, number(user)) {
        (Some((uid, entry)), _) => (uid, Some(entry)),
        (None, Some(uid)) => (uid, passwd().find(|fields| fields[2].parse() == Ok(uid))),
        (None, None) if user.starts_with('/') => {
            let (uid, _) = (rootfs.owner)(Path::new(user))?;
            (uid, passwd().find(|fields| fields[2].parse() == Ok(uid)))
        }
        (None, None) => return Err(unknown("user", user, "passwd")),
    };
    let field = |index: usize| {
        let fields = entry.as_ref()?;
        fields.get(index).filter(|text| !text.is_empty()).map(|text| (*text).to_owned())
    };
    Ok(User { uid, name: field(0), home: field(5), shell: field(6) })
}

/// The group id that `group` means in this rootfs: a name in group, else a number, else the group of a path.
pub fn group(group: &str, rootfs: &Rootfs<'_>) -> Result<u32, Error> {
    let entry = lines(rootfs.group).find(|fields| fields.len() >= 3 && fields[0] == group);
    match (entry, number(group)) {
        (Some(fields), _) => fields[2].parse().map_err(|_| unusable("group", group, "group", fields[2])),
        (None, Some(gid)) => Ok(gid),
        (None, None) if group.starts_with('/') => Ok((rootfs.owner)(Path::new(group))?.1),
        (None, None) => Err(unknown("group", group, "group")),
    }
}

/// 0..4294967294: the last number means "no user" to the system.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&id| digits && id != u32::MAX)
}

fn lines(file: Option<&[u8]>) -> impl Iterator<Item = Vec<&str>> {
    file.unwrap_or_default()
        .split(|&byte| byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .filter(|line| !line.starts_with(['#', '+', '-']))
        .map(|line| line.trim_end_matches('\r').split(':').collect())
}

fn unknown(what: &str, name: &str, file: &str) -> Error {
    Error::new(Kind::Missing, format!("find the {what} `{name}`"))
        .clause(if what == "user" { "im.app.user.required" } else { "im.app.group.required" })
        .because(format!(
            "/etc/{file} of the rootfs has no such {what}, and it is neither a number up to 4294967294 nor an absolute path"
        ))
}

fn unusable(what: &str, name: &str, file: &str, id: &str) -> Error {
    Error::new(Kind::Missing, format!("find the {what} `{name}`"))
        .because(format!("/etc/{file} of the rootfs gives it the id `{id}`, which is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n1000:x:7:7::/h:\nweb:x:33:44:www:/srv:/bin/false\nbad:x:y:0::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nweb:x:44:a,b\n";

    fn rootfs() -> Rootfs<'static> {
        Rootfs { passwd: Some(PASSWD), group: Some(GROUP), owner: &|_| Ok((33, 45)) }
    }

    #[test]
    fn a_name_wins_over_a_number_even_when_it_is_all_digits() {
        assert_eq!(user("1000", &rootfs()).unwrap().uid, 7);
        assert_eq!(user("33", &rootfs()).unwrap().name.as_deref(), Some("web"));
        assert_eq!(user("web", &rootfs()).unwrap().uid, 33);
        assert_eq!(group("web", &rootfs()).unwrap(), 44);
        assert_eq!(group("4294967294", &rootfs()).unwrap(), 4_294_967_294);
    }

    #[test]
    fn a_path_means_its_owner_and_group() {
        let found = user("/srv/data", &rootfs()).unwrap();
        assert_eq!((found.uid, found.home.as_deref()), (33, Some("/srv")));
        assert_eq!(group("/srv/data", &rootfs()).unwrap(), 45);
    }

    #[test]
    fn what_is_neither_name_nor_number_nor_path_is_an_error() {
        for name in ["nobody", "4294967295", "+5", "-1", "", "bad"] {
            assert!(user(name, &rootfs()).is_err(), "{name}");
        }
        for name in ["nogroup", "4294967295"] {
            assert!(group(name, &rootfs()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_rootfs_without_files_knows_numbers_only() {
        let bare = Rootfs { passwd: None, group: None, owner: &|_| Ok((0, 0)) };
        assert_eq!(user("0", &bare).unwrap(), User { uid: 0, name: None, home: None, shell: None });
        assert!(user("root", &bare).is_err());
    }
}
