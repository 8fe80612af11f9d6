//! Histories at random, held against a model of the agent that is small enough to be seen to be right.
//!
//! After each event what the agent says and what GitHub granted must be what the model foresees: locked, nothing leaves; a
//! token has the asked life and the asked scope; a key that was removed or whose time is over is gone, and its tokens with
//! it; and GitHub is asked for no token that is at hand.

mod histories;
mod reference;
mod subject;

use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine as _, StateMachineTest as _};
use serde_json::{Value, json};

use reference::Model;
use subject::{ASKED, EVENTS, GRANTED, SERVED, Subject};

use crate::support::github::{App, Fault, GitHub, Installation};
use crate::support::inprocess::{InProcess, add_key};
use crate::support::{KEY, OTHER_KEY};

#[test]
#[expect(clippy::print_stderr, reason = "whoever reads the test's output should see how much was tried")]
fn whatever_happens_the_agent_does_what_the_model_does() {
    let config = Config { cases: HISTORIES, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    // The same histories at each run.
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&Model::sequential_strategy(1..=LONGEST), |(model, events, seen)| {
        Subject::test_sequential(config.clone(), model, events, seen);
        Ok(())
    });
    let [events, asked, served, granted] =
        [&EVENTS, &ASKED, &SERVED, &GRANTED].map(|count| count.load(Ordering::Relaxed));
    eprintln!("{events} events, {asked} of them questions; {served} tokens handed out, {granted} granted by GitHub");
    result.unwrap_or_else(|wrong| panic!("{wrong}"));
    // An agent that refuses everything would have little to get wrong.
    assert!(served > asked / 4 && granted > served / 10, "something was tried");
}

/// GitHub's answer is on its way when what it is for changes: histories at random do not meet that often.
#[test]
fn a_token_that_arrives_after_its_key_was_removed_is_not_kept() {
    let w = with_key_and_installation_known();
    // Longer than it takes to remove a key.
    w.github.delay(Duration::from_millis(200));
    w.ask(&json!({"action": "getToken"}));
    w.go_on_until("a token has been asked for", || w.github.mints() == 2);
    assert_eq!(w.request(&json!({"action": "removeAllKeys"}))["ok"], true);
    w.settle();
    assert_eq!(w.github.tokens().len(), 2, "it was granted");
    assert_eq!(w.request(&json!({"action": "status"}))["tokens"], json!([]));
}

#[test]
fn who_asks_with_a_key_that_was_added_again_does_not_get_the_refusal_of_who_asked_with_the_removed_one() {
    let w = with_key_and_installation_known();
    // It is tried again, and then the key is gone that it was begun with.
    w.github.next(Fault::Status(502));
    w.ask(&json!({"action": "getToken"}));
    w.go_on_until("a token has been asked for", || w.github.mints() == 2);
    assert_eq!(w.request(&json!({"action": "removeAllKeys"}))["ok"], true);
    assert_eq!(w.request(&add(&w.github, 11, true))["ok"], true);
    let answer = w.request(&json!({"action": "getToken"}));
    assert_eq!(answer["ok"], true, "{answer}");
}

/// An agent with the first App's key, which knows where that is installed and has no token for all of it.
fn with_key_and_installation_known() -> InProcess {
    let github = github();
    github.install(11, Installation::new(1, "octo").repositories(repositories_of("octo")));
    let w = InProcess::new(github);
    assert_eq!(w.request(&add(&w.github, 11, true))["ok"], true);
    assert_eq!(w.request(&json!({"action": "getToken", "permissions": {"contents": "read"}}))["ok"], true);
    w
}

/// A GitHub with both Apps, installed nowhere.
fn github() -> GitHub {
    let github = GitHub::start();
    for app in APPS {
        github.add_app(App::new(app, &name_of(app)).key_pem(key_of(app)));
    }
    github
}

fn add(github: &GitHub, app: u64, offline: bool) -> Value {
    let mut request = add_key(github, app, key_of(app));
    request["name"] = name_of(app).into();
    request["offline"] = offline.into();
    request
}

fn key_of(app: u64) -> &'static str {
    if app == 11 { KEY } else { OTHER_KEY }
}

fn name_of(app: u64) -> String {
    format!("app-{app}")
}

fn repositories_of(account: &str) -> &'static [&'static str] {
    match account {
        "octo" => &["hello", "tools"],
        "acme" => &["web"],
        _ => &[],
    }
}

/// The Apps that there are.
const APPS: [u64; 2] = [11, 22];
const HISTORIES: u32 = 40;
/// Events of the longest.
const LONGEST: usize = 80;
