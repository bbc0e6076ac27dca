//! Files of the host laid over an image's, as a layer that a pod has for itself.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::copy::{self, Copy, Options, Source, Target};
use super::{Error, Kind};
use crate::layer::Level;

/// Makes the layer `into` of copies, each of a file or a directory here to a path in the tree that is stacked of `layers`, as `cp`
/// has it: into a directory that is there, or that ends in a slash, under its own name. Links are followed inside the tree, and its
/// directories stay as they are. What is copied is root's.
///
/// # Errors
/// Those of the system, naming what was copied. What was made stays, for the caller to remove.
pub fn lay(copies: &[(PathBuf, String)], layers: &[PathBuf], into: &Path) -> Result<(), Error> {
    let mut all = layers.to_vec();
    all.push(into.to_owned());
    let failed = |error: io::Error| Error::new(Kind::Io, format!("make {}", into.display())).because(error);
    fs::create_dir(into).map_err(failed)?;
    let mut layer = Layer { into, layers: &all, theirs: HashSet::new() };
    layer.directory(b"").map_err(failed)?;
    for (from, to) in copies {
        layer.copy(from, to).map_err(|error| {
            Error::new(Kind::Io, format!("copy {} to {to} of the image", from.display())).because(error)
        })?;
    }
    if rustix::process::geteuid().is_root() {
        layer.own(into).map_err(failed)?;
    }
    Ok(())
}

struct Layer<'a> {
    into: &'a Path,
    /// With itself on top.
    layers: &'a [PathBuf],
    /// Directories that are the image's.
    theirs: HashSet<PathBuf>,
}

impl Layer<'_> {
    fn copy(&mut self, from: &Path, to: &str) -> io::Result<()> {
        let tree = Level::root(self.layers)?;
        let path = tree.resolve(to.as_bytes())?;
        let mut place = self.into.join(OsStr::from_bytes(&path));
        if to.ends_with('/') || tree.at(&path)?.is_some() {
            self.directory(&path)?;
            place.push("");
        } else {
            let slash = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            self.directory(&path[..slash])?;
        }
        let options = Options { special: true, overwrite: true, follow: true, tell: &|_, _| {} };
        Copy::new(&options, true)?.run(&Source::on_host(from, true)?, &Target::on_host(&place)?)
    }

    /// Makes a directory with those that it is in, as the image has them.
    fn directory(&mut self, path: &[u8]) -> io::Result<()> {
        let tree = Level::root(&self.layers[..self.layers.len() - 1])?;
        let mut made = self.into.to_owned();
        let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).map(OsStr::from_bytes);
        let mut below = vec![made.clone()];
        for name in names {
            made.push(name);
            below.push(made.clone());
        }
        for place in below {
            match fs::create_dir(&place) {
                // Whatever the umask of whoever builds.
                Ok(()) => fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?,
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) => {}
            }
            let inside = place.strip_prefix(self.into).unwrap_or(&place);
            if let Some(theirs) = tree.at(inside.as_os_str().as_bytes())?
                && let Some(top) = theirs.top()
            {
                copy::dress(top, File::open(&place)?.as_fd())?;
                self.theirs.insert(place);
            }
        }
        Ok(())
    }

    fn own(&self, place: &Path) -> io::Result<()> {
        if !self.theirs.contains(place) {
            std::os::unix::fs::lchown(place, Some(0), Some(0))?;
        }
        if fs::symlink_metadata(place)?.is_dir() {
            for entry in fs::read_dir(place)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}
