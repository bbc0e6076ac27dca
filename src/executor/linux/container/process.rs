//! From a child in the container's namespaces to its program: what bundles ask for beyond what apps have.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Uid, fchown, fstat};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, configure_capability_in_ambient_set,
    set_capabilities, set_keep_capabilities,
};

use super::profile::Profile;
use crate::executor::container::{environment, in_known_words};
use crate::executor::decided;
use crate::executor::linux::inside::{self, Reach};
use crate::executor::linux::process::{bound_capabilities, carry_out, find_program, identity};
use crate::executor::linux::steps::ProcessStep;
use crate::executor::{Error, Kind};
use crate::id::Id;
use crate::oci::bundle;
use crate::sys::linux::process as sys;

/// A program that is ready to be executed.
#[derive(Debug)]
pub struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// Does what `steps` say but for the filter of system calls, and looks for the program.
///
/// # Errors
/// The step's; [`Kind::NoProgram`], [`Kind::NotExecutable`].
pub fn prepare(process: &bundle::Process, steps: &[&ProcessStep]) -> Result<Program, Error> {
    // While it is root, as what is to be made is above what its user may write to.
    for step in steps {
        if let ProcessStep::ChangeDirectory { path } = step {
            make_directory(path);
        }
    }
    for step in steps {
        carry_out(step, None)?;
    }
    let (uid, gid) = (process.user.uid.to_string(), process.user.gid.to_string());
    let environment = environment(process, || identity(&uid, &gid));
    let lookup: BTreeMap<String, String> = environment
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect();
    let candidates = decided::program(&process.args, &lookup)?;
    let path = find_program(&process.args, candidates).map_err(|error| in_known_words(&process.args, error))?;
    let nul = |error: std::ffi::NulError| Error::new(Kind::Refused, "execute the program").because(error);
    Ok(Program {
        path: CString::new(path.as_os_str().as_bytes()).map_err(nul)?,
        arguments: process
            .args
            .iter()
            .map(|word| CString::new(word.as_str()))
            .collect::<Result<_, _>>()
            .map_err(nul)?,
        environment: environment.into_iter().map(CString::new).collect::<Result<_, _>>().map_err(nul)?,
    })
}

impl Program {
    /// Installs the filter and becomes the program. Comes back only with the reason why it could not. `told` gets the filter's own
    /// descriptor where there is one.
    pub fn execute(self, steps: &[&ProcessStep], told: impl FnOnce(OwnedFd, &Profile) -> io::Result<()>) -> Error {
        let mut told = Some(told);
        for step in steps {
            if let ProcessStep::FilterByProfile(profile) = step {
                let installed = sys::install_filter_with(&profile.program, profile.flags, profile.listener.is_some());
                let done = installed.and_then(|listener| match (listener, told.take()) {
                    (Some(listener), Some(told)) => told(listener, profile),
                    _ => Ok(()),
                });
                if let Err(error) = done {
                    return Error::new(Kind::Io, step.describe()).because(error);
                }
            }
        }
        let error = sys::execute(&self.path, &self.arguments, &self.environment);
        decided::not_executed(Path::new(OsStr::from_bytes(self.path.as_bytes())), error)
    }
}

/// A working directory that is not there is made, as other runtimes do. Where that fails, going there does too.
fn make_directory(path: &Path) {
    let _ = inside::root().and_then(|root| match inside::open(root.as_fd(), path, OFlags::PATH, Reach::Anywhere) {
        Err(error) if inside::is(&error, Errno::NOENT) => {
            inside::directory(root.as_fd(), path, Reach::Anywhere).map(drop)
        }
        _ => Ok(()),
    });
}

/// What only containers have.
///
/// # Errors
/// The system's, naming the step.
pub fn carry_out_of_container(step: &ProcessStep) -> Result<(), Error> {
    let failed = |error: io::Error| Error::new(Kind::Io, step.describe()).because(error);
    let refused = |error: Errno| failed(error.into());
    match step {
        ProcessStep::TakeIds { uid, gid, groups, umask } => {
            set_keep_capabilities(true).map_err(refused)?;
            let groups = groups.as_deref().unwrap_or_default();
            give_streams(*uid);
            // Without the right to set groups there are none to be set.
            let set = groups_can_be_set();
            if !set && !groups.is_empty() {
                return Err(failed(io::Error::other("further groups cannot be set in this user namespace")));
            }
            sys::become_user(*uid, *gid, set.then_some(groups)).map_err(failed)?;
            let permitted = capabilities(None).map_err(refused)?.permitted;
            let sets = CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
            set_capabilities(None, sets).map_err(refused)?;
            rustix::process::umask(Mode::from_raw_mode(umask.unwrap_or(0o022)));
            Ok(())
        }
        ProcessStep::SetCapabilities { bounding, effective, permitted, inheritable, ambient } => {
            bound_capabilities(*bounding).map_err(refused)?;
            let had = capabilities(None).map_err(refused)?.permitted;
            // The filter of system calls takes a privilege, which is gone with the next program.
            let filter = had & CapabilitySet::SYS_ADMIN;
            let of = |bits: u64| CapabilitySet::from_bits_retain(bits) & had;
            let permitted = of(*permitted) | filter;
            let sets = CapabilitySets {
                effective: (of(*effective) | filter) & permitted,
                permitted,
                inheritable: of(*inheritable),
            };
            set_capabilities(None, sets).map_err(refused)?;
            clear_ambient_capability_set().map_err(refused)?;
            for number in (0..64).filter(|number| ambient >> number & 1 == 1) {
                // As far as it may be: what is not permitted and inheritable cannot be.
                let one = CapabilitySet::from_bits_retain(1 << number);
                if (sets.permitted & sets.inheritable).contains(one) {
                    configure_capability_in_ambient_set(one, true).map_err(refused)?;
                }
            }
            Ok(())
        }
        ProcessStep::Schedule { policy, flags, nice, priority, times } => {
            sys::set_scheduler(*policy, *flags, *nice, *priority, *times).map_err(failed)
        }
        ProcessStep::SetIoPriority { value } => sys::set_io_priority(*value).map_err(failed),
        ProcessStep::SetPersonality { domain } => sys::set_personality(*domain).map_err(failed),
        // By whoever has made this process, who may more; and last of all.
        ProcessStep::SetLimit { .. } | ProcessStep::FilterByProfile(_) => Ok(()),
        _ => Ok(()),
    }
}

fn groups_can_be_set() -> bool {
    !std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

/// Gives the calling process's user its standard streams, which may have been made for it.
fn give_streams(uid: Id) {
    let uid = uid.get();
    for stream in [stdin(), stdout(), stderr()] {
        let Ok(about) = fstat(stream) else { continue };
        // The null device is everybody's.
        let null = FileType::from_raw_mode(about.st_mode) == FileType::CharacterDevice
            && about.st_rdev == rustix::fs::makedev(1, 3);
        if !null && about.st_uid != uid {
            let _ = fchown(stream, Some(Uid::from_raw(uid)), None);
        }
    }
}
