//! Accounts of the host, and becoming one of them for good.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;

/// A user of this host, with the group it logs in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User number.
    pub uid: libc::uid_t,
    /// Number of its primary group.
    pub gid: libc::gid_t,
}

impl Account {
    /// The account named `name`, from whatever the host keeps its accounts in.
    ///
    /// # Errors
    /// The system's. `Ok(None)` when there is no such account.
    #[allow(unsafe_code)]
    pub fn named(name: &str) -> io::Result<Option<Self>> {
        let Ok(name) = CString::new(name) else { return Ok(None) };
        let mut buffer = vec![0; 16 << 10];
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: the name ends with a zero, the buffer has the length that is said, and all outlive the call.
        let status = unsafe {
            libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        if found.is_null() {
            return if status == 0 { Ok(None) } else { Err(io::Error::from_raw_os_error(status)) };
        }
        // SAFETY: `found` is not null, so the entry was filled in.
        let entry = unsafe { entry.assume_init() };
        Ok(Some(Self { uid: entry.pw_uid, gid: entry.pw_gid }))
    }

    /// Makes this process that account's, with no other groups and no way back, and lets it gain nothing by executing
    /// programs. All threads change together.
    ///
    /// # Errors
    /// The system's: `EPERM` without the right to change. The process may be half changed then and should end.
    #[allow(unsafe_code)]
    pub fn become_for_good(self) -> io::Result<()> {
        let checked = |status: libc::c_int| if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: none of these calls touches memory; no groups are read from the null pointer when their number is 0.
        checked(unsafe { libc::setgroups(0, std::ptr::null()) })?;
        // SAFETY: as above.
        checked(unsafe { libc::setgid(self.gid) })?;
        // SAFETY: as above.
        checked(unsafe { libc::setuid(self.uid) })?;
        // SAFETY: as above.
        if self.uid != 0 && unsafe { libc::setuid(0) } == 0 {
            return Err(io::Error::other("root's rights came back"));
        }
        no_new_privileges()
    }
}

/// For the calling thread and those that it starts.
fn no_new_privileges() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::thread::set_no_new_privs(true)?;
    #[cfg(target_os = "freebsd")]
    match super::freebsd::process::forbid_new_privileges() {
        // Before 14.0 there is no such thing.
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => return Err(error),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_number_nought_and_nobody_is_somebody_else() {
        assert_eq!(Account::named("root").unwrap().map(|account| account.uid), Some(0));
        assert!(Account::named("nobody").unwrap().is_some_and(|account| account.uid != 0));
    }

    #[test]
    fn a_name_that_no_account_has_is_none() {
        for name in ["no such account", "", "a\0b", "root:x"] {
            assert_eq!(Account::named(name).unwrap(), None, "{name:?}");
        }
    }
}
