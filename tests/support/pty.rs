//! A terminal to type at.

use std::fs::File;
use std::io::Write as _;
use std::process::{Child, Command, ExitStatus};

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::command::Capture;
use super::wait::{DEADLINE, comes_true, poll, wait_until};

/// A program on a terminal of its own, as if a person had started it there. Dropping it hangs the terminal up.
pub(crate) struct Terminal {
    keyboard: File,
    screen: Capture,
    /// How much of the screen was waited for already.
    seen: usize,
    child: Child,
}

/// Keys that are not letters.
#[derive(Clone, Copy)]
pub(crate) enum Key {
    CtrlC = 0x03,
    CtrlZ = 0x1a,
}

impl Terminal {
    /// Starts `setsid --ctty …` with the terminal as stdin, stdout and stderr, and so as the program's `/dev/tty`.
    #[track_caller]
    pub(super) fn start(mut setsid: Command) -> Self {
        let pty = openpty(None, None).expect("there is a terminal to be had");
        // Copies are closed on exec, which openpty's own descriptors are not.
        let keyboard = File::from(pty.master.try_clone().expect("a descriptor can be copied"));
        let screen = Capture::of(keyboard.try_clone().expect("a descriptor can be copied"));
        let slave = || pty.slave.try_clone().expect("a descriptor can be copied");
        let child = setsid.stdin(slave()).stdout(slave()).stderr(slave()).spawn().expect("`setsid` can be started");
        Self { keyboard, screen, seen: 0, child }
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    pub(crate) fn expect(&self, text: &str) {
        let shown = comes_true(DEADLINE, || self.transcript().contains(text));
        assert!(shown, "the terminal never showed `{text}`:\n{}", self.transcript());
    }

    /// Waits until the screen shows `text` after what was waited for before.
    #[track_caller]
    pub(crate) fn expect_next(&mut self, text: &str) {
        let place = || Some(self.seen + self.transcript().get(self.seen..)?.find(text)? + text.len());
        let Some(seen) = poll(DEADLINE, place) else {
            panic!("the terminal did not show `{text}` next:\n{}", self.transcript());
        };
        self.seen = seen;
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).expect("the terminal is open");
    }

    pub(crate) fn press(&mut self, key: Key) {
        self.keyboard.write_all(&[key as u8]).expect("the terminal is open");
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        let settings = tcgetattr(&self.keyboard).expect("it is a terminal");
        settings.local_flags.contains(LocalFlags::ECHO)
    }

    /// Types a line when the terminal has stopped to show what is typed.
    #[track_caller]
    pub(crate) fn type_hidden(&mut self, line: &str) {
        wait_until("the terminal hides what is typed", DEADLINE, || !self.echoes());
        self.type_line(line);
    }

    /// All that the terminal has shown so far.
    pub(crate) fn transcript(&self) -> String {
        self.screen.text()
    }

    /// Waits for the program to end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> ExitStatus {
        let status = poll(DEADLINE, || self.child.try_wait().expect("the child is ours to wait for"));
        status.unwrap_or_else(|| panic!("the program did not end:\n{}", self.transcript()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
