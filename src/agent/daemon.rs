//! The agent as a process: hardened, detached, at a socket of its own that goes when it goes.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, getppid, setsid};

use super::Failure;
use crate::env;
use crate::paths::{RECORD, START_LOCK};

/// A bound socket, and the directory that was made for it. Both are removed when this is dropped, if they are still ours.
pub struct Socket {
    path: PathBuf,
    private: Option<PathBuf>,
    /// Device and inode: another agent may have taken the path meanwhile, and its socket is not ours to remove.
    id: (u64, u64),
}

/// A socket that a service manager bound and handed over; it is not ours to remove.
pub fn inherited() -> Result<Option<UnixListener>, Failure> {
    let mut handed = listenfd::ListenFd::from_env();
    let failed = |why: &str| Failure::new(format!("the socket from the service manager cannot be used: {why}"));
    match handed.len() {
        0 => Ok(None),
        1 => match handed.take_unix_listener(0) {
            Ok(Some(listener)) => {
                listener.set_nonblocking(true).map_err(|error| failed(&error.to_string()))?;
                Ok(Some(listener))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(failed(&error.to_string())),
        },
        _ => Err(failed("there is more than one").hint("give the socket unit one ListenStream=")),
    }
}

impl Socket {
    /// Binds at `path`, or in a new private directory, and listens.
    pub fn bind(path: Option<&Path>) -> Result<(Self, UnixListener), Failure> {
        match path {
            Some(path) => Self::bind_at(&std::path::absolute(path).map_err(|error| Failure::new(error.to_string()))?),
            None => Self::bind_private(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn bind_at(path: &Path) -> Result<(Self, UnixListener), Failure> {
        let shown = path.display();
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(Failure::new(format!("{shown}: a socket's path has at most {MAX_SOCKET_PATH} bytes")));
        }
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(
                    Failure::new(format!("{shown} exists and is not a socket")).hint("choose another path with `-a`")
                );
            }
            Ok(_) if is_live(path) => {
                return Err(Failure::new(format!("an agent is listening at {shown} already"))
                    .hint(format!("use it: {}={shown}", env::AUTH_SOCK)));
            }
            Ok(there) if there.uid() != Uid::effective().as_raw() => {
                return Err(
                    Failure::new(format!("{shown} is somebody else's socket")).hint("choose another path with `-a`")
                );
            }
            Ok(_) => fs::remove_file(path).map_err(|error| Failure::new(format!("{shown}: {error}")))?,
            Err(_) => {}
        }
        listen(path, None).map_err(|error| Failure::new(format!("cannot listen at {shown}: {error}")))
    }

    fn bind_private() -> Result<(Self, UnixListener), Failure> {
        let mut why = String::new();
        for base in bases() {
            match Self::bind_below(&base) {
                Ok(bound) => {
                    if !why.is_empty() {
                        crate::output::say(format_args!("apptoken-agent: {why}; using {}", base.display()));
                    }
                    return Ok(bound);
                }
                Err(error) => why = format!("cannot listen below {}: {error}", base.display()),
            }
        }
        Err(Failure::new(why).hint(format!("set {} to a directory of yours with a short path", env::XDG_RUNTIME_DIR)))
    }

    fn bind_below(base: &Path) -> io::Result<(Self, UnixListener)> {
        let name = format!("agent.{}", std::process::id());
        if base.as_os_str().len() + "/".len() + PREFIX.len() + "/".len() + RANDOM_PART + name.len() > MAX_SOCKET_PATH {
            return Err(io::Error::other(format!("the socket's path would be longer than {MAX_SOCKET_PATH} bytes")));
        }
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .rand_bytes(RANDOM_PART)
            .make_in(base, |path| DirBuilder::new().mode(0o700).create(path));
        let private = directory?.into_temp_path().keep().map_err(io::Error::other)?;
        listen(&private.join(name), Some(private.clone())).inspect_err(|_| drop(fs::remove_dir(&private)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|there| id(&there) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
        if let Some(private) = &self.private {
            let _ = fs::remove_dir(private);
        }
    }
}

/// Makes the process one that others of our uid cannot look into, that leaves no core behind, and whose files are its owner's
/// alone, whatever the umask it was started with.
pub fn harden() -> Result<(), Failure> {
    umask(Mode::from_bits_truncate(0o077));
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
    crate::output::print(socket.as_os_str().as_bytes())
        .map_err(|error| Failure::new(format!("the parent is gone: {error}")))?;
    dup2_stdout(&null).map_err(failed)
}

/// Has the kernel end this process when its parent ends.
pub fn end_with_parent(parent: Pid) -> Result<(), Failure> {
    let failed = |what: &str| Failure::new(format!("cannot follow the command: {what}"));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM).map_err(|error| failed(error.desc()))?;
    // It may have ended before that was said.
    if getppid() == parent { Ok(()) } else { Err(failed("it has ended")) }
}

/// Removes what agents that were killed have left below the directory in which the next one will be.
pub fn clean_up_after_dead() {
    let Some(base) = bases().into_iter().next() else { return };
    let Ok(entries) = fs::read_dir(base) else { return };
    let us = Uid::effective().as_raw();
    for directory in entries.flatten().filter(|entry| entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())) {
        let ours = directory.metadata().is_ok_and(|there| there.is_dir() && there.uid() == us);
        let Ok(inside) = fs::read_dir(directory.path()) else { continue };
        let sockets: Vec<_> = inside.flatten().map(|entry| entry.path()).collect();
        let dead = |path: &PathBuf| {
            fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket()) && !is_live(path)
        };
        if ours && !sockets.is_empty() && sockets.iter().all(dead) {
            for socket in sockets {
                let _ = fs::remove_file(socket);
            }
            let _ = fs::remove_dir(directory.path());
        }
    }
}

/// Takes the lock under which agents are started and cleaned up after, so that two shells at once get one agent.
pub fn lock_start(directory: &Path) -> io::Result<fs::File> {
    let lock =
        fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(directory.join(START_LOCK))?;
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(START_CHECK),
            Err(fs::TryLockError::WouldBlock) => return Err(io::Error::other("another start does not end")),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Writes down where the agent is, at once or not at all.
pub fn record(directory: &Path, socket: &Path) -> io::Result<()> {
    let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o600)).tempfile_in(directory)?;
    file.write_all(socket.as_os_str().as_bytes())?;
    file.persist(directory.join(RECORD))?;
    Ok(())
}

/// Starts this program again, as the process that stays; returns it and where it listens, once it does.
///
/// Starting anew instead of forking needs no `unsafe`, and gives the agent a fresh process.
pub fn start_staying(arguments: &[OsString]) -> Result<(Child, PathBuf), Failure> {
    let failed = |error: io::Error| Failure::new(format!("cannot start the agent: {error}"));
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
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

fn listen(path: &Path, private: Option<PathBuf>) -> io::Result<(Socket, UnixListener)> {
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    let id = id(&fs::symlink_metadata(path)?);
    Ok((Socket { path: path.to_owned(), private, id }, listener))
}

/// Where a private directory may be made, best first. One that somebody else could rename or replace is passed over.
fn bases() -> Vec<PathBuf> {
    let named = [env::XDG_RUNTIME_DIR, env::TMPDIR].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    named.chain([PathBuf::from("/tmp")]).filter(|base| base.is_absolute() && is_trustworthy(base)).collect()
}

fn is_trustworthy(base: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    const OTHERS_WRITE: u32 = 0o022;
    fs::metadata(base).is_ok_and(|there| {
        let ours = there.uid() == Uid::effective().as_raw() || there.uid() == 0;
        there.is_dir() && ours && (there.mode() & OTHERS_WRITE == 0 || there.mode() & STICKY != 0)
    })
}

/// Whether something listens there. Only a refusal shows that nothing does: a full backlog is a busy agent.
fn is_live(path: &Path) -> bool {
    !matches!(UnixStream::connect(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Longest path of a socket, in bytes: `sun_path` on Linux has room for it and a zero.
const MAX_SOCKET_PATH: usize = 107;
/// How the name of a private directory begins.
const PREFIX: &str = "apptoken-";
/// The file descriptor at which a service manager hands over the first socket: `sd_listen_fds(3)`.
const FIRST_HANDED_OVER: RawFd = 3;
/// How long another start may take, and how often to look.
const START_DEADLINE: Duration = Duration::from_secs(10);
const START_CHECK: Duration = Duration::from_millis(5);
/// Random characters in a private directory's name.
const RANDOM_PART: usize = 10;
/// Files that the agent needs beside its connections.
const SPARE_FILES: usize = 64;
