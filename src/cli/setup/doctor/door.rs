//! Where an agent is looked for, and what answers there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::client::{Agent, CallError};
use crate::protocol::Request;
use crate::{env, paths};

/// The socket that the other commands would use, and what came of a question there.
pub(super) struct Door {
    /// Where the environment says that an agent is.
    pub(super) named: Option<PathBuf>,
    /// Where the agent is, or would be.
    socket: Option<PathBuf>,
    /// Whether the record names that socket.
    pub(super) by_record: bool,
    pub(super) answer: Result<Value, CallError>,
}

impl Door {
    /// Looks where the other commands do.
    pub(super) fn find() -> Self {
        let named = std::env::var_os(env::AUTH_SOCK).filter(|path| *path != OsString::new()).map(PathBuf::from);
        let mut agent = Agent::find();
        let socket = match &agent {
            Ok(agent) => Some(agent.socket().to_owned()),
            Err(_) => named.clone().or_else(paths::recorded_socket),
        };
        let answer = match &mut agent {
            Ok(agent) => {
                agent.set_patience(PATIENCE);
                agent.call(&Request::Ping)
            }
            Err(_) => agent.map(|_| Value::Null),
        };
        Self { by_record: socket != named, named, socket, answer }
    }

    /// Where the agent is, or would be.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }
}

/// How long an agent may take to say that it is there; it needs nobody else for that.
const PATIENCE: Duration = Duration::from_secs(5);
