//! Agents that put themselves into the background, known by the lines they print.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process;
use crate::wait::{DEADLINE, wait_until};

/// A process in the background. It is ended, and waited for, when this is dropped.
pub(crate) struct Daemon(u32);

impl Daemon {
    /// The one that told a Bourne shell where it is: ssh-agent and ours use the same words.
    pub(crate) fn from_lines(lines: &[u8]) -> Self {
        let lines = String::from_utf8_lossy(lines);
        let pid = lines.split_once("AGENT_PID=").and_then(|(_, rest)| rest.split(';').next()?.parse().ok());
        Self(pid.unwrap_or_else(|| panic!("not the lines of an agent:\n{lines}")))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.0.cast_signed()), Signal::SIGTERM);
        wait_until("an agent ends", DEADLINE, || !process::is_alive(self.0));
    }
}
