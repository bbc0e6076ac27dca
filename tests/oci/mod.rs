//! OCI and Docker images, in and out: what `actool import` and `actool export` make, keep and refuse.

mod attacks;
mod configuration;
mod layers;
mod registry;
mod world;
