//! Pods on this Linux, through the command line. Every test has a root directory of its own and looks, when it ends,
//! whether anything is left on the host.

#![cfg(target_os = "linux")]

mod agreement;
mod bed;
mod boot;
mod building;
mod confinement;
mod containment;
mod copies;
mod daily;
mod endings;
mod entering;
mod faults;
mod groups;
mod isolators;
mod levels;
mod lifecycle;
mod metrics;
mod networks;
mod older;
mod outside;
mod owners;
mod refusals;
mod restarts;
mod rootfs;
mod rootless;
mod roots;
mod sockets;
mod volumes;
