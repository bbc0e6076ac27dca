//! The names of what lies in a pod's directory. Drawn in the [module above](super).

use std::path::{Path, PathBuf};

/// A file or directory in a pod's directory. Doors, of which there may be many, have names of their own (`executor::linux::doors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Held by the pod's supervisor as long as it lives; its process id is in it.
    Lock,
    /// The reified pod manifest.
    Manifest,
    /// Each app's image manifest.
    Images,
    /// What shall be true.
    Plan,
    /// What is enforced, modified, ignored.
    Report,
    /// Every step applied.
    Journal,
    /// What it is called.
    Name,
    /// What of the configuration it was made with.
    Configured,
    /// Seconds that its apps may take to end.
    Grace,
    /// Where whoever attaches hands over what apps read.
    Input,
    /// The size of the window that its terminal is seen in.
    Window,
    /// There while its processes are held.
    Paused,
    /// What CNI plugins answered.
    Networks,
    /// Where the model is that it runs in.
    Model,
    /// There when it was started by what prepared it.
    Begun,
    /// How the apps are and how they ended.
    Status,
    /// What the apps said.
    Logs,
    /// On Linux: its network namespace, where one has to have a place.
    Network,
    /// On Linux: writable layers.
    Apps,
    /// On FreeBSD: the root of its jail.
    Root,
    /// On FreeBSD: trees of apps where nothing can lie over an image's.
    Copies,
    /// Empty volumes.
    Volumes,
    /// What an app's image is built of when it is exported.
    Export,
    /// What a command that builds an image has copied for it.
    Inputs,
}

impl Part {
    /// All of them.
    #[cfg(test)]
    const ALL: [Self; 24] = [
        Self::Lock,
        Self::Manifest,
        Self::Images,
        Self::Plan,
        Self::Report,
        Self::Journal,
        Self::Name,
        Self::Configured,
        Self::Grace,
        Self::Input,
        Self::Window,
        Self::Paused,
        Self::Networks,
        Self::Model,
        Self::Begun,
        Self::Status,
        Self::Logs,
        Self::Network,
        Self::Apps,
        Self::Root,
        Self::Copies,
        Self::Volumes,
        Self::Export,
        Self::Inputs,
    ];

    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Manifest => "manifest",
            Self::Images => "images",
            Self::Plan => "plan",
            Self::Report => "report",
            Self::Journal => "journal",
            Self::Name => "name",
            Self::Configured => "configured",
            Self::Grace => "grace",
            Self::Input => "input",
            Self::Window => "window",
            Self::Paused => "paused",
            Self::Networks => "networks",
            Self::Model => "model",
            Self::Begun => "begun",
            Self::Status => "status",
            Self::Logs => "logs",
            Self::Network => "network",
            Self::Apps => "apps",
            Self::Root => "root",
            Self::Copies => "copies",
            Self::Volumes => "volumes",
            Self::Export => "export",
            Self::Inputs => "inputs",
        }
    }

    /// Where it is in the pod's directory `directory`.
    pub fn of(self, directory: &Path) -> PathBuf {
        directory.join(self.name())
    }
}

impl super::PodDir {
    /// Where a part of the pod is, whether it is there or not.
    pub fn place(&self, part: Part) -> PathBuf {
        part.of(self.path())
    }

    /// Whether it is there.
    pub(crate) fn has(&self, part: Part) -> bool {
        self.place(part).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_drawn() {
        let drawn = include_str!("mod.rs").split("```").nth(1).expect("the drawing");
        let words: Vec<&str> = drawn.split(|c: char| !c.is_ascii_alphabetic()).collect();
        for part in Part::ALL {
            assert!(words.contains(&part.name()), "{part:?}");
        }
    }
}
