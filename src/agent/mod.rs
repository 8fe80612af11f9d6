//! `apptoken-agent`: the process that holds the keys.

mod api;
pub mod args;
pub mod audit;
pub mod clock;
pub mod confirm;
pub mod daemon;
pub mod derive;
mod diagnose;
pub mod encrypted;
pub mod flight;
pub mod github;
mod guard;
pub mod handler;
pub mod jwt;
pub mod key;
pub mod keyring;
mod keys;
pub mod lock;
mod mint;
mod network;
mod opening;
pub mod peer;
mod permissions;
mod question;
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
pub mod state;
pub mod tokens;
mod whoami;

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use self::args::Args;
use self::audit::Audit;
use self::confirm::Confirm;
use self::handler::{Agent, Rules};
use self::record::Record;
use self::server::Signals;
use self::socket::Socket;
use crate::output::{print, say};
use crate::protocol::{Request, Revoke};
use crate::{client, env};

/// Runs `apptoken-agent`.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return crate::usage::report("apptoken-agent", &error),
    };
    let done = if args.kill {
        end(&args)
    } else if args.stay || args.stay_with.is_some() || args.foreground || args.debug {
        stay(&args)
    } else if args.command.is_empty() {
        start(&args)
    } else {
        accompany(&args)
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

/// The agent itself.
fn stay(args: &Args) -> Result<(), Failure> {
    daemon::harden()?;
    if let Some(parent) = args.stay_with {
        daemon::end_with_parent(Pid::from_raw(parent))?;
    }
    let in_foreground = args.foreground || args.debug;
    let handed_over = if in_foreground { socket::inherited()? } else { None };
    daemon::close_inherited(handed_over.is_some());
    let max_connections = daemon::make_room(MAX_CONNECTIONS);
    let agent = Agent::new(rules(args)?, clock::system);

    let failed = |error: io::Error| Failure::new(format!("cannot start: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // Before there is a socket to leave behind.
    let signals = runtime.block_on(async { Signals::new() }).map_err(failed)?;
    let (socket, listener) = match handed_over {
        Some(listener) => (None, listener),
        None => Socket::bind(args.socket.as_deref()).map(|(socket, listener)| (Some(socket), listener))?,
    };
    let listener = runtime.block_on(async { tokio::net::UnixListener::from_std(listener) }).map_err(failed)?;

    match &socket {
        Some(socket) if in_foreground => {
            print_lines(&args.dialect().announce(socket.path(), std::process::id(), !args.quiet))?;
        }
        Some(socket) => daemon::detach(socket.path())?,
        // A service manager knows where it listens.
        None => {}
    }
    if in_foreground {
        // Who is not listened to serves all the same, as sd_notify(3) advises.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }
    // What is slow at its first use is readied while nobody waits for it.
    runtime.spawn_blocking(jwt::warm_up);
    runtime.block_on(server::serve(listener, agent, signals, max_connections));
    // A look-up of a name that hangs must not keep a process that has nothing left to do.
    runtime.shutdown_background();
    Ok(())
}

fn rules(args: &Args) -> Result<Rules, Failure> {
    let open = |path: &PathBuf| {
        Audit::open(path)
            .map_err(|error| Failure::new(format!("cannot open the audit log {}: {error}", path.display())))
    };
    Ok(Rules {
        max_lifetime: args.lifetime,
        idle: args.idle,
        confirm: Confirm::from_env(),
        audit: args.audit_log.as_ref().map(open).transpose()?,
        debug: args.debug,
    })
}

/// Starts an agent in the background, or finds the one that is there, and prints where it is.
fn start(args: &Args) -> Result<(), Failure> {
    daemon::make_files_private();
    let reuse = !args.new && args.socket.is_none();
    // Held until the end of this function: who starts at the same time then finds this agent.
    let record = Record::lock();
    let not_found_later = |error: &io::Error| {
        say(format_args!("apptoken-agent: warning: other shells will not find this agent: {error}"));
    };
    if let (true, Err(error)) = (reuse, &record) {
        not_found_later(error);
    }
    if reuse && let Some((socket, pid)) = record.as_ref().ok().and_then(|record| record.living(args)) {
        return print_lines(&args.dialect().announce(&socket, pid, !args.quiet));
    }
    if record.is_ok() {
        socket::clean_up_after_dead();
    }
    let mut arguments = vec!["--stay".into()];
    arguments.extend(args.for_staying());
    let (mut child, socket) = daemon::start_staying(&arguments)?;
    if let (true, Ok(record)) = (reuse, &record)
        && let Err(error) = record.write(&socket)
    {
        not_found_later(&error);
    }
    let told = print_lines(&args.dialect().announce(&socket, child.id(), !args.quiet));
    if told.is_err() {
        // Nobody would ever find it.
        daemon::end_child(&mut child);
    }
    told
}

/// Becomes a command that has an agent for as long as it runs.
fn accompany(args: &Args) -> Result<(), Failure> {
    let mut arguments = vec!["--stay-with".into(), std::process::id().to_string().into()];
    arguments.extend(args.for_staying());
    let (mut child, socket) = daemon::start_staying(&arguments)?;
    let (program, words) = args.command.split_first().expect("there is a command");
    let mut command = Command::new(program);
    command.args(words).env(env::AUTH_SOCK, &socket).env(env::AGENT_PID, child.id().to_string());
    let error = command.exec();
    daemon::end_child(&mut child);
    let exit = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    Err(Failure::new(format!("cannot run `{}`: {error}", Path::new(program).display())).exit(exit))
}

/// Ends the agent that the environment names: over its socket it is known to be one, and ours.
fn end(args: &Args) -> Result<(), Failure> {
    let failed = |error: client::CallError| {
        Failure::new(format!("there is no agent to end: {error}"))
            .hint("end it from a shell that started it, where APPTOKEN_AUTH_SOCK names its socket")
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
    let _ = agent.set_patience(END_DEADLINE);
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

/// Connections served at once; beyond it, idle ones are sent home for new ones.
const MAX_CONNECTIONS: usize = 4096;
/// How long an agent may take to end.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// How often to look whether it has.
const END_CHECK: Duration = Duration::from_millis(2);
