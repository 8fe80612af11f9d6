//! Threads that write where a write may block, so that the event loop never does.

use std::io;
use std::thread;

use nix::sys::signal::SigSet;

/// Starts a thread that runs `work`. Nothing waits for its end, and the end of the process does not wait for it either.
pub(super) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = || {
        // A write beyond the limit of a file's size raises SIGXFSZ in the thread that writes, which would end the agent.
        // Blocked, it stays pending, and the write returns an error. All other signals are for the event loop.
        if SigSet::all().thread_block().is_ok() {
            work();
        }
    };
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run).map(drop)
}

/// Bytes of stack: such a thread writes what others have rendered.
const STACK: usize = 128 * 1024;
