//! No process can look into the agent, whenever it tries.
//!
//! The attack: a process of the same user opens `/proc/PID/mem` at the first instruction of the program, before the program can
//! protect itself. The kernel checks access only at that moment, so the descriptor would show the memory for as long as the
//! process lives.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::support::agent::{is_alive, wait_for_agent_at};
use crate::support::command::Running;
use crate::support::inprocess::add_key;
use crate::support::peer::Peer;
use crate::support::process::parent_of;
use crate::support::unprivileged::Unprivileged;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, APP_ID, APPTOKEN, KEY, World, need};

/// Starts a program, opens its memory before its first instruction, and lets it run. Once the file `secret` exists, it reads that
/// memory and reports whether the secret in the file is there.
const PEEK_EARLY: &str = r#"
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
TRACEME, DETACH = 0, 17
pid = os.fork()
if pid == 0:
    libc.ptrace(TRACEME, 0, None, None)
    os.execvp(sys.argv[1], sys.argv[1:])
os.waitpid(pid, 0)
try:
    memory, maps = (os.open(f"/proc/{pid}/{name}", os.O_RDONLY) for name in ("mem", "maps"))
except PermissionError:
    print("refused", flush=True)
    sys.exit()
finally:
    libc.ptrace(DETACH, pid, None, None)
print("opened", flush=True)
deadline = time.monotonic() + 60
while not os.path.exists("secret"):
    assert time.monotonic() < deadline
    time.sleep(0.01)
secret, found, text = open("secret", "rb").read(), False, b""
while piece := os.read(maps, 65536):
    text += piece
for area in text.decode().splitlines():
    start, end = (int(end, 16) for end in area.split(" ")[0].split("-"))
    try:
        found = found or secret in os.pread(memory, end - start, start)
    except (OSError, OverflowError):
        pass
print("present" if found else "absent", flush=True)
"#;

/// A program that protects itself as well as it can without a fork: it is non-dumpable before it reads its secret.
const VICTIM: &str = r#"
import ctypes, os, time
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
held = open("victims").read()
os.rename("victims", "secret")
time.sleep(60)
"#;

#[test]
fn memory_opened_before_the_start_shows_no_secret() {
    if !need("python3") {
        return;
    }
    for way in [&["-D", "-a", "socket"][..], &["-a", "socket"], &["-a", "socket", "sleep", "60"]] {
        for _ in 0..10 {
            let mut w = World::new();
            let Some(user) = Unprivileged::in_world(&mut w, 0o755) else { return };
            let attack = peek(&user, &w, &[&["apptoken-agent"], way].concat());
            attack.expect_stdout("opened");
            let socket = w.path("home/socket");
            wait_for_agent_at(&socket);
            user.file(&w, "secret", token_from(&w, &socket));
            attack.expect_stdout("absent");
        }
    }
}

/// The control: the attack reads the secret of a program that becomes non-dumpable, but does not fork.
#[test]
fn memory_opened_before_the_start_shows_the_secret_without_a_fork() {
    if !need("python3") {
        return;
    }
    let mut w = World::new();
    let Some(user) = Unprivileged::in_world(&mut w, 0o755) else { return };
    user.file(&w, "victims", "a secret of the victim that nothing else contains");
    let attack = peek(&user, &w, &["python3", "-I", "-c", VICTIM]);
    attack.expect_stdout("present");
}

/// The package installs the agent with this mode. Everything must work with it, and the attack does not even begin.
#[test]
fn the_memory_of_an_unreadable_program_cannot_be_opened() {
    if !need("python3") {
        return;
    }
    let mut w = World::new();
    let Some(user) = Unprivileged::in_world(&mut w, 0o711) else { return };
    let socket = w.path("home/socket");
    let attack = peek(&user, &w, &["apptoken-agent", "-D", "-a", "socket"]);
    attack.expect_stdout(if user.owns_programs() { "opened" } else { "refused" });
    wait_for_agent_at(&socket);
    token_from(&w, &socket);
}

#[test]
fn an_agent_that_is_traced_refuses_to_start() {
    if !need("strace") {
        return;
    }
    let w = World::new();
    for way in [&["-D"][..], &["-s"], &["true"]] {
        let traced = w.command("strace").args(["-f", "-o", "/dev/null", AGENT]).args(way);
        traced.run().fails(1, ["refusing to run under a tracer (pid "]);
        assert_eq!(w.sockets().len(), 0, "{way:?}");
    }
    // The client's verbs that this program runs serve nobody.
    w.command("strace")
        .args(["-f", "-o", "/dev/null", APPTOKEN, "doctor"])
        .run()
        .stdout_contains("socket")
        .stderr_contains("no agent")
        .exit(2);
}

/// Two starts find the same dead socket. The first is stopped between its look and its removal; the second must not be able to
/// listen there in the meantime, or the first would remove a live socket.
#[test]
fn two_starts_at_one_dead_socket_end_with_one_agent() {
    if !need("strace") {
        return;
    }
    let w = World::new();
    let socket = w.path("home/socket");
    drop(UnixListener::bind(&socket).expect("a new socket"));
    let slowly = ["-o", "trace", "-e", "trace=connect,unlink", "-e", "inject=unlink:delay_enter=1000000"];
    let first = w.command("strace").args(slowly).args([AGENT, "-D", "-a", "socket"]).start();
    let trace = w.path("home/trace");
    wait_until("the first has seen that nothing listens", DEADLINE, || {
        fs::read_to_string(&trace).is_ok_and(|trace| trace.contains("ECONNREFUSED"))
    });
    w.agent(["-D", "-a", "socket"]).fails(1, ["an agent is listening", "socket"]);
    first.expect_stdout("APPTOKEN_AUTH_SOCK=");
    let agent = wait_for_agent_at(&socket);
    kill(agent, Signal::SIGTERM).expect("it runs");
    first.finish().stdout_contains("APPTOKEN_AUTH_SOCK=").ok();
}

/// The lines fit no more into the pipe of the shell: nobody reads it.
#[test]
fn a_start_that_cannot_print_ends_and_leaves_no_agent() {
    if !need("python3") {
        return;
    }
    let w = World::new();
    let script = r#"
import os, subprocess, sys
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, b"x" * 65536)
except BlockingIOError:
    os.set_blocking(writer, True)
sys.exit(subprocess.run([sys.argv[1], "-s"], stdout=writer).returncode)
"#;
    w.command("python3").args(["-I", "-c", script, AGENT]).run().fails(1, ["not ready within 10 s"]);
    assert_eq!(w.sockets().len(), 0);
}

#[test]
fn in_the_foreground_the_agent_ends_with_its_parent_and_the_parent_with_it() {
    for (signal, to_parent) in [(Signal::SIGKILL, true), (Signal::SIGKILL, false), (Signal::SIGQUIT, true)] {
        let w = World::new();
        let socket = w.path("home/socket");
        let started = w.command(AGENT).args(["-D", "-a", "socket"]).start();
        let agent = wait_for_agent_at(&socket);
        assert_eq!(parent_of(agent), started.pid());
        kill(if to_parent { started.pid() } else { agent }, signal).expect("it runs");
        started.finish().stdout_contains("APPTOKEN_AUTH_SOCK=").ended_by(signal);
        wait_until("the agent has ended", DEADLINE, || !is_alive(agent));
    }
}

fn peek(user: &Unprivileged, w: &World, command: &[&str]) -> Running {
    user.command(w, &[&["python3", "-I", "-c", PEEK_EARLY], command].concat()).start()
}

/// A token that the agent at this socket has handed out, and holds.
fn token_from(w: &World, socket: &Path) -> String {
    let mut peer = Peer::connect(socket).expect("the agent listens");
    assert_eq!(peer.request(&add_key(&w.github, APP_ID, KEY))["ok"], true);
    peer.request(&json!({"action": "getToken"}))["token"].as_str().expect("a token").to_owned()
}
