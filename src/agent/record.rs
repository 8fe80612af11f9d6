//! One agent for all shells: the first that starts is recorded, and those that start later find it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::args::Args;
use crate::client::Agent;
use crate::lifetime;
use crate::output::say;
use crate::paths::{RECORD, START_LOCK, make_record_directory, recorded_socket};
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
        let mut options = fs::OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(directory.join(START_LOCK))?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { directory, _lock: lock }),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(START_CHECK),
                Err(fs::TryLockError::WouldBlock) => return Err(io::Error::other("another start does not end")),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// The socket and process of the agent on record, if it lives; says which options of `args` it was not started with.
    pub fn living(&self, args: &Args) -> Option<(PathBuf, u32)> {
        let socket = recorded_socket()?;
        let mut agent = Agent::connect(&socket).ok()?;
        // A shell is waiting to start. One that does not answer now is no agent to find.
        agent.set_patience(ANSWER_DEADLINE).ok()?;
        let pid = agent.pid().ok()?;
        let status = agent.call(&Request::Status).ok()?;
        lacks("-t", args.lifetime, status["maxLifetime"].as_u64());
        lacks("--idle", args.idle, status["idle"].as_u64());
        if args.audit_log.is_some() && status["audited"] != true {
            say(format_args!("apptoken-agent: warning: the running agent was not started with --audit-log"));
        }
        Some((socket, pid))
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

fn lacks(option: &str, asked: Option<Duration>, has: Option<u64>) {
    if let Some(asked) = asked.filter(|asked| Some(asked.as_secs()) != has) {
        let asked = lifetime::show(asked);
        say(format_args!("apptoken-agent: warning: the running agent was not started with {option} {asked}"));
    }
}

/// How long another start may take, and how often to look.
const START_DEADLINE: Duration = Duration::from_secs(10);
const START_CHECK: Duration = Duration::from_millis(5);
/// How long the agent on record may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
