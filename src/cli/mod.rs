//! `apptoken`: the client.

mod args;
mod credential;
#[cfg(feature = "agent")]
mod definition;
mod error;
mod exec;
mod gh;
mod git;
mod gitconfig;
mod json;
mod keys;
mod lock;
mod pages;
mod prompt;
mod remotes;
mod revoke;
mod scope;
mod setup_git;
mod status;
#[allow(dead_code, reason = "for those that will store and load keys")]
mod store;
mod token;
mod verbs;
mod words;

use std::io;
use std::process::ExitCode;

use self::args::Asked;
use self::error::CliError;
use crate::output::print;

#[cfg(feature = "agent")]
#[doc(hidden)]
pub use self::definition::command;

/// Runs `apptoken`.
pub fn main() -> ExitCode {
    run().map_or_else(|error| error.report(), |()| ExitCode::SUCCESS)
}

fn run() -> Result<(), CliError> {
    match args::read(std::env::args_os().skip(1))? {
        Asked::Help(verb) => print_data(args::help(verb).as_bytes()),
        Asked::Version => print_data(concat!("apptoken ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()),
        Asked::Run(verb, words) => (verb.run)(&words),
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
