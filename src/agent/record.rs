//! One agent for all shells: the first that starts is recorded, and those that start later find it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Failure;
use super::args::Args;
use crate::client::{Agent, CallError};
use crate::files::wait_for_lock;
use crate::lifetime;
use crate::output::say;
use crate::paths::{RECORD, make_record_directory, open_start_lock, recorded_socket};
use crate::protocol::Request;

/// The record, while nobody else can start an agent or clean up after one.
pub struct Record {
    directory: PathBuf,
    _lock: fs::File,
}

impl Record {
    /// Waits until no other start is under way, for ten seconds at most.
    pub fn lock() -> io::Result<Self> {
        let directory = make_record_directory()?;
        let lock = open_start_lock(&directory)?;
        match wait_for_lock(&lock, START_DEADLINE) {
            Ok(()) => Ok(Self { directory, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(io::Error::other("another start does not end")),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The socket and process of the recorded agent, if one listens; warns about options of `args` it was not started with.
    ///
    /// Only a missing socket or a refused connection shows that nothing listens. Whatever else is wrong with what listens is
    /// an error: a busy, slow or stopped agent lives, and must not be replaced.
    pub fn living(&self, args: &Args) -> Result<Option<(PathBuf, u32)>, Failure> {
        let Some(socket) = recorded_socket() else { return Ok(None) };
        let deadline = Instant::now() + ANSWER_DEADLINE;
        loop {
            let asked = match Agent::connect_to_recorded(&socket) {
                Err(CallError::NoAgent(_)) => return Ok(None),
                found => found.and_then(|mut agent| ask(&mut agent, args)),
            };
            match asked {
                Ok(pid) => return Ok(Some((socket, pid))),
                // It closed the connection. If it is ending, nothing listens in a moment.
                Err(CallError::NoAgent(_)) if Instant::now() < deadline => std::thread::sleep(END_CHECK),
                Err(error) => return Err(not_replaced(&socket, error)),
            }
        }
    }

    /// Writes down where the agent is, at once or not at all.
    pub fn write(&self, socket: &Path) -> io::Result<()> {
        let mut options = tempfile::Builder::new();
        let mut file = options.permissions(fs::Permissions::from_mode(0o600)).tempfile_in(&self.directory)?;
        file.write_all(socket.as_os_str().as_bytes())?;
        file.persist(self.directory.join(RECORD))?;
        Ok(())
    }
}

/// Returns the process of an agent that lives, and warns about options of `args` it was not started with.
fn ask(agent: &mut Agent, args: &Args) -> Result<u32, CallError> {
    agent.set_patience(ANSWER_DEADLINE);
    let pid = match agent.pid() {
        // An agent that has too much to do for a ping is reused unseen.
        Err(CallError::Refused(refusal)) if refusal.code == "busy" => return Ok(agent.listener_pid()),
        pid => pid?,
    };
    let status = match agent.call(&Request::Status) {
        Err(CallError::Refused(refusal)) if refusal.code == "busy" => return Ok(pid),
        status => status?,
    };
    lacks("-t", args.lifetime, status["maxLifetime"].as_u64());
    lacks("--idle", args.idle, status["idle"].as_u64());
    if args.audit_log.is_some() && status["audited"] != true {
        say(format_args!("apptoken-agent: warning: the running agent was not started with --audit-log"));
    }
    Ok(pid)
}

fn not_replaced(socket: &Path, error: CallError) -> Failure {
    let (what, hint) = match error {
        CallError::Unavailable { what, hint } => (what, hint),
        error => (
            format!("{}: {error}", socket.display()),
            "end the process that listens there, or start another agent: apptoken-agent --new".to_owned(),
        ),
    };
    Failure::new(format!("the recorded agent is not replaced: {what}")).hint(hint)
}

fn lacks(option: &str, asked: Option<Duration>, has: Option<u64>) {
    if let Some(asked) = asked.filter(|asked| Some(asked.as_secs()) != has) {
        let asked = lifetime::show(asked);
        say(format_args!("apptoken-agent: warning: the running agent was not started with {option} {asked}"));
    }
}

/// How long another start may take.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// How often to look whether an agent that closed the connection has ended.
const END_CHECK: Duration = Duration::from_millis(5);
/// How long the recorded agent may take to answer: a shell waits to start, and an agent that is only slow must not be given up.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
