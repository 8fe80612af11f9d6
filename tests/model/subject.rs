//! The agent that is held against the reference, at a GitHub that follows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use apptoken::agent::clock::parse_rfc3339;
use proptest_state_machine::StateMachineTest;
use serde_json::{Value, json};

use super::reference::{Due, Event, Model, Place, Question, Target, Trouble};
use super::{add, github, name_of, repositories_of};
use crate::support::github::{Expiry, Installation, Level};
use crate::support::inprocess::{InProcess, true_time};
use crate::support::{KEY, OTHER_KEY};

/// The agent, and what is told of the past by GitHub's list of tokens.
pub(super) struct Subject {
    w: InProcess,
    /// How many there were when a key was added, or when the agent was locked: older ones are gone.
    since: BTreeMap<u64, usize>,
    installed: BTreeMap<Place, u64>,
}

impl StateMachineTest for Subject {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let mut sut = Self { w: InProcess::new(github()), since: BTreeMap::new(), installed: BTreeMap::new() };
        model.installed.keys().for_each(|place| sut.follow(model, *place));
        sut
    }

    fn apply(mut sut: Self, model: &Model, event: Event) -> Self {
        EVENTS.fetch_add(1, Ordering::Relaxed);
        let before = sut.w.github.tokens().len();
        let is_waited_for = event.is_waited_for();
        sut.meet(model, event);
        if is_waited_for {
            sut.w.settle();
        }
        let minted = sut.w.github.tokens().len() - before;
        GRANTED.fetch_add(minted, Ordering::Relaxed);
        assert!(minted <= model.mints, "{minted} tokens were minted, and {} needed at the most", model.mints);
        sut
    }

    /// What the agent tells of itself.
    fn check_invariants(sut: &Self, model: &Model) {
        let status = sut.w.at_once(&json!({"action": "status"})).expect("a status is told at once");
        assert_tells_no_key(&status);
        assert!(!status.to_string().contains("ghs_"), "{status}");
        assert_eq!(status["locked"], model.locked);
        let list = |field: &str| status[field].as_array().expect("a list").clone();
        let told: BTreeMap<_, _> =
            list("keys").iter().map(|key| (key["name"].to_string(), key["lifetime"].as_u64())).collect();
        let keys = model.keys.iter().filter(|_| !model.locked);
        let held: BTreeMap<_, _> =
            keys.map(|(app, until)| (json!(name_of(*app)).to_string(), until.map(|until| until - model.now))).collect();
        assert_eq!(told, held);
        for token in list("tokens") {
            assert!(held.contains_key(&token["key"].to_string()), "the key of {token} is gone");
        }
    }
}

impl Subject {
    fn meet(&mut self, model: &Model, event: Event) {
        let before = self.w.github.tokens().len();
        match event {
            Event::Add { app, lifetime, offline } => {
                self.since.insert(app, before);
                let mut request = add(&self.w.github, app, offline);
                if let Some(lifetime) = lifetime {
                    request["lifetime"] = lifetime.into();
                }
                judge(model, &self.w.request(&request));
            }
            Event::Remove(app) => {
                judge(model, &self.w.request(&json!({"action": "removeKey", "key": name_of(app)})));
            }
            Event::RemoveAll => judge(model, &self.w.request(&json!({"action": "removeAllKeys"}))),
            Event::Lock => {
                self.since.values_mut().for_each(|since| *since = before);
                judge(model, &self.w.request(&json!({"action": "lock", "passphrase": "hunter2"})));
            }
            Event::Unlock => judge(model, &self.w.request(&json!({"action": "unlock", "passphrase": "hunter2"}))),
            Event::UnlockWrongly => {
                judge(model, &self.w.request(&json!({"action": "unlock", "passphrase": "hunter3"})));
            }
            Event::Pass(seconds) => self.w.pass(seconds),
            Event::Ask(question) => self.judge_token(model, &question, &self.w.request(&question.request())),
            Event::AskAndLeave(question) => {
                if let Some(answer) = self.w.at_once(&question.request()) {
                    self.judge_token(model, &question, &answer);
                }
            }
            Event::AskDespite(trouble, question) => {
                match trouble {
                    Trouble::Fault(fault) => self.w.github.next(fault),
                    Trouble::Expiry(expiry) => self.w.github.expires_at(expiry),
                }
                self.judge_token(model, &question, &self.w.request(&question.request()));
                self.w.settle();
                self.w.github.clear_faults();
                self.w.github.expires_at(Expiry::Truthful);
            }
            Event::AskAgain => self.judge_token(model, &model.last, &self.w.request(&model.last.request())),
            Event::Install(place) | Event::InstallAnew(place) | Event::Suspend(place) | Event::Permit(place) => {
                self.follow(model, place);
            }
        }
    }

    /// Makes GitHub what the model says of it.
    fn follow(&mut self, model: &Model, place: Place) {
        let (app, account) = place;
        let there = model.installed.get(&place);
        if let Some(was) = self.installed.remove(&place)
            && there.is_none_or(|there| there.number != was)
        {
            self.w.github.uninstall(was);
        }
        if let Some(there) = there {
            let wanted = Installation::new(there.number, account).repositories(repositories_of(account));
            let wanted = wanted.permissions(&there.permissions());
            self.w.github.install(app, if there.suspended { wanted.suspended() } else { wanted });
            self.installed.insert(place, there.number);
        }
    }

    /// A token that is handed out is the asked one, whatever the agent says of it: GitHub knows.
    fn judge_token(&self, model: &Model, question: &Question, answer: &Value) {
        ASKED.fetch_add(1, Ordering::Relaxed);
        judge(model, answer);
        if answer["ok"] != true {
            return;
        }
        SERVED.fetch_add(1, Ordering::Relaxed);
        let tokens = self.w.github.tokens();
        let place = tokens.iter().position(|token| answer["token"] == token.value).expect("GitHub granted it");
        let token = &tokens[place];
        let app = model.choose(question).expect("it chose");
        assert!(place >= self.since[&app], "it is from before the key was added or locked");
        assert_eq!(token.app, app);
        let (_, account) = model.numbers[&token.installation];
        match question.target {
            Target::Sole => {}
            Target::Owner(owner) | Target::Repo(owner, _) => assert_eq!(account, owner),
        }
        let left = token.expires - true_time();
        assert!(left >= question.least().cast_signed(), "it lives {left} seconds more");
        let reach: BTreeSet<_> = token.repositories.iter().flatten().map(String::as_str).collect();
        assert_eq!(reach, question.names());
        let contents = token.permissions["contents"];
        match question.contents {
            Some("read") => assert_eq!((contents, token.permissions.len()), (Level::Read, 2)),
            Some(_) => assert_eq!((contents, token.permissions.len()), (Level::Write, 2)),
            None => {}
        }
        let told = answer["expiresAt"].as_str().and_then(parse_rfc3339).expect("a time");
        assert!(told <= token.expires, "it says that it lives longer than it does");
        assert_eq!(answer["installationId"], token.installation);
        assert_eq!(answer["account"], account);
    }
}

/// What is answered is what the model says, and has no secret in it but the token that was asked for.
fn judge(model: &Model, answer: &Value) {
    let is_githubs = |code: &Value| GITHUBS.iter().any(|githubs| code == githubs);
    match model.due {
        Due::Done => assert_eq!(answer["ok"], true, "{answer}"),
        Due::Refused(code) => assert_eq!(answer["code"], code, "{answer}"),
        Due::Either => assert!(answer["ok"] == true || is_githubs(&answer["code"]), "{answer}"),
    }
    assert_tells_no_key(answer);
    assert!(answer.get("token").is_some() || !answer.to_string().contains("ghs_"), "{answer}");
}

fn assert_tells_no_key(answer: &Value) {
    let said = answer.to_string();
    for key in [KEY, OTHER_KEY] {
        // A line of a PEM file is a piece of what crosses the socket.
        let piece = key.lines().nth(5).expect("a key has more lines");
        assert!(!said.contains(piece), "{answer}");
    }
}

/// How many were tried, and what came of it, over all histories.
pub(super) static EVENTS: AtomicUsize = AtomicUsize::new(0);
pub(super) static ASKED: AtomicUsize = AtomicUsize::new(0);
pub(super) static SERVED: AtomicUsize = AtomicUsize::new(0);
pub(super) static GRANTED: AtomicUsize = AtomicUsize::new(0);

/// What is refused because GitHub did, or cannot be used.
const GITHUBS: [&str; 6] =
    ["not_installed", "suspended", "not_granted", "choose_installation", "rate_limited", "github_unavailable"];
