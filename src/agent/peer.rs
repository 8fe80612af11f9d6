//! Who asks: the process at the other end of a connection, and those it was started by.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::net::UnixStream;
use tokio::net::unix::UCred;

/// The process at the other end, as the kernel knows it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The user it runs under.
    pub uid: u32,
    /// Its number, where the system tells.
    pub pid: Option<i32>,
    /// The process when the connection was accepted, if it was recorded then. A process can run another program later, and its
    /// number can become another process's.
    recorded: Option<Arc<Process>>,
}

/// What `/proc` shows of a process at one moment.
#[derive(Debug)]
struct Process {
    program: Program,
    stat: Option<Stat>,
}

#[derive(PartialEq, Eq, Debug)]
enum Program {
    Path(PathBuf),
    /// Its path is one in another mount namespace, where any program can be mounted at any path.
    InAnotherMountNamespace,
    /// It has ended, or we may not look at it.
    Unknown,
}

/// The fields of `/proc/PID/stat` that are used here.
#[derive(PartialEq, Eq, Debug)]
struct Stat {
    parent: i32,
    /// When the process was started, in clock ticks since boot. With the number it names a process for good.
    started: u64,
}

impl Peer {
    /// A peer whose process was not recorded.
    pub const fn new(uid: u32, pid: Option<i32>) -> Self {
        Self { uid, pid, recorded: None }
    }

    /// Records the process that made this connection.
    pub fn record(&mut self, connection: &UnixStream) {
        let process = self.pid.map_or(Process::UNKNOWN, |pid| Process::behind(connection, pid));
        self.recorded = Some(Arc::new(process));
    }

    /// The program that it ran when the connection was accepted, for the audit log.
    pub fn executable(&self) -> Option<String> {
        match &self.recorded.as_ref()?.program {
            Program::Path(path) => Some(path.to_string_lossy().into_owned()),
            Program::InAnotherMountNamespace => Some(IN_ANOTHER_NAMESPACE.to_owned()),
            Program::Unknown => None,
        }
    }

    /// The process and its ancestors, nearest first: `/usr/bin/gh (4211) < /usr/bin/bash (4100)`. Harmless to print.
    pub fn chain(&self) -> String {
        let Some(pid) = self.pid else { return NOT_INSPECTED.to_owned() };
        let now = Process::now(pid);
        let (mut chain, mut parent) = self.shown(pid, &now);
        for _ in 1..MAX_CHAIN {
            let Some(pid) = parent.filter(|pid| *pid > 1) else { break };
            let ancestor = Process::now(pid);
            let _ = write!(chain, " < {} ({pid})", ancestor.program.shown(MAX_ANCESTOR));
            parent = ancestor.parent();
        }
        chain
    }

    /// The process itself as recorded, with what has changed since then; and its parent, if it still is the same process.
    fn shown(&self, pid: i32, now: &Process) -> (String, Option<i32>) {
        let program = now.program.shown(MAX_PROGRAM);
        match self.recorded.as_deref() {
            None => (format!("{program} ({pid}, not recorded when it connected)"), now.parent()),
            // What can be read now may be of another process.
            Some(Process { stat: None, .. }) => (format!("{NOT_INSPECTED} ({pid})"), None),
            Some(then) if !then.is_same_process(now) => {
                (format!("{} ({pid}, ended since it connected)", then.program.shown(MAX_PROGRAM)), None)
            }
            Some(then) if then.program == now.program => (format!("{program} ({pid})"), now.parent()),
            Some(then) => {
                let then = then.program.shown(MAX_PROGRAM);
                (format!("{then} ({pid}, changed since it connected: now {program})"), now.parent())
            }
        }
    }
}

impl From<UCred> for Peer {
    fn from(cred: UCred) -> Self {
        // A process in a pid namespace that we cannot see into has the number 0.
        Self::new(cred.uid(), cred.pid().filter(|pid| *pid > 0))
    }
}

impl Process {
    const UNKNOWN: Self = Self { program: Program::Unknown, stat: None };

    /// The process that has this number now.
    fn now(pid: i32) -> Self {
        // Its start is read last: if that is as expected, the program is this process's too, since it has not ended.
        let program = Program::of(pid);
        Self { program, stat: Stat::of(pid) }
    }

    /// The process that connected and had this number. Its number may be another's by now, which its pidfd shows.
    fn behind(connection: &UnixStream, pid: i32) -> Self {
        let process = Self::now(pid);
        if has_ended(connection) { Self::UNKNOWN } else { process }
    }

    fn is_same_process(&self, now: &Self) -> bool {
        self.stat.as_ref().map(|stat| stat.started) == now.stat.as_ref().map(|stat| stat.started)
    }

    fn parent(&self) -> Option<i32> {
        self.stat.as_ref().map(|stat| stat.parent)
    }
}

impl Program {
    fn of(pid: i32) -> Self {
        static OURS: OnceLock<Option<PathBuf>> = OnceLock::new();
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
        let (Ok(path), Some(theirs)) = (fs::read_link(format!("/proc/{pid}/exe")), namespace(&pid.to_string())) else {
            return Self::Unknown;
        };
        if OURS.get_or_init(|| namespace("self")).as_ref() == Some(&theirs) {
            Self::Path(path)
        } else {
            Self::InAnotherMountNamespace
        }
    }

    fn shown(&self, most: usize) -> String {
        match self {
            Self::Path(path) => plain(path.as_os_str().as_bytes(), most),
            Self::InAnotherMountNamespace => IN_ANOTHER_NAMESPACE.to_owned(),
            Self::Unknown => NOT_INSPECTED.to_owned(),
        }
    }
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let mut stat = [0; MAX_STAT];
        let read = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut stat).ok()?;
        let stat = &stat[..read];
        // The second field is a name in parentheses, and may hold anything, parentheses too.
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace();
        // The next field is the third, the parent is the fourth and the start is the 22nd.
        Some(Self { parent: fields.nth(1)?.parse().ok()?, started: fields.nth(17)?.parse().ok()? })
    }
}

/// Returns true if the process that connected has ended. Before Linux 6.5 and on other systems this is not known.
#[cfg(target_os = "linux")]
fn has_ended(connection: &UnixStream) -> bool {
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
    use std::os::fd::AsFd;

    match getsockopt(connection, PeerPidfd) {
        // A pidfd is readable when its process has ended.
        Ok(pidfd) => poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) != Ok(0),
        Err(error) => error != Errno::ENOPROTOOPT,
    }
}

#[cfg(not(target_os = "linux"))]
fn has_ended(_: &UnixStream) -> bool {
    false
}

/// A text that somebody else chose, made harmless: at most `most` characters, and a line of printable ASCII in which spaces
/// are escaped, so that it cannot be taken for what stands around it. Of a longer text the middle is left out.
fn plain(text: &[u8], most: usize) -> String {
    let mut escaped = String::new();
    for letter in String::from_utf8_lossy(text).chars() {
        match letter {
            '\\' | ' ' => escaped.extend(['\\', letter]),
            '!'..='~' => escaped.push(letter),
            _ => escaped.extend(letter.escape_default()),
        }
    }
    if escaped.len() <= most {
        return escaped;
    }
    let half = (most - CUT.len()) / 2;
    format!("{}{CUT}{}", &escaped[..half], &escaped[escaped.len() - half..])
}

/// Shown in place of a program that may not be looked at.
const NOT_INSPECTED: &str = "(cannot be inspected)";
/// Shown in place of a path that another mount namespace can forge.
const IN_ANOTHER_NAMESPACE: &str = "(in another mount namespace)";
/// Stands for the middle of a path that is too long.
const CUT: &str = "[...]";
/// Processes named at the most.
const MAX_CHAIN: usize = 8;
/// Characters shown of the peer's own path, and of an ancestor's: a prompt must fit on a screen.
const MAX_PROGRAM: usize = 256;
const MAX_ANCESTOR: usize = 96;
/// Bytes read of `/proc/PID/stat`: 52 numbers of at most 20 digits, and a name.
const MAX_STAT: usize = 1280;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_path_can_break_a_prompt() {
        assert_eq!(plain("/gh\nyes\u{202e}\u{1b}[2J\\".as_bytes(), 100), "/gh\\nyes\\u{202e}\\u{1b}[2J\\\\");
        assert_eq!(plain(b"/tmp/x (2) < /gh", 100), "/tmp/x\\ (2)\\ <\\ /gh");
        assert_eq!(plain(format!("/tmp/{}/gh", "x".repeat(5000)).as_bytes(), 19), "/tmp/xx[...]xxxx/gh");
    }

    #[test]
    fn a_process_is_shown_with_those_that_started_it() {
        let us = Peer::new(0, Some(std::process::id().cast_signed()));
        let chain = us.chain();
        let exe = std::env::current_exe().expect("we have a path");
        assert!(chain.starts_with(exe.to_str().expect("it is text")) && chain.contains(" < "), "{chain}");
        assert_eq!(Peer::new(0, None).chain(), "(cannot be inspected)");
    }

    #[test]
    fn another_process_of_the_same_number_is_not_shown() {
        let pid = std::process::id().cast_signed();
        let mut us = Peer::new(0, Some(pid));
        let mut process = Process::now(pid);
        process.stat.as_mut().expect("it can be read").started -= 1;
        process.program = Program::Path("/bin/ended".into());
        us.recorded = Some(Arc::new(process));
        assert_eq!(us.chain(), format!("/bin/ended ({pid}, ended since it connected)"));
    }
}
