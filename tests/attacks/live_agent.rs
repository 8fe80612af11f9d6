//! A live agent is never replaced, and always has room for the requests that matter.

use std::time::Duration;

use serde_json::json;

use crate::support::agent::parse_bourne;
use crate::support::peer::Peer;
use crate::support::wait::DEADLINE;
use crate::support::{AGENT, APPTOKEN, HOST, SLUG, World};

#[test]
fn an_agent_with_too_many_requests_still_carries_out_those_that_matter() {
    let w = with_few_connections();
    let _crowd = fill(&w);
    for request in [json!({"action": "ping"}), json!({"action": "status"})] {
        let answer = w.request(&request);
        assert_eq!(answer["ok"], true, "{request}: {answer}");
    }
    // The control: others are refused.
    for request in [json!({"action": "getToken"}), json!({"action": "listKeys"})] {
        assert_eq!(w.request(&request)["code"], "busy", "{request}");
    }
    let mut silent: Vec<Peer> = (0..RESERVED + 4).map(|_| w.connect()).collect();
    assert_eq!(w.request(&json!({"action": "ping"}))["pong"], true, "silent ones do not keep it out");
    for peer in &mut silent {
        assert!(peer.until_closed(Duration::from_secs(10)).iter().all(|answer| answer["code"] == "busy"));
    }
    let answer = w.request(&json!({"action": "removeKey", "key": SLUG}));
    assert_eq!(answer["removed"], json!([SLUG]), "{answer}");
    assert_eq!(w.request(&json!({"action": "removeAllKeys"}))["ok"], true);
    assert_eq!(w.request(&json!({"action": "lock", "passphrase": "hunter2"}))["ok"], true);
    assert_eq!(w.request(&json!({"action": "ping"}))["locked"], true);
}

#[test]
fn an_agent_with_too_many_requests_can_be_ended() {
    let w = with_few_connections();
    let _crowd = fill(&w);
    w.agent(["-k", "-s"]).stdout_contains("unset APPTOKEN_AUTH_SOCK").ok();
}

#[test]
fn a_process_with_too_many_requests_makes_room_for_another() {
    let w = with_few_connections();
    let mut crowd = fill(&w);
    w.command(APPTOKEN).arg("list").run().stdout_contains(HOST).ok();
    let newest = crowd.last_mut().expect("there is a crowd");
    assert_eq!(newest.answer()["code"], "busy");
}

/// A world with a key and an agent that may have few files open, and so takes few connections.
fn with_few_connections() -> World {
    let mut w = World::new();
    let lines = w.shell("sh", &format!("ulimit -n {}; exec {AGENT} -s", CONNECTIONS + SPARE_FILES)).text();
    let (socket, pid) = parse_bourne(&lines).expect("the three lines");
    w.env("APPTOKEN_AUTH_SOCK", socket);
    w.env("APPTOKEN_AGENT_PID", pid.to_string());
    w.add_key(crate::support::NO_OPTIONS).stderr_contains("Identity added").ok();
    w
}

/// As many requests of this process as there may be connections. None of them is answered soon.
fn fill(w: &World) -> Vec<Peer> {
    w.github.delay(DEADLINE);
    let mut last = w.connect();
    let ask = |peer: &mut Peer, number: usize| {
        peer.send(json!({"action": "getToken", "owner": format!("owner-{number}")}).to_string());
    };
    let mut crowd: Vec<Peer> = (1..CONNECTIONS).map(|_| w.connect()).collect();
    crowd.iter_mut().enumerate().for_each(|(number, peer)| ask(peer, number));
    // What was sent before is read before: when this is answered, all of them are being carried out.
    for _ in 0..2 {
        assert_eq!(last.request(&json!({"action": "ping"}))["pong"], true);
    }
    ask(&mut last, CONNECTIONS);
    assert!(!last.is_answered_within(Duration::from_millis(500)));
    crowd.push(last);
    crowd
}

const CONNECTIONS: usize = 60;
/// The files that the agent keeps for other things than connections.
const SPARE_FILES: usize = 64;
/// Connections beyond the maximum.
const RESERVED: usize = 16;
