//! A key that is typed or pasted at the terminal: never shown, wherever it ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::error::CliError;
use super::prompt::{no_terminal, terminal};
use crate::pem::MAX_KEY;

/// What was answered.
pub(super) enum Typed {
    /// A line that could be seen while it was typed.
    Line(String),
    /// A key, as it was pasted.
    Key(Zeroizing<Vec<u8>>),
}

/// Asks for a line, or a key in its place. What is a key is not shown, up to the line that ends it or Ctrl-D.
#[cfg(feature = "agent")]
pub(super) fn line_or_key(question: &str) -> Result<Typed, CliError> {
    typed(question, true)
}

fn typed(question: &str, shows_lines: bool) -> Result<Typed, CliError> {
    let terminal = terminal().map_err(no_terminal)?;
    let mut hidden = Hidden::new(&terminal).map_err(no_terminal)?;
    let mut screen = &terminal;
    write!(screen, "{question}: ").map_err(no_terminal)?;
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY + 1));
    let mut byte = [0];
    while text.len() <= MAX_KEY && (&terminal).read(&mut byte).map_err(no_terminal)? > 0 {
        let is_key = is_key(&text);
        hidden.is_paste = is_key || !shows_lines;
        match byte[0] {
            CTRL_C => {
                drop(hidden);
                let _ = raise(Signal::SIGINT);
                return Err(CliError::told());
            }
            CTRL_D if text.is_empty() => return Err(CliError::new("there was no answer").hint("nothing was changed")),
            CTRL_D => break,
            CTRL_U | ERASE | BACKSPACE if !is_key => erase(&mut text, byte[0] == CTRL_U, screen),
            // It was pasted with a blank line, or blanks, before it.
            b'\n' if text.trim_ascii().is_empty() && hidden.has_more() => text.clear(),
            b'\n' if !is_key || is_whole(&text) => break,
            byte if is_key || byte == b'\n' => text.push(byte),
            byte if byte < b' ' => {}
            byte => {
                text.push(byte);
                // The first letters of a key are no secret; they tell that it is one.
                if shows_lines {
                    let _ = screen.write_all(&[byte]);
                }
            }
        }
    }
    let _ = screen.write_all(b"\n");
    if is_key(&text) {
        return Ok(Typed::Key(text));
    }
    // What follows a line at once was pasted with it, whatever it is.
    hidden.is_paste |= hidden.has_more();
    let line = std::str::from_utf8(&text).map_err(|_| CliError::new("that is not UTF-8"))?;
    Ok(Typed::Line(line.trim().to_owned()))
}

/// Asks for a key alone; what is no key is not shown either.
pub(super) fn key(question: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    match typed(question, false)? {
        Typed::Key(text) => Ok(text),
        Typed::Line(line) => Err(CliError::new(if line.is_empty() { "there was no key" } else { "that is no key" })
            .hint("paste all of it, from its line -----BEGIN on")),
    }
}

/// Takes back the last letter, or all.
fn erase(text: &mut Vec<u8>, all: bool, mut screen: &File) {
    while let Some(byte) = text.pop() {
        // Only the first byte of a letter took a place.
        if byte & 0xc0 != 0x80 {
            let _ = screen.write_all(b"\x08 \x08");
            if !all {
                break;
            }
        }
    }
}

/// Whether this is, or begins, a key: in PEM, with whatever before it, or PEM in base64.
fn is_key(text: &[u8]) -> bool {
    place_of(text, DASHES).is_some() || text.trim_ascii_start().starts_with(PACKED)
}

/// Whether a key has come to its end with this line: as it is, or packed in base64.
fn is_whole(text: &[u8]) -> bool {
    let has_end = |text: &[u8]| {
        let label = place_of(text, END).map(|place| &text[place + END.len()..]);
        label.is_some_and(|label| place_of(label, DASHES).is_some())
    };
    let packed =
        || Zeroizing::new(text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>());
    has_end(text) || STANDARD.decode(&*packed()).map(Zeroizing::new).is_ok_and(|text| has_end(&text))
}

fn place_of(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// A terminal that shows nothing of what is typed, and hands over every byte; put right again when this is dropped.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
    /// Whether more may come than is wanted.
    is_paste: bool,
}

impl<'a> Hidden<'a> {
    fn new(terminal: &'a File) -> io::Result<Hidden<'a>> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        // Lines longer than a terminal's 4095 bytes are pasted as well, and no signal must come before it is put right.
        hidden.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        hidden.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        hidden.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(terminal, SetArg::TCSANOW, &hidden)?;
        Ok(Self { terminal, before, is_paste: false })
    }

    /// Whether more was typed or pasted already.
    fn has_more(&self) -> bool {
        let mut terminal = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        poll(&mut terminal, AT_ONCE).is_ok_and(|ready| ready > 0)
    }

    /// Reads on until nothing more comes: the rest of what was pasted is no answer to the next question, and no command.
    fn drain(&self) -> io::Result<()> {
        let mut quiet = tcgetattr(self.terminal)?;
        quiet.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
        quiet.control_chars[SpecialCharacterIndices::VTIME as usize] = QUIET;
        tcsetattr(self.terminal, SetArg::TCSANOW, &quiet)?;
        let mut rest = Zeroizing::new([0; 4096]);
        let mut from = self.terminal;
        for _ in 0..MOST_DRAINED {
            if from.read(&mut *rest)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        if self.is_paste {
            let _ = self.drain();
        }
        let _ = tcsetattr(self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// What PEM has at its beginning and end, and no path.
const DASHES: &[u8] = b"-----";
/// How that begins in base64.
const PACKED: &[u8] = b"LS0tLS";
/// How soon the next line of a paste is there, in milliseconds.
const AT_ONCE: u8 = 50;
/// What the last line of a key in PEM has.
const END: &[u8] = b"-----END ";
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const ERASE: u8 = 0x7f;
/// How long nothing comes when a paste is over, in tenths of a second.
const QUIET: u8 = 1;
/// How often what comes after it is read away.
const MOST_DRAINED: usize = 1024;
