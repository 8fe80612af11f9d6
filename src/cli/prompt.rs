//! Questions to the person at the terminal. The terminal, not the standard streams: those may lead elsewhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpgrp, tcgetpgrp};
use zeroize::Zeroizing;

use super::error::CliError;
use super::scope::wrong;
use crate::client::CallError;
use crate::env;
use crate::output::say;
use crate::secret::Secret;

/// Whether there is a terminal to ask at.
pub(super) fn has_terminal() -> bool {
    terminal().is_ok()
}

/// Whether somebody at a terminal waits for this very command: one in the background would be stopped by asking.
pub(super) fn is_waited_for() -> bool {
    terminal().is_ok_and(|terminal| tcgetpgrp(terminal) == Ok(getpgrp()))
}

/// Asks for a line that may be seen while it is typed; `None` when there is no terminal or nothing is answered.
pub(super) fn ask(question: &str) -> Option<String> {
    line(question).ok().flatten().filter(|answer| !answer.is_empty())
}

/// The same; `None` when the terminal is closed with Ctrl-D.
pub(super) fn line(question: &str) -> io::Result<Option<String>> {
    let mut terminal = terminal()?;
    write!(terminal, "{question}: ")?;
    let mut answer = String::new();
    let read = BufReader::new(terminal.take(MAX_LINE as u64)).read_line(&mut answer)?;
    Ok((read > 0).then(|| answer.trim().to_owned()))
}

/// Asks for a passphrase without showing it: at the terminal, else by the askpass program.
pub(super) fn passphrase(question: &str) -> Result<Secret<str>, CliError> {
    keep_to_ourselves();
    if !has_terminal() {
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

/// Asks for a new passphrase, twice; `remark` may say something about it in between.
pub(super) fn new_passphrase(question: &str, remark: impl Fn(&str)) -> Result<Secret<str>, CliError> {
    let first = passphrase(question)?;
    remark(first.expose());
    let again = passphrase("Again: ")?;
    if first.expose() == again.expose() {
        return Ok(first);
    }
    Err(CliError::new("the passphrases differ").hint("try again; nothing was changed"))
}

/// The passphrase that was given, else one that is typed.
pub(super) fn given_or_typed(given: Option<&Secret<str>>, question: &str) -> Result<Secret<str>, CliError> {
    given.map_or_else(|| passphrase(question), |given| Ok(given.expose().into()))
}

/// Tries passphrases until one opens, three at most: the one that was `given`, and no other, or those that are typed.
/// Returns what `open` does, and the passphrase.
pub(super) fn open_with<T>(
    given: Option<&Secret<str>>,
    question: &str,
    mut open: impl FnMut(&Secret<str>) -> Result<T, CallError>,
) -> Result<(T, Secret<str>), CliError> {
    let mut tries = if given.is_some() { 1 } else { MAX_TRIES };
    loop {
        let passphrase = given_or_typed(given, question)?;
        tries -= 1;
        match open(&passphrase) {
            Ok(opened) => return Ok((opened, passphrase)),
            Err(CallError::Refused(refusal)) if refusal.code == WRONG_PASSPHRASE && tries > 0 => {
                say(format_args!("apptoken: {}; try again", refusal.error));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a passphrase from an open file descriptor, up to the end of the line.
pub(super) fn read_fd(fd: &str) -> Result<Secret<str>, CliError> {
    keep_to_ourselves();
    if fd.is_empty() || !fd.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong("--passphrase-fd", "a file descriptor is a number"));
    }
    let read = File::open(format!("/dev/fd/{fd}")).and_then(first_line);
    read.map_err(|why| wrong("--passphrase-fd", format_args!("file descriptor {fd}: {why}"))).and_then(not_empty)
}

/// Leaves no core behind and has nobody look in, from when a secret comes on. Not from the start: the agent writes down and shows
/// the programs of those who ask for tokens, and could not know them.
pub(super) fn keep_to_ourselves() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = nix::sys::prctl::set_dumpable(false);
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

/// That somebody is to be asked, and cannot be.
pub(super) fn no_terminal(_: io::Error) -> CliError {
    CliError::new("there is no terminal to ask at").hint("give every answer as an option: apptoken init --help")
}

pub(super) fn terminal() -> io::Result<File> {
    File::options().read(true).write(true).open(TERMINAL)
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
/// The code of a refusal that another passphrase may mend.
pub(super) const WRONG_PASSPHRASE: &str = "wrong_passphrase";
/// How many answers or passphrases are tried.
pub(super) const MAX_TRIES: u32 = 3;
