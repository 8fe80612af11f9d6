//! Who asks: the process at the other end of a connection, and those it was started by.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use tokio::net::unix::UCred;

/// The process at the other end, as the kernel knows it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The user it runs under.
    pub uid: u32,
    /// Its number, where the system tells.
    pub pid: Option<i32>,
}

impl Peer {
    /// The program it runs, as a path.
    pub fn executable(&self) -> Option<PathBuf> {
        self.pid.and_then(executable)
    }

    /// The process and its ancestors, nearest first: `gh (4211) < bash (4100)`. Harmless to print.
    pub fn chain(&self) -> String {
        let mut chain = String::new();
        let mut next = self.pid;
        for _ in 0..MAX_CHAIN {
            let Some(pid) = next.filter(|pid| *pid > 1) else { break };
            let name = executable(pid).and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
            let name = name.unwrap_or_else(|| "a program that cannot be seen".to_owned());
            let _ = write!(chain, "{}{} ({pid})", if chain.is_empty() { "" } else { " < " }, plain(&name));
            next = parent(pid);
        }
        if chain.is_empty() { "a process that cannot be seen".to_owned() } else { chain }
    }
}

impl From<UCred> for Peer {
    fn from(cred: UCred) -> Self {
        Self { uid: cred.uid(), pid: cred.pid() }
    }
}

/// A text of somebody else's choosing, made harmless: bounded, and without control or look-alike characters.
pub fn plain(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars().take(MAX_WORD) {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            ' '..='~' => escaped.push(letter),
            _ => escaped.extend(letter.escape_default()),
        }
    }
    if text.chars().nth(MAX_WORD).is_some() { escaped + "..." } else { escaped }
}

fn executable(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, and may hold anything, parentheses too.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Ancestors named at the most.
const MAX_CHAIN: usize = 8;
/// Characters of one name shown at the most.
const MAX_WORD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_can_break_a_prompt() {
        assert_eq!(plain("gh\nAllow: yes\u{202e}\u{1b}[2J\\"), "gh\\nAllow: yes\\u{202e}\\u{1b}[2J\\\\");
        assert_eq!(plain(&"x".repeat(1_000)).len(), MAX_WORD + 3);
    }

    #[test]
    fn a_process_is_named_with_those_that_started_it() {
        let us = Peer { uid: 0, pid: Some(std::process::id().cast_signed()) };
        let chain = us.chain();
        assert!(chain.starts_with("apptoken-") && chain.contains(" < "), "{chain}");
        assert_eq!(Peer { uid: 0, pid: None }.chain(), "a process that cannot be seen");
    }
}
