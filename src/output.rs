//! Writing to the standard streams, where whoever reads may have left.

use std::fmt;
use std::io::{self, Write};

/// Writes data to standard output, all of it or an error.
pub fn print(data: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data)?;
    stdout.flush()
}

/// Says something to a person on standard error; if nobody listens, nothing is lost.
pub fn say(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{words}");
}
