//! The probe's only `unsafe`.
#![allow(unsafe_code)]

use std::net::TcpListener;
use std::os::fd::FromRawFd;

/// The descriptor handed over under this number, as a TCP listener. To be called once a number.
pub fn handed_over(number: i32) -> TcpListener {
    // SAFETY: the probe opens nothing before it looks, so a descriptor from 3 on is the executor's gift and has no other owner here;
    // a number that is not open makes every later call fail with EBADF.
    unsafe { TcpListener::from_raw_fd(number) }
}
