//! What several tests of the command line share.

#![allow(dead_code)]

pub mod gpg;
pub mod https;
pub mod image;
