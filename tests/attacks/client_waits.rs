//! Every wait of the client has an end, however the agent behaves.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use apptoken::client::{Agent, CallError};
use apptoken::protocol::{Passphrase, Request};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use crate::support::process::allow_open_files;
use crate::support::wait::DEADLINE;
use crate::support::{AGENT, APPTOKEN, World};

/// "Within seconds": 2 s of silence and 5 s for a ping are promised, and the machine may be slow.
const SECONDS: Duration = Duration::from_secs(20);

#[test]
fn a_stopped_agent_is_an_error_within_seconds() {
    let w = World::with_key();
    w.apptoken(["token"]).line();
    w.signal(Signal::SIGSTOP);
    let control = thread::spawn(answers_without_deadline(w.socket()));

    all_end_within_seconds(&w);

    // The kernel accepted the connection, and nobody answers on it: a client without a deadline still waits.
    assert!(!control.is_finished(), "the agent is stopped");
    w.signal(Signal::SIGCONT);
    assert!(control.join().expect("it does not panic"), "the agent answers when it continues");
    w.apptoken(["token"]).line();
}

#[test]
fn a_stopped_agent_with_a_full_backlog_is_an_error_within_seconds() {
    let w = World::with_key();
    w.signal(Signal::SIGSTOP);
    let backlog = fill_backlog(&w.socket());
    let control = thread::spawn(answers_without_deadline(w.socket()));

    all_end_within_seconds(&w);
    w.agent(["-s"]).fails(1, ["recorded agent is not replaced", "--new"]);

    assert!(!control.is_finished(), "a client without a deadline still waits to connect");
    drop(backlog);
    w.signal(Signal::SIGCONT);
    assert!(control.join().expect("it does not panic"), "the agent answers when it continues");
}

/// Runs what a user would run, all at once.
fn all_end_within_seconds(w: &World) {
    let start = Instant::now();
    let client = |args: &[&str]| w.command(APPTOKEN).args(args).start();
    let clients: Vec<_> =
        [&["token"][..], &["list"], &["status"], &["run", "--", "touch", "ran"], &["daemon", "start"]]
            .into_iter()
            .map(client)
            .collect();
    let kill = w.command(AGENT).arg("-k").start();
    let revoke = w.command(AGENT).args(["-k", "--revoke"]).start();
    for client in clients {
        client.finish().fails(2, ["no agent can be reached", "stopped", "--new"]);
    }
    for kill in [kill, revoke] {
        kill.finish().fails(1, ["no agent was ended", "stopped"]);
    }
    assert!(start.elapsed() < SECONDS, "{:?}", start.elapsed());
    assert!(!w.path("home/ran").exists());
}

#[test]
fn an_agent_that_is_stopped_during_a_request_is_noticed() {
    let w = World::with_key();
    w.github.delay(Duration::from_secs(8));
    let asking = w.command(APPTOKEN).arg("token").start();
    w.github.wait_for(|journal| !journal.is_empty());
    w.signal(Signal::SIGSTOP);
    let start = Instant::now();
    asking.finish().fails(2, ["no agent can be reached", "stopped"]);
    assert!(start.elapsed() < SECONDS, "{:?}", start.elapsed());
    w.signal(Signal::SIGCONT);
}

#[test]
fn an_agent_that_waits_for_github_is_waited_for() {
    let w = World::with_key();
    // Longer than the client is silent before it pings for the second time.
    w.github.delay(Duration::from_secs(8));
    let start = Instant::now();
    w.apptoken(["--installation-id", "1001", "token"]).line();
    assert!(start.elapsed() > Duration::from_secs(8), "GitHub was slow");
}

#[test]
fn an_answer_that_drips_is_cut_off() {
    let mut w = World::new();
    let listener = Listener::at(w.path("run/drips"), |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(200));
        }
    });
    // A client with a timeout for each read alone is held as long as the listener likes.
    let (ended, control) = mpsc::channel();
    let control_socket = listener.0.clone();
    thread::spawn(move || {
        let mut stream = UnixStream::connect(control_socket).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a valid timeout");
        stream.write_all(br#"{"action":"getToken"}"#).expect("it reads");
        while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        let _ = ended.send(());
    });

    w.env("APPTOKEN_AUTH_SOCK", &listener.0);
    let start = Instant::now();
    let (token, kill) = (w.command(APPTOKEN).arg("token").start(), w.command(AGENT).arg("-k").start());
    token.finish().fails(1, ["does not end"]);
    kill.finish().fails(1, ["does not end"]);
    assert!(start.elapsed() < SECONDS, "{:?}", start.elapsed());
    assert_eq!(control.try_recv(), Err(mpsc::TryRecvError::Empty), "the other client is still held");
}

#[test]
fn a_listener_that_only_answers_pings_is_not_waited_for_forever() {
    let w = World::new();
    let listener = Listener::at(w.path("run/pongs"), |mut stream| {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if buffer[..count].windows(4).any(|word| word == b"ping") {
                let _ = stream.write_all(b"{\"ok\":true}\n");
            }
        }
    });
    let mut agent = Agent::connect_to_recorded(&listener.0).expect("it listens");
    agent.set_patience(Duration::from_secs(4));
    let start = Instant::now();
    let answer = agent.call(&Request::Status);
    assert!(matches!(&answer, Err(CallError::Broken(why)) if why.contains("too long")), "{answer:?}");
    assert!(start.elapsed() >= Duration::from_secs(4) && start.elapsed() < SECONDS, "{:?}", start.elapsed());
}

#[test]
fn a_listener_that_reads_nothing_is_not_sent_to_forever() {
    let w = World::new();
    let listener = Listener::at(w.path("run/deaf"), |stream| {
        thread::sleep(DEADLINE);
        drop(stream);
    });
    // More than the kernel buffers for a listener.
    let large = "x".repeat(1 << 20);
    let mut control = UnixStream::connect(&listener.0).expect("it listens");
    control.set_nonblocking(true).expect("a valid mode");
    assert!(control.write_all(large.as_bytes()).is_err(), "the listener reads nothing");

    let mut agent = Agent::connect_to_recorded(&listener.0).expect("it listens");
    let start = Instant::now();
    let answer = agent.call(&Request::Unlock(Passphrase::new(large.into())));
    assert!(matches!(&answer, Err(CallError::Unavailable { .. })), "{answer:?}");
    assert!(start.elapsed() < SECONDS, "{:?}", start.elapsed());
}

/// Pings as a client without any deadline does; returns whether an answer came.
fn answers_without_deadline(socket: PathBuf) -> impl FnOnce() -> bool {
    move || {
        let Ok(mut stream) = UnixStream::connect(socket) else { return false };
        let sent = stream.write_all(br#"{"action":"ping"}"#);
        sent.is_ok() && stream.read(&mut [0; 64]).is_ok_and(|count| count > 0)
    }
}

/// Connects until the kernel accepts no more.
fn fill_backlog(path: &Path) -> Vec<OwnedFd> {
    allow_open_files(16_384);
    let address = UnixAddr::new(path).expect("the path is short");
    let mut connections = Vec::new();
    loop {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let one = socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("there are descriptors left");
        match connect(one.as_raw_fd(), &address) {
            Ok(()) => connections.push(one),
            Err(Errno::EAGAIN) => return connections,
            Err(error) => panic!("the backlog cannot be filled: {error}"),
        }
    }
}

/// A listener in this process, which ends with the tests. Its socket is removed when this is dropped, before the world looks
/// for agents that are left.
struct Listener(PathBuf);

impl Listener {
    /// Serves each connection in a thread.
    fn at(path: PathBuf, serve: impl Fn(UnixStream) + Copy + Send + 'static) -> Self {
        let listener = UnixListener::bind(&path).expect("a new socket");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        Self(path)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
