//! Library errors turned into words for people, with hints and exit codes. The one place where that happens.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use appc::executor::isolation::{Unmet, Verdict};

/// Anything that went wrong.
const FAILED: u8 = 1;
/// A command line that cannot be understood.
pub const USAGE: u8 = 2;
/// jetpack failed before an app was started.
pub const BEFORE_START: u8 = 125;
/// An app's program cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// An app's program is not there.
const NO_PROGRAM: u8 = 127;

/// Why a command did not do what was asked.
pub struct CommandError {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl CommandError {
    /// A mistake in the command line that the parser cannot see: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code: USAGE }
    }

    /// Anything that went wrong, in words that read on after "failed to".
    pub fn failed(doing: impl std::fmt::Display) -> Self {
        Self { message: format!("failed to {doing}"), hint: None, code: FAILED }
    }

    /// This error as that of a command that starts apps, where 1 and 2 could be an app's own exit status.
    pub fn before_start(mut self) -> Self {
        if matches!(self.code, FAILED | USAGE) {
            self.code = BEFORE_START;
        }
        self
    }

    /// This error, and what kept from being cleaned up what it left.
    #[must_use]
    pub fn and(mut self, cleaned: Result<(), Self>) -> Self {
        if let Err(left) = cleaned {
            self.message = format!("{}; and then {}", self.message, left.message);
        }
        self
    }

    /// The message alone, in words that read on after "failed to", for an error that is told within another.
    pub fn into_message(self) -> String {
        self.message.strip_prefix("failed to ").map(str::to_owned).unwrap_or(self.message)
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Tells the user and gives the exit code.
    pub fn report(self) -> ExitCode {
        eprintln!("jetpack: {}", self.message);
        if let Some(hint) = self.hint {
            eprintln!("  hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

/// Any library error: `failed to ...`, exit code 1, or what a shell would say of a program that cannot be started.
/// Those that stand bare are of standard output: the library says what it did with a file.
impl<E: Error + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        let mut code = FAILED;
        let error: &(dyn Error + 'static) = &error;
        let what = match error.downcast_ref() {
            Some(bare) if io::Error::raw_os_error(bare).is_some() => crate::output::lost(bare),
            _ => appc::error::chain(error),
        };
        let message = format!("failed to {what}");
        if let Some(error) = error.downcast_ref::<appc::executor::Error>() {
            code = match error.kind() {
                appc::executor::Kind::NoProgram => NO_PROGRAM,
                appc::executor::Kind::NotExecutable => NOT_EXECUTABLE,
                _ => FAILED,
            };
        }
        let mut link = Some(error);
        let mut hint = None;
        // What stands nearest to the cause knows best.
        while let Some(here) = link {
            hint = hint_of(here).or(hint);
            link = here.source();
        }
        let hint = hint.map(str::to_owned);
        Self { message, hint, code }
    }
}

/// What the user can do about something that does not hold as it was asked for.
pub fn hint_of_verdict(verdict: &Verdict) -> Option<&'static str> {
    (verdict.clause == "pm.apps.mounts.volume")
        .then_some("--mount volume=NAME,target=PATH before an image mounts a volume into its app")
}

/// What the user can do about an error that may stand behind others.
fn hint_of(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<appc::trust::Error>() {
        return matches!(error.kind(), appc::trust::Kind::Untrusted).then_some(
            "`jetpack trust add --prefix NAME FILE|URL|NAME` trusts a key; `jetpack trust list` shows which are",
        );
    }
    if let Some(error) = error.downcast_ref::<appc::pod::Error>() {
        return match error.kind() {
            appc::pod::Kind::Corrupt => Some("`jetpack rm POD` removes a pod that is damaged"),
            _ if error.clause_id() == Some("pod.reified.mounts") => {
                Some("--volume NAME,kind=empty or --volume NAME,source=DIR makes a volume of the mount point's name")
            }
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<appc::metadata::Error>() {
        return match error.kind() {
            appc::metadata::Kind::Absent => Some(
                "`jetpack metadata-service --listen ADDR` is that service; with --mds=own the pod's supervisor answers",
            ),
            appc::metadata::Kind::Key => Some(
                "where the file is removed a fresh key is made; what pods have signed by the old one is not verified any more",
            ),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<appc::store::Error>() {
        return match error.kind() {
            appc::store::Kind::Foreign => Some(
                "put it back where it was; or, if it is to be a root of its own from now on, `jetpack gc --adopt` forgets the pods \
                 that came with it",
            ),
            appc::store::Kind::Io if error.doing().starts_with("make the dataset ") => {
                Some("`jetpack init --dataset NAME` makes what is missing; `jetpack doctor` tells what that is")
            }
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<appc::stream::Error>() {
        return match error.kind() {
            appc::stream::Kind::Interrupted => Some(
                "`jetpack image import --zfs --token` prints what `jetpack image export --zfs --resume TOKEN` goes on with",
            ),
            appc::stream::Kind::Unsupported => Some(
                "`jetpack init` makes datasets on a FreeBSD host with ZFS; elsewhere images travel as archives: `jetpack image export IMAGE \
                 FILE`, `jetpack fetch FILE`",
            ),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<appc::executor::Error>() {
        return match error.kind() {
            appc::executor::Kind::Corrupt if error.doing().ends_with("/journal") => {
                Some("`jetpack rm --force POD` undoes what can be undone, and tells what cannot")
            }
            appc::executor::Kind::Unsupported if error.clause_id().is_none() => {
                Some("`jetpack doctor` tells what this host has, and what to do")
            }
            _ => None,
        };
    }
    if let Some(Unmet(verdicts)) = error.downcast_ref() {
        return verdicts.iter().find_map(hint_of_verdict);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return (error.kind() == io::ErrorKind::StorageFull)
            .then_some("`jetpack gc` removes pods that have ended, `jetpack image gc` images that nothing needs");
    }
    let unsigned = |error: &appc::fetch::Error| *error.kind() == appc::fetch::Kind::Unsigned;
    error
        .downcast_ref::<appc::fetch::Error>()
        .filter(|error| unsigned(error))
        .map(|_| {
            "--insecure=signature takes images that nobody has signed, `jetpack trust add --registry NAME` those of a registry"
        })
}
