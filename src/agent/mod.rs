//! `apptoken-agent`: the process that holds the keys.

pub mod args;
pub mod clock;
pub mod daemon;
pub mod flight;
pub mod github;
pub mod handler;
pub mod jwt;
pub mod key;
pub mod keyring;
mod mint;
pub mod refuse;
pub mod server;
pub mod shield;
pub mod state;
pub mod tokens;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::args::Args;
use self::daemon::Socket;
use self::handler::Agent;
use self::server::Signals;
use crate::client;
use crate::output::{print, say};

/// Runs `apptoken-agent`.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return crate::usage::report("apptoken-agent", &error),
    };
    let done = if args.kill {
        end(&args)
    } else if args.stay || args.foreground || args.debug {
        stay(&args)
    } else {
        start(&args)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(what) = failure.what {
                say(format_args!("apptoken-agent: {what}"));
            }
            if let Some(hint) = failure.hint {
                say(format_args!("hint: {hint}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// Why the agent did not start, or did not end.
#[derive(Debug)]
pub struct Failure {
    what: Option<String>,
    hint: Option<String>,
}

impl Failure {
    fn new(what: impl Into<String>) -> Self {
        Self { what: Some(what.into()), hint: None }
    }

    /// One that has been told already.
    fn silent() -> Self {
        Self { what: None, hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The agent itself.
fn stay(args: &Args) -> Result<(), Failure> {
    daemon::harden()?;
    daemon::close_inherited();
    let (socket, listener) = Socket::bind(args.socket.as_deref())?;
    let max_connections = daemon::make_room(MAX_CONNECTIONS);

    let failed = |error: io::Error| Failure::new(format!("cannot start: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (listener, signals) = runtime
        .block_on(async { io::Result::Ok((tokio::net::UnixListener::from_std(listener)?, Signals::new()?)) })
        .map_err(failed)?;
    let agent = Agent::new(args.lifetime, clock::system);

    if args.stay {
        daemon::detach(socket.path())?;
    } else {
        print_lines(&args.dialect().announce(socket.path(), std::process::id(), !args.quiet))?;
    }
    // What is slow at its first use is readied while nobody waits for it.
    runtime.spawn_blocking(jwt::warm_up);
    runtime.block_on(server::serve(listener, agent, signals, max_connections));
    // A look-up of a name that hangs must not keep a process that has nothing left to do.
    runtime.shutdown_background();
    Ok(())
}

/// Starts an agent in the background and prints where it is.
fn start(args: &Args) -> Result<(), Failure> {
    let mut passed: Vec<OsString> = Vec::new();
    if let Some(socket) = &args.socket {
        passed.extend(["-a".into(), socket.into()]);
    }
    if let Some(lifetime) = args.lifetime {
        passed.extend(["-t".into(), lifetime.as_secs().to_string().into()]);
    }
    let (mut child, socket) = daemon::start_staying(&passed)?;
    let told = print_lines(&args.dialect().announce(&socket, child.id(), !args.quiet));
    if told.is_err() {
        // Nobody would ever find it.
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        let _ = child.wait();
    }
    told
}

/// Ends the agent that the environment names: over its socket it is known to be one, and ours.
fn end(args: &Args) -> Result<(), Failure> {
    let failed = |error: client::CallError| {
        Failure::new(error.to_string()).hint("if it has ended already, unset APPTOKEN_AUTH_SOCK")
    };
    let mut agent = client::Agent::from_env().map_err(failed)?;
    let pid = agent.pid().map_err(failed)?;
    // It cannot have ended and its number gone to another process: its end of the connection is open.
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)
        .map_err(|error| Failure::new(format!("cannot end the agent, process {pid}: {}", error.desc())))?;
    agent.wait_for_its_end();
    // Its socket is the last thing to go.
    let deadline = Instant::now() + END_DEADLINE;
    while client::Agent::from_env().is_ok() {
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

/// Connections served at once; beyond it, idle ones are sent home for new ones.
const MAX_CONNECTIONS: usize = 4096;
/// How long an agent may take to end.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// How often to look whether it has.
const END_CHECK: Duration = Duration::from_millis(2);
