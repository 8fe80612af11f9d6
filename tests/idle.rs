//! What an agent-wide limit takes away: keys that nobody asks for, and keys that were to be held too long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use apptoken::agent::clock::{self, Now};
use apptoken::agent::confirm::Confirm;
use apptoken::agent::handler::{Agent, Rules};
use apptoken::agent::http::Http;
use apptoken::agent::peer;
use apptoken::protocol::{Answer, Request};
use serde_json::json;

use crate::support::wait::{DEADLINE, comes_true, poll, wait_until};
use crate::support::{KEY, NO_OPTIONS, World};

#[test]
fn keys_are_forgotten_when_nothing_is_asked_and_looking_on_is_not_asking() {
    let not_asked_yet = Instant::now();
    let w = with_idle_key("1s");
    wait_until("the key is forgotten", DEADLINE, || {
        assert_eq!(w.request(&json!({"action": "ping"}))["ok"], true);
        w.request(&json!({"action": "no such action"}));
        keys_in_status(&w) == 0
    });
    assert!(not_asked_yet.elapsed() >= Duration::from_secs(1), "too early");
    assert_eq!(w.request(&json!({"action": "getToken"}))["code"], "no_key");
    w.assert_agent_is_well();
}

#[test]
fn a_key_whose_tokens_are_asked_for_is_kept() {
    let w = with_idle_key("3s");
    let mut peer = w.connect();
    let refused = comes_true(Duration::from_secs(5), || peer.request(&json!({"action": "getToken"}))["ok"] != true);
    assert!(!refused, "it was used all the time");
    assert_eq!(keys_in_status(&w), 1);
    wait_until("the key is forgotten", DEADLINE, || keys_in_status(&w) == 0);
}

#[test]
fn tokens_go_with_the_keys() {
    let w = with_idle_key("1s");
    let before = w.request(&json!({"action": "getToken"}))["token"].clone();
    wait_until("all is forgotten", DEADLINE, || keys_in_status(&w) == 0);
    let status = w.request(&json!({"action": "status"}));
    assert_eq!(status["tokens"], json!([]), "{status}");
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    assert_ne!(w.request(&json!({"action": "getToken"}))["token"], before);
}

#[test]
fn idle_keys_are_forgotten_while_locked_and_the_lock_stays() {
    let w = with_idle_key("1s");
    let locked = Instant::now();
    assert_eq!(w.request(&json!({"action": "lock", "passphrase": "sesame"}))["ok"], true);
    // Nobody sees how many keys a locked agent holds; a second after the time it has none.
    poll(DEADLINE, || (locked.elapsed() > Duration::from_secs(4)).then_some(())).expect("time passes");
    assert_eq!(w.request(&json!({"action": "getToken"}))["code"], "locked");
    assert_eq!(w.request(&json!({"action": "unlock", "passphrase": "sesame"}))["ok"], true);
    assert_eq!(keys_in_status(&w), 0);
}

#[test]
fn a_lock_that_is_short_keeps_idle_keys() {
    let w = with_idle_key("1h");
    assert_eq!(w.request(&json!({"action": "lock", "passphrase": "sesame"}))["ok"], true);
    assert_eq!(w.request(&json!({"action": "unlock", "passphrase": "sesame"}))["ok"], true);
    assert_eq!(keys_in_status(&w), 1);
}

#[test]
fn an_idle_agent_lives_on_and_takes_new_keys() {
    let w = with_idle_key("1s");
    wait_until("the key is forgotten", DEADLINE, || keys_in_status(&w) == 0);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.assert_agent_is_well();
    wait_until("the key is forgotten again", DEADLINE, || keys_in_status(&w) == 0);
}

#[test]
fn no_key_may_be_held_longer_than_the_agents_own_lifetime() {
    let mut w = World::new();
    w.start_agent(["-t", "45m"]);
    w.add_key(["-t", "46m"]).fails(1, ["45m"]);
    w.add_key(["-t", "2701"]).fails(1, ["45m"]);
    w.apptoken(["list"]).stdout("The agent has no identities.\n").exit(1);
    let key = json!({"action": "addKey", "appId": 1, "key": "AAAA", "offline": true, "lifetime": 2701});
    assert_eq!(w.request(&key)["code"], "denied");

    for (life, shown) in [("45m", "45m"), ("2700", "45m"), ("1m", "1m")] {
        w.add_key(["-t", life]).stderr_contains(format!("Lifetime set to {shown}\n")).ok();
    }
    w.add_key(["-t", "46m"]).fails(1, ["45m"]);
    assert!(w.apptoken(["list"]).line().ends_with("s left)"), "the key that is held is as it was");
}

#[test]
fn the_limits_are_told_to_who_looks() {
    let mut w = World::new();
    w.start_agent(["-t", "45m", "--idle", "1h30m"]);
    let status = w.apptoken(["status", "--json"]).json();
    assert_eq!((&status["max_lifetime"], &status["idle"]), (&json!(2700), &json!(5400)));
}

/// An agent that holds the App's key, and forgets it when nothing is asked for `span`.
fn with_idle_key(span: &str) -> World {
    let mut w = World::new();
    w.start_agent(["--idle", span]);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w
}

fn keys_in_status(w: &World) -> usize {
    w.request(&json!({"action": "status"}))["keys"].as_array().map_or(0, Vec::len)
}

#[test]
fn adding_a_key_again_does_not_lift_its_lifetime_to_the_agents_own() {
    let mut w = World::new();
    w.start_agent(["-t", "45m"]);
    w.add_key(["-t", "1m"]).stderr_contains("Lifetime set to 1m\n").ok();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    let line = w.apptoken(["list"]).line();
    assert!(!line.contains("m left)") && !line.contains("44m"), "{line}");
}

#[test]
fn after_a_night_asleep_the_first_request_does_not_bring_the_keys_back() {
    static ASLEEP: AtomicU64 = AtomicU64::new(0);
    let clock = || {
        let now = clock::system();
        Now { boot: now.boot + Duration::from_secs(ASLEEP.load(Ordering::SeqCst)), ..now }
    };
    let idle = Some(Duration::from_mins(10));
    let rules = Rules { max_lifetime: None, idle, confirm: Confirm::from_env(), audit: None, debug: false };
    let agent = Agent::new(rules, clock, Http::Threads);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ask = |request: serde_json::Value| {
        let request = Request::parse(request.to_string().as_bytes()).expect("a request");
        runtime.block_on(agent.handle(request, peer::Peer::new(0, None))).expect("an answer")
    };
    let der: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
    ask(json!({"action": "addKey", "appId": 1, "key": der, "offline": true}));
    // The timer that would have noticed did not run meanwhile.
    ASLEEP.store(8 * 3600, Ordering::SeqCst);
    let Answer::Keys(keys) = ask(json!({"action": "listKeys"})) else { panic!("keys") };
    assert_eq!(keys.keys.len(), 0);
}
