//! A server that is measured: its process, and how to talk to it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use crate::command::or_panic;
use crate::conversation::{Conversation, Ending};

/// A running server. It is killed when this is dropped, also by a panic.
pub(crate) struct Server {
    child: Child,
    socket: PathBuf,
    /// What it is asked over and over.
    pub(crate) question: Vec<u8>,
    ending: Ending,
}

impl Server {
    /// Starts a server that stays our child, and waits until it listens at `socket`: each of them prints a line then.
    pub(crate) fn start(command: &mut Command, socket: PathBuf, question: &[u8], ending: Ending) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child = or_panic(command, child);
        let mut server = Self { child, socket, question: question.to_owned(), ending };
        let mut line = String::new();
        let stdout = server.child.stdout.take().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut line).expect("what servers print is UTF-8");
        assert!(!line.is_empty(), "{command:?} ended before it listened");
        server
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The process that listens, which may be a child of the one that was started.
    pub(crate) fn pid(&self) -> u32 {
        let stream = UnixStream::connect(&self.socket).expect("the server listens");
        let listener = getsockopt(&stream, PeerCredentials).expect("a Unix socket knows its peer");
        listener.pid().cast_unsigned()
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Conversation {
        Conversation::open(&self.socket, self.ending)
    }

    /// Asks its question once, on a new connection, and returns the answer.
    pub(crate) fn ask(&self) -> Vec<u8> {
        let mut conversation = self.connect();
        conversation.send(&self.question);
        conversation.receive().to_vec()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
