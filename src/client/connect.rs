//! Connecting to a unix socket within a deadline.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

/// Connects within [`CONNECT_DEADLINE`]; fails with `TimedOut` if the backlog stays full, as that of a stopped process does.
pub(super) fn open(path: &Path) -> io::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let stream = UnixStream::from(socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?);
    let deadline = Instant::now() + CONNECT_DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // connect(2) waits for room in the backlog for as long as this option says, and otherwise forever.
        stream.set_write_timeout(Some(left))?;
        match connect(stream.as_raw_fd(), &address) {
            Ok(()) => return Ok(stream),
            // It waited for all the time that it had, or a signal interrupted it.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How long a listener may take to accept a connection. Its kernel does this, unless the backlog is full.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
