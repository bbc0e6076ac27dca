//! Processes: clone with namespaces, exec, signals, descriptors at exec.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::AssertUnwindSafe;

use rustix::process::Pid;

use crate::id::Id;
pub use crate::sys::execute::execute;
use crate::sys::ids::Ids;

/// Namespaces, as bits of clone(2).
pub mod namespace {
    /// Mounts.
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    /// Processes.
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    /// System V IPC and POSIX message queues.
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    /// Host name.
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    /// Network.
    pub const NET: u64 = libc::CLONE_NEWNET as u64;
    /// Users and groups.
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    /// The view of the cgroup trees.
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// Clocks.
    pub const TIME: u64 = 0x80;
}

/// A child process: its id and a descriptor of it that stays its own after it is reaped.
pub struct Child {
    /// The process id in the caller's pid namespace.
    pub pid: Pid,
    /// The process itself.
    pub handle: OwnedFd,
}

/// Makes a child in the new namespaces `flags` and runs `body` in it; the child ends with what `body` gives, or with
/// 125 when it panics. The caller must have one thread only: a lock that another thread holds stays locked for ever in the child.
///
/// # Errors
/// clone3(2)'s: `EPERM` without the privilege, `ENOSPC` when namespaces are used up or forbidden.
pub fn clone(flags: u64, body: impl FnOnce() -> i32) -> io::Result<Child> {
    clone_with(flags, libc::SIGCHLD as u64, body)
}

/// Makes a process that is a child of the caller's own parent.
///
/// # Errors
/// As of [`clone`].
pub fn clone_beside(flags: u64, body: impl FnOnce() -> i32) -> io::Result<Child> {
    clone_with(flags | libc::CLONE_PARENT as u64, 0, body)
}

fn clone_with(flags: u64, exit_signal: u64, body: impl FnOnce() -> i32) -> io::Result<Child> {
    let mut handle: RawFd = -1;
    // SAFETY: all zeros is a valid clone_args; the kernel takes it by size.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut handle) as u64;
    args.exit_signal = exit_signal;
    // SAFETY: without CLONE_VM and with no stack this is a fork: the child continues on a copy of this very stack.
    let mut pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    if pid == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        pid = clone_as_before(args.flags | exit_signal, &mut handle);
    }
    match pid {
        0 => {
            let code = std::panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or(125);
            exit(code)
        }
        -1 => Err(io::Error::last_os_error()),
        pid => {
            // SAFETY: the kernel has put a new descriptor there, which nobody else owns.
            let handle = unsafe { OwnedFd::from_raw_fd(handle) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            Ok(Child { pid: pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?, handle })
        }
    }
}

/// clone(2), for where clone3(2) is refused as if the kernel had none: filters of containers cannot look into its arguments. The
/// architectures differ in what comes behind the descriptor, all of which is nothing here.
fn clone_as_before(flags: u64, handle: &mut RawFd) -> libc::c_long {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: without CLONE_VM and with no stack this is a fork, as above; the kernel writes the descriptor into `handle`.
    unsafe { libc::syscall(libc::SYS_clone, flags, none, std::ptr::from_mut(handle), none, none) }
}

/// The stack of a process that [`lend`] makes, with room for what it does until it has become its program.
const LENT_STACK: usize = 1 << 20;

/// Makes a child that runs `body` in the caller's own memory, on a stack of its own, while the caller stands still; gives it when it has
/// become a program or ended, with what `body` gives, or with 125 when that panics. What `body` changes in memory the caller finds
/// changed, and what it owns when it becomes a program is never freed. Descriptors, ids, and all that is a process's or a thread's own
/// is the child's alone.
///
/// A fork takes the tables of all pages along, and finds each page that it touches anew: a millisecond of the start of a pod.
///
/// # Errors
/// clone(2)'s, mmap(2)'s.
pub fn lend<F: FnOnce() -> i32>(body: F) -> io::Result<Child> {
    extern "C" fn run<F: FnOnce() -> i32>(body: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the parent, which stands still, passes a pointer to this very type and does not touch it before we are done.
        let body = unsafe { (*body.cast::<Option<F>>()).take() };
        std::panic::catch_unwind(AssertUnwindSafe(|| body.map_or(125, |body| body()))).unwrap_or(125)
    }
    let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_STACK);
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let stack = unsafe { libc::mmap(std::ptr::null_mut(), LENT_STACK, protection, kind | libc::MAP_NORESERVE, -1, 0) };
    if stack == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the first page of our own mapping.
    unsafe { libc::mprotect(stack, 4096, libc::PROT_NONE) };
    let (mut body, mut handle): (_, RawFd) = (Some(body), -1);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: the stack is the child's alone and grows down from its end, its lowest page being out of bounds; `body` and `handle`
    // outlive what the child does in this memory, as CLONE_VFORK keeps this thread from going on before.
    let pid =
        unsafe { libc::clone(run::<F>, stack.byte_add(LENT_STACK), flags, (&raw mut body).cast(), &raw mut handle) };
    let failed = io::Error::last_os_error();
    // SAFETY: nobody runs on it any more.
    unsafe { libc::munmap(stack, LENT_STACK) };
    let Some(pid) = (if pid > 0 { Pid::from_raw(pid) } else { None }) else { return Err(failed) };
    // SAFETY: the kernel has put a new descriptor there, which nobody else owns.
    Ok(Child { pid, handle: unsafe { OwnedFd::from_raw_fd(handle) } })
}

/// Ends this process at once: nothing that its parent has registered runs.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Leaves the namespaces `flags` for new ones.
pub fn unshare(flags: u64) -> io::Result<()> {
    // SAFETY: only CLONE_NEW* flags are passed by callers; none shares memory or descriptors with another thread.
    check(unsafe { libc::unshare(flags as i32) })
}

/// Enters the namespaces `flags` of the process or the one namespace that `of` refers to.
pub fn enter(of: BorrowedFd<'_>, flags: u64) -> io::Result<()> {
    // SAFETY: plain system call on a borrowed descriptor.
    check(unsafe { libc::setns(of.as_raw_fd(), flags as i32) })
}

/// Closes every descriptor from `first` on but those of `keep`.
///
/// # Errors
/// The system's, before Linux 5.9.
pub fn close_from(first: RawFd, keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|&number| number >= first).collect();
    keep.sort_unstable();
    let mut from = first;
    for number in keep {
        if from < number {
            close_range(from, number - 1)?;
        }
        from = number.saturating_add(1);
    }
    close_range(from, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: only for children that never use, nor drop, what they inherited of these numbers.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } as i32)
}

/// Makes `fd` the descriptor of number `number`, which stays open at exec. `fd` itself is left as it is.
pub fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: plain fcntl on a borrowed descriptor.
        return check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) });
    }
    // SAFETY: the numbers in question (standard streams and those above them that a service protocol names) belong to no
    // Rust owner in the child that calls this.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) })
}

/// Sends the signal of this number, which may be one of the real-time ones, to the process of a descriptor.
///
/// # Errors
/// The kernel's: `ESRCH` when it has ended.
pub fn send_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without further information no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) } as i32)
}

/// Lets the descriptor `number` stay open at exec; one that is not open is left alone.
///
/// # Errors
/// The system's.
pub fn keep_open(number: RawFd) -> io::Result<()> {
    // SAFETY: plain fcntl, which changes no memory.
    match check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }) {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(()),
        done => done,
    }
}

/// Gives every signal its default action and blocks none, as a new program expects.
pub fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: SIG_DFL installs no handler. Signals that the C library keeps for itself are refused, which is right.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an emptied set is a valid set.
    check(unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    })
}

/// Blocks `signals` and gives a descriptor that is readable when one of them has come.
pub fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: the set is emptied before it is filled; signalfd makes a descriptor that nobody else owns.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The next signal of a descriptor of [`signal_descriptor`], if one has come.
pub fn next_signal(from: BorrowedFd<'_>) -> Option<i32> {
    // SAFETY: plain data, written whole by the kernel or not at all.
    unsafe {
        let mut info: libc::signalfd_siginfo = std::mem::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        let got = libc::read(from.as_raw_fd(), (&raw mut info).cast(), size);
        (got == size as isize).then(|| info.ssi_signo.cast_signed())
    }
}

/// The ids of this process: group and groups first, then user, all four kinds of each; looks that they took.
///
/// # Errors
/// The kernel's; one that says so when an id did not take.
pub fn become_user(uid: Id, gid: Id, groups: Option<&[Id]>) -> io::Result<()> {
    let (uid, gid) = (uid.get(), gid.get());
    let groups = groups.map(|groups| groups.iter().map(|group| group.get()).collect::<Vec<u32>>());
    // SAFETY: the raw calls change this thread's ids, and the callers have one thread; the list's length is its own.
    unsafe {
        if let Some(groups) = &groups {
            check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) as i32)?;
        }
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid) as i32)?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid) as i32)?;
    }
    let wanted = groups.map(|mut groups| {
        groups.sort_unstable();
        groups
    });
    Ids::own()?.took(uid, gid, |further| wanted.is_none_or(|wanted| wanted == further))
}

/// Whether this process may execute the file, by its effective ids and capabilities.
///
/// # Errors
/// `EACCES` when it may not.
pub fn may_execute(file: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
    // SAFETY: the path is an empty string.
    let done = unsafe { libc::syscall(libc::SYS_faccessat2, file.as_raw_fd(), c"".as_ptr(), libc::X_OK, flags) };
    match check(done as i32) {
        // Before Linux 5.8, where it shows at exec.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        done => done,
    }
}

/// Installs a seccomp filter (instructions in the kernel's form) on this process.
pub fn install_filter(program: &[(u16, u8, u8, u32)]) -> io::Result<()> {
    install_filter_with(program, 0, false).map(drop)
}

/// Installs a filter with flags of seccomp(2); gives the descriptor by which somebody is told of calls, where there is to be one.
///
/// # Errors
/// The kernel's: `EBUSY` where there is such a descriptor already.
pub fn install_filter_with(program: &[(u16, u8, u8, u32)], flags: u32, listens: bool) -> io::Result<Option<OwnedFd>> {
    let filter: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    let flags = libc::c_ulong::from(flags) | if listens { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    // SAFETY: the program points to `len` instructions that outlive the call; the kernel copies them.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let done = i32::try_from(done).unwrap_or(-1);
    check(done)?;
    // SAFETY: the kernel has made a new descriptor, which nobody else owns.
    Ok(listens.then(|| unsafe { OwnedFd::from_raw_fd(done) }))
}

/// Sets how this process is scheduled, as sched_setattr(2) has it; `times` are runtime, deadline and period.
///
/// # Errors
/// The kernel's.
pub fn set_scheduler(policy: u32, flags: u64, nice: i32, priority: u32, times: [u64; 3]) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        times: [u64; 3],
    }
    let size = u32::try_from(size_of::<Attributes>()).unwrap_or(0);
    let attributes = Attributes { size, policy, flags, nice, priority, times };
    // SAFETY: the structure is the kernel's first version of it and says its size; 0 is the calling process.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } as i32)
}

/// Sets this process's priority for block devices, as ioprio_set(2) has it.
///
/// # Errors
/// The kernel's.
pub fn set_io_priority(value: u32) -> io::Result<()> {
    const PROCESS: libc::c_int = 1;
    // SAFETY: no memory is involved; 0 is the calling process.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, PROCESS, 0, value) } as i32)
}

/// Sets how the kernel shows itself to this process.
///
/// # Errors
/// The kernel's.
pub fn set_personality(domain: u32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::personality(libc::c_ulong::from(domain)) })
}

/// Gives this process another name and wipes its command line, which other processes of its pid namespace can read. Only
/// for a child that never looks at its arguments again.
pub fn rename(name: &str) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields behind the name, which may itself hold spaces: the third is the first of them.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<usize>().ok());
    if let (Some(start), Some(end)) = (field(48), field(49))
        && 0 < start
        && start < end
    {
        let name = name.as_bytes();
        for (offset, place) in (start..end).enumerate() {
            // SAFETY: the kernel says that the arguments lie there; they are writable, this process's own copy, and no
            // reference to them is alive: the standard library has copied what was asked for.
            unsafe { (place as *mut u8).write_volatile(name.get(offset).copied().unwrap_or(0)) };
        }
    }
    if let Ok(name) = CString::new(name) {
        // The name is only for people to see.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Leaves the session keyring of whoever started us for an empty one. Kernels without keyrings, and places where a filter
/// refuses this call to all that comes of this process, have nothing to leave.
pub fn join_session_keyring() -> io::Result<()> {
    const JOIN: libc::c_int = libc::KEYCTL_JOIN_SESSION_KEYRING as libc::c_int;
    // SAFETY: a null name asks for an anonymous keyring; no memory is involved.
    let done = unsafe { libc::syscall(libc::SYS_keyctl, JOIN, std::ptr::null::<libc::c_char>()) };
    match check(i32::from(done >= 0) - 1) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EDQUOT) => {
            Err(io::Error::new(error.kind(), "the user has as many keys as kernel.keys.maxkeys allows"))
        }
        done => done,
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
