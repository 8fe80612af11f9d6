//! `apptoken`: the client.

mod args;
mod credential;
#[cfg(feature = "agent")]
mod definition;
mod elsewhere;
mod error;
mod exec;
mod gh;
mod git;
mod gitconfig;
mod json;
mod keys;
mod lock;
mod pages;
mod paste;
mod prompt;
mod remotes;
mod revoke;
mod scope;
#[cfg(feature = "agent")]
mod setup;
mod setup_git;
mod status;
mod token;
mod verbs;
mod verification;
mod words;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use self::args::{Asked, Run, Verb};
use self::error::CliError;
use crate::output::print;

#[doc(hidden)]
pub use self::credential::Rehearsal;
#[cfg(feature = "agent")]
#[doc(hidden)]
pub use self::definition::command;
pub use self::elsewhere::{CLIENT, CLIENT_WITH_AGENT};
#[cfg(feature = "agent")]
pub use self::setup::main as setup;

/// Runs `apptoken`.
pub fn main() -> ExitCode {
    run(std::env::args_os().skip(1), verbs::here)
}

/// Runs a command line, each command by what `how` has for it.
fn run(line: impl IntoIterator<Item = OsString, IntoIter: 'static>, how: impl Fn(&Verb) -> Run) -> ExitCode {
    act(line, how).map_or_else(|error| error.report(), |()| ExitCode::SUCCESS)
}

fn act(
    line: impl IntoIterator<Item = OsString, IntoIter: 'static>,
    how: impl Fn(&Verb) -> Run,
) -> Result<(), CliError> {
    match args::read(line)? {
        Asked::Help(verb) => print_data(args::help(verb).as_bytes()),
        Asked::Version => print_data(concat!("apptoken ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()),
        Asked::Run(verb, words) => how(verb)(&words),
    }
}

/// Prints what was asked for. Who closed the pipe has read enough.
fn print_data(data: &[u8]) -> Result<(), CliError> {
    match print(data) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CliError::new(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
