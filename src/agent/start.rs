//! The start of the agent, in the order that keeps other processes out.
//!
//! 1. The process becomes non-dumpable, and is hardened.
//! 2. It binds the socket.
//! 3. It forks, before any thread and any secret exists: a process that opened our memory too early sees the parent's.
//! 4. The child refuses to continue if it is traced. It prepares everything, announces itself, and reports to the parent.
//!
//! What the parent does then is the difference between the three ways to start: it exits, stays beside the agent, or becomes a
//! command.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::sys::stat::umask;

use super::args::Args;
use super::audit::Audit;
use super::confirm::Confirm;
use super::daemon::{self, Half, HeldSignals};
use super::handler::{Agent, Rules};
use super::http::Http;
use super::record::Record;
use super::server::{self, Signals};
use super::socket::{self, Socket};
use super::{Failure, clock, jwt, print_lines};
use crate::env;
use crate::output::say;
use crate::paths::AGENT_SOCKET;

/// Starts an agent in the background, or finds the one that is there, and prints where it is.
pub(super) fn in_background(args: &Args) -> Result<(), Failure> {
    with_absolute_certificates()?;
    daemon::harden()?;
    daemon::close_inherited(&[]);
    let reuse = !args.new && args.socket.is_none();
    // Held until the agent is recorded, by both processes: an agent that is started at the same time then finds this one.
    let record = Record::lock();
    if let (true, Err(error)) = (reuse, &record) {
        warn_not_found(error);
    }
    if reuse
        && let Ok(record) = &record
        && let Some((socket, pid)) = record.living(args)?
    {
        return print_lines(&args.dialect().announce(&socket, pid, !args.quiet));
    }
    if record.is_ok() {
        socket::clean_up_after_dead();
    }

    let held = HeldSignals::hold()?;
    let (socket, listener) = Socket::bind(args.socket.as_deref(), AGENT_SOCKET)?;
    match daemon::divide()? {
        Half::Parent(mut agent) => {
            drop(held);
            agent.wait_until_ready()?;
            socket.leave_to_agent();
            Ok(())
        }
        Half::Child(parent) => serve(args, Some(&socket), listener, held, || {
            daemon::leave_session()?;
            if let (true, Ok(record)) = (reuse, &record)
                && let Err(error) = record.write(socket.path())
            {
                warn_not_found(&error);
            }
            drop(record);
            print_ourselves(args, &socket)?;
            daemon::redirect_streams()?;
            parent.report_ready().map(drop)
        }),
    }
}

/// Runs the agent in the foreground: this process stays beside it, and passes signals on.
pub(super) fn in_foreground(args: &Args) -> Result<(), Failure> {
    daemon::harden()?;
    let handed_over = socket::inherited()?;
    daemon::close_inherited(&handed_over.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>());

    let held = HeldSignals::hold()?;
    let (socket, listener) = match handed_over {
        Some(listener) => (None, listener),
        None => {
            Socket::bind(args.socket.as_deref(), AGENT_SOCKET).map(|(socket, listener)| (Some(socket), listener))?
        }
    };
    match daemon::divide()? {
        Half::Parent(mut agent) => {
            drop(listener);
            agent.wait_until_ready()?;
            if let Some(socket) = socket {
                socket.leave_to_agent();
            }
            // sd_notify(3) advises to ignore failures: the agent serves, whether or not anybody waits to hear so.
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
            agent.supervise(held)
        }
        Half::Child(parent) => {
            parent.follow()?;
            serve(args, socket.as_ref(), listener, held, || {
                // A service manager knows the socket that it handed over.
                socket.as_ref().map_or(Ok(()), |socket| print_ourselves(args, socket))?;
                parent.report_ready()
            })
        }
    }
}

/// Becomes a command that has an agent for as long as it runs.
///
/// Only the agent's process is hardened: the command must be as free as if it had been started alone.
pub(super) fn with_command(args: &Args) -> Result<(), Failure> {
    with_absolute_certificates()?;
    daemon::disable_dumping()?;
    let held = HeldSignals::hold()?;
    let umask_before = daemon::make_files_private();
    let (socket, listener) = Socket::bind(args.socket.as_deref(), "command")?;
    match daemon::divide()? {
        Half::Parent(mut agent) => {
            drop(listener);
            agent.wait_until_ready()?;
            umask(umask_before);
            drop(held);
            let (program, words) = args.command.split_first().expect("this way to start has a command");
            let mut command = Command::new(program);
            command.args(words).env(env::AUTH_SOCK, socket.path()).env(env::AGENT_PID, agent.pid().to_string());
            let error = command.exec();
            agent.end();
            let exit = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            Err(Failure::new(format!("cannot run `{}`: {error}", Path::new(program).display())).exit(exit))
        }
        Half::Child(parent) => {
            daemon::harden()?;
            parent.follow()?;
            daemon::close_inherited(&[listener.as_raw_fd(), parent.descriptor()]);
            serve(args, Some(&socket), listener, held, || {
                daemon::leave_session()?;
                daemon::redirect_streams()?;
                parent.report_ready().map(drop)
            })
        }
    }
}

/// Serves as the agent, in the process that stays: prepares all that can fail, lets `announce` tell whoever waits, and serves
/// until a signal ends it. What `announce` returns is kept until then.
fn serve<T>(
    args: &Args,
    socket: Option<&Socket>,
    listener: UnixListener,
    held: HeldSignals,
    announce: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(format!("cannot start: {error}"));
    daemon::refuse_tracer()?;
    let max_connections = daemon::make_room(MAX_CONNECTIONS);
    let agent = Agent::new(rules(args)?, clock::system, Http::Threads);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = runtime.block_on(async { Signals::new() }).map_err(failed)?;
    drop(held);
    if socket.is_some() {
        daemon::listen_as_ourselves(&listener)?;
    }
    let listener = runtime.block_on(async { tokio::net::UnixListener::from_std(listener) }).map_err(failed)?;
    let _announced = announce()?;
    // Its first use is slow, and nobody waits for it now. Where no thread can be started, the first request waits.
    drop(thread::Builder::new().name("warm up".to_owned()).spawn(jwt::warm_up));
    runtime.block_on(server::serve(listener, agent, signals, max_connections));
    // A name lookup that hangs must not keep a process that has nothing left to do.
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

/// Prints the lines for the shell. They name this process, which is the one that stays.
fn print_ourselves(args: &Args, socket: &Socket) -> Result<(), Failure> {
    print_lines(&args.dialect().announce(socket.path(), std::process::id(), !args.quiet))
}

fn warn_not_found(error: &io::Error) {
    say(format_args!("apptoken-agent: warning: other shells will not find this agent: {error}"));
}

/// Makes relative paths of CA certificates absolute, since the agent leaves this directory before it reads them. The program
/// starts anew for this, which is rare: a process cannot change its own environment safely.
fn with_absolute_certificates() -> Result<(), Failure> {
    let mut relative = Vec::new();
    for name in [env::SSL_CERT_FILE, env::SSL_CERT_DIR] {
        let Some(value) = std::env::var_os(name) else { continue };
        if std::env::split_paths(&value).all(|path| path.is_absolute()) {
            continue;
        }
        if let Ok(paths) = std::env::split_paths(&value).map(std::path::absolute).collect::<io::Result<Vec<_>>>()
            && let Ok(value) = std::env::join_paths(paths)
        {
            relative.push((name, value));
        }
    }
    if relative.is_empty() {
        return Ok(());
    }
    let failed = |error: io::Error| Failure::new(format!("cannot start the agent: {error}"));
    let mut program = Command::new(std::env::current_exe().map_err(failed)?);
    Err(failed(program.args(std::env::args_os().skip(1)).envs(relative).exec()))
}

/// Connections served at once; beyond it, idle ones are closed for new ones.
const MAX_CONNECTIONS: usize = 4096;
