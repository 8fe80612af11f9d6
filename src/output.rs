//! Writing to the standard streams, where whoever reads may have left.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::fstat;

/// Writes data to standard output, all of it or an error.
pub fn print(data: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data)?;
    stdout.flush()
}

/// Returns true if standard output was closed when the program started, as `>&-` does.
///
/// The runtime opens `/dev/null` in place of a closed stream, for reading and writing, before any of our code runs. A shell's
/// `>/dev/null` opens it for writing only. Where standard error is such a `/dev/null` too, a daemon is assumed to have opened
/// both, and the answer is no.
pub fn is_stdout_closed() -> bool {
    is_null_for_both(io::stdout()) && !is_null_for_both(io::stderr())
}

/// Returns true if the stream is `/dev/null`, opened for reading and writing.
fn is_null_for_both(stream: impl AsFd) -> bool {
    let flags = fcntl(&stream, FcntlArg::F_GETFL).map_or(OFlag::empty(), OFlag::from_bits_retain);
    flags & OFlag::O_ACCMODE == OFlag::O_RDWR
        && fs::metadata("/dev/null").is_ok_and(|null| fstat(&stream).is_ok_and(|it| it.st_rdev == null.rdev()))
}

/// Says something to a person on standard error; if nobody listens, nothing is lost.
pub fn say(words: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{words}");
}
