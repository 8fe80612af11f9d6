//! What the kernel allows this process, and tells of another, in `/proc/PID/status` (proc(5)).

use std::fmt;
use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// Raises this process's own limit, which a crowd of connections needs.
pub(crate) fn allow_open_files(count: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit can be read");
    if soft < count {
        setrlimit(Resource::RLIMIT_NOFILE, count.min(hard), hard).expect("up to the hard limit anyone may");
    }
}

/// Bytes of memory that the process has now.
#[track_caller]
pub(crate) fn resident(pid: Pid) -> u64 {
    kib(pid, "VmRSS") * 1024
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
