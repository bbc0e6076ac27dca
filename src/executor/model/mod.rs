//! Hosts in memory that refuse what the real ones refuse.

pub mod freebsd;
