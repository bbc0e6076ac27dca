//! OCI and Docker images, in and out: what `actool import` and `actool export` make, keep and refuse.

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod configuration;
mod layers;
mod registry;
mod world;
