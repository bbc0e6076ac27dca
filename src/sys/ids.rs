//! Who the calling process is, as the kernel has it.
#![allow(unsafe_code)]

use std::io;

/// The ids of a process.
#[derive(Debug)]
pub struct Ids {
    /// Real, effective and saved user.
    pub users: [u32; 3],
    /// Real, effective and saved group.
    pub groups: [u32; 3],
    /// Its further groups, sorted.
    pub further: Vec<u32>,
}

impl Ids {
    /// Those of this process.
    ///
    /// # Errors
    /// The kernel's.
    pub fn own() -> io::Result<Self> {
        let (mut users, mut groups) = ([0; 3], [0; 3]);
        let [user, effective_user, saved_user] = &mut users;
        let [group, effective_group, saved_group] = &mut groups;
        // SAFETY: the kernel writes one number through each of the pointers.
        let got = unsafe {
            [libc::getresuid(user, effective_user, saved_user), libc::getresgid(group, effective_group, saved_group)]
        };
        if got != [0, 0] {
            return Err(io::Error::last_os_error());
        }
        let mut further: Vec<u32> = rustix::process::getgroups()?.into_iter().map(|group| group.as_raw()).collect();
        further.sort_unstable();
        Ok(Self { users, groups, further })
    }

    /// Says so when a change to this user and group did not take; `further` is whether that to the further groups did.
    ///
    /// # Errors
    /// With the ids that there are.
    pub fn took(&self, user: u32, group: u32, further: impl FnOnce(&[u32]) -> bool) -> io::Result<()> {
        if self.users == [user; 3] && self.groups == [group; 3] && further(&self.further) {
            return Ok(());
        }
        Err(io::Error::other(format!("{self:?} after a change to user {user} and group {group}")))
    }
}
