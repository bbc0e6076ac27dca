//! Packers and renderers that mistake files.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::make::files::Entry;

/// How files are mistaken.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mistake {
    /// Extended attributes are lost.
    NoXattrs,
    /// Times are kept in whole seconds.
    WholeSeconds,
    /// Special permission bits are lost.
    PlainModes,
    /// Everything belongs to root.
    RootOwned,
    /// What is written depends on when it is written.
    TimeOfDay,
    /// Links of lower images are followed: what is put below `/link` and `/deep` goes where they lead.
    ThroughLinks,
    /// An upper image's metadata of directories does not count.
    LowerMetadata,
    /// What is there already is not replaced.
    FirstWins,
    /// Owners are lost in extraction.
    NoOwners,
}

impl Mistake {
    /// Makes the files what the implementation takes them for.
    pub fn make(self, files: &mut Vec<Entry>) {
        match self {
            Mistake::NoXattrs => files.iter_mut().for_each(|file| file.xattrs.clear()),
            Mistake::WholeSeconds => {
                for time in files.iter_mut().filter_map(|file| file.mtime.as_mut()) {
                    *time = time.split('.').next().unwrap_or_default().to_owned();
                }
            }
            Mistake::PlainModes => {
                files.iter_mut().for_each(|file| file.mode = Some(format!("{:o}", file.bits() & 0o777)))
            }
            Mistake::RootOwned | Mistake::NoOwners => files.iter_mut().for_each(|file| (file.uid, file.gid) = (0, 0)),
            Mistake::TimeOfDay => {}
            Mistake::ThroughLinks => {
                files.retain(|file| file.path != "/link");
                for file in files.iter_mut() {
                    for link in ["/link/", "/deep/"] {
                        if let Some(rest) = file.path.strip_prefix(link) {
                            file.path = format!("/dir/{link}-{rest}").replace("/dir//", "/dir/").replace("/-", "-");
                        }
                    }
                }
                if let Some(file) = files.iter_mut().find(|file| file.path.ends_with("-inside")) {
                    file.path = "/dir/inside".into();
                }
                files.retain(|file| !file.path.ends_with("-inside"));
            }
            Mistake::LowerMetadata => files.retain(|file| file.kind != "dir"),
            Mistake::FirstWins => files.retain(|file| !file.path.contains("who")),
        }
    }

    /// Changes the layout between one build and the next.
    pub fn between(self, layout: &Path) {
        if matches!(self, Mistake::TimeOfDay) {
            // The mutant is caught by this file's appearing; if it cannot be written, it is not, and that shows.
            let _ = fs::write(layout.join("rootfs/time"), "later");
        }
    }
}
