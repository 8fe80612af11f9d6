//! `apptoken`: the client.

mod args;
mod credential;
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
mod token;
mod words;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::args::{Cli, Command, ScopeArgs};
use self::error::CliError;
use self::scope::Scope;
use crate::output::print;
use crate::usage;

/// Runs `apptoken`.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => run(cli).map_or_else(|error| error.report(), |()| ExitCode::SUCCESS),
        Err(error) => usage::report("apptoken", &error),
    }
}

/// The command line's definition, from which the tests make manuals and completions.
#[doc(hidden)]
pub fn command() -> clap::Command {
    Cli::command()
}

fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Add(add) => keys::add(add, cli.scope.host),
        Command::List { json } => keys::list(json),
        Command::Remove { keys, all, revoke } => keys::remove(&keys, all, revoke),
        Command::Lock { from } => lock::lock(&from),
        Command::Unlock { from } => lock::unlock(&from),
        Command::Token { scope: nearest, json } => token::token(Scope::read(nearest.or(cli.scope))?, json),
        Command::Revoke { tokens, .. } => revoke::revoke(Scope::read(cli.scope)?, &tokens),
        Command::Gh { args } => gh::gh(Scope::read(cli.scope)?, &args).map(|never| match never {}),
        Command::Git { args } => git::git(&cli.scope, &args).map(|never| match never {}),
        Command::Credential { operation } => credential::credential(cli.scope, &operation),
        Command::SetupGit { host, undo } => {
            let options = ScopeArgs { host: host.or(cli.scope.host), ..cli.scope };
            if undo { setup_git::undo(options) } else { setup_git::setup(&options) }
        }
        Command::Run { variables, as_bot, command } => {
            exec::run(Scope::read(cli.scope)?, &variables, as_bot, &command).map(|never| match never {})
        }
        Command::Whoami { json } => status::whoami(Scope::read(cli.scope)?, json),
        Command::Installations { json } => status::installations(Scope::read(cli.scope)?, json),
        Command::Status { json } => status::status(json),
        Command::Completions { shell } => pages::completions(&shell),
        Command::Man { program } => pages::man(program.as_deref()),
        Command::Help { about } => pages::help(about.as_deref()),
        Command::Words { kind } => {
            words::words(&kind);
            Ok(())
        }
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
