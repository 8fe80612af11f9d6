//! Questions to the person at the terminal. The terminal, not the standard streams: those may lead elsewhere.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};

/// Asks for a line that may be seen while it is typed. `None` without a terminal, or when nothing is answered.
pub(super) fn ask(question: &str) -> Option<String> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    write!(terminal, "{question}: ").ok()?;
    let mut answer = String::new();
    BufReader::new(terminal.take(MAX_LINE)).read_line(&mut answer).ok()?;
    let answer = answer.trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}

/// Longest line that a terminal hands over, in bytes.
const MAX_LINE: u64 = 4096;
