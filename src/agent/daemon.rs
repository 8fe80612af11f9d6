//! The agent as a process: hardened, rid of what it inherited, detached from who started it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid, setsid};

use super::Failure;
use crate::env;
use crate::output::print;

/// Makes every file and directory that is made from now on its owner's alone, whatever umask the process was started with.
pub fn make_files_private() {
    umask(Mode::from_bits_truncate(0o077));
}

/// Makes the process one that others of our uid cannot look into, that leaves no core behind, and whose files are its owner's
/// alone, whatever the umask it was started with.
pub fn harden() -> Result<(), Failure> {
    make_files_private();
    let failed = |what: &str, error: nix::Error| Failure::new(format!("cannot {what}: {}", error.desc()));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        nix::sys::prctl::set_dumpable(false).map_err(|error| failed("keep other processes out", error))?;
        nix::sys::prctl::set_no_new_privs().map_err(|error| failed("give up new privileges", error))?;
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| failed("turn off core dumps", error))
}

/// Closes every file descriptor that was inherited but the standard three, and the socket handed over if there is one: a lock or a pipe of the caller's must not be held
/// for as long as the agent lives.
pub fn close_inherited(handed_over: bool) {
    let last_kept = if handed_over { FIRST_HANDED_OVER } else { 2 };
    let Ok(open) = fs::read_dir("/dev/fd") else {
        return;
    };
    let open: Vec<RawFd> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > last_kept) {
        // The directory that was just read is among them, and closed already.
        let _ = nix::unistd::close(fd);
    }
}

/// Raises the limit of open files as far as it may go, up to what the most connections need; returns how many there may be.
pub fn make_room(most: usize) -> usize {
    let wanted = (most + SPARE_FILES) as u64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return most;
    };
    let limit = wanted.min(hard).max(soft);
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, limit, hard).is_ok() { limit } else { soft };
    usize::try_from(limit).map_or(most, |limit| limit.saturating_sub(SPARE_FILES).clamp(1, most))
}

/// Leaves the terminal, the session and the directory, says to the parent where the socket is, and lets go of the standard streams.
pub fn detach(socket: &Path) -> Result<(), Failure> {
    let failed = |error: nix::Error| Failure::new(format!("cannot detach: {}", error.desc()));
    setsid().map_err(failed)?;
    std::env::set_current_dir("/").map_err(|error| Failure::new(format!("cannot detach: {error}")))?;
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| Failure::new(format!("/dev/null: {error}")))?;
    dup2_stdin(&null).map_err(failed)?;
    dup2_stderr(&null).map_err(failed)?;
    print(socket.as_os_str().as_bytes()).map_err(|error| Failure::new(format!("the parent is gone: {error}")))?;
    dup2_stdout(&null).map_err(failed)
}

/// Has the kernel end this process when its parent ends.
pub fn end_with_parent(parent: Pid) -> Result<(), Failure> {
    let failed = |what: &str| Failure::new(format!("cannot follow the command: {what}"));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(|error| failed(error.desc()))?;
    // It may have ended before that was said.
    if getppid() == parent { Ok(()) } else { Err(failed("it has ended")) }
}

/// Starts this program again, as the process that stays; returns it and where it listens, once it does.
///
/// Starting anew instead of forking needs no `unsafe`, and gives the agent a fresh process.
pub fn start_staying(arguments: &[OsString]) -> Result<(Child, PathBuf), Failure> {
    let failed = |error: io::Error| Failure::new(format!("cannot start the agent: {error}"));
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    // It will not stay in this directory, and read these later.
    for name in [env::SSL_CERT_FILE, env::SSL_CERT_DIR] {
        if let Some(paths) = std::env::var_os(name)
            && let Ok(paths) = std::env::split_paths(&paths).map(std::path::absolute).collect::<io::Result<Vec<_>>>()
        {
            command.env(name, std::env::join_paths(paths).expect("they were joined before"));
        }
    }
    let mut child = command.spawn().map_err(failed)?;
    let mut path = Vec::new();
    let read = child.stdout.take().expect("it was asked for").read_to_end(&mut path);
    if read.is_err() || path.is_empty() {
        let _ = child.kill();
        let _ = child.wait();
        // It has said on our standard error why.
        return Err(Failure::silent());
    }
    Ok((child, PathBuf::from(OsString::from_vec(path))))
}

/// Has a process that was started so end, and waits for it.
pub fn end_child(child: &mut Child) {
    let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
    let _ = child.wait();
}

/// The file descriptor at which a service manager hands over the first socket: `sd_listen_fds(3)`.
const FIRST_HANDED_OVER: RawFd = 3;
/// Files that the agent needs beside its connections.
const SPARE_FILES: usize = 64;
