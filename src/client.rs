//! The client's side of the socket: connect, ask, read the answer. Standard library only.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::protocol::{Pong, Refusal, Request, read_response};
use crate::{env, paths};

/// An open connection to an agent that runs under our own user, or root.
pub struct Agent {
    stream: UnixStream,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// No agent can be reached; the text says why.
    NoAgent(String),
    /// The agent said no.
    Refused(Refusal),
    /// The connection broke, or what came is no answer.
    Broken(String),
}

impl Agent {
    /// Connects to the agent that the environment names, or, if it names none that lives, to the one on record.
    pub fn find() -> Result<Self, CallError> {
        let named = Self::from_env();
        match (&named, paths::recorded_socket()) {
            (Err(CallError::NoAgent(_)), Some(socket)) => Self::connect(&socket).or(named),
            _ => named,
        }
    }

    /// Connects to the agent that the environment names.
    pub fn from_env() -> Result<Self, CallError> {
        match std::env::var_os(env::AUTH_SOCK).filter(|path| *path != OsString::new()) {
            Some(path) => Self::connect(Path::new(&path)),
            None => Err(CallError::NoAgent(format!("{} is not set", env::AUTH_SOCK))),
        }
    }

    /// Connects to the agent at this socket, once it is certain who listens there.
    pub fn connect(socket: &Path) -> Result<Self, CallError> {
        let no_agent = |why: String| CallError::NoAgent(format!("{}: {why}", socket.display()));
        let stream = UnixStream::connect(socket).map_err(|error| no_agent(reason(&error)))?;
        // Whoever could put a socket at our path could otherwise collect keys and passphrases.
        let peer = getsockopt(&stream, PeerCredentials).map_err(|error| no_agent(error.desc().to_owned()))?;
        let (us, them) = (Uid::effective(), Uid::from_raw(peer.uid()));
        if them != us && !them.is_root() {
            return Err(no_agent(format!("it belongs to uid {them}, not to us, uid {us}")));
        }
        let limits =
            stream.set_read_timeout(Some(ANSWER_DEADLINE)).and_then(|()| stream.set_write_timeout(Some(SEND_DEADLINE)));
        limits.map_err(|error| no_agent(reason(&error)))?;
        Ok(Self { stream })
    }

    /// Sends one request and waits for its answer.
    pub fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, CallError> {
        let mut message = Zeroizing::new(Vec::with_capacity(MESSAGE_ROOM));
        serde_json::to_writer(&mut *message, request)
            .expect("requests have only string keys, and a Vec takes all that is written");
        message.push(b'\n');
        // An agent that refuses a connection may answer and close before it has read all we send.
        let sent = self.stream.write_all(&message);
        let line = match self.read_line() {
            Err(CallError::Broken(_)) if sent.is_err() => {
                Err(CallError::Broken("the agent closed the connection".to_owned()))
            }
            line => line,
        }?;
        match read_response(&line) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(refusal)) => Err(CallError::Refused(refusal)),
            None => Err(CallError::Broken("what answers there does not speak like this version's agent".to_owned())),
        }
    }

    /// The agent's process: as it says, and as the kernel says of who listens.
    pub fn pid(&mut self) -> Result<u32, CallError> {
        let pong: Pong = self.call(&Request::Ping)?;
        let peer =
            getsockopt(&self.stream, PeerCredentials).map_err(|error| CallError::Broken(error.desc().to_owned()))?;
        if peer.pid() != pong.pid.cast_signed() {
            return Err(CallError::Broken("it was started by a service manager, which must also end it".to_owned()));
        }
        Ok(pong.pid)
    }

    /// Waits until the agent closes the connection, as it does when it ends.
    pub fn wait_for_its_end(mut self) {
        let _ = self.stream.read(&mut [0]);
    }

    fn read_line(&mut self) -> Result<Zeroizing<Vec<u8>>, CallError> {
        let mut line = Zeroizing::new(Vec::with_capacity(MESSAGE_ROOM));
        let mut piece = Zeroizing::new([0; 4096]);
        loop {
            match self.stream.read(&mut piece[..]) {
                Ok(0) => {
                    return Err(CallError::Broken("the agent closed the connection without an answer".to_owned()));
                }
                Ok(n) => {
                    line.extend_from_slice(&piece[..n]);
                    if piece[n - 1] == b'\n' {
                        return Ok(line);
                    }
                    if line.len() > MAX_ANSWER {
                        return Err(CallError::Broken("the answer is too large".to_owned()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(CallError::Broken(format!("no answer from the agent: {}", reason(&error))));
                }
            }
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgent(why) => write!(f, "no agent can be reached: {why}"),
            Self::Refused(refusal) => f.write_str(&refusal.error),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// An I/O error as a person says it, without the number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it took too long".to_owned(),
        _ => error.to_string(),
    }
}

/// How long an answer may take: longer than the agent waits for GitHub and for a person, so that its own word comes first.
const ANSWER_DEADLINE: Duration = Duration::from_mins(2);
/// How long the agent may take to accept a request's bytes.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Largest answer read, in bytes: ten thousand installations fit.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Room set aside for a message: a 4096-bit key in base64 fits, so that the buffer does not grow by copying it.
const MESSAGE_ROOM: usize = 4096;
