//! What the kernel tells of a process, in `/proc/PID/status` (proc(5)), and allows this one.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Resident memory, in bytes: all of it, and the part that is not a mapped file and hence the process's alone.
#[derive(Clone, Copy)]
pub(crate) struct Resident {
    pub(crate) whole: u64,
    pub(crate) anonymous: u64,
}

pub(crate) fn resident(pid: u32) -> Resident {
    Resident { whole: number(pid, "VmRSS") * KIB, anonymous: number(pid, "RssAnon") * KIB }
}

pub(crate) fn threads(pid: u32) -> u64 {
    number(pid, "Threads")
}

/// Whether it runs: neither gone, nor ended and waiting for its parent to notice.
pub(crate) fn is_alive(pid: u32) -> bool {
    field(pid, "State").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// Raises how many files we may have open, as far as we may: often it is fewer than there are clients.
pub(crate) fn allow_open_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("every process has this limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit it may be raised");
}

fn number(pid: u32, name: &str) -> u64 {
    let value = field(pid, name).and_then(|value| value.split(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("process {pid} has no {name}"))
}

fn field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned())
}

/// The kernel says kB and means this.
const KIB: u64 = 1024;
