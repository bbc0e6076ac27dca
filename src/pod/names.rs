//! Names of pods: each leads to the pod that has it while that lives.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use super::directory::{io_error, make_directory, publish};
use super::{Error, Kind, Part, PodDir, Pods, State};

/// What names of pods are.
pub const NAMES: &str = "a name is 1 to 63 lower-case letters, digits and single dashes between them";

/// Whether a pod may be called that: as AC names are, and short enough for a host name.
pub fn fit_name(name: &str) -> bool {
    name.len() <= 63 && name.parse::<crate::schema::AcName>().is_ok()
}

impl Pods {
    /// The pod that has this name.
    pub fn named(&self, name: &str) -> Result<Option<PodDir>, Error> {
        if !fit_name(name) {
            return Ok(None);
        }
        let Ok(uuid) = fs::read_to_string(self.names().join(name)) else { return Ok(None) };
        let Ok(uuid) = uuid.trim().parse() else { return Ok(None) };
        match self.get(uuid) {
            Ok(pod) if pod.read_text(Part::Name).ok().as_deref() == Some(name) => Ok(Some(pod)),
            _ => Ok(None),
        }
    }

    /// Gives `pod` a name that no living pod has.
    pub fn name(&self, pod: &PodDir, name: &str) -> Result<(), Error> {
        let doing = || format!("name the pod {name}");
        if !fit_name(name) {
            return Err(Error::new(Kind::Invalid, doing()).because(NAMES));
        }
        make_directory(&self.names())?;
        let guard = self.names().join(".lock");
        let guard = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(guard);
        let guard = guard.and_then(|guard| guard.lock().map(|()| guard)).map_err(io_error(doing()))?;
        if let Some(other) = self.named(name)?
            && other.uuid != pod.uuid
            && matches!(other.state(), State::Running | State::Prepared | State::Preparing)
        {
            return Err(Error::new(Kind::Busy, doing()).because(format!("pod {} has that name", other.uuid)));
        }
        pod.write(Part::Name, name.as_bytes())?;
        publish(&self.names(), name, pod.uuid.to_string().as_bytes())?;
        drop(guard);
        Ok(())
    }

    /// Gives it another name than it has, or none had.
    ///
    /// # Errors
    /// As [`Pods::name`]: it has its old one then.
    pub fn rename(&self, pod: &PodDir, name: &str) -> Result<(), Error> {
        let before = self.own_name(pod);
        self.name(pod, name)?;
        if let Some(before) = before.filter(|before| before != name) {
            let _ = fs::remove_file(self.names().join(before));
        }
        Ok(())
    }

    /// The name that leads to this pod.
    pub(super) fn own_name(&self, pod: &PodDir) -> Option<String> {
        let name = pod.given_name()?;
        self.named(&name).ok()?.filter(|owner| owner.uuid == pod.uuid).map(|_| name)
    }
}

impl PodDir {
    /// The pod's name, if it has one.
    pub fn given_name(&self) -> Option<String> {
        self.read_text(Part::Name).ok()
    }
}
