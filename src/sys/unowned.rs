//! Work on files that belong to ids which an ordinary user has in a user namespace only.

use std::io;

/// Does `work` with the subordinate ids of the user, where he has some and needs them to have any; else as he is.
///
/// # Errors
/// That the process which does it was ended.
pub fn with_subordinate_ids<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    #[cfg(target_os = "linux")]
    if super::linux::subordinate::wanted() {
        let mut work = Some(work);
        let done = super::linux::subordinate::within(|| work.take().map(|work| work()));
        return match (done, work) {
            (Ok(Some(done)), _) => Ok(done),
            (_, Some(work)) => Ok(work()),
            (Err(error), None) => Err(error),
            (Ok(None), None) => Err(io::ErrorKind::Interrupted.into()),
        };
    }
    Ok(work())
}

/// What `work` gives; where this process lacks a permission for it, what it gives with the subordinate ids of the user.
///
/// # Errors
/// Those of `work`.
pub fn with_all_ids<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let done = work();
    if done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        return with_subordinate_ids(work)?;
    }
    done
}
