//! One agent a user: who starts one where one lives gets that one, and what dead ones left is in nobody's way.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Uid, mkfifo};
use serde_json::json;

use crate::support::agent::{is_alive, parse_bourne, wait_for_agent_at};
use crate::support::command::Invocation;
use crate::support::peer::Peer;
use crate::support::process::parent_of;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, APPTOKEN, NO_OPTIONS, World, need};

#[test]
fn a_second_start_prints_the_first_ones_lines_and_starts_nothing() {
    let w = World::new();
    let lines = w.agent(["-s"]).text();
    assert_eq!(w.agent(["-s"]).text(), lines);
    assert_eq!(w.sockets().len(), 1);

    let (socket, pid) = parse_bourne(&lines).expect("the three lines");
    assert_eq!(wait_for_agent_at(&socket), pid);
    let quiet = w.agent(["-s", "-q"]).text();
    assert!(lines.starts_with(&quiet) && quiet.lines().count() == 2, "{quiet}");
    let for_csh = w.agent(["-c"]).text();
    assert!(for_csh.starts_with(&format!("setenv APPTOKEN_AUTH_SOCK {};\n", socket.display())), "{for_csh}");
}

#[test]
fn new_starts_another_and_leaves_the_record_alone() {
    let w = World::new();
    let lines = w.agent(["-s"]).text();
    let another = w.agent(["-s", "--new"]).text();
    assert_ne!(start_of(&another).1, start_of(&lines).1);
    assert_eq!(w.agent(["-s"]).text(), lines);
    assert_eq!(w.sockets().len(), 2);
}

#[test]
fn an_agent_for_one_purpose_is_neither_reused_nor_on_record() {
    let w = World::new();
    let (here, there) = (w.path("here"), w.path("there"));
    let (_, with_a) = start_of(&w.agent(["-s".as_ref(), "-a".as_ref(), here.as_os_str()]).text());
    let foreground = w.command(AGENT).arg("-D").arg("-a").arg(&there).start();
    wait_for_agent_at(&there);
    let of_command = w.agent(["sh", "-c", "echo $APPTOKEN_AGENT_PID"]).line();
    assert!(!record(&w).exists());

    let lines = w.agent(["-s"]).text();
    let (socket, pid) = start_of(&lines);
    assert!(![with_a, foreground.pid()].contains(&pid));
    assert_ne!(w.agent(["sh", "-c", "echo $APPTOKEN_AGENT_PID"]).line(), pid.to_string());
    assert_ne!(of_command, pid.to_string());
    let elsewhere = w.path("elsewhere");
    assert_ne!(start_of(&w.agent(["-s".as_ref(), "-a".as_ref(), elsewhere.as_os_str()]).text()).1, pid);
    assert_eq!(fs::read(record(&w)).expect("there is a record"), socket.as_os_str().as_encoded_bytes());
    assert_eq!(w.agent(["-s"]).text(), lines);
    foreground.signal(Signal::SIGTERM);
    foreground.finish().stdout_contains("").ok();
}

#[test]
fn after_kill_9_the_next_start_works_and_leaves_nothing_of_the_dead_one() {
    let w = World::new();
    let (_, first) = start_of(&w.agent(["-s"]).text());
    kill_9(first);
    // Nothing on stderr: `text` is strict.
    let (socket, second) = start_of(&w.agent(["-s"]).text());
    assert_ne!(second, first);
    let directory = socket.parent().expect("the socket is in a directory").to_owned();
    assert_eq!(inside(&w.path("run")), [w.path("run/apptoken"), directory]);
    assert_eq!(inside(&w.path("tmp")), [] as [PathBuf; 0]);
}

#[test]
fn after_k_the_next_start_starts_another() {
    let mut w = World::new();
    w.start_agent(NO_OPTIONS);
    let first = w.pid();
    w.agent(["-k"]).stdout_contains("killed").ok();
    w.start_agent(NO_OPTIONS);
    assert_ne!(w.pid(), first);
    assert_eq!(w.sockets(), [w.socket()]);
}

#[test]
fn eight_shells_that_start_at_once_end_with_one_agent() {
    if !need("bash") {
        return;
    }
    let w = World::new();
    // At first there is no record, then one of an agent that was killed.
    for _ in 0..2 {
        let gate = w.path("gate");
        mkfifo(&gate, Mode::S_IRWXU).expect("a new pipe");
        let script = r#": <"$GATE"; eval "$(apptoken-agent -s)" >&2; echo "$APPTOKEN_AUTH_SOCK $APPTOKEN_AGENT_PID""#;
        let shell = || w.command("bash").args(["-c", script]).env("GATE", &gate).start();
        let shells: Vec<_> = (0..8).map(|_| shell()).collect();
        // Whoever reads from the pipe goes on now that somebody could write to it.
        let open = fs::OpenOptions::new().read(true).write(true).open(&gate).expect("it is ours");
        let told: Vec<_> =
            shells.into_iter().map(|shell| shell.finish().stderr_contains("Agent pid ").line()).collect();
        drop(open);
        fs::remove_file(&gate).expect("it is ours");
        assert!(told.iter().all(|line| *line == told[0]), "{told:#?}");
        let (socket, pid) = told[0].split_once(' ').expect("socket and pid");
        assert_eq!(w.sockets(), [Path::new(socket)]);
        let pid = Pid::from_raw(pid.parse().expect("a number"));
        assert_eq!(wait_for_agent_at(Path::new(socket)), pid);
        kill_9(pid);
    }
}

#[test]
fn an_option_that_the_reused_agent_lacks_is_warned_about() {
    let w = World::new();
    let lines = w.agent(["-s"]).text();
    for (option, value, shown) in
        [("-t", "90m", "-t 1h30m"), ("--idle", "3600", "--idle 1h"), ("--audit-log", "log", "--audit-log")]
    {
        let warning = format!("apptoken-agent: warning: the running agent was not started with {shown}\n");
        w.agent(["-s", option, value]).stdout(&lines).stderr(warning).ok();
    }
    assert!(!w.path("home/log").exists(), "nobody would write to it");
}

#[test]
fn an_option_that_the_reused_agent_has_is_not_warned_about() {
    let mut w = World::new();
    let options = ["-t", "1h", "--idle", "2h", "--audit-log", "log"];
    w.start_agent(options);
    let lines = w.agent(["-s"].iter().chain(&options)).text();
    assert_eq!(start_of(&lines).1, w.pid());
    w.agent(["-s", "-t", "60m"]).stdout(&lines).ok();
    w.agent(["-s"]).stdout(&lines).ok();
    w.agent(["-s", "-t", "61m"]).stdout(&lines).stderr_contains("not started with -t 1h1m").ok();
}

#[test]
fn the_record_is_its_owners_alone_whatever_the_umask() {
    for (runtime_directory, directory) in [(true, "run/apptoken"), (false, "home/.local/state/apptoken")] {
        for umask in ["000", "027"] {
            let mut w = World::new();
            if !runtime_directory {
                w.env_remove("XDG_RUNTIME_DIR");
            }
            let lines = w.shell("sh", &format!("umask {umask}; exec apptoken-agent -s")).text();
            let record = w.path(directory).join("agent");
            assert_eq!(fs::read(&record).expect("a record"), start_of(&lines).0.as_os_str().as_encoded_bytes());
            assert_eq!(mode(&w.path(directory)), 0o700, "{directory}, umask {umask}");
            for file in inside(&w.path(directory)) {
                assert_eq!(mode(&file), 0o600, "{}, umask {umask}", file.display());
            }
            assert_eq!(w.agent(["-s"]).text(), lines);
        }
    }
}

#[test]
fn a_runtime_directory_that_others_may_write_to_holds_neither_record_nor_socket() {
    let w = World::new();
    chmod(&w.path("run"), 0o777);
    let lines = w.agent(["-s"]).text();
    assert!(start_of(&lines).0.starts_with(w.path("tmp")), "{lines}");
    assert!(w.path("home/.local/state/apptoken/agent").exists());
    assert_eq!(inside(&w.path("run")), [] as [PathBuf; 0]);
    assert_eq!(w.agent(["-s"]).text(), lines);
}

#[test]
fn a_record_that_others_may_write_is_neither_read_nor_written() {
    let w = World::new();
    let (_, first) = start_of(&w.agent(["-s"]).text());
    let before = fs::read(record(&w)).expect("a record");
    chmod(&w.path("run/apptoken"), 0o777);
    let (_, second) = start_of(&w.agent(["-s"]).stderr_contains("other shells will not find this agent").text());
    assert_ne!(second, first);
    assert_eq!(fs::read(record(&w)).expect("a record"), before);
    w.apptoken(["list"]).fails(2, ["APPTOKEN_AUTH_SOCK"]);
}

#[test]
fn a_record_of_what_is_no_agent_is_replaced() {
    let w = World::new();
    w.agent(["-s"]).stdout_contains("").ok();
    let (dead, file) = (dead_socket(&w.path("dead")), w.file("file", "no socket"));
    let long = w.path("x".repeat(200));
    let mut pids = Vec::new();
    for recorded in [&w.path("no/such"), &dead, &file, &w.path("home"), &long] {
        fs::write(record(&w), recorded.as_os_str().as_encoded_bytes()).expect("it is ours");
        let (socket, pid) = start_of(&w.agent(["-s"]).text());
        assert!(!pids.contains(&pid), "{}", recorded.display());
        pids.push(pid);
        assert_eq!(fs::read(record(&w)).expect("a record"), socket.as_os_str().as_encoded_bytes());
    }
    for garbage in [&b""[..], b"\n", b"\0", b"relative", &[b'/'; 10_000], b"\xff\xfe"] {
        fs::write(record(&w), garbage).expect("it is ours");
        assert!(!pids.contains(&start_of(&w.agent(["-s"]).text()).1), "{garbage:?}");
    }
}

/// Only root can bring about that a socket is somebody else's.
#[test]
fn a_record_of_somebody_elses_agent_is_not_trusted() {
    if !Uid::effective().is_root() || !need("setpriv") {
        return;
    }
    let w = World::new();
    for (part, mode) in [("..", 0o755), ("", 0o755), ("tmp", 0o777)] {
        chmod(&w.path(part), mode);
    }
    // The other user may not be able to reach the build directory.
    let (program, socket) = (w.path("tmp/apptoken-agent"), w.path("tmp/theirs"));
    w.command("cp").arg(AGENT).arg(&program).run().ok();
    let nobody = w.command("setpriv").args(["--reuid=65534", "--clear-groups"]).arg(&program);
    let theirs = nobody.arg("-D").arg("-a").arg(&socket).current_dir(w.path("tmp")).start();
    let pid = wait_for_agent_at(&socket);
    assert_eq!(parent_of(pid), theirs.pid());

    w.agent(["-s"]).stdout_contains("").ok();
    fs::write(record(&w), socket.as_os_str().as_encoded_bytes()).expect("it is ours");
    w.apptoken(["list"]).fails(2, ["agent"]);
    // The user chose this one. It is asked, and is sent no key.
    let named = |verb: &str| w.command(APPTOKEN).arg(verb).env("APPTOKEN_AUTH_SOCK", &socket);
    named("list").run().stdout("The agent has no identities.\n").exit(1);
    named("add").args(["key.pem", "--app-id", "1", "--offline"]).run().fails(2, ["65534", "no key"]);
    assert_ne!(start_of(&w.agent(["-s"]).text()).1, pid);
}

#[test]
fn clients_find_the_agent_on_record_unless_the_variable_names_one_that_lives() {
    let mut w = World::new();
    w.start_agent(["--new"]);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    let with_key = w.socket();
    w.agent(["-s"]).stdout_contains("Agent pid").ok();

    let list = |w: &World, socket: Option<&Path>| {
        let list = w.command(APPTOKEN).arg("list");
        let list = match socket {
            Some(socket) => list.env("APPTOKEN_AUTH_SOCK", socket),
            None => list.env_remove("APPTOKEN_AUTH_SOCK"),
        };
        list.run()
    };
    list(&w, Some(&with_key)).stdout_contains("acme-deployer").ok();
    let private = w.path("run/apptoken-0123456789");
    fs::create_dir(&private).expect("a new directory");
    let dead = dead_socket(&private.join("agent.1"));
    for socket in [None, Some(Path::new("")), Some(&*dead), Some(&private.join("agent.2"))] {
        list(&w, socket).stdout("The agent has no identities.\n").exit(1);
    }
}

#[test]
fn what_the_dead_have_left_is_cleaned_and_nothing_else() {
    let w = World::new();
    let run = |name: &str| w.path("run").join(name);
    let (dead, _) = killed(&w);
    let (live, _) = start_of(&w.agent(["-s", "--new"]).text());
    // Its backlog takes connections, and nobody answers: it may wake up.
    let (stopped, sleeper) = start_of(&w.agent(["-s", "--new"]).text());
    kill(sleeper, Signal::SIGSTOP).expect("it runs");

    for (directory, content) in [("apptoken-notes", "notes"), ("apptoken-mixed", "notes"), ("ssh-0123456789", "")] {
        fs::create_dir(run(directory)).expect("a new directory");
        if !content.is_empty() {
            fs::write(run(directory).join("notes"), content).expect("a new file");
        }
        if directory != "apptoken-notes" {
            dead_socket(&run(directory).join("agent.1"));
        }
    }
    fs::create_dir(run("apptoken-empty")).expect("a new directory");
    fs::write(run("apptoken-file"), "notes").expect("a new file");
    let elsewhere = w.path("tmp/elsewhere");
    fs::create_dir(&elsewhere).expect("a new directory");
    dead_socket(&elsewhere.join("agent.1"));
    symlink(&elsewhere, run("apptoken-link")).expect("a new link");

    let before = inside(&w.path("run"));
    let (socket, _) = start_of(&w.agent(["-s"]).text());
    let mut after = before;
    after.retain(|path| *path != dead.parent().expect("it is in a directory"));
    after.push(run("apptoken"));
    after.push(socket.parent().expect("it is in a directory").to_owned());
    after.sort_unstable();
    after.dedup();
    assert_eq!(inside(&w.path("run")), after);
    assert!(run("apptoken-mixed/agent.1").exists() && run("ssh-0123456789/agent.1").exists());
    assert!(elsewhere.join("agent.1").exists() && live.exists());

    kill(sleeper, Signal::SIGCONT).expect("it sleeps");
    assert_eq!(wait_for_agent_at(&stopped), sleeper);
}

#[test]
fn a_locked_agent_is_reused_as_well() {
    let w = World::new();
    let lines = w.agent(["-s"]).text();
    let mut peer = Peer::connect(&start_of(&lines).0).expect("it listens");
    assert_eq!(peer.request(&json!({"action": "lock", "passphrase": "sesame"}))["ok"], true);
    w.agent(["-s"]).stdout(&lines).ok();
    w.agent(["-s", "-t", "1h"]).stdout(&lines).stderr_contains("not started with -t 1h").ok();
    assert_eq!(peer.request(&json!({"action": "ping"}))["locked"], true);
}

#[test]
fn without_a_place_for_the_record_an_agent_starts_all_the_same_and_says_so() {
    let w = World::new();
    let start = || -> Invocation {
        w.command(AGENT).arg("-s").env_remove("XDG_RUNTIME_DIR").env("HOME", w.file("no-directory", ""))
    };
    let (socket, pid) = start_of(&start().run().stderr_contains("other shells will not find this agent").text());
    assert_eq!(wait_for_agent_at(&socket), pid);
}

#[track_caller]
fn start_of(lines: &str) -> (PathBuf, Pid) {
    parse_bourne(lines).unwrap_or_else(|| panic!("not the lines of an agent:\n{lines}"))
}

/// An agent that was killed: its socket is still there.
fn killed(w: &World) -> (PathBuf, Pid) {
    let (socket, pid) = start_of(&w.agent(["-s", "--new"]).text());
    kill_9(pid);
    assert!(socket.exists(), "a killed agent cannot remove its socket");
    (socket, pid)
}

fn kill_9(pid: Pid) {
    kill(pid, Signal::SIGKILL).expect("the agent runs");
    wait_until("the agent is dead", DEADLINE, || !is_alive(pid));
}

/// A socket that nothing listens on.
fn dead_socket(path: &Path) -> PathBuf {
    drop(UnixListener::bind(path).expect("a new socket"));
    path.to_owned()
}

fn record(w: &World) -> PathBuf {
    w.path("run/apptoken/agent")
}

fn inside(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("it can be read");
    let mut inside: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    inside.sort_unstable();
    inside
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn an_agent_that_cannot_be_recorded_works_all_the_same() {
    let w = World::new();
    // Where the record would be is a directory.
    fs::create_dir_all(w.path("home/.local/state/apptoken/agent")).expect("a new directory");
    let start = w.command(AGENT).arg("-s").env_remove("XDG_RUNTIME_DIR").run();
    let lines = start.stderr_contains("other shells will not find this agent").text();
    let (socket, pid) = parse_bourne(&lines).expect("the three lines");
    assert_eq!(wait_for_agent_at(&socket), pid);
}

#[test]
fn a_umask_that_takes_everything_does_not_spoil_the_record() {
    let w = World::new();
    let lines = w.shell("sh", "umask 777; exec apptoken-agent -s").text();
    let mode = fs::metadata(w.path("run/apptoken")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    assert_eq!(w.agent(["-s"]).text(), lines);
}
