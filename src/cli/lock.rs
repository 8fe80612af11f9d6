//! `lock` and `unlock`: nothing leaves the agent without the passphrase.

use super::error::CliError;
use super::prompt;
use crate::client::Agent;
use crate::output::say;
use crate::protocol::{Passphrase, Request};

/// Locks the agent under a passphrase that is typed twice.
pub(super) fn lock(fd: Option<&str>) -> Result<(), CliError> {
    let mut agent = Agent::find()?.trusted()?;
    let passphrase = match fd {
        Some(fd) => prompt::read_fd(fd)?,
        None => prompt::new_passphrase("Enter lock passphrase: ", |_| ())?,
    };
    agent.call(&Request::Lock(Passphrase::new(passphrase)))?;
    say(format_args!("Agent locked."));
    Ok(())
}

/// Unlocks it.
pub(super) fn unlock(fd: Option<&str>) -> Result<(), CliError> {
    let mut agent = Agent::find()?.trusted()?;
    let passphrase = match fd {
        Some(fd) => prompt::read_fd(fd)?,
        None => prompt::passphrase("Enter lock passphrase: ")?,
    };
    agent.call(&Request::Unlock(Passphrase::new(passphrase)))?;
    say(format_args!("Agent unlocked."));
    Ok(())
}
