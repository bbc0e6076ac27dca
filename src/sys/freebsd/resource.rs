//! Resource rules (`rctl(4)`).

use std::ffi::CString;
use std::io;

use super::{c_string, check};

type Call = unsafe extern "C" fn(*const libc::c_char, libc::size_t, *mut libc::c_char, libc::size_t) -> libc::c_int;

unsafe extern "C" {
    fn rctl_get_racct(
        input: *const libc::c_char,
        input_length: libc::size_t,
        output: *mut libc::c_char,
        output_length: libc::size_t,
    ) -> libc::c_int;
    fn rctl_add_rule(
        input: *const libc::c_char,
        input_length: libc::size_t,
        output: *mut libc::c_char,
        output_length: libc::size_t,
    ) -> libc::c_int;
    fn rctl_remove_rule(
        input: *const libc::c_char,
        input_length: libc::size_t,
        output: *mut libc::c_char,
        output_length: libc::size_t,
    ) -> libc::c_int;
}

fn tell(call: Call, input: &str) -> io::Result<()> {
    let input: CString = c_string(input)?;
    // SAFETY: the input is passed with its length, the zero at its end counted, as the kernel wants it; no output is asked for.
    check(unsafe { call(input.as_ptr(), input.as_bytes_with_nul().len(), std::ptr::null_mut(), 0) })
}

/// Adds a rule: `jail:NAME:memoryuse:sigkill=67108864`. The kernel takes rules for jails that are not there.
///
/// # Errors
/// `ENOSYS` where the kernel does not account (`kern.racct.enable=0`), `EINVAL` for an unknown resource.
pub fn add_rule(rule: &str) -> io::Result<()> {
    tell(rctl_add_rule, rule)
}

/// Removes all rules that match `filter`: `jail:NAME`.
///
/// # Errors
/// `ESRCH` where none matches.
pub fn remove_rules(filter: &str) -> io::Result<()> {
    tell(rctl_remove_rule, filter)
}

/// What is used now: `memoryuse` and so on, by name, for a subject as `jail:NAME`.
///
/// # Errors
/// The kernel's.
pub fn usage(subject: &str) -> io::Result<Vec<(String, u64)>> {
    let input = c_string(subject)?;
    let mut output = vec![0_u8; 4096];
    // SAFETY: input and output are passed with their lengths.
    check(unsafe {
        rctl_get_racct(input.as_ptr(), input.as_bytes_with_nul().len(), output.as_mut_ptr().cast(), output.len())
    })?;
    let text = output.split(|&byte| byte == 0).next().unwrap_or_default();
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(String::from_utf8_lossy(text).split(',').filter_map(pair).collect())
}
