//! Under a service manager: a socket that was handed over, readiness that is told, and the units that come with the program.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::sys::signal::{Signal, kill};

use crate::support::agent::wait_for_agent_at;
use crate::support::command::Invocation;
use crate::support::process::parent_of;
use crate::support::wait::DEADLINE;
use crate::support::{AGENT, APPTOKEN, NO_OPTIONS, World, need};

#[test]
fn a_socket_that_was_handed_over_is_served_in_silence_and_left_in_place() {
    if !need("python3") {
        return;
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut w = World::new();
        let socket = w.path("handed-over");
        let agent = activate(&w, &socket, 1, &["-D"]).start();
        assert_eq!(parent_of(wait_for_agent_at(&socket)), agent.pid());
        let inode = fs::metadata(&socket).expect("it is there").ino();
        w.env("APPTOKEN_AUTH_SOCK", &socket);
        w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
        assert!(w.apptoken(["token"]).line().starts_with("ghs_"));

        agent.signal(signal);
        // Exit 0, and nothing was printed.
        agent.finish().ok();
        assert_eq!(fs::metadata(&socket).expect("it is its binder's to remove").ino(), inode);
        assert_eq!(fs::read_dir(w.path("run")).expect("it can be read").count(), 0, "nothing else was bound");
    }
}

#[test]
fn who_connected_before_the_agent_started_is_served() {
    if !need("python3") {
        return;
    }
    let w = World::new();
    let socket = w.path("handed-over");
    // As with real activation: the connection comes first.
    let agent = activate(&w, &socket, 1, &["-D"]).env("CONNECT_FIRST", "1").start();
    agent.expect_stdout("\"pong\":true");
    agent.signal(Signal::SIGTERM);
    agent.finish().stdout_contains("").ok();
}

#[test]
fn two_sockets_are_one_too_many() {
    if !need("python3") {
        return;
    }
    let w = World::new();
    activate(&w, &w.path("handed-over"), 2, &["-D"]).run().fails(1, ["more than one", "ListenStream"]);
}

#[test]
fn what_is_handed_over_and_is_no_socket_is_refused() {
    let w = World::new();
    let script = "exec 3<key.pem; LISTEN_FDS=1 LISTEN_PID=$$ exec apptoken-agent -D";
    w.shell("sh", script).stderr_contains("socket from the service manager").exit(1);
}

#[test]
fn what_was_handed_to_another_process_is_not_taken() {
    let w = World::new();
    let socket = w.path("here");
    let agent = w.command(AGENT).arg("-D").arg("-a").arg(&socket).env("LISTEN_FDS", "1").env("LISTEN_PID", "1").start();
    assert_eq!(parent_of(wait_for_agent_at(&socket)), agent.pid());
    agent.signal(Signal::SIGTERM);
    agent.finish().stdout_contains("APPTOKEN_AUTH_SOCK=").ok();
    assert!(!socket.exists(), "it was bound here, and is removed");
}

#[test]
fn k_leaves_an_agent_to_the_service_manager_that_started_it() {
    if !need("python3") {
        return;
    }
    let w = World::new();
    let socket = w.path("handed-over");
    let manager = activate(&w, &socket, 1, &["-D"]).env("STAY", "1").start();
    let agent = wait_for_agent_at(&socket);
    assert_ne!(agent, manager.pid());
    let kill_it =
        |pid: String| w.command(AGENT).arg("-k").env("APPTOKEN_AUTH_SOCK", &socket).env("APPTOKEN_AGENT_PID", pid);
    for pid in [agent, manager.pid()] {
        kill_it(pid.to_string()).run().fails(1, ["service manager"]);
        assert_eq!(wait_for_agent_at(&socket), agent);
    }
    let list = w.command(APPTOKEN).arg("list").env("APPTOKEN_AUTH_SOCK", &socket);
    list.run().stdout("The agent has no identities.\n").exit(1);
    kill(agent, Signal::SIGTERM).expect("it runs");
    manager.finish().ok();
}

#[test]
fn the_confirming_program_gets_nothing_of_what_was_handed_over() {
    if !need("python3") {
        return;
    }
    let mut w = World::new();
    let askpass = w.script("askpass", "ls /proc/self/fd >fds; env >environment; echo yes");
    let socket = w.path("handed-over");
    let agent = activate(&w, &socket, 1, &["-D"]).env("APPTOKEN_ASKPASS", askpass).start();
    wait_for_agent_at(&socket);
    w.env("APPTOKEN_AUTH_SOCK", &socket);
    w.add_key(["-c"]).stderr_contains("Identity added").ok();
    assert!(w.apptoken(["token"]).line().starts_with("ghs_"));
    // The fourth is the directory that `ls` reads.
    assert_eq!(fs::read_to_string(w.path("home/fds")).expect("it was asked"), "0\n1\n2\n3\n");
    let environment = fs::read_to_string(w.path("home/environment")).expect("it was asked");
    assert!(environment.contains("SSH_ASKPASS_PROMPT=confirm") && !environment.contains("LISTEN_"), "{environment}");
    agent.signal(Signal::SIGTERM);
    agent.finish().ok();
}

#[test]
fn readiness_is_told_once_the_socket_answers() {
    let w = World::new();
    let (address, socket) = (w.path("notify"), w.path("here"));
    let manager = UnixDatagram::bind(&address).expect("a new socket");
    manager.set_read_timeout(Some(DEADLINE)).expect("the deadline is not zero");
    let agent = w.command(AGENT).arg("-D").arg("-a").arg(&socket).env("NOTIFY_SOCKET", &address).start();
    let mut told = [0; 256];
    let length = manager.recv(&mut told).expect("the agent tells before the deadline");
    assert_eq!(std::str::from_utf8(&told[..length]), Ok("READY=1\n"));
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok(), "it listens by then");
    agent.signal(Signal::SIGTERM);
    agent.finish().stdout_contains("APPTOKEN_AUTH_SOCK=").ok();
}

#[test]
fn the_units_hold_together() {
    let (service, socket) = (unit("service"), unit("socket"));
    for line in ["Type=notify", "ExecStart=apptoken-agent -D", "NoNewPrivileges=yes", "Requires=apptoken-agent.socket"]
    {
        assert!(service.lines().any(|there| there == line), "{line}");
    }
    for line in ["ListenStream=%t/apptoken-agent.sock", "SocketMode=0600", "DirectoryMode=0700"] {
        assert!(socket.lines().any(|there| there == line), "{line}");
    }
    assert!(socket.contains("APPTOKEN_AUTH_SOCK=${XDG_RUNTIME_DIR}/apptoken-agent.sock"), "it says how to find it");
    // These blind the agent to who asks; the unit says why.
    for option in ["ProtectSystem=", "ProtectHome=", "PrivateTmp=", "PrivateUsers="] {
        assert!(!service.lines().any(|there| there.starts_with(option)), "{option}");
    }
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    if !need("systemd-analyze") {
        return;
    }
    let w = World::new();
    // It looks for the program, which is not installed.
    w.file(
        "apptoken-agent.service",
        unit("service").replace("ExecStart=apptoken-agent", &format!("ExecStart={AGENT}")),
    );
    w.file("apptoken-agent.socket", unit("socket"));
    let verify = w.command("systemd-analyze").args(["--user", "--man=no", "verify"]);
    verify.args(["./apptoken-agent.service", "./apptoken-agent.socket"]).run().ok();
}

fn unit(kind: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("shell/systemd/apptoken-agent").with_extension(kind);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The agent as a service manager starts it: with `sockets` listening sockets at descriptor 3 and above, the first at
/// `socket`. With `STAY` set the manager waits for the agent; else it becomes the agent. With `CONNECT_FIRST` set somebody
/// asks before the agent starts.
fn activate(w: &World, socket: &Path, sockets: u32, args: &[&str]) -> Invocation {
    w.command("python3").args(["-I", "-c", LAUNCH]).arg(socket).arg(sockets.to_string()).arg(AGENT).args(args)
}

const LAUNCH: &str = r#"
import os, socket, sys
path, count, program = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.umask(0o177)
for fd in range(3, 3 + count):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path if fd == 3 else path + str(fd))
    listener.listen()
    held = listener.detach()
    if held != fd:
        os.dup2(held, fd)
        os.close(held)
    os.set_inheritable(fd, True)
os.umask(0o022)
if os.environ.pop("CONNECT_FIRST", None) and os.fork() == 0:
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.sendall(b'{"action":"ping"}')
    os.write(1, client.recv(4096))
    os._exit(0)
if os.environ.pop("STAY", None):
    agent = os.fork()
    if agent:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(agent, 0)[1]))
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()))
os.execv(program, [program] + sys.argv[4:])
"#;

#[test]
fn readiness_that_nobody_hears_keeps_no_agent_from_starting() {
    let w = World::new();
    let socket = w.path("here");
    let agent = w.command(AGENT).arg("-D").arg("-a").arg(&socket).env("NOTIFY_SOCKET", w.path("no/such")).start();
    assert_eq!(parent_of(wait_for_agent_at(&socket)), agent.pid());
    agent.signal(Signal::SIGTERM);
    agent.finish().stdout_contains("APPTOKEN_AUTH_SOCK=").ok();
}
