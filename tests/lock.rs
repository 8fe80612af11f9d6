//! Locked is locked: nothing leaves the agent until the passphrase comes back, and then everything is as it was.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::github::App;
use crate::support::peer::Peer;
use crate::support::pty::{Key, Terminal};
use crate::support::run::Run;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APPTOKEN, HOST, NO_OPTIONS, OTHER_KEY, SLUG, World};

#[test]
fn a_passphrase_is_typed_twice_to_lock_and_once_to_unlock_and_is_never_shown() {
    let w = World::with_key();
    let mut terminal = at_terminal(&w, "lock");
    answer(&mut terminal, &[FIRST, AGAIN], &[PASSPHRASE, PASSPHRASE]);
    terminal.expect("Agent locked.");
    assert!(!terminal.transcript().contains(PASSPHRASE), "{}", terminal.transcript());
    assert!(terminal.wait().success());
    assert!(is_locked(&w));

    let mut terminal = at_terminal(&w, "unlock");
    answer(&mut terminal, &[FIRST], &[PASSPHRASE]);
    terminal.expect("Agent unlocked.");
    assert!(!terminal.transcript().contains(PASSPHRASE), "{}", terminal.transcript());
    assert!(terminal.wait().success());
    assert!(!is_locked(&w));
}

#[test]
fn two_passphrases_that_differ_lock_nothing() {
    let w = World::with_key();
    let mut terminal = at_terminal(&w, "lock");
    answer(&mut terminal, &[FIRST, AGAIN], &[PASSPHRASE, "hunter3"]);
    terminal.expect("apptoken: the passphrases differ");
    terminal.expect("hint: ");
    assert_eq!(terminal.wait().code(), Some(1));
    assert!(!is_locked(&w));
}

#[test]
fn ctrl_c_at_the_prompt_ends_the_command_and_leaves_the_terminal_as_it_was() {
    for verb in ["lock", "unlock"] {
        let w = World::with_key();
        let script = format!("trap : INT; apptoken {verb}; echo ended with $?; read line; echo read it");
        let mut terminal = w.command("sh").args(["-c", &script]).on_terminal();
        terminal.expect(FIRST);
        wait_until("the terminal hides what is typed", DEADLINE, || !terminal.echoes());
        terminal.press(Key::CtrlC);
        // As a shell tells that it was the signal.
        terminal.expect("ended with 130");
        assert!(terminal.echoes(), "what is typed is shown again");
        terminal.type_line("and lines are lines");
        terminal.expect("read it");
        assert!(terminal.wait().success());
        assert!(!is_locked(&w));
    }
}

#[test]
fn an_empty_passphrase_is_refused_wherever_it_comes_from() {
    let w = World::with_key();
    let mut terminal = at_terminal(&w, "lock");
    answer(&mut terminal, &[FIRST], &[""]);
    terminal.expect("apptoken: the passphrase is empty");
    assert_eq!(terminal.wait().code(), Some(1));
    for nothing in ["", "\n", "\r\n"] {
        w.command(APPTOKEN)
            .args(["lock", "--passphrase-fd", "0"])
            .stdin(nothing)
            .run()
            .stderr_contains("empty")
            .exit(1);
    }
    let answer = w.request(&json!({"action": "lock", "passphrase": ""}));
    assert_eq!(answer["code"], "bad_request");
    assert!(answer["hint"].is_string(), "{answer}");
    assert!(!is_locked(&w));
}

#[test]
fn a_script_gives_the_passphrase_by_a_file_descriptor_up_to_the_end_of_the_line() {
    let w = World::with_key();
    let from_stdin = |verb: &str, stdin: &str| by_fd(&w, verb, stdin);
    from_stdin("lock", "hunter2\nnot this\n").stderr("Agent locked.\n").ok();
    from_stdin("unlock", "hunter2\r\n").stderr("Agent unlocked.\n").ok();
    from_stdin("lock", "hunter2").stderr("Agent locked.\n").ok();
    let seven = "printf '%s\\n' hunter2 >passphrase; apptoken unlock --passphrase-fd 7 7<passphrase";
    w.shell("sh", seven).stderr("Agent unlocked.\n").ok();
    w.apptoken(["lock", "--passphrase-fd", "9"]).fails(64, ["--passphrase-fd"]);
    w.apptoken(["lock", "--passphrase-fd", "x"]).fails(64, ["--passphrase-fd"]);
    assert!(!is_locked(&w));
}

#[test]
fn a_passphrase_is_any_text_and_may_be_long() {
    let w = World::with_key();
    for passphrase in ["x", " with blanks ", "\u{fc}\u{1f600}", "quote\" backslash\\", &"long ".repeat(800)] {
        by_fd(&w, "lock", passphrase).stderr("Agent locked.\n").ok();
        assert_eq!(unlock(&mut w.connect(), &format!("{passphrase}."))["code"], "denied");
        by_fd(&w, "unlock", passphrase).stderr("Agent unlocked.\n").ok();
    }
}

#[test]
fn without_a_terminal_the_askpass_program_is_asked() {
    let mut w = World::with_key();
    let askpass = w.script("askpass", &format!("printf '%s\\n' \"$1\" >>asked; echo {PASSPHRASE}"));
    let other = w.script("other", "exit 1");
    // Ours comes before ssh's.
    w.env("APPTOKEN_ASKPASS", &askpass);
    w.env("SSH_ASKPASS", &other);
    w.apptoken(["lock"]).stderr("Agent locked.\n").ok();
    w.env_remove("APPTOKEN_ASKPASS");
    w.env("SSH_ASKPASS", &askpass);
    w.apptoken(["unlock"]).stderr("Agent unlocked.\n").ok();
    let asked = w.command("cat").arg("asked").run().text();
    assert_eq!(asked, format!("{FIRST}\n{AGAIN}\n{FIRST}\n"));
}

#[test]
fn an_askpass_program_that_fails_locks_nothing() {
    let mut w = World::with_key();
    for body in [&format!("echo {PASSPHRASE}; exit 1"), "exit 0", "kill -9 $$"] {
        w.env("APPTOKEN_ASKPASS", w.script("askpass", body));
        w.apptoken(["lock"]).stderr_contains("pass").exit(1);
    }
    w.env("APPTOKEN_ASKPASS", "/nonexistent/askpass");
    w.apptoken(["lock"]).stderr_contains("askpass").exit(1);
    let counting = "echo again >>count; wc -l <count";
    w.env("APPTOKEN_ASKPASS", w.script("askpass", counting));
    w.apptoken(["lock"]).fails(1, ["differ"]);
    assert!(!is_locked(&w));
}

#[test]
fn without_a_terminal_and_an_askpass_program_the_error_says_what_to_do() {
    let w = World::with_key();
    for verb in ["lock", "unlock"] {
        w.apptoken([verb]).fails(1, ["terminal", "APPTOKEN_ASKPASS", "--passphrase-fd"]);
    }
    assert!(!is_locked(&w));
}

#[test]
fn a_locked_agent_refuses_everything_and_says_how_to_unlock_it() {
    let w = World::with_key();
    w.apptoken(["token"]).line();
    lock(&w, PASSPHRASE);
    for args in [
        &["list"][..],
        &["token"],
        &["installations"],
        &["remove", SLUG],
        &["remove", "--all"],
        &["run", "--", "true"],
        &["gh", "--version"],
        &["list", "--json"],
    ] {
        w.command(APPTOKEN).args(args).env("APPTOKEN_GH", "true").run().fails(1, ["locked", "run `apptoken unlock`"]);
    }
    let requests = w.github.journal().len();
    w.add_key(NO_OPTIONS).fails(1, ["locked", "run `apptoken unlock`"]);
    assert_eq!(w.github.journal().len(), requests, "a locked agent asks GitHub nothing");
    by_fd(&w, "lock", "another").fails(1, ["locked", "run `apptoken unlock`"]);
    for request in [
        json!({"action": "getToken"}),
        json!({"action": "listKeys"}),
        json!({"action": "removeKey", "key": SLUG}),
        json!({"action": "removeAllKeys"}),
        json!({"action": "installations"}),
        json!({"action": "lock", "passphrase": PASSPHRASE}),
    ] {
        let answer = w.request(&request);
        assert_eq!(answer["code"], "locked", "{request}: {answer}");
        assert_eq!(answer["hint"], "run `apptoken unlock`", "{request}: {answer}");
    }
    // Nothing of that changed anything.
    by_fd(&w, "unlock", PASSPHRASE).stderr("Agent unlocked.\n").ok();
    assert!(w.apptoken(["list"]).line().contains(SLUG));
}

#[test]
fn a_locked_agent_says_that_it_is_locked_and_nothing_of_what_it_holds() {
    let w = World::with_key();
    w.apptoken(["token"]).line();
    lock(&w, PASSPHRASE);
    assert_eq!(w.request(&json!({"action": "ping"}))["locked"], true);
    let status = w.apptoken(["status", "--json"]).json();
    assert_eq!(status["locked"], true);
    assert_eq!((&status["keys"], &status["tokens"]), (&json!([]), &json!([])));
    assert!(w.apptoken(["status"]).line().ends_with(", locked"));
    unlock(&mut w.connect(), PASSPHRASE);
    assert_eq!(w.request(&json!({"action": "ping"}))["locked"], false);
    assert_eq!(w.apptoken(["status", "--json"]).json()["locked"], false);
}

#[test]
fn unlocking_brings_every_key_back_as_it_was() {
    let w = with_two_keys();
    let before = keys_and_lifetimes(&w);
    lock(&w, PASSPHRASE);
    unlock(&mut w.connect(), PASSPHRASE);
    let after = keys_and_lifetimes(&w);
    assert_eq!(before.0, after.0);
    for (before, after) in before.1.iter().zip(&after.1) {
        assert_eq!(before.is_some(), after.is_some());
        assert!(after <= before && before.zip(*after).is_none_or(|(before, after)| before - after < 60));
    }
}

#[test]
fn tokens_do_not_outlive_a_lock() {
    let w = World::with_key();
    let before = w.apptoken(["token"]).line();
    assert_eq!(w.apptoken(["token"]).line(), before);
    lock(&w, PASSPHRASE);
    unlock(&mut w.connect(), PASSPHRASE);
    assert_eq!(w.apptoken(["status", "--json"]).json()["tokens"], json!([]));
    assert_ne!(w.apptoken(["token"]).line(), before);
    assert_eq!(w.github.tokens().len(), 2);
}

#[test]
fn a_token_that_arrives_when_the_agent_is_locked_is_not_handed_out() {
    let w = World::with_key();
    w.github.delay(Duration::from_secs(4));
    let mut asker = w.connect();
    asker.send(r#"{"action":"getToken"}"#);
    w.github.wait_for(|journal| journal.iter().any(|entry| entry.is("POST /app/installations/*/access_tokens")));
    lock(&w, PASSPHRASE);
    assert_eq!(asker.answer()["code"], "locked");
    w.github.delay(Duration::ZERO);
    unlock(&mut w.connect(), PASSPHRASE);
    let first = w.github.tokens().first().map(|token| token.value.clone());
    assert_ne!(Some(w.apptoken(["token"]).line()), first);
}

#[test]
fn each_wrong_passphrase_costs_its_caller_a_tenth_of_a_second_more() {
    let w = World::with_key();
    lock(&w, PASSPHRASE);
    let mut guesser = w.connect();
    for count in 1..=5 {
        let start = Instant::now();
        let answer = unlock(&mut guesser, "hunter3");
        let took = start.elapsed();
        assert_eq!(answer["code"], "denied", "{answer}");
        assert!(answer["hint"].is_string(), "{answer}");
        let penalty = Duration::from_millis(100) * count;
        assert!(took >= penalty, "wrong for the {count}th time, and it took only {took:?}");
        assert!(took < penalty + Duration::from_secs(3), "wrong for the {count}th time, and it took {took:?}");
    }
    assert!(is_locked(&w));
    by_fd(&w, "unlock", "hunter3").fails(1, ["not the passphrase"]);
    by_fd(&w, "unlock", PASSPHRASE).stderr("Agent unlocked.\n").ok();
}

#[test]
fn a_wrong_passphrase_keeps_nobody_else_waiting() {
    let w = World::with_key();
    lock(&w, PASSPHRASE);
    // From now on a wrong one costs 1.3 seconds.
    for _ in 0..12 {
        unlock(&mut w.connect(), "hunter3");
    }
    let mut guesser = w.connect();
    guesser.send(unlock_request("hunter3").to_string());
    let guesser = thread::spawn(move || (guesser.answer(), Instant::now()));
    assert_eq!(w.request(&json!({"action": "ping"}))["locked"], true);
    let pinged = Instant::now();
    // By another process: each waits for its own failures.
    by_fd(&w, "unlock", PASSPHRASE).stderr("Agent unlocked.\n").ok();
    let unlocked = Instant::now();
    let (answer, denied) = guesser.join().expect("an answer came");
    assert_eq!(answer["code"], "denied", "{answer}");
    assert!(pinged < denied && unlocked < denied);
}

#[test]
fn a_right_passphrase_makes_the_next_wrong_one_cheap_again() {
    let w = World::with_key();
    lock(&w, PASSPHRASE);
    for _ in 0..9 {
        unlock(&mut w.connect(), "hunter3");
    }
    unlock(&mut w.connect(), PASSPHRASE);
    lock(&w, PASSPHRASE);
    let start = Instant::now();
    unlock(&mut w.connect(), "hunter3");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_wrong_passphrase_is_not_taken_for_right_because_another_came_first() {
    let w = World::with_key();
    lock(&w, PASSPHRASE);
    let [mut right, mut wrong] = [w.connect(), w.connect()];
    right.send(unlock_request(PASSPHRASE).to_string());
    w.assert_agent_is_well();
    wrong.send(unlock_request("hunter3").to_string());
    assert_eq!(right.answer()["ok"], true);
    let answer = wrong.answer();
    assert_eq!(answer["ok"], false, "{answer}");
}

#[test]
fn of_two_who_lock_at_once_one_does_and_the_other_is_told() {
    let w = World::with_key();
    let mut lockers = ["one", "two"].map(|passphrase| (passphrase, w.connect()));
    for (passphrase, locker) in &mut lockers {
        locker.send(json!({"action": "lock", "passphrase": passphrase}).to_string());
    }
    let answers = lockers.map(|(passphrase, mut locker)| (passphrase, locker.answer()));
    let [(locked_with, _)] = answers.iter().filter(|(_, answer)| answer["ok"] == true).collect::<Vec<_>>()[..] else {
        panic!("one locks: {answers:?}");
    };
    assert!(answers.iter().any(|(_, answer)| answer["code"] == "locked"), "{answers:?}");
    assert_eq!(unlock(&mut w.connect(), locked_with)["ok"], true);
}

#[test]
fn what_is_not_locked_cannot_be_unlocked() {
    let w = World::with_key();
    assert_eq!(unlock(&mut w.connect(), PASSPHRASE)["code"], "bad_request");
    by_fd(&w, "unlock", PASSPHRASE).stderr_contains("not locked").exit(1);
}

#[test]
fn an_agent_without_keys_can_be_locked_too() {
    let w = World::with_agent();
    lock(&w, PASSPHRASE);
    assert_eq!(unlock(&mut w.connect(), "hunter3")["code"], "denied");
    assert_eq!(unlock(&mut w.connect(), PASSPHRASE)["ok"], true);
}

#[test]
fn the_signal_to_forget_is_obeyed_while_locked_and_leaves_it_locked() {
    let w = World::with_key();
    lock(&w, PASSPHRASE);
    w.signal(Signal::SIGUSR1);
    assert!(is_locked(&w));
    assert_eq!(unlock(&mut w.connect(), "hunter3")["code"], "denied");
    assert_eq!(unlock(&mut w.connect(), PASSPHRASE)["ok"], true);
    w.apptoken(["list"]).stdout_contains("no identities").exit(1);
}

#[test]
fn a_lifetime_runs_out_while_locked() {
    let w = with_two_keys();
    w.add_key(["-t", "2s"]).stderr_contains("Lifetime set to 2s").ok();
    let added = Instant::now();
    lock(&w, PASSPHRASE);
    wait_until("the lifetime is over", DEADLINE, || added.elapsed() > Duration::from_secs(2));
    unlock(&mut w.connect(), PASSPHRASE);
    let line = w.apptoken(["list"]).line();
    assert!(line.contains(" other-app "), "{line}");
}

#[test]
fn a_client_that_leaves_while_the_agent_locks_does_not_stop_it() {
    let w = World::with_key();
    let mut locker = w.connect();
    locker.send(json!({"action": "lock", "passphrase": PASSPHRASE}).to_string());
    locker.end_sending();
    drop(locker);
    wait_until("the agent is locked", DEADLINE, || is_locked(&w));
    assert_eq!(unlock(&mut w.connect(), PASSPHRASE)["ok"], true);
}

/// A world with two keys of two Apps, one of them with every setting that a key can have.
fn with_two_keys() -> World {
    let w = World::with_key();
    let options = ["-c", "-t", "1h30m", "--name", "mine", "--installation-id", "1001"];
    w.add_key(options).stderr_contains("must confirm each use").ok();
    w.github.add_app(App::new(OTHER_APP, "other-app").key_pem(OTHER_KEY));
    w.file("other.pem", OTHER_KEY);
    w.add_for(&OTHER_APP.to_string(), "other.pem").run().stderr_contains("other-app").ok();
    w
}

fn at_terminal(w: &World, verb: &str) -> Terminal {
    w.command(APPTOKEN).arg(verb).on_terminal()
}

/// Waits for each question and types its answer.
#[track_caller]
fn answer(terminal: &mut Terminal, questions: &[&str], answers: &[&str]) {
    for (question, answer) in questions.iter().zip(answers) {
        terminal.expect(question);
        terminal.type_hidden(answer);
    }
}

#[track_caller]
fn by_fd(w: &World, verb: &str, passphrase: &str) -> Run {
    w.command(APPTOKEN).args([verb, "--passphrase-fd", "0"]).stdin(passphrase).run()
}

#[track_caller]
fn lock(w: &World, passphrase: &str) {
    let answer = w.request(&json!({"action": "lock", "passphrase": passphrase}));
    assert_eq!(answer, json!({"ok": true}));
}

fn unlock_request(passphrase: &str) -> Value {
    json!({"action": "unlock", "passphrase": passphrase})
}

#[track_caller]
fn unlock(peer: &mut Peer, passphrase: &str) -> Value {
    peer.request(&unlock_request(passphrase))
}

#[track_caller]
fn is_locked(w: &World) -> bool {
    w.request(&json!({"action": "ping"}))["locked"] == true
}

/// All that is told of the keys, and apart from it what goes on while they are locked.
#[track_caller]
fn keys_and_lifetimes(w: &World) -> (Value, Vec<Option<u64>>) {
    let mut keys = w.request(&json!({"action": "listKeys"}))["keys"].take();
    let each = keys.as_array_mut().expect("a list");
    let lifetimes = each.iter_mut().map(|key| key.as_object_mut()?.remove("lifetime")?.as_u64()).collect();
    assert_eq!(each.len(), 2);
    assert_eq!((&each[0]["name"], &each[0]["confirm"], &each[0]["host"]), (&json!("mine"), &json!(true), &json!(HOST)));
    (keys, lifetimes)
}

const PASSPHRASE: &str = "hunter2";
const FIRST: &str = "Enter lock passphrase: ";
const AGAIN: &str = "Again: ";
const OTHER_APP: u64 = 654_321;
