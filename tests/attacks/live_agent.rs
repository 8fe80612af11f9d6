//! A live agent is never replaced, and always has room for the requests that matter.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::agent::parse_bourne;
use crate::support::peer::Peer;
use crate::support::process::connections_to;
use crate::support::wait::{DEADLINE, wait_until};
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

#[test]
fn connections_that_take_no_answer_make_room() {
    let w = with_few_connections();
    w.apptoken(["token"]).line();
    // Their answers are more than the system keeps for them, so that the agent cannot send them.
    let questions = r#"{"action":"status"}"#.repeat(UNREAD_ANSWERS);
    let mut crowd: Vec<Peer> = (0..2 * CONNECTIONS).map(|_| w.connect()).collect();
    for peer in &mut crowd {
        let _ = peer.try_send(&questions);
    }
    w.apptoken(["token"]).line();
    w.command(APPTOKEN)
        .arg("lock")
        .arg("--passphrase-fd")
        .arg("0")
        .stdin("hunter2")
        .run()
        .stderr("Agent locked.\n")
        .ok();
}

#[test]
fn connections_that_are_told_to_go_make_room() {
    let w = with_few_connections();
    w.apptoken(["token"]).line();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut crowd = VecDeque::new();
            while !stop.load(Ordering::Relaxed) {
                let Ok(mut peer) = Peer::connect(&w.socket()) else { continue };
                let _ = peer.try_send("x");
                crowd.push_back(peer);
                if crowd.len() > 2 * CONNECTIONS {
                    crowd.pop_front();
                }
            }
        });
        wait_until("they are there", DEADLINE, || connections_to(&w.socket()) > CONNECTIONS);
        let answers: Vec<_> = (0..20).map(|_| w.request(&json!({"action": "getToken"}))).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(answers.iter().all(|answer| answer["ok"] == true), "{answers:?}");
    });
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

/// So many answers to `status` are several times what a socket keeps.
const UNREAD_ANSWERS: usize = 3_000;
const CONNECTIONS: usize = 60;
/// The files that the agent keeps for other things than connections.
const SPARE_FILES: usize = 64;
/// Connections beyond the maximum.
const RESERVED: usize = 16;
