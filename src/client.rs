//! The client's side of the socket: connect, ask, read the answer. Standard library only.

mod connect;
mod wait;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixCredentials, getsockopt, sendmsg, sockopt::PeerCredentials};
use nix::unistd::Uid;
use serde_json::Value;
use zeroize::Zeroizing;

use self::wait::Wait;
use crate::protocol::Request;
use crate::secret::on_wiped_stack;
use crate::{env, paths, user};

/// An open connection to an agent.
pub struct Agent {
    stream: UnixStream,
    socket: PathBuf,
    /// The process that listens, as the kernel knows it.
    listener: UnixCredentials,
    patience: Duration,
}

/// How long an answer may take to begin, and the work that it waits for.
#[derive(Clone, Copy)]
struct Expected {
    patience: Duration,
    waits_for: Option<&'static str>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// No agent is there; the text says why. Starting one may help.
    NoAgent(String),
    /// The agent that is meant cannot be used, and another one must not take its place.
    Unavailable {
        /// Why it cannot be used.
        what: String,
        /// What to do next.
        hint: String,
    },
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
    /// Connects to the agent that the environment names. If it names none, or one that named its socket itself and is gone,
    /// connects to the recorded agent.
    pub fn find() -> Result<Self, CallError> {
        match Self::from_env() {
            Err(CallError::NoAgent(why)) => Self::recorded(why),
            named => named,
        }
    }

    /// Connects to the agent that the environment names.
    ///
    /// Fails with [`CallError::NoAgent`] only where another agent may be used instead: if the user chose the socket, an agent
    /// that is gone is an error, since the next one may have more rights.
    pub fn from_env() -> Result<Self, CallError> {
        let Some(socket) = std::env::var_os(env::AUTH_SOCK).filter(|path| *path != OsString::new()).map(PathBuf::from)
        else {
            return Err(CallError::NoAgent(format!("{} is not set", env::AUTH_SOCK)));
        };
        match Self::connect(&socket) {
            Err(CallError::NoAgent(what)) if !paths::is_named_by_agent(&socket) => {
                let hint = format!("start an agent there, or unset {} to use your recorded agent", env::AUTH_SOCK);
                Err(CallError::Unavailable { what, hint })
            }
            found => found,
        }
    }

    /// Connects to the recorded agent; without one, fails because of `why`.
    fn recorded(why: String) -> Result<Self, CallError> {
        if user::is_ambiguous() {
            let what = format!("{why}, and {}", user::ambiguity());
            let hint = format!("set {} to the agent's socket, or {}", env::AUTH_SOCK, user::MAP_THE_USER);
            return Err(CallError::Unavailable { what, hint });
        }
        match paths::recorded_socket().map(|socket| Self::connect_to_recorded(&socket)) {
            None | Some(Err(CallError::NoAgent(_))) => Err(CallError::NoAgent(why)),
            Some(found) => found,
        }
    }

    /// Connects to the agent at a socket that the record names. Another user's listener there is no agent of ours.
    pub fn connect_to_recorded(socket: &Path) -> Result<Self, CallError> {
        let agent = Self::connect(socket)?;
        let owner = agent.listener.uid();
        if owner == Uid::effective().as_raw() {
            Ok(agent)
        } else {
            Err(CallError::NoAgent(format!("{}: it belongs to uid {owner}", socket.display())))
        }
    }

    /// Connects to the agent at a socket that the user chose, whoever listens there. Before a key or a passphrase is sent, it
    /// is checked who does.
    fn connect(socket: &Path) -> Result<Self, CallError> {
        let shown = socket.display();
        let stream = connect::open(socket).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused => {
                CallError::NoAgent(format!("{shown}: {}", reason(&error)))
            }
            io::ErrorKind::TimedOut => CallError::Unavailable {
                what: format!("{shown}: no connection is accepted, so the agent is stopped or overloaded"),
                hint: "continue or end its process, or start another agent: apptoken-agent --new".to_owned(),
            },
            _ => unusable(socket, &error),
        })?;
        let listener = getsockopt(&stream, PeerCredentials).map_err(|error| unusable(socket, &error.into()))?;
        Ok(Self { stream, socket: socket.to_owned(), listener, patience: ANSWER_DEADLINE })
    }

    /// The socket by which it was reached.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The process that listens there, as the kernel knows it: that of a service manager or of sshd may stand in for the
    /// agent's. It is 0 where it is in another pid namespace.
    pub fn listener_pid(&self) -> u32 {
        self.listener.pid().cast_unsigned()
    }

    /// Returns this agent if it may be sent keys and passphrases: our own user or root listens.
    pub fn trusted(self) -> Result<Self, CallError> {
        self.require_trust().map(|()| self)
    }

    fn require_trust(&self) -> Result<(), CallError> {
        if user::is_ambiguous() {
            let what = format!("no key or passphrase is sent: {}", user::ambiguity());
            return Err(CallError::Unavailable { what, hint: user::MAP_THE_USER.to_owned() });
        }
        let (us, them) = (Uid::effective(), Uid::from_raw(self.listener.uid()));
        if them == us || them.is_root() {
            return Ok(());
        }
        let socket = self.socket.display();
        Err(CallError::Unavailable {
            what: format!(
                "{socket}: no key or passphrase is sent: the agent belongs to uid {them}, and we are uid {us}"
            ),
            hint: format!("correct {}, or unset it to use your own agent", env::AUTH_SOCK),
        })
    }

    /// Sends one request and waits for its answer.
    ///
    /// The answer is handed on as JSON: what is merely shown needs no types on this side, and each would cost the client
    /// some kilobytes.
    pub fn call(&mut self, request: &Request) -> Result<Value, CallError> {
        let (expected, sent) = (self.expected(request), self.send(request)?);
        self.answer(&sent, expected)
    }

    /// Sends one request with a secret in it, wipes it, and waits for its answer.
    pub fn hand_over(&mut self, request: Request) -> Result<Value, CallError> {
        let (expected, this) = (self.expected(&request), &*self);
        // The closure owns the request, which is wiped when the closure ends.
        let sent = on_wiped_stack(move || this.send(&request))?;
        self.answer(&sent, expected)
    }

    fn expected(&self, request: &Request) -> Expected {
        match request {
            // The agent answers a ping by itself, so that a late pong says all that another ping could.
            Request::Ping => Expected { patience: self.patience.min(wait::PONG_DEADLINE), waits_for: None },
            _ => Expected { patience: self.patience, waits_for: waits_for(request) },
        }
    }

    /// Sends one request, and the file that belongs to it. No copy of it is left. What kept the agent from taking all of it may
    /// be in its answer.
    fn send(&self, request: &Request) -> Result<io::Result<()>, CallError> {
        if request.carries_key_or_passphrase() {
            self.require_trust()?;
        }
        let mut message = Zeroizing::new(Vec::with_capacity(MESSAGE_ROOM));
        serde_json::to_writer(&mut *message, request)
            .expect("requests have only string keys, and a Vec takes all that is written");
        message.push(b'\n');
        match self.write(&message, request.descriptor()) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(self.unresponsive()),
            sent => Ok(sent),
        }
    }

    /// Writes a message within [`SEND_DEADLINE`], and with its first byte a file descriptor, if there is one.
    fn write(&self, mut message: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let deadline = Instant::now() + SEND_DEADLINE;
        let mut descriptor = file.map(|file| [file.as_raw_fd()]);
        while !message.is_empty() {
            let bytes = [IoSlice::new(message)];
            let beside = descriptor.as_ref().map(|descriptor| [ControlMessage::ScmRights(descriptor)]);
            let beside = beside.as_ref().map_or(&[][..], |beside| &beside[..]);
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.stream.as_raw_fd(), &bytes, beside, flags, None) {
                Ok(count) => {
                    message = &message[count..];
                    descriptor = None;
                }
                Err(Errno::EAGAIN) if wait::has_room_by(self.stream.as_fd(), deadline) => {}
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn answer(&mut self, sent: &io::Result<()>, expected: Expected) -> Result<Value, CallError> {
        // An agent that refuses a connection may answer and close before it has read all we send.
        let line = match self.read_line(expected) {
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

    /// The agent's process, for signals: as it says, and as the kernel says of who listens.
    pub fn pid(&mut self) -> Result<u32, CallError> {
        self.require_trust()?;
        let pong = self.call(&Request::Ping)?;
        let pid = pong["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
        // The kernel says 0 for a process outside our namespace; as a target of signals that would be our own group.
        if pid == 0 || self.listener_pid() != pid {
            return Err(CallError::Broken(
                "who listens there is another process: a service manager, or the far end of a forwarded socket"
                    .to_owned(),
            ));
        }
        Ok(pid)
    }

    /// Changes how long an answer may take to begin.
    pub fn set_patience(&mut self, deadline: Duration) {
        self.patience = deadline;
    }

    /// Waits until the agent closes the connection, as it does when it ends, for as long as an answer may take.
    pub fn wait_for_its_end(self) {
        wait::is_ready_by([self.stream.as_fd()], Instant::now() + self.patience);
    }

    /// Reads an answer, which begins within the expected time and ends within [`END_OF_ANSWER_DEADLINE`] of that.
    fn read_line(&mut self, expected: Expected) -> Result<Zeroizing<Vec<u8>>, CallError> {
        match wait::for_answer(self.stream.as_fd(), &self.socket, expected.patience, expected.waits_for) {
            Wait::Answered => {}
            Wait::Unresponsive => return Err(self.unresponsive()),
            Wait::TooLong => return Err(CallError::Broken("no answer from the agent: it took too long".to_owned())),
        }
        let deadline = Instant::now() + END_OF_ANSWER_DEADLINE;
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
                    if !wait::is_ready_by([self.stream.as_fd()], deadline) {
                        return Err(CallError::Broken("the agent's answer does not end".to_owned()));
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

    /// The error for an agent that is there and does not answer.
    fn unresponsive(&self) -> CallError {
        let (socket, pid) = (self.socket.display(), self.listener_pid());
        let (process, see) = match pid {
            0 => (String::new(), "its process".to_owned()),
            pid => (format!(" (process {pid} listens there)"), format!("process {pid}")),
        };
        CallError::Unavailable {
            what: format!("{socket}: no answer; the agent is stopped or overloaded{process}"),
            hint: format!("continue or end {see}, or start another agent: apptoken-agent --new"),
        }
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
    /// The same for what is found wrong on this side.
    pub fn new(error: String, hint: &str) -> Self {
        Self { error, hint: Some(hint.to_owned()), ..Self::default() }
    }

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
            Self::NoAgent(why) | Self::Unavailable { what: why, .. } => write!(f, "no agent can be reached: {why}"),
            Self::Refused(refusal) => f.write_str(&refusal.error),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// The error for a socket that cannot be used, and of which it is unknown whether an agent listens there.
fn unusable(socket: &Path, error: &io::Error) -> CallError {
    CallError::Unavailable {
        what: format!("{}: {}", socket.display(), reason(error)),
        hint: format!("correct {}, or unset it to use your recorded agent", env::AUTH_SOCK),
    }
}

/// An I/O error as a person says it, without the number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// How long an answer may take to begin, if pings are answered: longer than the agent waits for GitHub and for a person, so
/// that its own word comes first.
const ANSWER_DEADLINE: Duration = Duration::from_mins(4);
/// How long an answer may take from its first byte to its last. The agent writes it at once.
const END_OF_ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// How long the agent may take to accept a request's bytes. Its kernel takes most requests whole.
const SEND_DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer read, in bytes: ten thousand installations fit.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// What is shown of a choice, in this order.
const CHOICE_WORDS: [&str; 6] = ["name", "fingerprint", "appId", "host", "installationId", "account"];
/// Room set aside for a message: a 4096-bit key in base64 fits, so that the buffer does not grow by copying it.
const MESSAGE_ROOM: usize = 4096;
