//! Where the agent listens: a socket of its own that goes when it goes, and what dead agents have left.

use std::fs::{self, DirBuilder, File, Metadata, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;

use super::Failure;
use crate::env;
use crate::files::{directory_of, wait_for_lock};
use crate::output::say;
use crate::paths::{PRIVATE_DIRECTORY, RANDOM_PART};

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
    /// Binds at `path`, or as `name.PID` in a new private directory, and listens.
    pub fn bind(path: Option<&Path>, name: &str) -> Result<(Self, UnixListener), Failure> {
        match path {
            Some(path) => Self::bind_at(&std::path::absolute(path).map_err(|error| Failure::new(error.to_string()))?),
            None => Self::bind_private(&format!("{name}.{}", std::process::id())),
        }
    }

    /// Leaves the socket in place: it is the agent's, in another process.
    pub fn leave_to_agent(self) {
        std::mem::forget(self);
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
        let cannot_listen = |error: io::Error| Failure::new(format!("cannot listen at {shown}: {error}"));
        // Without it, two starts could both find a dead socket, and the second would remove the live one of the first.
        let _lock = lock_directory(path).map_err(cannot_listen)?;
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
        listen(path, None).map_err(cannot_listen)
    }

    fn bind_private(name: &str) -> Result<(Self, UnixListener), Failure> {
        let mut why = String::new();
        for base in bases() {
            match Self::bind_below(&base, name) {
                Ok(bound) => {
                    if !why.is_empty() {
                        say(format_args!("apptoken-agent: {why}; using {}", base.display()));
                    }
                    return Ok(bound);
                }
                Err(error) => why = format!("cannot listen below {}: {error}", base.display()),
            }
        }
        Err(Failure::new(why).hint(format!("set {} to a directory of yours with a short path", env::XDG_RUNTIME_DIR)))
    }

    fn bind_below(base: &Path, name: &str) -> io::Result<(Self, UnixListener)> {
        if base.as_os_str().len() + "/".len() + PRIVATE_DIRECTORY.len() + "/".len() + RANDOM_PART + name.len()
            > MAX_SOCKET_PATH
        {
            return Err(io::Error::other(format!("the socket's path would be longer than {MAX_SOCKET_PATH} bytes")));
        }
        let directory = tempfile::Builder::new()
            .prefix(PRIVATE_DIRECTORY)
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

/// Removes what agents that were killed have left below the directory in which the next one will be.
pub fn clean_up_after_dead() {
    let Some(base) = bases().into_iter().next() else { return };
    let Ok(entries) = fs::read_dir(base) else { return };
    let us = Uid::effective().as_raw();
    for directory in
        entries.flatten().filter(|entry| entry.file_name().as_bytes().starts_with(PRIVATE_DIRECTORY.as_bytes()))
    {
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

/// Locks the directory in which a socket is bound, so that starts there come one after another.
fn lock_directory(socket: &Path) -> io::Result<File> {
    let directory = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(directory_of(socket))?;
    match wait_for_lock(&directory, START_DEADLINE) {
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another start there does not end")),
        // Some file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(directory),
    }
}

/// Returns true unless it is certain that nothing listens there. A full backlog is a busy agent, and must not be waited for.
fn is_live(path: &Path) -> bool {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let connected = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .and_then(|probe| connect(probe.as_raw_fd(), &UnixAddr::new(path)?));
    !matches!(connected, Err(nix::Error::ECONNREFUSED | nix::Error::ENOENT))
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Longest path of a socket, in bytes: `sun_path` on Linux has room for it and a zero.
const MAX_SOCKET_PATH: usize = 107;
/// How long another start in the same directory may take.
const START_DEADLINE: Duration = Duration::from_secs(10);
