//! Nothing blocks the event loop: neither a log that cannot be written, nor a reader that does not read, nor a slow start.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::agent::{is_alive, parse_bourne, wait_for_agent_at};
use crate::support::command::Running;
use crate::support::process::tell;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, APP_ID, HOST, NO_OPTIONS, World, need, need_root};

#[test]
fn only_a_regular_file_is_an_audit_log() {
    let w = World::new();
    w.command("mkfifo").args(["unread", "read", "control"]).run().ok();
    fs::create_dir(w.path("home/directory")).expect("a new directory");
    let reader = w.command("sh").args(["-c", "exec 3<>read; echo ready; exec sleep 300"]).start();
    reader.expect_stdout("ready");
    // The control: a program that opens a FIFO to append to it waits for a reader.
    let control = w.command("sh").args(["-c", "echo line >>control; echo opened"]).start();
    for log in ["unread", "read", "directory", "/dev/full", "/dev/null"] {
        let refused = format!("cannot open the audit log {log}: it is not a regular file");
        w.agent(["-s", "--audit-log", log]).stderr_contains(&refused).exit(1);
        w.command(AGENT).args(["-D", "-a", "here", "--audit-log", log]).run().stderr_contains(&refused).exit(1);
    }
    // The refused starts hold nobody up.
    w.agent(["-s"]).stdout_contains("Agent pid").ok();
    assert!(is_alive(control.pid()), "it still waits");
    w.command("cat").arg("control").run().stdout("line\n").ok();
    control.finish().stdout("opened\n").ok();
}

#[test]
fn unread_debug_output_delays_nobody() {
    let mut w = World::new();
    w.command("mkfifo").args(["said", "control"]).run().ok();
    // The control: a program that writes a line for each request to a pipe that nobody reads.
    let script = "exec 3<>control; while read -r line; do echo 'debug: ping uid=0 pid=1000 outcome=ok ms=0' >&3; \
                  echo pong; done; echo all answered";
    let control = w.command("sh").args(["-c", script]).stdin("ping\n".repeat(PINGS)).start();
    control.expect_stdout("pong");

    let script = "exec 3<>said; exec apptoken-agent -d -a here 2>&3 3>&-";
    let agent = w.command("sh").args(["-c", script]).start();
    w.env("APPTOKEN_AUTH_SOCK", w.path("home/here"));
    let pid = wait_for_agent_at(&w.socket());
    w.env("APPTOKEN_AGENT_PID", pid.to_string());
    flood(&w);
    w.add_key(["-t", "1s"]).stderr_contains("Lifetime set to 1s\n").ok();
    wait_until("the lifetime is over", DEADLINE, || keys(&w).is_empty());

    // As soon as somebody reads, the lines that were dropped are counted.
    let report = w.command("grep").args(["-m1", "dropped", "said"]).run().line();
    let dropped = report.strip_prefix("debug: ").and_then(|rest| rest.strip_suffix(" lines were dropped"));
    let dropped: usize = dropped.and_then(|number| number.parse().ok()).expect("a number");
    tell(format_args!("{dropped} of {PINGS} lines were dropped"));
    assert!((1..PINGS).contains(&dropped), "{report}");

    flood(&w);
    w.signal(Signal::SIGTERM);
    wait_until("the agent has ended", ITS_SECOND, || !is_alive(pid));
    agent.finish().stdout_contains("Agent pid").ok();

    assert!(is_alive(control.pid()), "the control still waits");
    let reader = w.command("cat").arg("control").start();
    control.expect_stdout("all answered");
    control.finish().stdout_contains("pong").ok();
    reader.finish().stdout_contains("debug: ping").ok();
}

#[test]
fn a_slow_disk_delays_only_hand_outs() {
    if !need_root() || !need("strace") {
        return;
    }
    let mut w = World::new();
    w.start_agent(["--audit-log", "log"]);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.apptoken(["token"]).line();
    let slow = delay(&w, w.pid(), "log", "write");
    // The control: a program that writes to a file on such a disk itself.
    w.command("mkfifo").arg("go").run().ok();
    let control = w.command("sh").args(["-c", "read go <go; echo line >>control; echo written"]).start();
    let control_delay = delay(&w, control.pid(), "control", "write");
    w.command("sh").args(["-c", "echo >go"]).run().ok();

    w.add_key(["-t", "1s"]).stderr_contains("Lifetime set to 1s\n").ok();
    let mut asker = w.connect();
    asker.send(r#"{"action":"getToken"}"#);
    for _ in 0..100 {
        w.assert_agent_is_well();
    }
    wait_until("the lifetime is over", DEADLINE, || keys(&w).is_empty());
    let answer = asker.answer();
    assert_eq!(answer["code"], "internal", "{answer}");
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("audit log")), "{answer}");

    // Another waits for its line when the agent ends.
    asker.send(r#"{"action":"getToken"}"#);
    w.assert_agent_is_well();
    w.signal(Signal::SIGTERM);
    wait_until("the agent has ended", ITS_SECOND, || !is_alive(w.pid()));
    assert!(is_alive(control.pid()), "the control still waits");
    assert!(read(&w, "control").is_empty(), "its line is not written");
    drop((slow, control_delay, control));
    assert_whole(&read(&w, "log"));
}

#[test]
fn a_slow_start_of_the_askpass_program_delays_nobody() {
    if !need_root() || !need("strace") {
        return;
    }
    let mut w = World::new();
    w.env("APPTOKEN_ASKPASS", w.script("askpass", "exit 0"));
    w.start_agent(NO_OPTIONS);
    w.add_key(["-c"]).stderr_contains("must confirm").ok();
    // The control: the same program confirms at once where its start is not slow.
    assert_eq!(w.request(&json!({"action": "getToken"}))["ok"], true);
    let slow = delay(&w, w.pid(), "askpass", "execve");
    let mut asker = w.connect();
    asker.send(r#"{"action":"getToken"}"#);
    for _ in 0..100 {
        w.assert_agent_is_well();
    }
    w.signal(Signal::SIGTERM);
    wait_until("the agent has ended", ITS_SECOND, || !is_alive(w.pid()));
    // Until it is loaded, the program has copies of the agent's descriptors.
    drop(slow);
    assert!(asker.until_closed(DEADLINE).is_empty(), "nothing was handed out");
}

#[test]
fn a_full_disk_leaves_no_half_line() {
    if !need("unshare") {
        return;
    }
    let w = World::new();
    fs::create_dir(w.path("home/disk")).expect("a new directory");
    let add = format!("apptoken add key.pem --app-id {APP_ID} --host {HOST} --api-url {}", w.github.url());
    // The control comes first: a program that appends lines to a file on this disk leaves half a line.
    let script = format!(
        r#"set -e
        mount -t tmpfs -o size=12k tmpfs disk
        line=$(printf '%0430d' 7)
        for i in $(seq 40); do echo "$line" >>disk/control 2>/dev/null || :; done
        cp disk/control control; rm disk/control
        head -c 4096 /dev/zero >disk/filler
        eval "$(apptoken-agent -s --audit-log disk/log)" >/dev/null
        {add} 2>/dev/null
        for i in $(seq 40); do apptoken token >/dev/null 2>>refused || :; done
        cp disk/log full
        rm disk/filler
        apptoken token >/dev/null
        cp disk/log roomy
        apptoken-agent -k >/dev/null"#
    );
    w.command("unshare").args(["-rm", "sh", "-c", &script]).run().ok();
    assert!(!read(&w, "control").ends_with('\n'), "the control leaves half a line");
    let (full, roomy, refused) = (read(&w, "full"), read(&w, "roomy"), read(&w, "refused"));
    tell(format_args!("{} lines on the full disk, {} refusals", full.lines().count(), refused.lines().count() / 2));
    assert_whole(&full);
    assert_whole(&roomy);
    assert!(full.len() > 4096 && roomy.starts_with(&full), "there was room for more than a page");
    assert_eq!(roomy.lines().count(), full.lines().count() + 1, "with room, tokens are handed out again");
    assert!(refused.contains("the audit log cannot be written"), "{refused}");
    // No token was handed out without a line.
    let handed_out = 40 - refused.matches("cannot be written").count();
    assert_eq!(full.lines().count(), handed_out);
}

#[test]
fn a_limit_of_the_file_size_leaves_no_half_line_and_does_not_end_the_agent() {
    let mut w = World::new();
    // The control: such a limit ends a program, and leaves half a line.
    let control = "ulimit -f 4; exec yes 'a line of text' >control";
    w.command("sh").args(["-c", control]).run().ended_by(Signal::SIGXFSZ);
    assert!(!read(&w, "control").ends_with('\n'), "the control leaves half a line");

    let start = w.command("sh").args(["-c", "ulimit -f 4; exec apptoken-agent -s --audit-log log"]).run().text();
    let (socket, pid) = parse_bourne(&start).expect("the three lines");
    w.env("APPTOKEN_AUTH_SOCK", socket);
    w.env("APPTOKEN_AGENT_PID", pid.to_string());
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    let answers: Vec<_> = (0..20).map(|_| w.request(&json!({"action": "getToken"}))).collect();
    let handed_out = answers.iter().filter(|answer| answer["ok"] == true).count();
    assert!(answers.iter().all(|answer| answer["ok"] == true || answer["code"] == "internal"), "{answers:?}");
    w.assert_agent_is_well();
    let log = read(&w, "log");
    assert_whole(&log);
    assert_eq!(log.lines().count(), handed_out);
    assert!((1..20).contains(&handed_out), "{handed_out} were handed out");
}

/// Delays each call of `syscall` by the process that concerns this file in the home directory, as a slow disk would.
fn delay(w: &World, pid: Pid, file: &str, syscall: &str) -> Running {
    let strace = format!(
        "exec strace -f -p {pid} -P '{}' -e trace={syscall} -e inject={syscall}:delay_enter={} -o /dev/null 2>&1",
        w.path("home").join(file).display(),
        SLOW.as_micros(),
    );
    let strace = w.command("sh").args(["-c", &strace]).start();
    strace.expect_stdout("attached");
    strace
}

/// Sends more pings than a pipe has room for lines, and expects all answers.
fn flood(w: &World) {
    let mut peer = w.connect();
    for _ in 0..PINGS {
        assert_eq!(peer.request(&json!({"action": "ping"}))["pong"], true);
    }
}

fn keys(w: &World) -> Vec<Value> {
    w.request(&json!({"action": "listKeys"}))["keys"].as_array().expect("a list").clone()
}

#[track_caller]
fn read(w: &World, file: &str) -> String {
    fs::read_to_string(w.path("home").join(file)).expect("it was written")
}

/// Every line of the log is a whole object.
#[track_caller]
fn assert_whole(log: &str) {
    assert!(log.ends_with('\n'), "half a line:\n{log}");
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "half a line: {line}");
    }
}

/// A pipe has room for 64 KiB, and the agent's queue for 1,024 lines.
const PINGS: usize = 3_000;
/// How slow a slow disk is: a program that waits for it misses every deadline of these tests.
const SLOW: Duration = Duration::from_mins(2);
/// A generous measure of the second in which the agent ends.
const ITS_SECOND: Duration = Duration::from_secs(10);
