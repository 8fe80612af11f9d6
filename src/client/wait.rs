//! Waiting for an answer: with a deadline, and with an eye on whether the agent still runs.
//!
//! An honest answer can take minutes, since GitHub and a person may have to be waited for. A stopped agent never answers. To
//! tell the two apart within seconds, the client pings a silent agent over a second connection.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connect;

/// How a wait for an answer ended.
pub(super) enum Wait {
    /// There is something to read.
    Answered,
    /// The agent does not even answer a ping.
    Unresponsive,
    /// The agent answers pings, and did not answer this request in time.
    TooLong,
}

/// Waits for the first byte of an answer on `stream`, for as long as `patience` lasts and the agent at `socket` answers pings.
///
/// After a moment, `waits_for` is shown at the terminal until the wait is over.
pub(super) fn for_answer(stream: BorrowedFd<'_>, socket: &Path, patience: Duration, waits_for: Option<&str>) -> Wait {
    let start = Instant::now();
    let deadline = start + patience;
    if is_ready_by([stream], deadline.min(start + NOTICE_AFTER)) {
        return Wait::Answered;
    }
    let _notice = waits_for.filter(|_| io::stderr().is_terminal()).map(Notice::show);
    let mut next_ping = start + PING_AFTER;
    let mut has_answered_ping = false;
    loop {
        if is_ready_by([stream], deadline.min(next_ping)) {
            return Wait::Answered;
        }
        if Instant::now() >= deadline {
            return if has_answered_ping { Wait::TooLong } else { Wait::Unresponsive };
        }
        let pong = ping(stream, socket);
        // What comes while a ping is under way is the answer to more than the ping.
        if is_ready_by([stream], Instant::now()) {
            return Wait::Answered;
        }
        match pong {
            Pong::Answered => has_answered_ping = true,
            Pong::Silence => return Wait::Unresponsive,
            Pong::NotAsked => {}
        }
        next_ping = Instant::now() + PING_EVERY;
    }
}

/// Waits until one of the streams can be read without waiting, or has ended; returns false if `deadline` passes first.
pub(super) fn is_ready_by<const N: usize>(streams: [BorrowedFd<'_>; N], deadline: Instant) -> bool {
    poll_until(&mut streams.map(|stream| PollFd::new(stream, PollFlags::POLLIN)), deadline)
}

/// Waits until something can be written to the stream without waiting; returns false if `deadline` passes first.
pub(super) fn has_room_by(stream: BorrowedFd<'_>, deadline: Instant) -> bool {
    poll_until(&mut [PollFd::new(stream, PollFlags::POLLOUT)], deadline)
}

fn poll_until(polled: &mut [PollFd<'_>], deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: a wait must not end before its time.
        let timeout = PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
        match poll(polled, timeout) {
            Ok(0) if Instant::now() >= deadline => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            // Reading tells what is wrong, if something is.
            _ => return true,
        }
    }
}

/// What came of a ping on a connection of its own.
enum Pong {
    /// The agent did something about it: it answered, or closed the connection.
    Answered,
    /// Neither an answer came, nor was the connection accepted in time.
    Silence,
    /// The socket is gone, so that nothing can be concluded: the agent removes it when it ends.
    NotAsked,
}

/// Pings the agent at `socket`, and waits for the reaction until something comes on `stream`.
fn ping(stream: BorrowedFd<'_>, socket: &Path) -> Pong {
    let mut second = match connect::open(socket) {
        Ok(second) => second,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return Pong::Silence,
        Err(_) => return Pong::NotAsked,
    };
    let sent = second.write_all(PING);
    if sent.is_err() || is_ready_by([stream, second.as_fd()], Instant::now() + PONG_DEADLINE) {
        Pong::Answered
    } else {
        Pong::Silence
    }
}

/// A line on the terminal for as long as something is waited for.
struct Notice {
    width: usize,
}

impl Notice {
    fn show(what: &str) -> Self {
        let text = format!("apptoken: {what} …");
        let _ = write!(io::stderr(), "{text}");
        Self { width: text.chars().count() }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        let _ = write!(io::stderr(), "\r{:width$}\r", "", width = self.width);
    }
}

const PING: &[u8] = b"{\"action\":\"ping\"}\n";
/// How long a user at a terminal waits before a notice says what for.
const NOTICE_AFTER: Duration = Duration::from_millis(500);
/// How long the agent may be silent before the first ping: cached answers take far less, so that few calls ping at all.
const PING_AFTER: Duration = Duration::from_secs(2);
/// The time between two pings.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long the agent may take to answer a ping. It needs no time for that; the socket's way over ssh may need some.
pub(super) const PONG_DEADLINE: Duration = Duration::from_secs(5);
