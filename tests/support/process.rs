//! What the kernel allows this process, and tells of another, in `/proc/PID/status` (proc(5)).

use std::fmt;
use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// Raises this process's own limit, which a crowd of connections needs.
pub(crate) fn allow_open_files(count: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit can be read");
    if soft < count {
        setrlimit(Resource::RLIMIT_NOFILE, count.min(hard), hard).expect("up to the hard limit anyone may");
    }
}

/// The connections that were made to a socket, accepted or not yet.
pub(crate) fn connections_to(socket: &Path) -> usize {
    let sockets = fs::read_to_string("/proc/net/unix").expect("the kernel tells of its sockets");
    let path = format!(" {}", socket.display());
    // The listening socket has the same path, and the flag of one that listens.
    sockets.lines().filter(|line| line.ends_with(&path) && !line.contains(" 00010000 ")).count()
}

/// The running processes of this name in the session that `leader` leads.
pub(crate) fn processes_in_session(leader: Pid, name: &str) -> usize {
    let is_one = |stat: &str| {
        let (before, after) = stat.rsplit_once(") ")?;
        // state, parent, group, session
        let fields: Vec<&str> = after.split(' ').take(4).collect();
        let is_in_session = fields.get(3).is_some_and(|session| *session == leader.to_string());
        Some(before.ends_with(&format!("({name}")) && is_in_session && fields[0] != "Z")
    };
    let processes = fs::read_dir("/proc").expect("the kernel tells of its processes").flatten();
    processes
        .filter(|entry| fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| is_one(&stat) == Some(true)))
        .count()
}

/// Bytes of memory that the process has now.
#[track_caller]
pub(crate) fn resident(pid: Pid) -> u64 {
    kib(pid, "VmRSS") * 1024
}

/// How many threads the process has.
#[track_caller]
pub(crate) fn threads(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs").count()
}

/// The most that it has had so far.
#[track_caller]
pub(crate) fn peak(pid: Pid) -> u64 {
    kib(pid, "VmHWM") * 1024
}

/// The process that started it.
#[track_caller]
pub(crate) fn parent_of(pid: Pid) -> Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
    Pid::from_raw(parent.expect("the kernel tells it"))
}

#[track_caller]
fn kib(pid: Pid, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.strip_suffix(" kB"));
    value.and_then(|value| value.trim().parse().ok()).expect("the kernel tells it in kB")
}

/// Tells whoever reads the test's output what was measured.
#[expect(clippy::print_stderr, reason = "a figure is for whoever reads the test's output")]
pub(crate) fn tell(figure: fmt::Arguments<'_>) {
    eprintln!("{figure}");
}
