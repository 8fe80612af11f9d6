//! The agent as a process: hardened, detached, at a socket of its own that goes when it goes.

use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use super::Failure;
use crate::env;

/// A bound socket, and the directory that was made for it. Both are removed when this is dropped, if they are still ours.
pub struct Socket {
    path: PathBuf,
    private: Option<PathBuf>,
    /// Device and inode: another agent may have taken the path meanwhile, and its socket is not ours to remove.
    id: (u64, u64),
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
        if base.as_os_str().len() + "/apptoken-/".len() + RANDOM_PART + name.len() > MAX_SOCKET_PATH {
            return Err(io::Error::other(format!("the socket's path would be longer than {MAX_SOCKET_PATH} bytes")));
        }
        let directory = tempfile::Builder::new()
            .prefix("apptoken-")
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

/// Makes the process one that others of our uid cannot look into, and that leaves no core behind.
pub fn harden() -> Result<(), Failure> {
    let failed = |what: &str, error: nix::Error| Failure::new(format!("cannot {what}: {}", error.desc()));
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        nix::sys::prctl::set_dumpable(false).map_err(|error| failed("keep other processes out", error))?;
        nix::sys::prctl::set_no_new_privs().map_err(|error| failed("give up new privileges", error))?;
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| failed("turn off core dumps", error))
}

/// Closes every file descriptor that was inherited but the standard three: a lock or a pipe of the caller's must not be held
/// for as long as the agent lives.
pub fn close_inherited() {
    let Ok(open) = fs::read_dir("/dev/fd") else {
        return;
    };
    let open: Vec<RawFd> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
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

/// Starts this program again, as the process that stays; returns it and where it listens, once it does.
///
/// Starting anew instead of forking needs no `unsafe`, and gives the agent a fresh process.
pub fn start_staying(arguments: &[std::ffi::OsString]) -> Result<(Child, PathBuf), Failure> {
    let failed = |error: io::Error| Failure::new(format!("cannot start the agent: {error}"));
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("--stay")
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
    Ok((child, PathBuf::from(std::ffi::OsString::from(std::ffi::OsStr::from_bytes(&path)))))
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
/// Random characters in a private directory's name.
const RANDOM_PART: usize = 10;
/// Files that the agent needs beside its connections.
const SPARE_FILES: usize = 64;
