//! What the agent's program does for this one.
//!
//! Commands that are rarely given and need much are in that program, so that this one stays small: it starts thousands of
//! times a day. They deal with keys and agents, and so are of no use where that program is not.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, raise};

use super::args::Words;
use super::error::{CliError, Exit};
use super::exec::become_it;
use super::json::list;
use super::prompt;
use crate::client::{Agent, CallError};
use crate::paths;
use crate::protocol::Request;

/// Has the agent's program carry out this command line in our place; for a table's row.
pub(super) fn hand_over(_: &Words) -> Result<(), CliError> {
    let mut command = Command::new(agent_program());
    command.arg(CLIENT).args(std::env::args_os().skip(1));
    Err(become_it(command).explain(INSTALL))
}

/// Lends an agent. Where there is none, or none with a key, it is started and given the stored keys: if there are any,
/// somebody at a terminal waits for this, and nobody said no.
pub(super) fn with_keys<T>(
    no_start: bool,
    mut work: impl FnMut(&mut Agent) -> Result<T, CallError>,
) -> Result<T, CliError> {
    let mut try_it = || Agent::find().and_then(|mut agent| work(&mut agent));
    let failed = match try_it() {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    if no_start || !paths::has_stored_keys() || !prompt::is_waited_for() || !is_for_want_of_a_key(&failed) {
        return Err(failed.into());
    }
    let mut start = Command::new(agent_program());
    let started = start.args([CLIENT, "daemon", "start"]).status().map_err(|error| no_program(&error))?;
    // Who pressed Ctrl-C at its question meant all of it.
    if let Some(signal) = started.signal().and_then(|signal| Signal::try_from(signal).ok()) {
        let _ = raise(signal);
    }
    match try_it() {
        // It has said why.
        Err(error) if !started.success() && is_for_want_of_a_key(&error) => Err(CliError::told()),
        result => Ok(result?),
    }
}

/// Whether there is no agent, or none of any key. Where one has keys, a stored one may not be what is meant.
fn is_for_want_of_a_key(error: &CallError) -> bool {
    // An agent that may not be sent a key cannot be given one.
    let keys = || Agent::find()?.trusted()?.call(&Request::ListKeys);
    match error {
        CallError::NoAgent(_) => true,
        CallError::Refused(refusal) => {
            refusal.code == "no_key" && keys().is_ok_and(|answer| list(&answer, "keys").is_empty())
        }
        CallError::Unavailable { .. } | CallError::Broken(_) => false,
    }
}

/// The agent's program.
pub(super) fn agent_program() -> PathBuf {
    beside_us(AGENT)
}

/// The other program: beside this one, as both are installed together, else wherever PATH has it.
pub(super) fn beside_us(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().map(|file| file.with_file_name(name));
    beside.filter(|file| file.is_file()).unwrap_or_else(|| name.into())
}

/// Says that it cannot be run.
pub(super) fn no_program(error: &io::Error) -> CliError {
    CliError::new(format!("{AGENT} cannot be run: {error}")).hint(INSTALL).exit(Exit::NotFound)
}

/// What has the agent's program carry out one of the client's command lines: its first argument.
pub const CLIENT: &str = "--client";
/// The same, when the agent was started for that command line alone and ends with it.
pub const CLIENT_WITH_AGENT: &str = "--client-with-agent";
const AGENT: &str = "apptoken-agent";
/// What to do when that program is missing.
pub(super) const INSTALL: &str = "install apptoken-agent beside apptoken, or in PATH";
