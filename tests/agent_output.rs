//! What `apptoken-agent` prints is for a shell to run: exactly the lines it needs, and an agent behind them that answers.

use std::path::Path;

use serde_json::json;

use crate::support::agent::parse_bourne;
use crate::support::peer::Peer;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, NO_OPTIONS, World, need};

#[test]
fn a_bourne_shell_gets_three_lines_that_name_a_socket_and_a_process() {
    let w = World::new();
    let lines = w.agent(["-s"]).text();
    let (socket, pid) = parse_bourne(&lines).expect("three lines, as DESIGN 3.1 writes them");

    let directory = socket.parent().expect("the socket is in a directory");
    // As in ssh-agent, the socket is named after the process that was started, which is not the one that stays.
    let name = socket.file_name().expect("it has a name").to_string_lossy();
    let started = name.strip_prefix("agent.").and_then(|started| started.parse::<i32>().ok());
    assert!(started.is_some_and(|started| started != pid.as_raw()), "{lines}");
    assert_eq!(directory.parent(), Some(w.path("run").as_path()), "in XDG_RUNTIME_DIR: {lines}");
    let name = directory.file_name().expect("it has a name").to_string_lossy();
    let random = name.strip_prefix("apptoken-").expect("the directory is ours by name");
    assert!(random.len() == 10 && random.chars().all(|c| c.is_ascii_alphanumeric()), "{lines}");
    assert_eq!(
        lines,
        format!(
            "APPTOKEN_AUTH_SOCK={}; export APPTOKEN_AUTH_SOCK;\n\
             APPTOKEN_AGENT_PID={pid}; export APPTOKEN_AGENT_PID;\n\
             echo Agent pid {pid};\n",
            socket.display()
        )
    );
}

#[test]
fn the_socket_answers_as_soon_as_the_lines_are_out() {
    let w = World::new();
    let (socket, pid) = parse_bourne(&w.agent(["-s"]).text()).expect("the three lines");
    let mut peer = Peer::connect(&socket).expect("the agent listens before it prints");
    assert_eq!(peer.request(&json!({"action": "ping"}))["pid"], pid.as_raw());
}

#[test]
fn two_agents_have_two_directories() {
    let w = World::new();
    let start = || parse_bourne(&w.agent(["-s", "--new"]).text()).expect("the three lines");
    let (first, second) = (start(), start());
    assert_ne!(first.0.parent(), second.0.parent());
    assert_ne!(first.1, second.1);
}

#[test]
fn a_c_shell_gets_setenv() {
    let w = World::new();
    assert_c_shell_lines(&w.agent(["-c"]).text());
}

#[test]
fn without_an_option_the_last_word_of_shell_decides_the_dialect() {
    for (shell, is_c) in [
        ("/bin/csh", true),
        ("/usr/bin/tcsh", true),
        ("/bin/bash", false),
        ("/bin/notcsh", false),
        ("/usr/csh/sh", false),
        ("", false),
    ] {
        let w = World::new();
        let lines = w.command(AGENT).env("SHELL", shell).run().text();
        if is_c {
            assert_c_shell_lines(&lines);
        } else {
            assert!(parse_bourne(&lines).is_some(), "SHELL={shell}:\n{lines}");
        }
    }
}

#[test]
fn without_an_option_and_without_shell_the_lines_are_for_a_bourne_shell() {
    let w = World::new();
    let lines = w.agent(NO_OPTIONS).text();
    assert!(parse_bourne(&lines).is_some(), "{lines}");
}

#[test]
fn an_option_is_stronger_than_shell() {
    let w = World::new();
    let lines = w.command(AGENT).arg("-s").env("SHELL", "/bin/csh").run().text();
    assert!(parse_bourne(&lines).is_some(), "{lines}");
}

#[test]
fn quiet_leaves_out_the_echo_and_nothing_else() {
    let w = World::new();
    let lines = w.agent(["-s", "-q"]).text();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.starts_with("APPTOKEN_AUTH_SOCK=") && !lines.contains("echo"), "{lines}");
}

#[test]
fn a_path_with_shell_code_in_it_is_only_a_path_to_bash() {
    assert_a_hostile_path_stays_a_path("bash");
}

#[test]
fn a_path_with_shell_code_in_it_is_only_a_path_to_dash() {
    assert_a_hostile_path_stays_a_path("dash");
}

#[test]
fn when_the_lines_cannot_be_printed_no_agent_is_left_behind() {
    let w = World::new();
    let socket = w.path("socket");
    let script = format!("exec apptoken-agent -s -a {} >/dev/full", socket.display());
    w.shell("sh", &script).stderr_contains("apptoken-agent: ").exit(1);
    assert_no_agent_at(&socket);
}

#[test]
fn when_nobody_reads_the_lines_no_agent_is_left_behind() {
    let w = World::new();
    let socket = w.path("socket");
    // The reader is gone before the agent starts: `wait` sees to that.
    let script =
        format!("mkfifo gone; sh -c ': <gone' & exec 3>gone; wait; apptoken-agent -s -a {} >&3; :", socket.display());
    w.shell("sh", &script).stderr_contains("").ok();
    assert_no_agent_at(&socket);
}

#[test]
fn options_that_contradict_each_other_are_a_usage_error() {
    let w = World::new();
    w.agent(["-s", "-c"]).stderr_contains("cannot be used with").exit(64);
    w.agent(["--no-such-option"]).stderr_contains("--no-such-option").exit(64);
    w.agent(["-t", "soon"]).stderr_contains("soon").exit(64);
    assert_eq!(w.sockets().len(), 0);
}

fn assert_c_shell_lines(lines: &str) {
    let [socket, pid, echo] = lines.lines().collect::<Vec<_>>()[..] else { panic!("three lines:\n{lines}") };
    let socket = socket.strip_prefix("setenv APPTOKEN_AUTH_SOCK ").and_then(|rest| rest.strip_suffix(';'));
    let pid = pid.strip_prefix("setenv APPTOKEN_AGENT_PID ").and_then(|rest| rest.strip_suffix(';'));
    assert!(Path::new(socket.expect("line 1 sets the socket")).exists(), "{lines}");
    assert_eq!(echo, format!("echo Agent pid {};", pid.expect("line 2 sets the pid")));
}

/// `eval` of the lines yields the path, byte for byte, and runs nothing that the path contains.
fn assert_a_hostile_path_stays_a_path(shell: &str) {
    if !need(shell) {
        return;
    }
    let hostile = "a b;>ran;$(>ran)`>ran`'\"\\&|*~#!\u{e9}\n";
    let w = World::in_directory_named(hostile);
    let script = "eval \"$(apptoken-agent -s -q)\" && printf %s \"$APPTOKEN_AUTH_SOCK\" && apptoken list >&2";
    let socket = w.shell(shell, script).stderr("The agent has no identities.\n").text_of(1);
    assert_eq!(w.sockets(), [Path::new(&socket)]);
    assert!(!w.path("home/ran").exists(), "a part of the path was run");
}

fn assert_no_agent_at(socket: &Path) {
    assert!(!socket.exists(), "the socket is gone");
    wait_until("the process is gone", DEADLINE, || processes_that_name(socket).is_empty());
}

/// The command lines of all processes that have `path` in them.
fn processes_that_name(path: &Path) -> Vec<String> {
    let path = path.to_string_lossy();
    let processes = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| line.contains(path.as_ref()))
        .collect()
}
