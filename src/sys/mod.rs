//! System calls: the only place for `unsafe`. One file a facility, each wrapper as thin as it can be and still safe.

pub mod loopback;
pub mod passing;
