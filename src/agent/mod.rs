//! `apptoken-agent`: the process that holds the keys.

mod api;
pub mod args;
pub mod audit;
pub mod clock;
pub mod confirm;
mod connections;
pub mod daemon;
mod debug_log;
pub mod derive;
mod diagnose;
pub mod encrypted;
pub mod fair;
pub mod flight;
pub mod github;
mod guard;
pub mod guesses;
pub mod handler;
pub mod http;
mod inbox;
pub mod jwt;
pub mod key;
mod key_file;
pub mod keyring;
mod keys;
pub mod lock;
mod mint;
mod network;
mod opening;
pub mod peer;
mod permissions;
mod question;
mod receive;
pub mod record;
pub mod refuse;
pub mod reply;
mod revoke;
pub mod sealed;
pub mod server;
mod shelf;
pub mod shield;
pub mod signing;
pub mod socket;
mod start;
pub mod state;
pub mod tokens;
pub mod unclaimed;
mod whoami;
pub mod worker;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::args::Args;
use crate::output::{print, say};
use crate::protocol::{Request, Revoke};
use crate::{client, env, user};

/// Runs `apptoken-agent`.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return crate::usage::report("apptoken-agent", &error),
    };
    let done = if args.kill {
        end(&args)
    } else if user::is_ambiguous() {
        Err(Failure::new(format!("refusing to start: {}", user::ambiguity())).hint(user::MAP_THE_USER))
    } else if args.foreground || args.debug {
        start::in_foreground(&args)
    } else if args.command.is_empty() {
        start::in_background(&args)
    } else {
        start::with_command(&args)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Why the agent did not start, or did not end.
#[derive(Debug)]
pub struct Failure {
    what: Option<String>,
    hint: Option<String>,
    exit: u8,
}

impl Failure {
    fn new(what: impl Into<String>) -> Self {
        Self { what: Some(what.into()), hint: None, exit: 1 }
    }

    /// One that has been told already.
    fn silent() -> Self {
        Self { what: None, hint: None, exit: 1 }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    fn report(self) -> ExitCode {
        if let Some(what) = self.what {
            say(format_args!("apptoken-agent: {what}"));
        }
        if let Some(hint) = self.hint {
            say(format_args!("hint: {hint}"));
        }
        ExitCode::from(self.exit)
    }
}

/// Ends the agent that the environment names: over its socket it is known to be one, and ours.
fn end(args: &Args) -> Result<(), Failure> {
    let failed = |error: client::CallError| match error {
        client::CallError::Unavailable { what, hint } => Failure::new(format!("no agent was ended: {what}")).hint(hint),
        error => Failure::new(format!("there is no agent to end: {error}"))
            .hint("end it from a shell that started it, where APPTOKEN_AUTH_SOCK names its socket"),
    };
    let mut agent = client::Agent::from_env().map_err(failed)?;
    let pid = agent.pid().map_err(failed)?;
    if args.revoke
        && let Err(error) = agent.call(&Request::Revoke(Revoke::default()))
    {
        say(format_args!("apptoken-agent: warning: tokens were not revoked: {error}"));
    }
    // It cannot have ended and its number gone to another process: its end of the connection is open.
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)
        .map_err(|error| Failure::new(format!("cannot end the agent, process {pid}: {}", error.desc())))?;
    let deadline = Instant::now() + END_DEADLINE;
    agent.set_patience(END_DEADLINE);
    agent.wait_for_its_end();
    // The file of its socket is the last thing to go, after all that is secret.
    let socket = std::env::var_os(env::AUTH_SOCK).map(PathBuf::from).unwrap_or_default();
    while socket.symlink_metadata().is_ok() {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("the agent, process {pid}, does not end")));
        }
        std::thread::sleep(END_CHECK);
    }
    print_lines(&args.dialect().forget(pid, !args.quiet))
}

fn print_lines(lines: &[u8]) -> Result<(), Failure> {
    print(lines).map_err(|error| Failure::new(format!("cannot print: {error}")))
}

/// How long an agent may take to end.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// How often to look whether it has.
const END_CHECK: Duration = Duration::from_millis(2);
