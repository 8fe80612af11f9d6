//! Questions to the person at the terminal. The terminal, not the standard streams: those may lead elsewhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use nix::sys::signal::{SigSet, Signal};
use zeroize::Zeroizing;

use super::error::CliError;
use super::scope::wrong;
use crate::env;
use crate::secret::Secret;

/// Asks for a line that may be seen while it is typed. `None` without a terminal, or when nothing is answered.
pub(super) fn ask(question: &str) -> Option<String> {
    let mut terminal = File::options().read(true).write(true).open(TERMINAL).ok()?;
    write!(terminal, "{question}: ").ok()?;
    let mut answer = String::new();
    BufReader::new(terminal.take(MAX_LINE as u64)).read_line(&mut answer).ok()?;
    let answer = answer.trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}

/// Asks for a passphrase without showing it: at the terminal, else by the askpass program.
pub(super) fn passphrase(question: &str) -> Result<Secret<str>, CliError> {
    if File::open(TERMINAL).is_err() {
        return by_askpass(question);
    }
    // The library raises the interrupt before it has put the terminal right; held back, it comes after.
    let interrupt = SigSet::from(Signal::SIGINT);
    let held_back = interrupt.thread_block();
    let typed = rpassword::prompt_password(question);
    if held_back.is_ok() {
        let _ = interrupt.thread_unblock();
    }
    let typed = typed.map_err(|error| CliError::new(format!("the passphrase cannot be read: {error}")))?;
    not_empty(typed.into())
}

/// Reads a passphrase from an open file descriptor, up to the end of the line.
pub(super) fn read_fd(fd: &str) -> Result<Secret<str>, CliError> {
    if fd.is_empty() || !fd.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong("--passphrase-fd", "a file descriptor is a number"));
    }
    let read = File::open(format!("/dev/fd/{fd}")).and_then(first_line);
    read.map_err(|why| wrong("--passphrase-fd", format_args!("file descriptor {fd}: {why}"))).and_then(not_empty)
}

fn by_askpass(question: &str) -> Result<Secret<str>, CliError> {
    let Some(program) = env::askpass() else {
        return Err(CliError::new("there is no terminal to ask for the passphrase")
            .hint("set APPTOKEN_ASKPASS to a program that asks, or use `--passphrase-fd`"));
    };
    let failed = |why: &dyn std::fmt::Display| CliError::new(format!("the askpass program gave no passphrase: {why}"));
    let asked = Command::new(program).arg(question).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = asked.map_err(|error| failed(&error))?;
    let answer = first_line(child.stdout.take().expect("it was asked for")).map_err(|error| failed(&error));
    let status = child.wait().map_err(|error| failed(&error))?;
    if status.success() { not_empty(answer?) } else { Err(failed(&status)) }
}

fn first_line(mut from: impl Read) -> io::Result<Secret<str>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    let mut byte = [0];
    // By single bytes: what follows the line is not ours to take.
    while bytes.len() < MAX_LINE && from.read(&mut byte)? > 0 && byte != *b"\n" {
        bytes.push(byte[0]);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
    Ok(text.trim_end_matches('\r').into())
}

fn not_empty(passphrase: Secret<str>) -> Result<Secret<str>, CliError> {
    if passphrase.expose().is_empty() {
        Err(CliError::new("the passphrase is empty").hint("try again; an empty one locks nothing"))
    } else {
        Ok(passphrase)
    }
}

const TERMINAL: &str = "/dev/tty";
/// Longest line that a terminal hands over, in bytes.
const MAX_LINE: usize = 4096;
