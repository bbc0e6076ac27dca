//! What systemd does for a pod where it manages the control groups: a scope of the pod's own, which `systemctl`, `systemd-cgls` and
//! the accounting show, and in which the groups below are ours.
//!
//! A scope is made around processes that are there: the pod's first one. Whoever may not move processes out of a session's group,
//! as an ordinary user may not, is in the scope from then on with all that it starts.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bus::{Bus, Call, Message, Value};

const NAME: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Where a manager of systemd's is reached, and where its groups are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// The socket of the bus that it is on.
    pub bus: PathBuf,
    /// The slice that pods are put in.
    pub slice: String,
    /// The directory of the manager's own group.
    pub group: PathBuf,
}

/// A scope of a pod or a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Who makes it.
    pub manager: Manager,
    /// The directory of its control group; the last part is its name.
    pub path: PathBuf,
    /// What systemd itself is to keep in force: the pod's limits, by the names that systemd has for them.
    pub limits: Vec<(String, u64)>,
}

impl Manager {
    /// The one that manages groups for the caller below the tree mounted at `tree`: the system's for root, else that of the user's
    /// sessions.
    ///
    /// # Errors
    /// Why there is none that can be asked.
    pub fn find(tree: &Path, root: bool) -> Result<Self, String> {
        if !fs::exists("/run/systemd/system").unwrap_or(false) {
            return Err("systemd does not run here".to_owned());
        }
        let uid = rustix::process::geteuid().as_raw();
        let (bus, slice, group) = if root {
            let first = fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
            let first = first.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/init.scope");
            let above = Path::new(first).parent().unwrap_or(Path::new("/"));
            let bus = named("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|| "/run/dbus/system_bus_socket".into());
            (bus, "machine.slice", tree.join(above.strip_prefix("/").unwrap_or(above)))
        } else {
            let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            let runtime = runtime.unwrap_or_else(|| format!("/run/user/{uid}").into());
            let bus = named("DBUS_SESSION_BUS_ADDRESS").unwrap_or_else(|| runtime.join("bus"));
            (bus, "app.slice", tree.join(format!("user.slice/user-{uid}.slice/user@{uid}.service")))
        };
        if !group.is_dir() {
            return Err(format!("systemd has no group {}: the user has no session", group.display()));
        }
        let manager = Self { bus, slice: slice.to_owned(), group };
        // Whoever hangs up, or knows no systemd, is found out before anything is made.
        manager.ask().map_err(|error| format!("systemd cannot be asked at {}: {error}", manager.bus.display()))?;
        Ok(manager)
    }

    fn ask(&self) -> io::Result<()> {
        if !fs::metadata(&self.bus)?.file_type().is_socket() {
            return Err(io::Error::other("it is no socket"));
        }
        let mut bus = Bus::connect(&self.bus)?;
        let arguments = [Value::Text(MANAGER), Value::Text("ControlGroup")];
        let interface = "org.freedesktop.DBus.Properties";
        let call = Call { destination: NAME, path: OBJECT, interface, member: "Get", arguments: &arguments };
        bus.call(&call).map(drop)
    }

    /// The directory of the group of a scope of this name.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.group.join(&self.slice).join(name)
    }
}

/// The path in the address of a bus that this variable has.
fn named(variable: &str) -> Option<PathBuf> {
    let address = std::env::var(variable).ok()?;
    let path = address.split(';').find_map(|one| one.strip_prefix("unix:path="))?;
    Some(path.split(',').next()?.into())
}

impl Scope {
    fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Has the scope started around the process `pid`, and waits until that is in it.
    ///
    /// # Errors
    /// The system's; why systemd does not do it.
    pub(crate) fn start(&self, pid: i32) -> io::Result<()> {
        let mut bus = Bus::connect(&self.manager.bus)?;
        bus.listen("type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'")?;
        let pids = [pid.cast_unsigned()];
        let name = self.name().trim_end_matches(".scope");
        let description =
            name.strip_prefix("jetpack-").map_or_else(|| format!("container {name}"), |pod| format!("pod {pod}"));
        let mut properties = vec![
            ("Description", Value::Text(&description)),
            ("Slice", Value::Text(&self.manager.slice)),
            ("PIDs", Value::Numbers(&pids)),
            ("Delegate", Value::Flag(true)),
            // A scope that has failed is not kept for somebody to look at.
            ("CollectMode", Value::Text("inactive-or-failed")),
            ("CPUAccounting", Value::Flag(true)),
            ("MemoryAccounting", Value::Flag(true)),
            ("TasksAccounting", Value::Flag(true)),
        ];
        if !self.limits.iter().any(|(name, _)| name == "TasksMax") {
            // What systemd sets by itself is for services.
            properties.push(("TasksMax", Value::Long(u64::MAX)));
        }
        properties.extend(self.limits.iter().map(|(name, value)| (name.as_str(), Value::Long(*value))));
        let arguments = [Value::Text(self.name()), Value::Text("fail"), Value::Properties(&properties), Value::NoUnits];
        let mut ended = Vec::new();
        let answer = bus.call_hearing(&manager("StartTransientUnit", &arguments), |signal| ended.push(signal))?;
        let job = answer.arguments().text().ok_or(io::ErrorKind::InvalidData)?.to_owned();
        let result = loop {
            let result = ended.drain(..).find_map(|signal| result_of(&signal, &job));
            match result {
                Some(result) => break result,
                None => ended.push(bus.next()?),
            }
        };
        if result != "done" {
            return Err(io::Error::other(format!("its job ended as `{}`", result.escape_debug())));
        }
        let there = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let there = there.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
        if there.is_empty() || !self.path.ends_with(there.trim_start_matches('/')) {
            return Err(io::Error::other(format!("it was made as {there}")));
        }
        Ok(())
    }

    /// Has systemd keep these limits in force from now on, those that are not named being what they were.
    ///
    /// # Errors
    /// The system's; why systemd does not do it.
    pub(crate) fn set(&self, limits: &[(String, u64)]) -> io::Result<()> {
        let properties: Vec<_> = limits.iter().map(|(name, value)| (name.as_str(), Value::Long(*value))).collect();
        // Until the scope ends.
        let arguments = [Value::Text(self.name()), Value::Flag(true), Value::Properties(&properties)];
        Bus::connect(&self.manager.bus)?.call(&manager("SetUnitProperties", &arguments)).map(drop)
    }

    /// Has the scope stopped, with all that is still in it.
    ///
    /// # Errors
    /// The system's; why systemd does not do it.
    pub(crate) fn stop(&self) -> io::Result<()> {
        let arguments = [Value::Text(self.name()), Value::Text("replace")];
        Bus::connect(&self.manager.bus)?.call(&manager("StopUnit", &arguments)).map(drop)
    }

    /// Moves the calling process into the group `below` the scope's, which the kernel allows nobody but systemd to do who comes from
    /// another session.
    ///
    /// # Errors
    /// The system's; why systemd does not do it.
    pub(crate) fn attach(&self, below: &str) -> io::Result<()> {
        let pids = [std::process::id()];
        let group = format!("/{below}");
        let arguments = [Value::Text(self.name()), Value::Text(&group), Value::Numbers(&pids)];
        Bus::connect(&self.manager.bus)?.call(&manager("AttachProcessesToUnit", &arguments)).map(drop)
    }
}

fn manager<'a>(member: &'a str, arguments: &'a [Value<'a>]) -> Call<'a> {
    Call { destination: NAME, path: OBJECT, interface: MANAGER, member, arguments }
}

/// How the job ended, where the signal says that.
fn result_of(signal: &Message, job: &str) -> Option<String> {
    if !signal.signals("JobRemoved") {
        return None;
    }
    let mut arguments = signal.arguments();
    arguments.number()?;
    let (path, _, result) = (arguments.text()?, arguments.text()?, arguments.text()?);
    (path == job).then(|| result.to_owned())
}
