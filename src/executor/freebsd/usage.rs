//! What a running pod is made of, and what it uses.

use std::io;

use uuid::Uuid;

use super::system::{Program, System};

/// The resources that people ask for.
pub const SHOWN: [&str; 8] = ["cputime", "memoryuse", "swapuse", "pcpu", "maxproc", "openfiles", "readbps", "writebps"];

/// The processes of a pod, as `ps` lists them, a head line first.
///
/// # Errors
/// The pod's jail is not there.
pub fn processes(system: &mut dyn System, pod: Uuid) -> io::Result<String> {
    let jail = format!("jetpack-{pod}");
    system.run(Program::Ps, &["-J", &jail, "-ww", "-o", "pid,user,lstart,time,rss,command"], "")?.success()
}

/// What the pod uses, by resource.
///
/// # Errors
/// The kernel does not account resources.
pub fn used(system: &mut dyn System, pod: Uuid) -> io::Result<Vec<(String, u64)>> {
    system.usage(&format!("jail:jetpack-{pod}"))
}
