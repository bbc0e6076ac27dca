//! Who a user is, by the files of the image.

/// What `etc/passwd` and `etc/group` of an image say.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    /// Name, user and group.
    accounts: Vec<(String, u32, u32)>,
    /// Name, group and members.
    groups: Vec<(String, u32, Vec<String>)>,
}

/// A user and group as they stand in a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) user: String,
    pub(super) group: String,
    pub(super) supplementary: Vec<u32>,
    /// What the image does not know.
    pub(super) unknown: Option<String>,
}

impl Users {
    pub(super) fn new(passwd: Option<&[u8]>, group: Option<&[u8]>) -> Self {
        let lines = |bytes: Option<&[u8]>| -> Vec<Vec<String>> {
            let text = String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
            let fields = |line: &str| line.split(':').map(|field| field.trim().to_owned()).collect();
            text.lines().filter(|line| !line.starts_with('#')).map(fields).collect()
        };
        let accounts = lines(passwd).into_iter().filter_map(|fields| {
            Some((fields.first()?.clone(), fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
        });
        let groups = lines(group).into_iter().filter_map(|fields| {
            let members = fields.get(3)?.split(',').map(|member| member.trim().to_owned());
            Some((fields.first()?.clone(), fields.get(2)?.parse().ok()?, members.collect()))
        });
        Self { accounts: accounts.collect(), groups: groups.collect() }
    }

    /// What `USER[:GROUP]` of a configuration means, names first: without a group that of the account, and those that it is a
    /// member of.
    pub(super) fn look_up(&self, text: &str) -> Found {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let account = self.accounts.iter().find(|(name, ..)| name == user).or_else(|| {
            let number: u32 = user.parse().ok()?;
            self.accounts.iter().find(|(_, id, _)| *id == number)
        });
        let mut unknown = match account {
            None if user.parse::<u32>().is_err() => Some(format!("the user `{}`", user.escape_debug())),
            _ => None,
        };
        let (group, supplementary) = match group {
            Some(group) => {
                let known = self.groups.iter().find(|(name, ..)| name == group);
                if known.is_none() && group.parse::<u32>().is_err() {
                    unknown = unknown.or(Some(format!("the group `{}`", group.escape_debug())));
                }
                (group.to_owned(), Vec::new())
            }
            None => {
                let primary = account.map_or(0, |(_, _, group)| *group);
                let member = |members: &[String]| account.is_some_and(|(name, ..)| members.contains(name));
                let groups = self.groups.iter().filter(|(_, id, members)| *id != primary && member(members));
                let mut supplementary: Vec<u32> = groups.map(|(_, id, _)| *id).collect();
                supplementary.sort_unstable();
                supplementary.dedup();
                (primary.to_string(), supplementary)
            }
        };
        Found { user: user.to_owned(), group, supplementary, unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_what_the_image_says_names_before_numbers() {
        let passwd = b"root:x:0:0::/root:/bin/sh\nweb:x:33:34:web:/:/bin/false\n1000:x:7:8::/:\n";
        let group = b"root:x:0:\nweb:x:34:\nlog:x:4:root,web\nadm:x:5:web\n";
        let users = Users::new(Some(passwd), Some(group));
        let found = |text| {
            let found = users.look_up(text);
            (found.user, found.group, found.supplementary, found.unknown.is_some())
        };
        let is = |user: &str, group: &str, more: &[u32], unknown| {
            (user.to_owned(), group.to_owned(), more.to_vec(), unknown)
        };
        assert_eq!(found(""), is("0", "0", &[4], false));
        assert_eq!(found("web"), is("web", "34", &[4, 5], false));
        assert_eq!(found("33"), is("33", "34", &[4, 5], false));
        assert_eq!(found("1000"), is("1000", "8", &[], false));
        assert_eq!(found("4000"), is("4000", "0", &[], false));
        assert_eq!(found("web:log"), is("web", "log", &[], false));
        assert_eq!(found("33:99"), is("33", "99", &[], false));
        assert_eq!(found(":4"), is("0", "4", &[], false));
        assert_eq!(found("nobody"), is("nobody", "0", &[], true));
        assert_eq!(found("web:none"), is("web", "none", &[], true));
    }
}
