//! One client for all contenders: what is measured of it is the same for each.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// How one knows that an answer is complete.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    /// It ends with a newline: our agent, and the echo server when it was sent one.
    Newline,
    /// Its first four bytes announce how many follow: ssh-agent (draft-ietf-sshm-ssh-agent, section 3).
    Announced,
}

impl Ending {
    fn is_reached(self, answer: &[u8]) -> bool {
        match self {
            Self::Newline => answer.ends_with(b"\n"),
            Self::Announced => answer
                .split_first_chunk()
                .is_some_and(|(length, body)| usize::try_from(u32::from_be_bytes(*length)) == Ok(body.len())),
        }
    }
}

/// An open connection to a server.
pub(crate) struct Conversation {
    stream: UnixStream,
    ending: Ending,
    inbox: Vec<u8>,
}

impl Conversation {
    /// Connects to the server at `socket`.
    pub(crate) fn open(socket: &Path, ending: Ending) -> Self {
        let stream = UnixStream::connect(socket).expect("the server listens");
        Self { stream, ending, inbox: vec![0; ROOM] }
    }

    /// Sends one question.
    pub(crate) fn send(&mut self, question: &[u8]) {
        self.stream.write_all(question).expect("the server reads");
    }

    /// Waits for the whole answer to one question.
    pub(crate) fn receive(&mut self) -> &[u8] {
        let mut length = 0;
        loop {
            let read = self.stream.read(&mut self.inbox[length..]).expect("the server answers");
            assert!(read > 0, "the server closed the connection, or its answer is longer than {ROOM} bytes");
            length += read;
            if self.ending.is_reached(&self.inbox[..length]) {
                return &self.inbox[..length];
            }
        }
    }
}

/// Room for one answer, in bytes: the longest here has a token of 520 characters and 15 permissions.
const ROOM: usize = 4096;
