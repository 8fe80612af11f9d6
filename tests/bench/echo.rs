//! The least that a server on a Unix socket can do: send back what it is sent. What it costs, every server costs.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

/// Serves until it is killed; prints a line once it listens.
///
/// Threads that wait in `accept` and `read` need the fewest system calls of all: no polling, no waking up for nothing.
pub(crate) fn serve(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("the directory is there and ours");
    println!("listening");
    thread::scope(|scope| {
        for _ in 0..MAX_CONNECTIONS {
            scope.spawn(|| listener.incoming().for_each(|peer| drop(peer.and_then(echo))));
        }
    });
}

fn echo(mut peer: UnixStream) -> io::Result<()> {
    let mut message = [0; ROOM];
    loop {
        match peer.read(&mut message)? {
            0 => return Ok(()),
            length => peer.write_all(&message[..length])?,
        }
    }
}

/// Connections served at once: no row has more of them open.
const MAX_CONNECTIONS: usize = 64;
/// Room for one message, in bytes: an answer with a long token takes less than a quarter of it.
const ROOM: usize = 4096;
