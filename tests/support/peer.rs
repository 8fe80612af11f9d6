//! A client of the socket that knows no manners: it sends any bytes, at any pace.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::wait::DEADLINE;

pub(crate) struct Peer {
    stream: BufReader<UnixStream>,
}

impl Peer {
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the agent takes bytes");
    }

    /// Sends what the agent may be entitled to refuse by closing the connection.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Gives up sending after this time; a test of what the agent does not read needs no patience.
    pub(crate) fn write_timeout(&self, patience: Duration) {
        self.stream.get_ref().set_write_timeout(Some(patience)).expect("the patience is not zero");
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end_sending(&self) {
        // The agent may have closed the connection first.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// The next answer: one JSON object in one line.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Value {
        let answer = self.try_answer().expect("an answer comes before the deadline");
        answer.expect("the agent answers before it closes the connection")
    }

    /// The next answer; `None` when the agent closed the connection instead.
    pub(crate) fn try_answer(&mut self) -> io::Result<Option<Value>> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            read => read?,
        };
        if line.pop() != Some(b'\n') {
            return Err(io::Error::other("an answer that does not end with a newline"));
        }
        Ok(Some(serde_json::from_slice(&line)?))
    }

    /// Whether an answer, or the end of the connection, comes within this time.
    pub(crate) fn is_answered_within(&mut self, patience: Duration) -> bool {
        self.stream.get_ref().set_read_timeout(Some(patience)).expect("the patience is not zero");
        let answered = !matches!(self.stream.fill_buf(), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.stream.get_ref().set_read_timeout(Some(DEADLINE)).expect("the deadline is not zero");
        answered
    }

    /// Sends one request and returns its answer.
    #[track_caller]
    pub(crate) fn request(&mut self, request: &Value) -> Value {
        self.send(request.to_string());
        self.answer()
    }

    /// Waits at most `deadline` for the agent to close the connection; returns the answers that came before.
    #[track_caller]
    pub(crate) fn until_closed(&mut self, deadline: Duration) -> Vec<Value> {
        self.stream.get_ref().set_read_timeout(Some(deadline)).expect("the deadline is not zero");
        let mut answers = Vec::new();
        while let Some(answer) = self.try_answer().expect("the agent closes the connection in time") {
            answers.push(answer);
        }
        answers
    }
}
