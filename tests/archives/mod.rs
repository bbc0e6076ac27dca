//! Archives: what is read, refused, extracted and built, by the library and by `actool`.

#[path = "../../fixtures/archives.rs"]
mod fixtures;

mod attacks;
mod building;
mod codecs;
mod commands;
mod faults;
mod peers;
mod world;
