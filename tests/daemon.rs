//! The life of an agent: where it listens, what ends it, and what it leaves behind, which is nothing.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Uid;
use serde_json::json;

use crate::support::agent::{is_alive, parse_bourne, wait_for_agent_at};
use crate::support::peer::Peer;
use crate::support::process::parent_of;
use crate::support::pty::Key;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, NO_OPTIONS, World, need};

#[test]
fn directory_and_socket_are_private_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let w = World::new();
        let lines = w.shell("sh", &format!("umask {umask}; exec apptoken-agent -s")).text();
        let (socket, _) = parse_bourne(&lines).expect("the three lines");
        let directory = socket.parent().expect("the socket is in a directory");
        assert_eq!(mode(directory), 0o700, "directory, umask {umask}");
        assert_eq!(mode(&socket), 0o600, "socket, umask {umask}");
    }
}

#[test]
fn without_a_runtime_directory_the_socket_is_in_tmpdir() {
    let mut w = World::new();
    w.env_remove("XDG_RUNTIME_DIR");
    w.start_agent(NO_OPTIONS);
    assert!(w.socket().starts_with(w.path("tmp")), "{:?}", w.socket());
}

#[test]
fn with_a_the_socket_is_where_it_is_asked_for() {
    let mut w = World::new();
    let path = w.path("here");
    w.start_agent(["-a".as_ref(), path.as_os_str()]);
    assert_eq!(w.socket(), path);
    assert_eq!(mode(&path), 0o600);
    w.assert_agent_is_well();
}

#[test]
fn a_relative_path_is_printed_as_one_that_works_from_everywhere() {
    let mut w = World::new();
    w.start_agent(["-a", "here"]);
    assert_eq!(w.socket(), w.path("home/here"));
    w.assert_agent_is_well();
}

#[test]
fn a_live_socket_is_refused_and_its_agent_keeps_it() {
    let mut w = World::new();
    let path = w.path("here");
    w.start_agent(["-a".as_ref(), path.as_os_str()]);
    w.agent(["-s".as_ref(), "-a".as_ref(), path.as_os_str()]).fails(1, ["here"]);
    w.assert_agent_is_well();
}

#[test]
fn the_socket_of_a_killed_agent_is_replaced() {
    let mut w = World::new();
    let path = w.path("here");
    w.start_agent(["-a".as_ref(), path.as_os_str()]);
    let first = w.pid();
    w.signal(Signal::SIGKILL);
    wait_until("the agent is dead", DEADLINE, || !is_alive(first));
    assert!(path.exists(), "a killed agent cannot remove its socket");

    w.start_agent(["-a".as_ref(), path.as_os_str()]);
    assert_ne!(w.pid(), first);
    w.assert_agent_is_well();
}

#[test]
fn what_is_not_a_socket_is_refused_and_left_as_it_is() {
    let w = World::new();
    let file = w.file("notes", "precious");
    let link = w.path("link");
    std::os::unix::fs::symlink(&file, &link).expect("a new link");
    for path in [&file, &link, &w.path("tmp")] {
        w.agent(["-s".as_ref(), "-a".as_ref(), path.as_os_str()]).fails(1, []);
    }
    assert_eq!(fs::read(&file).expect("it is still there"), b"precious");
    assert!(link.is_symlink() && w.path("tmp").is_dir());
    assert_eq!(w.sockets().len(), 0);
}

#[test]
fn a_socket_that_someone_listens_on_is_refused_though_it_is_no_agents() {
    let w = World::new();
    let path = w.path("theirs");
    let _listener = UnixListener::bind(&path).expect("a new socket");
    let inode = fs::metadata(&path).expect("it is there").ino();
    w.agent(["-s".as_ref(), "-a".as_ref(), path.as_os_str()]).fails(1, []);
    assert_eq!(fs::metadata(&path).expect("it is still there").ino(), inode);
}

#[test]
fn k_ends_the_agent_and_prints_what_forgets_it() {
    let w = World::with_agent();
    let (pid, socket) = (w.pid(), w.socket());
    w.agent(["-k", "-s"])
        .stdout(format!("unset APPTOKEN_AUTH_SOCK;\nunset APPTOKEN_AGENT_PID;\necho Agent pid {pid} killed;\n"))
        .ok();
    // At once: `-k` waits for the end of the agent, so that a script can go on.
    assert!(!socket.exists(), "the socket is gone");
    assert!(!socket.parent().expect("it was in one").exists(), "its directory is gone");
    // The kernel may still be clearing up what has ended.
    wait_until("the process is gone", DEADLINE, || !is_alive(pid));
}

#[test]
fn k_speaks_to_a_c_shell_too() {
    let w = World::with_agent();
    let pid = w.pid();
    w.agent(["-k", "-c"])
        .stdout(format!("unsetenv APPTOKEN_AUTH_SOCK;\nunsetenv APPTOKEN_AGENT_PID;\necho Agent pid {pid} killed;\n"))
        .ok();
}

#[test]
fn k_says_what_is_wrong_when_there_is_no_agent_to_end() {
    World::new().agent(["-k"]).fails(1, ["APPTOKEN_AUTH_SOCK"]);

    let w = World::with_agent();
    w.agent(["-k"]).stdout_contains("killed").ok();
    w.agent(["-k"]).fails(1, ["agent"]);
}

#[test]
fn k_does_not_kill_a_stranger_whose_number_is_in_the_environment() {
    let mut w = World::with_agent();
    let stranger = w.command("sleep").arg("60").start();
    let agent = w.pid();
    let pid = stranger.pid().to_string();
    w.command(AGENT).arg("-k").env("APPTOKEN_AGENT_PID", &pid).run().everything();
    assert!(is_alive(stranger.pid()), "the stranger lives");

    w.env("APPTOKEN_AGENT_PID", agent.to_string());
    let no_socket = w.command(AGENT).arg("-k").env("APPTOKEN_AGENT_PID", &pid).env_remove("APPTOKEN_AUTH_SOCK").run();
    no_socket.fails(1, []);
    assert!(is_alive(stranger.pid()), "the stranger lives");
}

#[test]
fn term_and_hup_end_the_agent_and_remove_socket_and_directory() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let w = World::with_key();
        let (pid, socket) = (w.pid(), w.socket());
        w.signal(signal);
        wait_until(&format!("{signal} has ended the agent"), DEADLINE, || !is_alive(pid));
        assert!(!socket.exists(), "{signal}: the socket is gone");
        assert!(!socket.parent().expect("it was in one").exists(), "{signal}: its directory is gone");
    }
}

#[test]
fn an_agent_that_ends_does_not_remove_a_socket_that_is_no_longer_its_own() {
    let mut w = World::new();
    let path = w.path("here");
    w.start_agent(["-a".as_ref(), path.as_os_str()]);
    let (first, inode) = (w.pid(), fs::metadata(&path).expect("it is there").ino());
    fs::remove_file(&path).expect("it is ours");
    let _held = File::create(w.path("filler")).expect("takes the inode, should it be free");
    w.start_agent(["-a".as_ref(), path.as_os_str()]);
    assert_ne!(fs::metadata(&path).expect("it is there").ino(), inode);

    nix::sys::signal::kill(first, Signal::SIGTERM).expect("the first agent runs");
    wait_until("the first agent has ended", DEADLINE, || !is_alive(first));
    assert!(fs::metadata(&path).expect("the second's socket is still there").file_type().is_socket());
    w.assert_agent_is_well();
}

#[test]
fn usr1_forgets_every_key_and_token_and_nothing_else() {
    let w = World::with_key();
    let before = w.apptoken(["token"]).line();
    w.signal(Signal::SIGUSR1);
    wait_until("the key is forgotten", DEADLINE, || {
        w.request(&json!({"action": "listKeys"}))["keys"].as_array().is_some_and(Vec::is_empty)
    });
    w.assert_agent_is_well();
    w.apptoken(["token"]).fails(1, ["key"]);

    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    assert_ne!(w.apptoken(["token"]).line(), before, "the token is a new one");
}

#[test]
fn a_request_in_flight_is_answered_before_the_agent_ends() {
    let w = World::with_key();
    w.github.delay(Duration::from_millis(100));
    let mut peer = w.connect();
    let pid = w.pid();
    peer.send(json!({"action": "getToken"}).to_string());
    w.github.wait_for(|journal| journal.iter().any(|request| request.is("POST /app/installations/*/access_tokens")));
    let told = Instant::now();
    w.signal(Signal::SIGTERM);
    match peer.try_answer().expect("an answer or a close in time") {
        Some(answer) => assert!(answer["token"].is_string(), "{answer}"),
        // A second is all that it gets, which may be too little where everything is slow.
        None => assert!(told.elapsed() >= Duration::from_secs(1), "closed after {:?}", told.elapsed()),
    }
    wait_until("the agent has ended", DEADLINE, || !is_alive(pid));
}

#[test]
fn a_silent_client_does_not_delay_the_end() {
    let w = World::with_agent();
    let _idle: Vec<Peer> = (0..20).map(|_| w.connect()).collect();
    let mut half = w.connect();
    half.send(r#"{"action":"#);
    let pid = w.pid();
    w.signal(Signal::SIGTERM);
    wait_until("the agent has ended", Duration::from_secs(5), || !is_alive(pid));
}

#[test]
fn in_the_foreground_it_serves_until_it_is_told_to_end() {
    for option in ["-D", "-d"] {
        let w = World::new();
        let socket = w.path("here");
        let agent = w.command(AGENT).arg(option).arg("-a").arg(&socket).start();
        assert_eq!(parent_of(wait_for_agent_at(&socket)), agent.pid());
        agent.signal(Signal::SIGTERM);
        agent.finish().stdout_contains("").stderr_contains("").ok();
        assert!(!socket.exists());
    }
}

#[test]
fn control_c_ends_an_agent_in_the_foreground_and_leaves_nothing() {
    let w = World::new();
    let socket = w.path("here");
    let mut terminal = w.command(AGENT).arg("-D").arg("-a").arg(&socket).on_terminal();
    wait_for_agent_at(&socket);
    terminal.press(Key::CtrlC);
    assert_eq!(terminal.wait().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn eight_agents_that_start_at_once_all_work() {
    let w = World::new();
    let start = || parse_bourne(&w.agent(["-s", "--new"]).text()).expect("the three lines");
    thread::scope(|scope| {
        let starting: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        for agent in starting {
            let (socket, pid) = agent.join().expect("it started");
            let mut peer = Peer::connect(&socket).expect("it listens");
            assert_eq!(peer.request(&json!({"action": "ping"}))["pid"], pid.as_raw());
        }
    });
}

/// Its files below `/proc` belong to root when a process is not dumpable, so this must be seen as somebody else.
#[test]
fn however_it_was_started_no_process_of_the_same_user_can_look_into_it() {
    if !need("setpriv") {
        return;
    }
    let w = World::new();
    let (program, socket) = (w.path("tmp/apptoken-agent"), w.path("tmp/here"));
    // The other user may not be able to reach the build directory.
    w.command("cp").arg(AGENT).arg(&program).run().ok();
    let mut become_user = vec!["--no-new-privs"];
    if Uid::current().is_root() {
        become_user.extend(["--reuid=65534", "--clear-groups"]);
        for part in ["..", "", "tmp"] {
            std::os::unix::fs::chown(w.path(part), Some(65534), None).expect("root may");
        }
    }
    for way in [&["-D"][..], &["-d"], &["sleep", "60"]] {
        let agent = w.command("setpriv").args(&become_user).arg(&program).arg("-a").arg(&socket);
        let started = agent.args(way).current_dir(w.path("tmp")).start();
        let pid = wait_for_agent_at(&socket);
        assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).expect("the agent runs").uid(), 0, "{way:?}");
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("the agent runs");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("there is such a limit");
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{way:?}");
        started.signal(Signal::SIGTERM);
        let _ = started.finish().everything();
        wait_until("the agent has ended", DEADLINE, || !is_alive(pid) && !socket.exists());
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}
