//! Reading the key file that a client handed over.
//!
//! The file may be on a file system that hangs, and it may lie about its size. So a thread of its own reads it, up to a bound,
//! and whoever waits for it has a deadline.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use nix::sys::stat::{SFlag, fstat};
use rustix::io::{Errno, pread};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::pem::MAX_KEY;
use crate::protocol::{Code, OpenFile, Refusal};
use crate::secret::Secret;

/// Reads the file from its start: at most one byte more than a key can have, by which one that is too large is known.
pub(super) async fn read(file: OpenFile) -> Result<Secret<[u8]>, Refusal> {
    let place = PLACES
        .try_acquire()
        .map_err(|_| Refusal::new(Code::Busy, "too many key files are being read").hint("try again in a moment"))?;
    let (tell, told) = oneshot::channel();
    let work = move || {
        // With the thread, not with the client that waits for it: that one may leave.
        let _place = place;
        let _ = tell.send(read_now(&*file));
    };
    let thread = thread::Builder::new().name("key file".to_owned()).stack_size(READER_STACK).spawn(work);
    let no_thread = || Refusal::new(Code::Internal, "the key's file could not be read: there is no thread for it");
    thread.map_err(|_| no_thread().hint("see what limits the agent's memory and threads"))?;
    match timeout(READ_DEADLINE, told).await {
        Ok(read) => read.unwrap_or_else(|_| Err(no_thread())),
        Err(_) => Err(Refusal::new(Code::Timeout, "reading the key's file took too long")
            .hint("copy the file to a local disk, or send the key on standard input")),
    }
}

fn read_now(file: &dyn AsFd) -> Result<Secret<[u8]>, Refusal> {
    let no_file = |why: &str| {
        Refusal::new(Code::BadRequest, format!("the file descriptor cannot be used: {why}"))
            .hint("send one of a regular file that is open for reading")
    };
    let there = fstat(file.as_fd()).map_err(|error| no_file(error.desc()))?;
    if SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(no_file("it is not a regular file"));
    }
    let mut bytes = Zeroizing::new(vec![0; MAX_KEY + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match pread(file.as_fd(), &mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(no_file(nix::Error::from_raw(error.raw_os_error()).desc())),
        }
    }
    Ok(bytes[..length].to_vec().into())
}

/// How many are read at once: one that hangs keeps its thread.
static PLACES: Semaphore = Semaphore::const_new(16);
/// How long reading may take. A local file takes microseconds, one on a network file system some round trips.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// The stack of a thread that reads, in bytes; the content is not on it.
const READER_STACK: usize = 128 * 1024;
