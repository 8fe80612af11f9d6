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
    /// Where the record says so.
    recorded: Option<PathBuf>,
    /// Whether the record is gone by.
    pub(super) by_record: bool,
    pub(super) answer: Result<Value, CallError>,
}

impl Door {
    /// Looks where [`Agent::find`] does.
    pub(super) fn find() -> Self {
        let named = std::env::var_os(env::AUTH_SOCK).filter(|path| *path != OsString::new()).map(PathBuf::from);
        let mut door = Self { named, recorded: paths::recorded_socket(), by_record: false, answer: Ok(Value::Null) };
        door.answer = door.knock();
        if door.recorded.is_some() && matches!(door.answer, Err(CallError::NoAgent(_))) {
            door.by_record = true;
            let answer = door.knock();
            door.by_record = answer.is_ok() || door.named.is_none();
            if door.by_record {
                door.answer = answer;
            }
        }
        door
    }

    /// Where the agent is, or would be.
    pub(super) fn socket(&self) -> Option<&Path> {
        if self.by_record { self.recorded.as_deref() } else { self.named.as_deref() }
    }

    fn knock(&self) -> Result<Value, CallError> {
        let nowhere = || CallError::NoAgent(format!("{} is not set, and none is on record", env::AUTH_SOCK));
        let mut agent = Agent::connect(self.socket().ok_or_else(nowhere)?)?;
        agent.set_patience(PATIENCE).map_err(|error| CallError::Broken(error.to_string()))?;
        agent.call(&Request::Ping)
    }
}

/// How long an agent may take to say that it is there; it needs nobody else for that.
const PATIENCE: Duration = Duration::from_secs(5);
