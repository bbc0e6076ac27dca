//! Names of pods: each leads to the pod that has it while that lives.

use std::fs::{self, File, OpenOptions};
use std::io;
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

    /// Gives `pod` a name that no living pod has, in place of the one that it had.
    ///
    /// # Errors
    /// [`Kind::Invalid`], [`Kind::Busy`], [`Kind::Io`]: it has its old one then.
    pub fn name(&self, pod: &PodDir, name: &str) -> Result<(), Error> {
        let doing = || format!("name the pod {name}");
        if !fit_name(name) {
            return Err(Error::new(Kind::Invalid, doing()).because(NAMES));
        }
        make_directory(&self.names())?;
        let _held = self.hold_names().map_err(io_error(doing()))?;
        // One that has ended may be in the hands of whoever removes it.
        if let Some(other) = self.named(name)?
            && other.uuid != pod.uuid
            && matches!(other.state(), State::Running | State::Prepared | State::Preparing)
            && !other.has_ended()
        {
            return Err(Error::new(Kind::Busy, doing()).because(format!("pod {} has that name", other.uuid)));
        }
        let before = self.own_name(pod);
        pod.write(Part::Name, name.as_bytes())?;
        publish(&self.names(), name, pod.uuid.to_string().as_bytes())?;
        if let Some(before) = before.filter(|before| before != name) {
            let _ = fs::remove_file(self.names().join(before));
        }
        Ok(())
    }

    /// Lets go of the pod's name. One that stays leads nowhere once the pod is gone.
    pub(super) fn forget_name(&self, pod: &PodDir) {
        if pod.given_name().is_some()
            && let Ok(_held) = self.hold_names()
            && let Some(name) = self.own_name(pod)
        {
            let _ = fs::remove_file(self.names().join(name));
        }
    }

    /// The lock over who has which name: what a name leads to stays so as long as it is held.
    fn hold_names(&self) -> io::Result<File> {
        let lock = self.names().join(".lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock)?;
        lock.lock()?;
        Ok(lock)
    }

    /// The name that leads to this pod.
    fn own_name(&self, pod: &PodDir) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::pod::status::Status;

    fn made(pods: &Pods, name: &str) -> PodDir {
        let pod = pods.create(Uuid::new_v4()).unwrap();
        pods.name(&pod, name).unwrap();
        pod
    }

    fn owner(pods: &Pods, name: &str) -> Option<Uuid> {
        pods.named(name).unwrap().map(|pod| pod.uuid)
    }

    #[test]
    fn the_name_of_a_pod_that_has_ended_is_free_and_stays_whose_it_becomes() {
        let directory = tempfile::tempdir().unwrap();
        let pods = Pods::new(directory.path());
        let ended = made(&pods, "web");
        ended.write_json(Part::Status, &Status::default()).unwrap();
        let next = pods.create(Uuid::new_v4()).unwrap();
        assert_eq!(*pods.name(&next, "web").unwrap_err().kind(), Kind::Busy);
        // Its lock is held, as by whoever removes it.
        ended
            .write_json(Part::Status, &Status { ended: Some("2026-01-01T00:00:00Z".into()), ..Status::default() })
            .unwrap();
        pods.name(&next, "web").unwrap();
        pods.remove(ended).unwrap();
        assert_eq!(owner(&pods, "web"), Some(next.uuid));
        pods.name(&next, "next").unwrap();
        assert_eq!((owner(&pods, "web"), owner(&pods, "next")), (None, Some(next.uuid)));
    }

    #[test]
    fn pods_that_come_and_go_at_once_take_no_name_of_others() {
        let directory = tempfile::tempdir().unwrap();
        let pods = Pods::new(directory.path());
        let ended = Status { ended: Some("2026-01-01T00:00:00Z".into()), ..Status::default() };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..200 {
                        let pod = pods.create(Uuid::new_v4()).unwrap();
                        if pods.name(&pod, "web").is_ok() {
                            assert_eq!(owner(&pods, "web"), Some(pod.uuid), "round {round}");
                            // From here on anybody may take it.
                            pod.write_json(Part::Status, &ended).unwrap();
                        }
                        pods.remove(pod).unwrap();
                    }
                });
            }
        });
    }
}
