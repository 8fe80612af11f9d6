//! An agent from outside: the lines it printed, its socket, its process.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::peer::Peer;
use super::wait::{DEADLINE, poll};

/// Waits until the agent at `socket` answers, and returns its process.
#[track_caller]
pub(crate) fn wait_for_agent_at(socket: &Path) -> Pid {
    poll(DEADLINE, || pid_behind(socket)).expect("an agent answers before the deadline")
}

/// The socket and the process that the three lines for Bourne shells name; the path needs no quoting.
pub(crate) fn parse_bourne(lines: &str) -> Option<(PathBuf, Pid)> {
    let [socket, pid, echo] = lines.lines().collect::<Vec<_>>()[..] else {
        return None;
    };
    let socket = socket.strip_prefix("APPTOKEN_AUTH_SOCK=")?.strip_suffix("; export APPTOKEN_AUTH_SOCK;")?;
    let pid = pid.strip_prefix("APPTOKEN_AGENT_PID=")?.strip_suffix("; export APPTOKEN_AGENT_PID;")?;
    (echo == format!("echo Agent pid {pid};")).then_some(())?;
    Some((PathBuf::from(socket), Pid::from_raw(pid.parse().ok()?)))
}

/// Whether the process runs: neither gone, nor ended and waiting for its parent to notice.
pub(crate) fn is_alive(pid: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // pid (name) state …, and the name may hold anything.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

/// Whether the process is an agent of these tests, and not a stranger that got the number of one that ended.
pub(super) fn is_our_agent(pid: Pid) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    is_alive(pid) && String::from_utf8_lossy(&command).contains("apptoken-agent")
}

pub(super) fn pid_behind(socket: &Path) -> Option<Pid> {
    let mut peer = Peer::connect(socket).ok()?;
    peer.try_send(br#"{"action":"ping"}"#).ok()?;
    let pid = peer.try_answer().ok()??.get("pid")?.as_i64()?;
    Some(Pid::from_raw(pid.try_into().ok()?))
}

pub(super) fn sockets_below(directory: &Path) -> Vec<PathBuf> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => sockets.extend(sockets_below(&entry.path())),
            Ok(kind) if kind.is_socket() => sockets.push(entry.path()),
            _ => (),
        }
    }
    sockets
}
