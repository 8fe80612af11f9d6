//! The commands with which one sets up and looks after the agent: they run in its program, not in the client's.

mod ask;
mod daemon;
mod doctor;
mod init;
mod load;
mod store;
mod strength;

use std::ffi::OsString;
use std::process::ExitCode;

use super::error::{CliError, Exit};

/// Carries out a command line of the client's; with an agent of its own if one was started for it.
pub fn main(line: impl IntoIterator<Item = OsString, IntoIter: 'static>, with_agent: bool) -> ExitCode {
    super::run(line, |verb| match verb.name {
        "init" if with_agent => init::with_own_agent,
        "init" => init::init,
        "add" => load::add,
        "daemon" => daemon::daemon,
        "doctor" => doctor::doctor,
        _ => |_| Err(CliError::new("this command is the client's own").hint("run it as apptoken").exit(Exit::Usage)),
    })
}
