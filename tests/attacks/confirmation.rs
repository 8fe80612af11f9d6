//! Confirmation prompts and audit lines name the program that connected, and a "no" is not asked again at once.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::agent::parse_bourne;
use crate::support::command::Invocation;
use crate::support::process::tell;
use crate::support::wait::{DEADLINE, poll, wait_until};
use crate::support::{AGENT, APP_ID, APPTOKEN, HOST, NO_OPTIONS, World, need, need_root};

#[test]
fn a_program_that_becomes_gh_is_shown_as_what_connected() {
    if !need("python3") || !need("gh") {
        return;
    }
    let w = asking(UNTIL_ANSWERED);
    let attack = w.command("python3").args(["-c", BECOMES_GH]).arg(w.socket()).arg(which("gh")).start();
    let prompt = prompt(&w, 1);
    // The control: a look at the process at this moment is fooled.
    let shown = fs::read_link(format!("/proc/{}/exe", attack.pid())).expect("it runs");
    assert_eq!(shown, which("gh"));
    let (python, gh, pid) = (python(&w), which("gh"), attack.pid());
    let (python, gh) = (python.display(), gh.display());
    let asker = format!("Asked by {python} ({pid}, changed since it connected: now {gh}) < ");
    assert!(prompt.lines().nth(3).is_some_and(|line| line.starts_with(&asker)), "{prompt}");
    say(&w, "yes");
    attack.expect_stdout("a token");
    assert_eq!(last_line(&w)["executable"], python.to_string());
    kill(pid, Signal::SIGKILL).expect("it runs");
    attack.finish().stdout("a token\n").ended_by(Signal::SIGKILL);
}

#[test]
fn a_program_that_connected_before_the_key_came_is_not_vouched_for() {
    let mut w = World::new();
    w.env("APPTOKEN_ASKPASS", w.script("askpass", SAYS_YES));
    w.start_agent(NO_OPTIONS);
    let mut early = w.connect();
    assert_eq!(early.request(&json!({"action": "ping"}))["pong"], true);
    w.add_key(["-c"]).stderr_contains("must confirm").ok();
    assert_eq!(early.request(&get_token())["ok"], true);
    let asker = format!(" ({}, not recorded when it connected) < ", Pid::this());
    assert!(prompt(&w, 1).contains(&asker), "{}", prompt(&w, 1));
    // The control: one that connects now is recorded.
    assert_eq!(w.request(&get_token())["ok"], true);
    assert!(prompt(&w, 2).contains(&format!(" ({}) < ", Pid::this())), "{}", prompt(&w, 2));
}

#[test]
fn a_program_that_is_mounted_over_gh_is_not_shown_as_gh() {
    if !need("bwrap") || !need("gh") {
        return;
    }
    let w = asking(UNTIL_ANSWERED);
    let attack = w.command("bwrap").args(["--dev-bind", "/", "/", "--bind", APPTOKEN]).arg(which("gh"));
    let attack = attack.arg(which("gh")).arg("token").start();
    let prompt = prompt(&w, 1);
    let asker = prompt.lines().nth(3).and_then(|line| line.strip_prefix("Asked by (in another mount namespace) ("));
    let pid = asker.and_then(|rest| rest.split_once(')')).map_or_else(|| panic!("{prompt}"), |(pid, _)| pid);
    // The control: the path alone is gh's.
    assert_eq!(fs::read_link(format!("/proc/{pid}/exe")).expect("it runs"), which("gh"));
    say(&w, "yes");
    attack.finish().line();
    assert_eq!(last_line(&w)["executable"], "(in another mount namespace)");
}

/// A process connects, leaves its connection to a child and ends. Its number goes to another program then.
#[test]
fn a_process_that_got_the_number_of_the_peer_is_not_shown() {
    if !need_root() || !need("python3") || !Path::new(LAST_PID).exists() {
        return;
    }
    let w = asking(UNTIL_ANSWERED);
    let attack = w.command("python3").args(["-c", PASSES_ITS_NUMBER_ON]).arg(w.socket()).arg(LAST_PID).start();
    let prompt = prompt(&w, 1);
    let python = python(&w);
    let asker = prompt.lines().nth(3).and_then(|line| line.strip_prefix(&format!("Asked by {} (", python.display())));
    let pid = asker.and_then(|rest| rest.strip_suffix(", ended since it connected)"));
    let pid = pid.unwrap_or_else(|| panic!("{prompt}"));
    // The control: the number is that of another program.
    assert_eq!(fs::read_link(format!("/proc/{pid}/exe")).expect("it runs"), which("sleep"));
    say(&w, "no");
    attack.finish().stdout("refused\n").ok();
    assert_eq!(last_line(&w)["executable"], python.display().to_string());
}

#[test]
fn an_unreadable_program_cannot_be_inspected() {
    if !need_root() || !need("setpriv") {
        return;
    }
    let mut w = World::new();
    w.env("APPTOKEN_ASKPASS", w.script("askpass", SAYS_YES));
    for (program, name) in [(AGENT, "apptoken-agent"), (APPTOKEN, "readable"), (APPTOKEN, "unreadable")] {
        w.command("cp").arg(program).arg(name).run().ok();
    }
    for part in ["..", "", "home", "run", "tmp", "config", "home/askpass", "home/key.pem"] {
        chown(w.path(part), Some(USER), None).expect("root may");
    }
    for (name, mode) in [("apptoken-agent", 0o711), ("readable", 0o755), ("unreadable", 0o711)] {
        fs::set_permissions(w.path("home").join(name), Permissions::from_mode(mode)).expect("it is ours");
    }
    let lines = as_user(&w, "apptoken-agent").args(["-s", "--audit-log", "log"]).run().text();
    let (socket, pid) = parse_bourne(&lines).expect("the three lines");
    w.env("APPTOKEN_AUTH_SOCK", socket);
    w.env("APPTOKEN_AGENT_PID", pid.to_string());
    let add = as_user(&w, "unreadable").args(["add", "key.pem", "-c", "--app-id", &APP_ID.to_string()]);
    add.args(["--host", HOST, "--api-url", &w.github.url()]).run().stderr_contains("must confirm").ok();

    // The control: the same program, where it can be read.
    as_user(&w, "readable").arg("token").run().line();
    let path = w.path("home/readable").display().to_string();
    assert!(prompt(&w, 1).contains(&format!("Asked by {path} (")), "{}", prompt(&w, 1));
    assert_eq!(last_line(&w)["executable"], path);

    as_user(&w, "unreadable").arg("token").run().line();
    assert!(prompt(&w, 2).contains("Asked by (cannot be inspected) ("), "{}", prompt(&w, 2));
    assert_eq!(last_line(&w)["executable"], Value::Null);
}

#[test]
fn a_no_is_not_asked_again_at_once() {
    let w = asking(SAYS_NO);
    let begun = Instant::now();
    let (mut denied, mut open) = (0, w.connect());
    for _ in 0..100 {
        for answer in [open.request(&get_token()), w.request(&get_token())] {
            assert_eq!(answer["code"], "denied", "{answer}");
            denied += 1;
        }
    }
    for _ in 0..10 {
        w.apptoken(["token"]).stderr_contains("was not confirmed").exit(1);
        denied += 1;
    }
    let seconds = begun.elapsed().as_secs();
    let prompts = prompts(&w);
    tell(format_args!("{prompts} prompts for {denied} requests in {seconds} s"));
    // Two seconds, four, eight: a slow machine sees a few more.
    assert!((1..=1 + seconds.div_ceil(2)).contains(&prompts), "{prompts} prompts in {seconds} s");
    let answer = w.request(&get_token());
    assert!(answer["hint"].as_str().is_some_and(|hint| hint.starts_with("it can be asked again in ")), "{answer}");
}

/// The control of the test above: the same requests, each of which is allowed.
#[test]
fn after_a_yes_each_request_is_a_prompt() {
    let w = asking(SAYS_YES);
    let mut open = w.connect();
    for _ in 0..50 {
        for answer in [open.request(&get_token()), w.request(&get_token())] {
            assert_eq!(answer["ok"], true, "{answer}");
        }
    }
    assert_eq!(prompts(&w), 100);
}

#[test]
fn a_client_that_leaves_an_open_prompt_does_not_get_another_at_once() {
    let w = asking(UNTIL_ANSWERED);
    let mut client = w.connect();
    client.send(get_token().to_string());
    prompt(&w, 1);
    drop(client);
    let denied = poll(DEADLINE, || {
        let mut client = w.connect();
        client.send(get_token().to_string());
        // Until the agent notices that the first client left, this one waits for its turn.
        let answer = client.answer();
        (answer["code"] == "denied").then_some(answer)
    });
    let denied = denied.expect("the agent notices that a client left");
    assert!(denied["hint"].as_str().is_some_and(|hint| hint.contains("asked again")), "{denied}");
    assert_eq!(prompts(&w), 1);
}

#[test]
fn the_delay_grows_whatever_is_done_with_the_key_and_ends_with_a_yes() {
    let w = asking(r#"printf '%s\n--\n' "$1" >>"$HOME/prompts"; test -e "$HOME/allow""#);
    for refusals in 1..=3 {
        let answer = poll(DEADLINE, || Some(w.request(&get_token())).filter(|_| prompts(&w) == refusals));
        assert_eq!(answer.expect("the delay ends")["code"], "denied");
        for action in ["lock", "unlock"] {
            assert_eq!(w.request(&json!({"action": action, "passphrase": "hunter2"}))["ok"], true);
        }
        assert_eq!(w.request(&json!({"action": "removeAllKeys"}))["ok"], true);
        w.add_key(["-c"]).stderr_contains("must confirm").ok();
    }
    // The third delay has eight seconds, the first only two.
    assert!((3..=9).contains(&seconds_left(&w)));
    w.file("allow", "");
    wait_until("the delay is over, and the answer is yes", DEADLINE, || w.request(&get_token())["ok"] == true);
    assert_eq!(w.request(&get_token())["ok"], true);
    fs::remove_file(w.path("home/allow")).expect("it is there");
    assert_eq!(w.request(&get_token())["code"], "denied");
    assert_eq!(prompts(&w), 6);
    assert!((1..=2).contains(&seconds_left(&w)), "it begins anew");
}

/// What the hint of a refusal says of the delay.
#[track_caller]
fn seconds_left(w: &World) -> u64 {
    let hint = w.request(&get_token())["hint"].as_str().expect("a hint").to_owned();
    let left = hint.strip_prefix("it can be asked again in ").and_then(|rest| rest.split_once("s;"));
    left.and_then(|(left, _)| left.parse().ok()).unwrap_or_else(|| panic!("{hint}"))
}

/// A world with an audit log whose askpass program does this, and whose key must be confirmed.
fn asking(body: &str) -> World {
    let mut w = World::new();
    w.command("mkfifo").arg("answer").run().ok();
    w.env("APPTOKEN_ASKPASS", w.script("askpass", body));
    w.start_agent(["--audit-log", "log"]);
    w.add_key(["-c"]).stderr_contains("must confirm").ok();
    w
}

fn as_user(w: &World, program: &str) -> Invocation {
    let become_user = [format!("--reuid={USER}"), "--clear-groups".to_owned()];
    // By way of a shell: setpriv itself may still read every file.
    let invocation = w.command("setpriv").args(become_user).args(["sh", "-c", r#"exec "$0" "$@""#]);
    invocation.arg(w.path("home").join(program))
}

/// Waits for the prompt of this number, and returns its text.
#[track_caller]
fn prompt(w: &World, number: usize) -> String {
    let read = || fs::read_to_string(w.path("home/prompts")).unwrap_or_default();
    let text = poll(DEADLINE, || Some(read()).filter(|all| all.matches("\n--\n").count() >= number));
    let text = text.unwrap_or_else(|| panic!("prompt {number} did not come"));
    text.split("\n--\n").nth(number - 1).expect("it is there").to_owned()
}

/// How many prompts there were.
fn prompts(w: &World) -> u64 {
    fs::read_to_string(w.path("home/prompts")).unwrap_or_default().matches("\n--\n").count() as u64
}

/// Answers the prompt that is open.
#[track_caller]
fn say(w: &World, answer: &str) {
    w.command("sh").args(["-c", "echo \"$0\" >answer", answer]).run().ok();
}

#[track_caller]
fn last_line(w: &World) -> Value {
    let log = fs::read_to_string(w.path("home/log")).expect("a log");
    serde_json::from_str(log.lines().last().expect("a line")).expect("a line is JSON")
}

/// Where this program is, without symbolic links.
#[track_caller]
fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("the tests have a PATH");
    let found = std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file());
    fs::canonicalize(found.expect("it is installed")).expect("it is there")
}

/// The interpreter that `python3` starts, by way of a script on some machines.
#[track_caller]
fn python(w: &World) -> PathBuf {
    let script = r#"import os; print(os.readlink("/proc/self/exe"))"#;
    w.command("python3").args(["-c", script]).run().line().into()
}

fn get_token() -> Value {
    json!({"action": "getToken"})
}

/// Askpass programs that write the prompt down.
const SAYS_YES: &str = r#"printf '%s\n--\n' "$1" >>"$HOME/prompts""#;
const SAYS_NO: &str = r#"printf '%s\n--\n' "$1" >>"$HOME/prompts"; exit 1"#;
/// The same, with the answer that comes through a pipe.
const UNTIL_ANSWERED: &str = r#"printf '%s\n--\n' "$1" >>"$HOME/prompts"; read answer <"$HOME/answer"; echo "$answer""#;

/// Connects, leaves the connection to a child, and becomes gh, which waits for its input.
const BECOMES_GH: &str = r#"
import os, socket, sys
path, gh = sys.argv[1:]
agent = socket.socket(socket.AF_UNIX)
agent.connect(path)
agent.sendall(b'{"action":"ping"}')
agent.recv(65536)
us = os.getpid()
if os.fork() == 0:
    while os.readlink(f"/proc/{us}/exe") != gh:
        pass
    agent.sendall(b'{"action":"getToken"}')
    if b'"token"' in agent.recv(65536):
        print("a token", flush=True)
    os._exit(0)
never, _writer = os.pipe()
os.dup2(never, 0)
os.set_inheritable(_writer, True)
os.execv(gh, ["gh", "auth", "login", "--with-token"])
"#;

/// Connects, leaves the connection to a child, and ends; the child sees to it that its number becomes that of `sleep`.
const PASSES_ITS_NUMBER_ON: &str = r#"
import os, signal, socket, sys, time
path, last_pid = sys.argv[1:]
answered, answer = os.pipe()

def start_peer():
    """A process that connects, leaves the connection to its child, and ends."""
    taken, take = os.pipe()
    peer = os.fork()
    if peer == 0:
        os.close(take)
        agent = socket.socket(socket.AF_UNIX)
        agent.connect(path)
        agent.sendall(b'{"action":"ping"}')
        agent.recv(65536)
        if os.fork() == 0 and os.read(taken, 1):
            agent.sendall(b'{"action":"getToken"}')
            print("refused" if b'"denied"' in agent.recv(65536) else "a token", flush=True)
            os.write(answer, b"x")
        os._exit(0)
    os.close(taken)
    os.waitpid(peer, 0)
    # The kernel counts start times in hundredths of a second, and the next process is to have another one.
    time.sleep(0.03)
    return peer, take

def take_number(peer):
    """Whether a new process got the number. Another process of this machine may have been faster, and keep it."""
    for _ in range(20):
        with open(last_pid, "w") as file:
            file.write(str(peer - 1))
        other = os.fork()
        if other == 0:
            if os.getpid() == peer:
                os.execvp("sleep", ["sleep", "300"])
            os._exit(0)
        if other == peer:
            return True
        os.waitpid(other, 0)
    return False

peer, take = start_peer()
while not take_number(peer):
    os.close(take)
    peer, take = start_peer()
us = os.readlink("/proc/self/exe")
while os.readlink(f"/proc/{peer}/exe") == us:
    pass
os.write(take, b"x")
os.read(answered, 1)
os.kill(peer, signal.SIGKILL)
os.waitpid(peer, 0)
"#;
/// The number after which the kernel continues.
const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
const USER: u32 = 4242;
