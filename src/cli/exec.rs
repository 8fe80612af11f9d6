//! `run`: another program in our place, with a token in its environment; `gh` and `git` are further ones.
//!
//! The program replaces this process, so that terminal, signals, job control and exit status are its own.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;

use super::error::{CliError, Exit};
use super::json::word;
use super::scope::Scope;
use super::status::ask_who;
use super::token::{self, Given};
use crate::env;

/// Becomes any command.
pub(super) fn run(
    scope: Scope,
    variables: &[String],
    as_bot: bool,
    command: &[OsString],
) -> Result<Infallible, CliError> {
    if !variables.iter().all(|name| is_variable(name)) {
        return Err(CliError::new("`--env` takes the name of a variable: letters, digits and `_`").exit(Exit::Usage));
    }
    let (program, args) = command.split_first().expect("the command line asks for one word at least");
    let mut command = Command::new(program);
    command.args(args);
    let answer = token::get(&scope)?;
    if as_bot {
        commit_as(&mut command, &ask_who(scope)?);
    }
    give(&mut command, &answer);
    for name in variables {
        command.env(name, answer.token.expose());
    }
    Err(become_it(command).explain("check its name and PATH"))
}

/// Puts the token where programs look for one for its host. What else stood there goes: perhaps stale, and not the App's.
pub(super) fn give(command: &mut Command, answer: &Given) {
    let github = [env::GH_TOKEN, env::GITHUB_TOKEN];
    let enterprise = [env::GH_ENTERPRISE_TOKEN, env::GITHUB_ENTERPRISE_TOKEN];
    let (ours, others) = if answer.host.is_github_kind() { (github, enterprise) } else { (enterprise, github) };
    for name in ours {
        command.env(name, answer.token.expose());
    }
    for name in others {
        command.env_remove(name);
    }
    // Without it gh goes where the directory's remotes point, and takes this token for any host of its kind.
    command.env(env::GH_HOST, answer.host.to_string());
}

/// Makes git commit as the App's bot.
fn commit_as(command: &mut Command, bot: &Value) {
    let (name, email) = (word(bot, "name"), word(bot, "email"));
    command.env(env::GIT_AUTHOR_NAME, &name).env(env::GIT_COMMITTER_NAME, &name);
    command.env(env::GIT_AUTHOR_EMAIL, &email).env(env::GIT_COMMITTER_EMAIL, &email);
}

/// Why a program could not take our place.
pub(super) struct NotBecome {
    program: OsString,
    error: io::Error,
}

/// Replaces this process; returns only if it cannot.
pub(super) fn become_it(mut command: Command) -> NotBecome {
    let error = command.exec();
    NotBecome { program: command.get_program().to_owned(), error }
}

impl NotBecome {
    /// Says so, and what to do.
    pub(super) fn explain(self, hint: &str) -> CliError {
        let program = self.program.display();
        match self.error.kind() {
            io::ErrorKind::NotFound => {
                CliError::new(format!("there is no program `{program}`")).hint(hint).exit(Exit::NotFound)
            }
            io::ErrorKind::PermissionDenied => {
                CliError::new(format!("`{program}` is not executable")).hint(hint).exit(Exit::CannotRun)
            }
            _ => CliError::new(format!("`{program}` cannot be run: {}", self.error)).hint(hint).exit(Exit::CannotRun),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let bytes = OsStr::new(name).as_encoded_bytes();
    bytes.first().is_some_and(|b| !b.is_ascii_digit()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}
