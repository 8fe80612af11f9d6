//! `apptoken-agent COMMAND`: the command runs as if it had been started alone, with an agent that ends with it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::agent::is_alive;
use crate::support::pty::Key;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, NO_OPTIONS, World, need};

#[test]
fn the_command_has_an_agent_that_works() {
    let mut w = World::new();
    w.env("API", w.github.url());
    let script = r#"
        apptoken list;             echo "empty list: $?"
        apptoken add key.pem --app-id 123456 --host github.localhost --api-url "$API" 2>&1; echo "add: $?"
        apptoken token >/dev/null; echo "token: $?"
        apptoken status --json | grep -c "\"pid\": $APPTOKEN_AGENT_PID,"
        dirname "$(dirname "$APPTOKEN_AUTH_SOCK")"
    "#;
    let expected = format!(
        "The agent has no identities.\n\
         empty list: 1\n\
         Identity added: acme-deployer (App 123456 on github.localhost)\n\
         add: 0\n\
         token: 0\n\
         1\n\
         {}\n",
        w.path("run").display()
    );
    w.agent(["sh", "-c", script]).stdout(expected).ok();
}

#[test]
fn the_commands_words_input_and_exit_status_are_its_own() {
    let w = World::new();
    for status in [0, 1, 37, 64, 255] {
        w.agent(["sh", "-c", &format!("exit {status}")]).exit(status);
    }
    w.agent(["printf", "%s.", "-s", "--new", "-k", "", "--", "a b"]).stdout("-s.--new.-k..--.a b.").ok();
    w.agent(["--", "printf", "-"]).stdout("-").ok();
    w.command(AGENT).arg("cat").stdin("typed").run().stdout("typed").ok();
}

#[test]
fn a_command_that_cannot_be_run_exits_as_it_does_in_a_shell_and_leaves_no_agent() {
    let w = World::new();
    let file = w.file("file", "not a program");
    for (command, status) in [("no-such-command", 127), ("/no/such/command", 127), ("/dev/null", 126), ("./file", 126)]
    {
        w.agent([command, "x"]).stderr_contains(command).exit(status);
    }
    w.agent([file]).stderr_contains("file").exit(126);
    assert_eq!(w.sockets().len(), 0);
    assert_eq!(fs::read_dir(w.path("run")).expect("it can be read").count(), 0);
}

#[test]
fn a_command_that_dies_by_a_signal_is_seen_to() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL, Signal::SIGUSR1] {
        let w = World::new();
        let short = signal.as_str().trim_start_matches("SIG");
        w.agent(["sh", "-c", &format!("kill -{short} $$")]).ended_by(signal);
    }
}

#[test]
fn the_agent_ends_with_its_command() {
    let w = World::new();
    w.agent(["sh", "-c", WRITE_DOWN]).ok();
    assert_gone(&agent_written_down(&w));
}

#[test]
fn the_agent_ends_with_a_command_that_is_killed() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let w = World::new();
        let command = w.command(AGENT).args(["sh", "-c", &format!("{WRITE_DOWN}; echo ready; exec sleep 60")]).start();
        command.expect_stdout("ready");
        let (socket, pid) = agent_written_down(&w);
        assert!(socket.exists() && is_alive(pid));
        assert_ne!(command.pid(), pid, "who is signalled is the command");
        command.signal(signal);
        command.finish().stdout("ready\n").ended_by(signal);
        assert_gone(&(socket, pid));
    }
}

#[test]
fn control_c_is_for_the_command_and_the_agent_stays_until_it_ends() {
    let w = World::new();
    // What is interrupted is within the command, so that no moment is too early for it.
    let script = format!("{WRITE_DOWN}; trap : INT; (echo ready; exec sleep 60); apptoken list; exit 3");
    let mut terminal = w.command(AGENT).args(["sh", "-c", &script]).on_terminal();
    terminal.expect("ready");
    terminal.press(Key::CtrlC);
    terminal.expect("The agent has no identities.");
    assert_eq!(terminal.wait().code(), Some(3));
    assert_gone(&agent_written_down(&w));
}

#[test]
fn the_agents_options_come_before_the_command() {
    let mut w = World::new();
    w.env("API", w.github.url());
    let (socket, log) = (w.path("here"), w.path("home/log"));
    let add = r#"apptoken add key.pem --app-id 123456 --host github.localhost --api-url "$API" &&
        apptoken token >&2 && echo "$APPTOKEN_AUTH_SOCK""#;
    let options = ["-t", "45m", "--audit-log", "log", "-a"].map(AsRef::as_ref);
    let run = w.agent(options.into_iter().chain([socket.as_os_str()]).chain(["sh", "-c", add].map(AsRef::as_ref)));
    run.stderr_contains("Lifetime set to 45m").stdout(format!("{}\n", socket.display())).ok();
    assert!(fs::read_to_string(log).expect("a log").contains("granted"));
    wait_until("the socket is gone", DEADLINE, || !socket.exists());
}

#[test]
fn a_socket_that_is_taken_keeps_the_command_from_being_run() {
    let mut w = World::new();
    w.start_agent(["-a", "here"]);
    w.agent(["-a", "here", "touch", "ran"]).fails(1, ["here"]);
    w.agent(["--audit-log", "no/such/log", "touch", "ran"]).stderr_contains("no/such/log").exit(1);
    assert!(!w.path("home/ran").exists());
    w.assert_agent_is_well();
}

#[test]
fn options_about_lines_or_the_foreground_make_no_sense_with_a_command() {
    let w = World::new();
    for options in [&["-s"][..], &["-c"], &["--shell", "fish"], &["-q"], &["-D"], &["-d"], &["-k"]] {
        w.agent(options.iter().chain(&["touch", "ran"])).stderr_contains("cannot be used with").exit(64);
    }
    assert!(!w.path("home/ran").exists());
    assert_eq!(w.sockets().len(), 0);
}

/// What hardens the agent would break `sudo`, core dumps and debuggers in the command.
#[test]
fn the_command_is_as_free_as_if_it_had_been_started_alone() {
    let w = World::new();
    let script = "umask; ulimit -c; ulimit -n; ls /proc/self/fd; \
                  grep -E '^(NoNewPrivs|Seccomp|Umask|Sig(Blk|Ign|Cgt)|Cap...):' /proc/self/status";
    let alone = w.shell("sh", script).text();
    assert!(alone.contains("NoNewPrivs:\t"), "the control sees it: {alone}");
    w.agent(["sh", "-c", script]).stdout(alone).ok();
}

#[test]
fn the_command_keeps_the_descriptors_that_it_was_started_with() {
    if !need("bash") {
        return;
    }
    let w = World::new();
    w.file("passed", "by descriptor");
    w.shell("bash", "exec apptoken-agent bash -c 'cat <&50' 50<passed").stdout("by descriptor").ok();
}

#[test]
fn commands_within_commands_each_have_their_own_agent() {
    let w = World::new();
    let both = w.agent(["sh", "-c", "echo $APPTOKEN_AGENT_PID; exec apptoken-agent sh -c 'echo $APPTOKEN_AGENT_PID'"]);
    let both = both.text();
    let [outer, inner] = both.lines().collect::<Vec<_>>()[..] else { panic!("two lines: {both}") };
    assert_ne!(outer, inner);
    w.agent(NO_OPTIONS).stdout_contains("Agent pid").ok();
}

/// Has the command write down its agent.
const WRITE_DOWN: &str = r#"echo "$APPTOKEN_AUTH_SOCK $APPTOKEN_AGENT_PID" >agent"#;

fn agent_written_down(w: &World) -> (PathBuf, Pid) {
    let agent = fs::read_to_string(w.path("home/agent")).expect("the command wrote it");
    let (socket, pid) = agent.trim_end().split_once(' ').expect("socket and pid");
    (PathBuf::from(socket), Pid::from_raw(pid.parse().expect("a number")))
}

#[track_caller]
fn assert_gone((socket, pid): &(PathBuf, Pid)) {
    wait_until("the agent has ended", DEADLINE, || !is_alive(*pid));
    let directory: &Path = socket.parent().expect("the socket is in a directory");
    assert!(!socket.exists() && !directory.exists(), "{}", socket.display());
}
