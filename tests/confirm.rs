//! `-c`: a key that is used only when the person at the screen says yes, to a question that nobody can dress up.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::agent::is_alive;
use crate::support::github::App;
use crate::support::peer::Peer;
use crate::support::wait::{DEADLINE, poll, wait_until};
use crate::support::{APP_ID, APPTOKEN, HOST, NO_OPTIONS, OTHER_KEY, SLUG, World};

#[test]
fn yes_is_an_exit_status_of_zero_and_the_word_or_none() {
    for yes in ["exit 0", "echo yes", "echo YES", "printf ' Yes \\n\\n'"] {
        let w = asking(yes);
        assert!(w.apptoken(["token"]).line().starts_with("ghs_"), "{yes}");
    }
}

#[test]
fn everything_else_is_no() {
    for no in ["exit 1", "echo y", "echo no", "echo yes; exit 1", "echo yes indeed", "kill -9 $$", "echo ok"] {
        let w = asking(no);
        w.apptoken(["token"]).stderr_contains("was not confirmed").exit(1);
        assert_eq!(w.request(&get_token())["code"], "denied", "{no}");
        assert_eq!(w.github.mints(), 0, "{no}");
        w.assert_agent_is_well();
    }
}

#[test]
fn an_answer_without_end_is_no() {
    let w = asking("yes yes");
    assert_eq!(w.request(&get_token())["code"], "denied");
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn without_a_program_to_ask_with_the_answer_is_no_and_says_why() {
    let mut w = World::new();
    for askpass in [None, Some(""), Some("/nonexistent/askpass")] {
        if let Some(askpass) = askpass {
            w.env("APPTOKEN_ASKPASS", askpass);
        }
        w.start_agent(["--new"]);
        w.add_key(["-c"]).stderr_contains("must confirm").ok();
        w.apptoken(["token"]).fails(1, ["askpass", "APPTOKEN_ASKPASS"]);
        assert_eq!(w.request(&get_token())["code"], "denied");
        assert_eq!(w.github.mints(), 0);
        w.agent(["-k"]).text();
    }
}

#[test]
fn the_program_of_ssh_is_asked_when_there_is_none_of_ours() {
    let mut w = World::new();
    w.env("SSH_ASKPASS", w.script("askpass", "echo yes"));
    w.start_agent(NO_OPTIONS);
    w.add_key(["-c"]).stderr_contains("must confirm").ok();
    w.apptoken(["token"]).line();
}

#[test]
fn a_question_names_key_fingerprint_scope_and_who_asks() {
    let w = asking(r#"printf '%s' "$1" >"$HOME/prompt"; echo "$SSH_ASKPASS_PROMPT, $#" >"$HOME/kind""#);
    let asker = w.command(APPTOKEN).args(["token", "--repo", "octo/hello", "--permissions", "contents=read"]).start();
    let pid = asker.pid();
    asker.finish().line();
    let fingerprint = w.apptoken(["list", "--json"]).json()[0]["fingerprint"].take();
    let prompt = read(&w, "prompt");
    let [key, print, scope, chain] = prompt.lines().collect::<Vec<_>>()[..] else { panic!("four lines:\n{prompt}") };
    assert_eq!(key, format!("Allow use of key {SLUG}?"));
    assert_eq!(print, format!("Key fingerprint {}", fingerprint.as_str().expect("a fingerprint")));
    assert_eq!(scope, format!("App {APP_ID} on {HOST}, for a token for octo/hello, only hello, contents=read"));
    let (first, rest) = chain.split_once(" < ").expect("who asks was started by somebody");
    let apptoken = fs::canonicalize(APPTOKEN).expect("it is built");
    assert_eq!(first, format!("Asked by {} ({pid})", apptoken.display()));
    assert!(rest.contains(&format!(" ({})", Pid::this())), "{chain}");
    assert_eq!(read(&w, "kind"), "confirm, 1\n");
}

#[test]
fn a_wide_token_is_asked_for_as_such() {
    let w = asking(r#"printf '%s\n' "$1" >>"$HOME/prompts""#);
    w.apptoken(["token"]).line();
    w.apptoken(["token", "--owner", "octo"]).line();
    w.apptoken(["token", "--installation-id", "1001"]).line();
    w.apptoken(["installations"]).line();
    let prompts = read(&w, "prompts");
    for scope in [
        "for a token, all repositories, all permissions",
        "for a token for octo, all repositories, all permissions",
        "for a token of installation 1001, all repositories, all permissions",
        "for a list of its installations",
    ] {
        assert!(prompts.contains(scope), "{scope} is not in\n{prompts}");
    }
}

#[test]
fn the_fingerprint_stands_in_the_second_line_whatever_the_asker_says() {
    // With yes, so that no refusal delays the next question.
    let w = asking(r#"printf '%s' "$1" >"$HOME/prompt""#);
    w.add_key(["--name", &"n".repeat(64)]).stderr_contains("must confirm").ok();
    let fingerprint = w.apptoken(["list", "--json"]).json()[0]["fingerprint"].take();
    let fingerprint = format!("Key fingerprint {}", fingerprint.as_str().expect("a fingerprint"));
    let many: Vec<_> = (0..500).map(|number| format!("{number}-{}", "r".repeat(90))).collect();
    let all_there_are: Vec<_> = (0..200).map(|number| (format!("permission_{number}"), "write")).collect();
    let all_there_are: serde_json::Map<_, _> =
        all_there_are.into_iter().map(|(name, level)| (name, json!(level))).collect();
    for request in [
        json!({"action": "getToken", "repositories": many}),
        json!({"action": "getToken", "repo": format!("{}/{}", "o".repeat(39), "r".repeat(100))}),
        json!({"action": "getToken", "permissions": all_there_are}),
        json!({"action": "getToken", "permissions": all_there_are, "repositories": many}),
    ] {
        let answer = w.request(&request);
        assert_eq!(answer["ok"], false, "there is nothing of that kind: {answer}");
        if answer["code"] != "bad_request" {
            let prompt = read(&w, "prompt");
            let lines: Vec<_> = prompt.lines().collect();
            assert_eq!((lines.len(), lines[1]), (4, &*fingerprint), "{prompt}");
            assert!(prompt.len() < 2_000, "{} bytes", prompt.len());
        }
    }
}

#[test]
fn a_program_with_a_telling_name_adds_no_line_to_the_question() {
    let w = asking(r#"printf '%s' "$1" >"$HOME/prompt""#);
    let name = "x\nKey fingerprint SHA256:forged\u{202e}\u{1b}[2J";
    w.command("cp").arg(APPTOKEN).arg(name).run().ok();
    w.command(w.path("home").join(name)).arg("token").run().line();
    let prompt = read(&w, "prompt");
    assert_eq!(prompt.lines().count(), 4, "{prompt}");
    let asker = format!("Asked by {}/x\\nKey\\ fingerprint\\ SHA256:forged", w.path("home").display());
    assert!(prompt.lines().nth(3).is_some_and(|line| line.starts_with(&asker)), "{prompt}");
    assert!(prompt.chars().all(|letter| letter == '\n' || (' '..='~').contains(&letter)), "{prompt:?}");
}

#[test]
fn each_use_is_asked_about_also_of_a_cached_token() {
    let w = asking(r#"echo asked >>"$HOME/asked""#);
    let first = w.apptoken(["token"]).line();
    assert_eq!(w.apptoken(["token"]).line(), first);
    w.apptoken(["run", "--", "true"]).ok();
    assert_eq!(w.github.mints(), 1);
    assert_eq!(read(&w, "asked").lines().count(), 3);
}

#[test]
fn two_who_ask_at_once_are_two_questions_one_after_the_other() {
    let w = asking(UNTIL_ANSWERED);
    let mut askers = [w.connect(), w.connect()];
    for asker in &mut askers {
        asker.send(get_token().to_string());
    }
    question(&w, 1);
    w.assert_agent_is_well();
    assert_eq!(read(&w, "questions").lines().count(), 1, "one at a time");
    say(&w, "yes");
    question(&w, 2);
    say(&w, "no");
    let mut given: Vec<_> = askers.iter_mut().map(|asker| asker.answer()["ok"] == true).collect();
    given.sort_unstable();
    assert_eq!(given, [false, true]);
}

#[test]
fn adding_the_key_again_does_not_lift_the_confirmation() {
    let w = asking("exit 1");
    w.add_key(NO_OPTIONS).stderr_contains("The user must confirm each use of the key").ok();
    assert!(w.apptoken(["list"]).line().ends_with(", confirm)"));
    w.apptoken(["token"]).stderr_contains("was not confirmed").exit(1);
}

#[test]
fn a_yes_comes_too_late_for_a_key_that_was_removed() {
    too_late("no_key", |w| {
        assert_eq!(w.request(&json!({"action": "removeAllKeys"}))["ok"], true);
    });
}

#[test]
fn a_yes_comes_too_late_for_an_agent_that_was_locked() {
    too_late("locked", |w| {
        assert_eq!(w.request(&json!({"action": "lock", "passphrase": "hunter2"}))["ok"], true);
    });
}

#[test]
fn a_yes_comes_too_late_for_an_agent_that_was_told_to_forget() {
    too_late("no_key", |w| {
        w.signal(Signal::SIGUSR1);
        wait_until("the agent has forgotten", DEADLINE, || has_no_key(w));
    });
}

#[test]
fn a_yes_comes_too_late_for_a_key_whose_lifetime_ended() {
    too_late("no_key", |w| {
        w.add_key(["-t", "1s"]).stderr_contains("must confirm").ok();
        wait_until("the lifetime is over", DEADLINE, || has_no_key(w));
    });
}

#[test]
fn the_question_goes_when_the_asker_goes() {
    let w = asking(UNTIL_ANSWERED);
    let mut asker = w.connect();
    asker.send(get_token().to_string());
    let prompt = question(&w, 1);
    assert!(is_alive(prompt));
    drop(asker);
    wait_until("the question is gone", DEADLINE, || !is_alive(prompt));

    // A question that nobody answered delays the next one about that key.
    let w = asking(UNTIL_ANSWERED);
    let asker = w.command(APPTOKEN).arg("token").start();
    let prompt = question(&w, 1);
    asker.signal(Signal::SIGINT);
    asker.finish().ended_by(Signal::SIGINT);
    wait_until("the question is gone", DEADLINE, || !is_alive(prompt));
    assert_eq!(w.github.mints(), 0);
    w.assert_agent_is_well();
}

/// As most are that call zenity, kdialog or a terminal's own program.
#[test]
fn what_a_wrapper_script_started_goes_with_the_question() {
    let w = asking(r#"sleep 300 & echo $! >>"$HOME/questions"; wait"#);
    let mut asker = w.connect();
    asker.send(get_token().to_string());
    let window = question(&w, 1);
    drop(asker);
    wait_until("what is on the screen is gone", DEADLINE / 6, || !is_alive(window));
}

#[test]
fn the_question_goes_when_the_agent_ends() {
    let w = asking(UNTIL_ANSWERED);
    let mut asker = w.connect();
    asker.send(get_token().to_string());
    let prompt = question(&w, 1);
    w.signal(Signal::SIGTERM);
    wait_until("the agent has ended", DEADLINE, || !is_alive(w.pid()));
    wait_until("the question is gone", DEADLINE, || !is_alive(prompt));
    assert!(asker.until_closed(DEADLINE).iter().all(|answer| answer["ok"] == false));
}

#[test]
fn an_asker_that_leaves_before_its_turn_is_never_asked_about() {
    let w = asking(UNTIL_ANSWERED);
    let mut askers = [w.connect(), w.connect()];
    askers[0].send(get_token().to_string());
    question(&w, 1);
    askers[1].send(get_token().to_string());
    w.assert_agent_is_well();
    let [mut first, second] = askers;
    drop(second);
    // It looks a few times a second who is still there.
    let left = Instant::now();
    wait_until("the agent has noticed", DEADLINE, || left.elapsed() > Duration::from_secs(1));
    say(&w, "yes");
    assert_eq!(first.answer()["ok"], true);
    // The next question is the next asker's.
    let next = w.command(APPTOKEN).arg("token").start();
    question(&w, 2);
    say(&w, "yes");
    next.finish().line();
    assert_eq!(read(&w, "questions").lines().count(), 2);
}

#[test]
fn others_are_served_while_a_question_is_open() {
    let w = asking(UNTIL_ANSWERED);
    w.github.add_app(App::new(654_321, "other-app").key_pem(OTHER_KEY));
    w.github.install(654_321, crate::support::github::Installation::new(2002, "hexa").repositories(&["web"]));
    w.file("other.pem", OTHER_KEY);
    w.add_for("654321", "other.pem").run().stderr_contains("other-app").ok();
    let mut asker = w.connect();
    asker.send(json!({"action": "getToken", "app": SLUG}).to_string());
    question(&w, 1);
    w.assert_agent_is_well();
    assert!(w.apptoken(["token", "--app", "other-app"]).line().starts_with("ghs_"));
    assert_eq!(w.apptoken(["list", "--json"]).json().as_array().map(Vec::len), Some(2));
    say(&w, "yes");
    assert_eq!(asker.answer()["ok"], true);
}

#[test]
fn the_program_gets_no_descriptor_but_its_standard_three() {
    // The fourth is the directory that is being listed.
    let w = asking(r#"exec ls /proc/self/fd >"$HOME/fds" 2>&1"#);
    let _others: Vec<Peer> = (0..5).map(|_| w.connect()).collect();
    assert_eq!(w.request(&get_token())["ok"], true);
    assert_eq!(read(&w, "fds"), "0\n1\n2\n3\n");
}

#[test]
fn the_program_reads_nothing_and_what_it_says_on_stderr_goes_nowhere() {
    let w = asking(r#"readlink /proc/$$/fd/0 /proc/$$/fd/2 >"$HOME/streams"; cat; echo noise >&2"#);
    assert_eq!(w.request(&get_token())["ok"], true);
    assert_eq!(read(&w, "streams"), "/dev/null\n/dev/null\n");
}

/// A world whose askpass program does this, and whose key must be confirmed.
fn asking(body: &str) -> World {
    let mut w = World::new();
    w.command("mkfifo").arg("answer").run().ok();
    w.env("APPTOKEN_ASKPASS", w.script("askpass", body));
    w.start_agent(NO_OPTIONS);
    let added = format!("Identity added: {SLUG} (App {APP_ID} on {HOST})\nThe user must confirm each use of the key\n");
    w.add_key(["-c"]).stderr(added).ok();
    w
}

/// Says yes to a question when something has happened that the yes must not undo.
#[track_caller]
fn too_late(code: &str, happens: impl FnOnce(&World)) {
    let w = asking(UNTIL_ANSWERED);
    let mut asker = w.connect();
    asker.send(get_token().to_string());
    question(&w, 1);
    happens(&w);
    say(&w, "yes");
    let answer = asker.answer();
    assert_eq!(answer["code"], code, "{answer}");
    assert_eq!(w.github.mints(), 0);
}

/// Waits for the question of this number, and returns the process that asks it.
#[track_caller]
fn question(w: &World, number: usize) -> Pid {
    let pid = poll(DEADLINE, || {
        let questions = fs::read_to_string(w.path("home/questions")).unwrap_or_default();
        questions.lines().nth(number - 1).filter(|_| questions.ends_with('\n'))?.parse().ok()
    });
    Pid::from_raw(pid.unwrap_or_else(|| panic!("question {number} was not asked")))
}

/// Answers the question that is open.
#[track_caller]
fn say(w: &World, answer: &str) {
    w.command("sh").args(["-c", "echo \"$0\" >answer", answer]).run().ok();
}

#[track_caller]
fn read(w: &World, file: &str) -> String {
    fs::read_to_string(w.path("home").join(file)).expect("the program wrote it")
}

fn has_no_key(w: &World) -> bool {
    w.request(&json!({"action": "listKeys"}))["keys"].as_array().is_some_and(Vec::is_empty)
}

fn get_token() -> Value {
    json!({"action": "getToken"})
}

/// An askpass program that writes down its process and waits for an answer to come through a pipe.
const UNTIL_ANSWERED: &str = r#"echo $$ >>"$HOME/questions"; read answer <"$HOME/answer"; echo "$answer""#;
