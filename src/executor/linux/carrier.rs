//! The network `default` of pods of ordinary users: a program of the host's carries the packets between an interface in the pod's own
//! network namespace and sockets of the user's, `pasta` or `slirp4netns`.
//!
//! ```text
//! app ── eth0 (a tap, 10.77.0.100) ──▶ carrier (a child of the supervisor) ── sockets ──▶ the host's network
//! ```
//! It enters the pod's user and network namespace to make the interface, and neither its processes nor its files: no app sees it, and
//! what it needs of the pod's capabilities it drops by itself. The host's loopback is not to be had through it. It ends with the
//! supervisor; the pod is not told when it ends before, the user is.

use std::ffi::CString;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cni::{self, DEFAULT};
use super::ports;
use crate::executor::plan::{PortForward, Rootless};
use crate::executor::relay::until;
use crate::executor::{Error, Kind};
use crate::pod::Part;
use crate::sys::linux::process as sys;
use crate::sys::linux::subordinate::program;

/// What the interface is called in the pod.
const INTERFACE: &str = "eth0";

/// The most bits that addresses of its block have in common: below, there is no address of [`POD`].
const SMALLEST: u8 = 25;

/// Which addresses of the block are whose.
const GATEWAY: u32 = 2;
const NAME_SERVER: u32 = 3;
const POD: u32 = 100;

/// As long it may take to be ready, or to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of what it says.
const WORDS: u64 = 4096;

/// The socket by which `slirp4netns` is asked to forward ports, in the pod's directory.
const SOCKET: &str = "network.sock";

/// A program that carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// Of passt.
    Pasta,
    /// Of the package of that name.
    Slirp4netns,
}

impl Program {
    /// Its file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }
}

/// What carries a pod's packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carrier {
    /// Which program.
    pub program: Program,
    /// Where that is.
    pub path: PathBuf,
    /// The block of the pod's addresses.
    pub block: (Ipv4Addr, u8),
    /// The ports of the host that lead into the pod.
    pub ports: Vec<PortForward>,
    /// The pod's directory.
    pub directory: PathBuf,
}

/// The program that `wanted` means on this host.
///
/// # Errors
/// Why there is none, and what to do.
pub fn find(wanted: Rootless) -> Result<(Program, PathBuf), String> {
    let of = |program_: Program| program(program_.name()).ok().map(|path| (program_, path));
    let (pasta, slirp) = (of(Program::Pasta), of(Program::Slirp4netns));
    let found = match wanted {
        Rootless::None => return Err("linux.rootless-network is none".to_owned()),
        Rootless::Pasta => pasta.ok_or("pasta is not installed: install passt"),
        Rootless::Slirp4netns => slirp.ok_or("slirp4netns is not installed: install it"),
        // Early versions of pasta, as that of Debian 12, let who connects wait for the server to speak first, and need a route out of
        // the host.
        Rootless::Auto => {
            slirp.or(pasta).ok_or("neither pasta nor slirp4netns is installed: install passt or slirp4netns")
        }
    };
    let found = found.map_err(str::to_owned)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/net/tun", flags, Mode::empty()).map_err(|error| {
        format!("/dev/net/tun cannot be opened ({error}): `modprobe tun; chmod 666 /dev/net/tun` as root")
    })?;
    Ok(found)
}

/// Whether pods can have addresses of the block.
///
/// # Errors
/// Why not, and what to do.
pub fn fits(block: (Ipv4Addr, u8)) -> Result<(), String> {
    if block.1 <= SMALLEST {
        return Ok(());
    }
    Err(format!("linux.network is {}/{}: give it a block of /{SMALLEST} or larger", block.0, block.1))
}

/// One address of the block.
fn at(block: (Ipv4Addr, u8), number: u32) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(block.1)).unwrap_or(0);
    Ipv4Addr::from((u32::from(block.0) & mask) | number)
}

/// The address of the pod, of the block.
pub fn address(block: (Ipv4Addr, u8)) -> Ipv4Addr {
    at(block, POD)
}

/// What a pod's `/etc/resolv.conf` says: the carrier as the server, which asks the host's, and else what the host's own says.
pub fn resolv_conf(block: (Ipv4Addr, u8), host: &str) -> String {
    let rest = host.lines().filter(|line| {
        ["search", "domain", "options"].contains(&line.split_ascii_whitespace().next().unwrap_or_default())
    });
    let server = format!("nameserver {}", at(block, NAME_SERVER));
    rest.map(str::to_owned).chain([server]).map(|line| line + "\n").collect()
}

/// A carrier that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Carrying {
    program: Program,
    child: OwnedFd,
    words: OwnedFd,
    /// The file that tells what the pod has by it.
    results: PathBuf,
}

impl Carrier {
    /// What it does, in words that read on after "failed to".
    pub fn describe(&self) -> String {
        let (_, prefix) = self.block;
        format!("have {} carry the packets of the pod, which has {}/{prefix}", self.program.name(), address(self.block))
    }

    /// Connects the network namespace of the process `pid`, and returns when that is done.
    ///
    /// # Errors
    /// [`Kind::Busy`] when somebody has a port, else what the program says.
    pub fn start(&self, pid: i32) -> Result<Carrying, Error> {
        for forward in &self.ports {
            // They are the carrier's to take, and let go of before.
            ports::hold(forward).map_err(|error| taken(forward, &error.to_string()))?;
        }
        let failed = |error: io::Error| Error::new(Kind::Io, self.describe()).because(error);
        let mut carrying = self.spawn(pid).map_err(failed)?;
        if self.program == Program::Slirp4netns && !self.ports.is_empty() {
            for forward in &self.ports {
                self.forward(forward).map_err(|why| taken(forward, &why))?;
            }
        }
        // Nobody asks for anything any more.
        match fs::remove_file(self.directory.join(SOCKET)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        if let Some(why) = carrying.ended() {
            return Err(failed(io::Error::other(why)));
        }
        let (address, prefix) = (address(self.block), self.block.1);
        let result = json!({"ips": [{"address": format!("{address}/{prefix}"), "gateway": at(self.block, GATEWAY)}],
            "dns": {"nameservers": [at(self.block, NAME_SERVER)]}, "carrier": self.program.name()});
        cni::keep(&carrying.results, DEFAULT, INTERFACE, result).map_err(failed)?;
        Ok(carrying)
    }

    fn arguments(&self, pid: i32) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut add = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
        let own = |number| at(self.block, number).to_string();
        match self.program {
            Program::Pasta => {
                add(&["pasta", "--foreground", "--quiet", "--ipv4-only", "--config-net", "--no-map-gw"]);
                add(&["--ns-ifname", INTERFACE, "--address", &own(POD), "--netmask", &self.block.1.to_string()]);
                add(&["--gateway", &own(GATEWAY), "--dns-forward", &own(NAME_SERVER)]);
                // What listens on the host's loopback would be to be had on the pod's.
                add(&["--tcp-ns", "none", "--udp-ns", "none"]);
                for (option, protocol) in [("--tcp-ports", "tcp"), ("--udp-ports", "udp")] {
                    let ports = self.ports.iter().filter(|forward| forward.protocol == protocol);
                    let specified: Vec<String> = ports.map(specification).collect();
                    add(&[option, "none"][..2 * usize::from(specified.is_empty())]);
                    specified.iter().for_each(|text| add(&[option, text]));
                }
                add(&["--pid", "/dev/stdout", &pid.to_string()]);
            }
            Program::Slirp4netns => {
                add(&["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback"]);
                add(&["--enable-sandbox", "--enable-seccomp", "--ready-fd=3"]);
                add(&[&format!("--cidr={}/{}", own(0), self.block.1)]);
                if !self.ports.is_empty() {
                    add(&["--api-socket", SOCKET]);
                }
                add(&[&pid.to_string(), INTERFACE]);
            }
        }
        all
    }

    fn spawn(&self, pid: i32) -> io::Result<Carrying> {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let (ready, readies) = pipe_with(PipeFlags::CLOEXEC)?;
        let (words, says) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let path = text(self.path.as_os_str().as_bytes())?;
        let arguments = self.arguments(pid).iter().map(|word| text(word.as_bytes())).collect::<io::Result<Vec<_>>>()?;
        let environment = [text(b"PATH=/usr/bin:/bin")?];
        let parent = rustix::process::getpid();
        let mut failure = None;
        let child = sys::lend(|| {
            failure = Some(match self.confine(parent, &null, &readies, &says) {
                Ok(()) => sys::execute(&path, &arguments, &environment),
                Err(error) => error,
            });
            127
        })?;
        drop((readies, says));
        let mut carrying =
            Carrying { program: self.program, child: child.handle, words, results: Part::Networks.of(&self.directory) };
        if let Some(error) = failure {
            return Err(error);
        }
        let mut byte = [0_u8];
        let patience = Instant::now() + PATIENCE;
        loop {
            let mut waiting = [PollFd::new(&ready, PollFlags::IN)];
            match poll(&mut waiting, until([Some(patience)]).as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) => return Err(io::Error::other(format!("it was not ready after {} s", PATIENCE.as_secs()))),
                Ok(_) => match rustix::io::read(&ready, &mut byte)? {
                    1.. => return Ok(carrying),
                    _ => {
                        let why = carrying.last_words();
                        return Err(io::Error::other(why));
                    }
                },
            }
        }
    }

    /// What the child does before it becomes the program: it keeps nothing of the supervisor's, and cannot outlive it.
    fn confine(&self, parent: Pid, null: &OwnedFd, readies: &OwnedFd, says: &OwnedFd) -> io::Result<()> {
        // What is typed at a terminal for the supervisor is not for it.
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(parent) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        sys::reset_signals()?;
        rustix::thread::set_no_new_privs(true)?;
        rustix::process::chdir(&self.directory)?;
        // Above all numbers that anything is put at, so that nothing is overwritten that is still needed.
        let far = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 10);
        let (null, readies, says) = (far(null)?, far(readies)?, far(says)?);
        sys::place(null.as_fd(), 0)?;
        sys::place(says.as_fd(), 2)?;
        let kept = match self.program {
            Program::Pasta => {
                sys::place(readies.as_fd(), 1)?;
                3
            }
            Program::Slirp4netns => {
                sys::place(says.as_fd(), 1)?;
                sys::place(readies.as_fd(), 3)?;
                4
            }
        };
        sys::close_from(kept, &[])?;
        // They are closed.
        std::mem::forget((null, readies, says));
        Ok(())
    }

    /// Has `slirp4netns` forward a port, or a range.
    fn forward(&self, forward: &PortForward) -> Result<(), String> {
        for offset in 0..forward.count {
            let order = json!({"execute": "add_hostfwd", "arguments": {"proto": forward.protocol,
                "host_addr": forward.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED), "host_port": forward.host_port + offset,
                "guest_addr": address(self.block), "guest_port": forward.pod_port + offset}});
            let answer = self.ask(&order).map_err(|error| error.to_string())?;
            if let Some(why) = answer["error"]["desc"].as_str() {
                return Err(why.to_owned());
            }
        }
        Ok(())
    }

    fn ask(&self, order: &Value) -> io::Result<Value> {
        // By a short way, as names of sockets are.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.directory, flags, Mode::empty())?;
        let mut socket = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.write_all(order.to_string().as_bytes())?;
        socket.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        socket.take(WORDS).read_to_end(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

/// A forward as `pasta` reads it.
fn specification(forward: &PortForward) -> String {
    let range = |first: u16| match forward.count {
        0 | 1 => first.to_string(),
        count => format!("{first}-{}", first.saturating_add(count - 1)),
    };
    let address = forward.host_ip.map(|ip| format!("{ip}/")).unwrap_or_default();
    format!("{address}{}:{}", range(forward.host_port), range(forward.pod_port))
}

fn taken(forward: &PortForward, why: &str) -> Error {
    Error::new(Kind::Busy, ports::describe(forward)).clause("pm.ports.expose").because(why.to_owned())
}

impl Carrying {
    /// Readable when it has ended.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.child.as_fd()
    }

    /// Why the pod has no network any more, if it has ended.
    pub fn ended(&mut self) -> Option<String> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::PidFd(self.child.as_fd()), options) {
            Ok(None) => None,
            _ => Some(self.last_words()),
        }
    }

    /// What it gave the pod has gone with it.
    pub fn forget(self) {
        let _ = fs::remove_file(&self.results);
    }

    /// What it said last.
    fn last_words(&mut self) -> String {
        let mut said = Vec::new();
        let mut bytes = [0; 512];
        while said.len() < WORDS as usize
            && let Ok(length @ 1..) = rustix::io::read(&self.words, &mut bytes)
        {
            said.extend_from_slice(&bytes[..length]);
        }
        let said = String::from_utf8_lossy(&said);
        // `pasta` complains that it could not complain elsewhere.
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.ends_with(" to syslog"));
        let line = line.unwrap_or("without a word").chars().filter(|c| !c.is_control()).take(200).collect::<String>();
        format!("{} ended: {line}", self.program.name())
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.child, Signal::KILL);
        let _ = waitid(WaitId::PidFd(self.child.as_fd()), WaitIdOptions::EXITED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(count: u16, host_ip: Option<Ipv4Addr>) -> PortForward {
        let (name, protocol) = ("web".to_owned(), "tcp".to_owned());
        PortForward { name, protocol, host_port: 8080, host_ip, pod_port: 80, count, socket_activated: None }
    }

    #[test]
    fn addresses_are_of_the_block_whatever_stands_behind_its_prefix() {
        let block = ([10, 80, 7, 9].into(), 16);
        assert_eq!(address(block), Ipv4Addr::new(10, 80, 0, 100));
        assert_eq!(at(block, 0), Ipv4Addr::new(10, 80, 0, 0));
        assert_eq!(address(([192, 168, 5, 128].into(), 25)), Ipv4Addr::new(192, 168, 5, 228));
        assert!(fits(([10, 80, 0, 0].into(), 25)).is_ok());
        assert!(fits(([10, 80, 0, 0].into(), 26)).unwrap_err().contains("/25 or larger"));
    }

    #[test]
    fn a_forward_is_a_specification() {
        assert_eq!(specification(&forward(1, None)), "8080:80");
        assert_eq!(specification(&forward(3, Some(Ipv4Addr::LOCALHOST))), "127.0.0.1/8080-8082:80-82");
    }

    #[test]
    fn nothing_is_forwarded_that_was_not_asked_for() {
        let (path, directory) = ("/usr/bin/pasta".into(), "/pod".into());
        let ports = vec![forward(1, None)];
        let carrier = Carrier { program: Program::Pasta, path, block: ([10, 77, 0, 0].into(), 16), ports, directory };
        let words = carrier.arguments(7).join(" ");
        for part in ["--tcp-ns none", "--udp-ns none", "--udp-ports none", "--no-map-gw", "--tcp-ports 8080:80", " 7"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(!words.contains("--tcp-ports none"));
        let words = Carrier { program: Program::Slirp4netns, ports: Vec::new(), ..carrier }.arguments(7).join(" ");
        assert!(words.contains("--disable-host-loopback") && words.contains("--cidr=10.77.0.0/16"), "{words}");
        assert!(!words.contains("--api-socket"));
    }

    #[test]
    fn the_carrier_stands_for_the_hosts_name_servers() {
        let host = "# made by hand\nnameserver 127.0.0.53\nsearch a b\noptions edns0\nnameserver ::1\n";
        let block = ([10, 77, 0, 0].into(), 16);
        assert_eq!(resolv_conf(block, host), "search a b\noptions edns0\nnameserver 10.77.0.3\n");
        assert_eq!(resolv_conf(block, ""), "nameserver 10.77.0.3\n");
    }
}
