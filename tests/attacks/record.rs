//! The record names one agent. It never leads to another agent than the user sees named, and a live agent keeps it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::support::agent::{is_alive, parse_bourne};
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APPTOKEN, World, need};

#[test]
fn a_stopped_agent_keeps_its_record() {
    let mut w = World::with_key();
    let (pid, before) = (w.pid(), fs::read(record(&w)).expect("a record"));
    w.env_remove("APPTOKEN_AUTH_SOCK");
    w.signal(Signal::SIGSTOP);
    w.agent(["-s"]).fails(1, ["recorded agent is not replaced", &pid.to_string(), "--new"]);
    w.apptoken(["daemon", "start"]).fails(2, ["no agent can be reached", &pid.to_string(), "--new"]);
    assert_eq!(fs::read(record(&w)).expect("a record"), before);
    assert_eq!(w.sockets().len(), 1, "nothing was started");
    // Another agent is started beside it for a user who says so.
    let (_, another) = start_of(&w.agent(["-s", "--new"]).text());
    assert_eq!(fs::read(record(&w)).expect("a record"), before);
    w.signal(Signal::SIGCONT);
    assert_eq!(start_of(&w.agent(["-s"]).text()).1, pid, "its keys were not lost");
    w.apptoken(["token"]).line();

    // The control: one that is dead is replaced by the same commands.
    kill_9(another);
    kill_9(pid);
    assert_ne!(start_of(&w.agent(["-s"]).text()).1, pid);
    assert_ne!(fs::read(record(&w)).expect("a record"), before);
}

#[test]
fn a_listener_that_answers_something_else_keeps_its_record() {
    let answers: [&[u8]; 4] = [
        b"",
        b"nonsense\n",
        b"{\"ok\":true,\"pong\":true,\"version\":\"0\",\"protocol\":1,\"pid\":1,\"locked\":false}\n",
        b"{\"ok\":false,\"error\":\"no\",\"code\":\"internal\"}\n",
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let w = World::new();
        let (socket, listener) = recorded_listener(&w, answer);
        w.agent(["-s"]).fails(1, ["recorded agent is not replaced", "--new"]);
        assert_eq!(fs::read(record(&w)).expect("a record"), socket.as_os_str().as_encoded_bytes(), "{number}");
        assert_eq!(w.sockets(), std::slice::from_ref(&socket), "{number}: nothing was started");
        // The control: when nothing listens there, the same start replaces it.
        listener.stop();
        assert_ne!(start_of(&w.agent(["-s"]).text()).0, socket, "{number}");
    }
}

#[test]
fn a_busy_agent_is_reused() {
    let w = World::new();
    let busy = b"{\"ok\":false,\"error\":\"the agent has too many connections\",\"code\":\"busy\"}\n";
    let (socket, listener) = recorded_listener(&w, busy);
    let us = Pid::this();
    assert_eq!(start_of(&w.agent(["-s"]).text()), (socket.clone(), us), "the kernel says who listens");
    assert_eq!(fs::read(record(&w)).expect("a record"), socket.as_os_str().as_encoded_bytes());
    assert_eq!(w.sockets(), [socket]);
    listener.stop();
}

#[test]
fn a_dead_socket_that_the_user_chose_leads_to_no_other_agent() {
    let mut w = World::with_key();
    let recorded = w.socket();
    let chosen = w.path("run/chosen");
    let forwarded = w.path("run/apptoken-0123456789/forwarded");
    let of_command = w.path("run/apptoken-0123456789/command.1");
    let elsewhere = w.path("run/apptoken-01234/agent.1");
    let missing = w.path("run/agent.1");
    for socket in [&chosen, &forwarded, &of_command, &elsewhere, &missing] {
        fs::create_dir_all(socket.parent().expect("a directory")).expect("a new directory");
        // Bound and closed: it refuses connections. The last one does not exist.
        if socket != &missing {
            drop(UnixListener::bind(socket).expect("a new socket"));
        }
        w.env("APPTOKEN_AUTH_SOCK", socket);
        let path = socket.to_string_lossy().into_owned();
        for line in [&["token"][..], &["token", "--no-start"], &["list"], &["daemon", "start"], &["daemon", "stop"]] {
            w.apptoken(line).fails(2, [&path, "APPTOKEN_AUTH_SOCK"]);
        }
        w.apptoken(["run", "--", "touch", "ran"]).fails(2, [&path]);
    }
    assert!(!w.path("home/ran").exists());
    assert_eq!(w.github.mints(), 0);

    // The control: the recorded agent would have handed out a token, and is found from a path that agents choose themselves.
    w.env_remove("APPTOKEN_AUTH_SOCK");
    w.apptoken(["token", "--no-start"]).line();
    let (dead, pid) = start_of(&w.agent(["-s", "--new"]).text());
    kill_9(pid);
    // Its last thread may close the socket a moment later.
    wait_until("nothing listens there", DEADLINE, || UnixStream::connect(&dead).is_err());
    assert_ne!(dead, recorded);
    w.env("APPTOKEN_AUTH_SOCK", &dead);
    w.apptoken(["token", "--no-start"]).line();
}

#[test]
fn a_fifo_as_record_or_lock_holds_nothing_up() {
    let mut w = World::with_agent();
    let pid = w.pid();
    w.env_remove("APPTOKEN_AUTH_SOCK");
    let fifo = record(&w);
    fs::remove_file(&fifo).expect("a record");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a new pipe");
    let read = fifo.clone();
    let control = thread::spawn(move || fs::read(read));
    let start = Instant::now();
    w.apptoken(["list"]).fails(2, ["APPTOKEN_AUTH_SOCK is not set"]);
    assert!(!control.is_finished(), "a plain read waits for a writer");
    let (_, another) = start_of(&w.agent(["-s"]).text());
    assert_ne!(another, pid);
    assert!(fs::symlink_metadata(&fifo).expect("a record").is_file(), "it is replaced");

    let lock = w.path("run/apptoken/start.lock");
    fs::remove_file(&lock).expect("a lock");
    mkfifo(&lock, Mode::S_IRWXU).expect("a new pipe");
    start_of(&w.agent(["-s"]).stderr_contains("other shells will not find this agent").text());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // Ends the plain read, which holds the pipe that was replaced.
    drop(control);
}

#[test]
fn a_huge_record_is_not_read() {
    if !need("strace") {
        return;
    }
    let mut w = World::with_agent();
    w.env_remove("APPTOKEN_AUTH_SOCK");
    let huge = fs::File::options().write(true).open(record(&w)).expect("a record");
    huge.set_len(HUGE).expect("it is sparse");
    w.apptoken(["list"]).fails(2, ["APPTOKEN_AUTH_SOCK is not set"]);
    assert!(bytes_read(&w, &[APPTOKEN, "list"]) < 1 << 20);
    // The control: a program that reads it reads all of it.
    assert!(bytes_read(&w, &["sha256sum", &record(&w).to_string_lossy()]) >= HUGE);
    start_of(&w.agent(["-s"]).text());
}

/// The bytes that a command reads, by strace(1).
fn bytes_read(w: &World, command: &[&str]) -> u64 {
    let trace = ["-f", "-o", "trace", "-e", "trace=read,pread64,readv"];
    w.command("strace").args(trace).args(command).run().everything();
    let trace = fs::read_to_string(w.path("home/trace")).expect("strace wrote it");
    trace.lines().filter_map(|line| line.rsplit_once(" = ")?.1.parse::<u64>().ok()).sum()
}

/// A listener in this process, which gives everyone the same answer.
struct Listener {
    socket: PathBuf,
    thread: thread::JoinHandle<()>,
}

impl Listener {
    /// Ends it; its socket stays behind and refuses connections.
    fn stop(self) {
        let mut last = UnixStream::connect(&self.socket).expect("it listens");
        last.write_all(STOP).expect("it reads");
        self.thread.join().expect("it does not panic");
    }
}

/// Starts a listener that gives everyone this answer, and records it.
fn recorded_listener(w: &World, answer: &'static [u8]) -> (PathBuf, Listener) {
    let socket = w.path("run/listener");
    let listener = UnixListener::bind(&socket).expect("a new socket");
    let thread = thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap_or_default();
            if &request[..count] == STOP {
                return;
            }
            let _ = stream.write_all(answer);
        }
    });
    let mut directory = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut directory, 0o700);
    directory.create(w.path("run/apptoken")).expect("a new directory");
    fs::write(record(w), socket.as_os_str().as_encoded_bytes()).expect("it is ours");
    (socket.clone(), Listener { socket, thread })
}

fn record(w: &World) -> PathBuf {
    w.path("run/apptoken/agent")
}

#[track_caller]
fn start_of(lines: &str) -> (PathBuf, Pid) {
    parse_bourne(lines).unwrap_or_else(|| panic!("not the lines of an agent:\n{lines}"))
}

fn kill_9(pid: Pid) {
    kill(pid, Signal::SIGKILL).expect("the agent runs");
    wait_until("the agent is dead", DEADLINE, || !is_alive(pid));
}

const STOP: &[u8] = b"stop";
/// The size of the huge record, in bytes: far more than the programs read otherwise, and quickly read by the control.
const HUGE: u64 = 64 << 20;
