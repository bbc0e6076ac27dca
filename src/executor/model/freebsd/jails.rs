//! Jails as the kernel makes them (`kern_jail_set` of `kern_jail.c`, 13.2), and what it refuses.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{Inner, Jail, refuse, refuse_with};
use crate::executor::freebsd::facts::LinuxRelease;
use crate::executor::freebsd::system::Value;

impl Inner {
    pub(super) fn create_jail(&mut self, parameters: &[(String, Value)]) -> io::Result<i32> {
        let all: BTreeMap<String, Value> = parameters.iter().cloned().collect();
        let text = |name: &str| match all.get(name) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let (Some(name), Some(path)) = (text("name"), text("path")) else { return refuse(libc::EINVAL) };
        if let Some((parent, _)) = name.rsplit_once('.')
            && !self.state.jails.contains_key(parent)
        {
            return refuse_with(io::ErrorKind::NotFound, format!("jail \"{parent}\" not found"));
        }
        if let Some((parent, _)) = name.rsplit_once('.') {
            let children = self.state.jails.keys().filter(|other| other.starts_with(&format!("{parent}."))).count();
            let most = self.state.jails.get(parent).and_then(|jail| jail.parameters.get("children.max"));
            let most = if let Some(Value::Number(most)) = most { usize::try_from(*most).unwrap_or(0) } else { 0 };
            let parent = self.state.jails.get(parent);
            let statfs = |parameters: &BTreeMap<String, Value>| match parameters.get("enforce_statfs") {
                Some(Value::Number(number)) => *number,
                _ => 2,
            };
            let sees_more = parent.is_some_and(|parent| statfs(&all) < statfs(&parent.parameters));
            let may_more = parent.is_some_and(|parent| {
                let allows = |name: &&String| name.starts_with("allow.") && !name.starts_with("allow.no");
                all.keys().filter(allows).any(|name| !parent.parameters.contains_key(name))
            });
            // Seen on 13.2: nothing of a child goes beyond its parent. The other is `prison_count_child` of kern_jail.c.
            if children >= most || sees_more || may_more {
                return refuse_with(
                    io::ErrorKind::PermissionDenied,
                    "jail_set: EPERM: Operation not permitted".to_owned(),
                );
            }
        }
        if self.state.jails.contains_key(&name) {
            return refuse_with(io::ErrorKind::AlreadyExists, format!("jail \"{name}\" already exists"));
        }
        if !self.is_directory(Path::new(&path)) {
            return refuse_with(io::ErrorKind::NotFound, format!("path {path}: No such file or directory"));
        }
        if all.contains_key("linux") && !self.state.modules.contains("linux64") {
            return refuse_with(io::ErrorKind::InvalidInput, "unknown parameter: linux".to_owned());
        }
        if text("linux.osrelease").is_some_and(|release| LinuxRelease::try_from(release).is_err()) {
            return refuse_with(io::ErrorKind::InvalidInput, "linux.osrelease format error".to_owned());
        }
        // No jail is less secure than who makes it.
        let host = self.state.sysctls.get("kern.securelevel").copied().unwrap_or(-1);
        if matches!(all.get("securelevel"), Some(Value::Number(level)) if i64::from(*level) < host) {
            return refuse(libc::EPERM);
        }
        if all.contains_key("vnet") && self.state.sysctls.get("kern.features.vimage") != Some(&1) {
            return refuse_with(io::ErrorKind::InvalidInput, "unknown parameter: vnet".to_owned());
        }
        let id = self.next_jail;
        self.next_jail += 1;
        self.state.jails.insert(name, Jail { id, parameters: all, settings: Vec::new() });
        Ok(id)
    }
}
