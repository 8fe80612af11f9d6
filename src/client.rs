//! The client's side of the socket: connect, ask, read the answer. Standard library only.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::protocol::Request;
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
    Refused(Box<Refused>),
    /// The connection broke, or what came is no answer.
    Broken(String),
}

/// What the agent said when it said no.
#[derive(Debug, Default)]
pub struct Refused {
    /// What failed.
    pub error: String,
    /// The same for programs: [`crate::protocol::Code`] as it is on the wire; a newer agent may have others.
    pub code: String,
    /// What to do next.
    pub hint: Option<String>,
    /// What there is to choose from, a line each.
    pub choices: Vec<String>,
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
    ///
    /// The answer is handed on as JSON: what is merely shown needs no types on this side, and each would cost the client
    /// some kilobytes.
    pub fn call(&mut self, request: &Request) -> Result<Value, CallError> {
        let mut message = Zeroizing::new(Vec::with_capacity(MESSAGE_ROOM));
        serde_json::to_writer(&mut *message, request)
            .expect("requests have only string keys, and a Vec takes all that is written");
        message.push(b'\n');
        // An agent that refuses a connection may answer and close before it has read all we send.
        let sent = self.stream.write_all(&message);
        let line = match self.read_line(waits_for(request)) {
            Err(CallError::Broken(_)) if sent.is_err() => {
                Err(CallError::Broken("the agent closed the connection".to_owned()))
            }
            line => line,
        }?;
        let answer: Value = serde_json::from_slice(&line).unwrap_or_default();
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer),
            Some(false) => Err(CallError::Refused(Box::new(Refused::read(&answer)))),
            None => Err(CallError::Broken("what answers there does not speak like this version's agent".to_owned())),
        }
    }

    /// The agent's process: as it says, and as the kernel says of who listens.
    pub fn pid(&mut self) -> Result<u32, CallError> {
        let pong = self.call(&Request::Ping)?;
        let pid = pong["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
        let peer =
            getsockopt(&self.stream, PeerCredentials).map_err(|error| CallError::Broken(error.desc().to_owned()))?;
        // The kernel says 0 for a process outside our namespace; as a target of signals that would be our own group.
        if pid == 0 || peer.pid() != pid.cast_signed() {
            return Err(CallError::Broken(
                "who listens there is another process: a service manager, or the far end of a forwarded socket"
                    .to_owned(),
            ));
        }
        Ok(pid)
    }

    /// Changes how long an answer may take.
    pub fn set_patience(&self, deadline: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(deadline))
    }

    /// Waits until the agent closes the connection, as it does when it ends, for as long as an answer may take.
    pub fn wait_for_its_end(mut self) {
        let _ = self.stream.read(&mut [0]);
    }

    fn answers_within(&self, span: Duration) -> bool {
        let mut stream = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        // What else may be is found by reading.
        poll(&mut stream, span.as_millis().try_into().unwrap_or(PollTimeout::MAX)) != Ok(0)
    }

    /// Reads an answer. Who sits at a terminal is told what is waited for, if it takes long.
    fn read_line(&mut self, waits_for: Option<&'static str>) -> Result<Zeroizing<Vec<u8>>, CallError> {
        let _notice = match waits_for {
            Some(what) if io::stderr().is_terminal() && !self.answers_within(NOTICE_AFTER) => Some(Notice::show(what)),
            _ => None,
        };
        let mut line = Zeroizing::new(Vec::with_capacity(MESSAGE_ROOM));
        let mut piece = Zeroizing::new([0; 4096]);
        loop {
            match self.stream.read(&mut piece[..]) {
                // It ended, or is not one for us.
                Ok(0) if line.is_empty() => {
                    return Err(CallError::NoAgent("it closed the connection without an answer".to_owned()));
                }
                Ok(0) => {
                    return Err(CallError::Broken("the agent closed the connection amid its answer".to_owned()));
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
                // It ended while we were waiting to be let in, or to be answered.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(CallError::NoAgent("the agent ended before it answered".to_owned()));
                }
                Err(error) => {
                    return Err(CallError::Broken(format!("no answer from the agent: {}", reason(&error))));
                }
            }
        }
    }
}

/// A line on the terminal for as long as something is waited for.
struct Notice {
    width: usize,
}

impl Notice {
    fn show(what: &str) -> Self {
        let text = format!("apptoken: {what} …");
        let _ = write!(io::stderr(), "{text}");
        Self { width: text.chars().count() }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        let _ = write!(io::stderr(), "\r{:width$}\r", "", width = self.width);
    }
}

fn waits_for(request: &Request) -> Option<&'static str> {
    match request {
        Request::GetToken(_) => Some("waiting for a token from GitHub, or for a confirmation"),
        Request::AddKey(_) | Request::CheckKey(_) => Some("waiting for GitHub to confirm the key"),
        Request::SealKey(_) => Some("encrypting the key"),
        Request::Diagnose(_) => Some("waiting for GitHub to answer"),
        Request::Installations(_) => Some("waiting for GitHub's list of installations"),
        Request::Whoami(_) => Some("waiting for GitHub to tell who the App is"),
        Request::Revoke(_) | Request::RemoveKey(_) | Request::RemoveAllKeys(_) => Some("waiting for GitHub to revoke"),
        Request::Unlock(_) => Some("waiting for the passphrase to be checked"),
        _ => None,
    }
}

impl Refused {
    fn read(answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let line = |choice: &Value| {
            let words = CHOICE_WORDS.iter().filter_map(|name| match &choice[*name] {
                Value::String(word) => Some(word.clone()),
                Value::Number(word) => Some(word.to_string()),
                _ => None,
            });
            words.collect::<Vec<_>>().join("  ")
        };
        Self {
            error: text("error").unwrap_or_else(|| "the agent refused".to_owned()),
            code: text("code").unwrap_or_default(),
            hint: text("hint"),
            choices: answer["choices"].as_array().into_iter().flatten().map(line).collect(),
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
const ANSWER_DEADLINE: Duration = Duration::from_mins(4);
/// How long somebody at a terminal waits without being told for what.
const NOTICE_AFTER: Duration = Duration::from_millis(500);
/// How long the agent may take to accept a request's bytes.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Largest answer read, in bytes: ten thousand installations fit.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// What is shown of a choice, in this order.
const CHOICE_WORDS: [&str; 6] = ["name", "fingerprint", "appId", "host", "installationId", "account"];
/// Room set aside for a message: a 4096-bit key in base64 fits, so that the buffer does not grow by copying it.
const MESSAGE_ROOM: usize = 4096;
