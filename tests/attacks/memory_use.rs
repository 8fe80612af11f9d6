//! The agent's memory has a limit, and a lack of memory refuses a request and nothing more.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::support::encrypting::{SCRYPT, can_encrypt, encrypt, wire};
use crate::support::github::{App, Installation};
use crate::support::inprocess::add_key;
use crate::support::peer::Peer;
use crate::support::process::{allow_open_files, connections_to, peak, resident, tell, threads};
use crate::support::unprivileged::Unprivileged;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, KEY, World, need};

#[test]
fn unfinished_messages_hold_a_bounded_amount_of_memory() {
    allow_open_files(4096);
    let w = World::with_agent();
    let before = resident(w.pid());
    let _flood: Vec<Peer> = (0..1_500).map(|_| half_sent(&w)).collect();
    w.assert_agent_is_well();
    let grown = peak(w.pid()).saturating_sub(before);
    tell(format_args!("1,500 half-sent messages of 250 KiB take {} MiB", grown >> 20));
    assert!(grown < MOST_GROWTH, "{} MiB", grown >> 20);
    // A message that is cut off is told why.
    let mut cut_off = w.connect();
    let _ = cut_off.try_send(half_message());
    let answer = cut_off.try_answer().expect("an answer or a close in time");
    assert!(answer.is_none_or(|answer| answer["code"] == "busy"));
}

#[test]
fn control_unfinished_messages_below_the_limit_are_kept() {
    let w = World::with_agent();
    let before = resident(w.pid());
    let mut few: Vec<Peer> = (0..50).map(|_| half_sent(&w)).collect();
    wait_until("the agent has read them", DEADLINE, || resident(w.pid()) > before + 50 * 200 * 1024);
    for peer in &mut few {
        peer.send("\"}");
        assert_eq!(peer.answer()["code"], "unknown_action");
    }
}

#[test]
fn answers_that_are_not_taken_hold_a_bounded_amount_of_memory() {
    allow_open_files(4096);
    let w = World::with_agent();
    let names: Vec<String> = (0..480).map(|number| format!("{number:0>100}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    w.github.add_app(App::new(7, "large").key_pem(KEY));
    w.github.install(7, Installation::new(70, "octo").repositories(&names).permissions(&[("metadata", "read")]));
    assert_eq!(w.request(&add_key(&w.github, 7, KEY))["ok"], true);
    for missing in 0..3 {
        let some: Vec<&str> =
            names.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, name)| *name).collect();
        let answer = w.request(&json!({"action": "getToken", "repositories": some}));
        assert_eq!(answer["ok"], true, "{answer}");
    }
    let one = w.request(&json!({"action": "status"})).to_string().len() as u64;
    assert!(one < 200 * 1024, "one answer takes {} KiB", one >> 10);
    let before = resident(w.pid());
    let mut flood: Vec<Peer> = (0..700).map(|_| w.connect()).collect();
    for peer in &mut flood {
        // The system keeps the first ones, and the agent the next.
        peer.send(r#"{"action":"status"}"#.repeat(4));
    }
    wait_until("some are cut off", DEADLINE, || connections_to(&w.socket()) < flood.len());
    let grown = peak(w.pid()).saturating_sub(before);
    tell(format_args!("700 answers of {} KiB that are not taken hold {} MiB", one >> 10, grown >> 20));
    assert!(one * 700 > MOST_GROWTH, "the control: all of them would take more");
    assert!(grown < MOST_GROWTH, "{} MiB", grown >> 20);
}

#[test]
fn an_agent_that_gets_no_memory_refuses_and_lives() {
    if !can_encrypt() {
        return;
    }
    let (mut refused, mut done) = (0, 0);
    for mebibytes in [80, 100, 120, 160, 200, 250, 300, 350, 400] {
        let mut w = World::new();
        let limited = w.shell("sh", &format!("ulimit -v {}; exec apptoken-agent -s", mebibytes * 1024));
        let lines = limited.text();
        let (socket, pid) = crate::support::agent::parse_bourne(&lines).expect("the three lines");
        w.env("APPTOKEN_AUTH_SOCK", socket);
        w.env("APPTOKEN_AGENT_PID", pid.to_string());
        w.add_key(["--offline", "--name", "mine"]).stderr_contains("Identity added").ok();
        let mut judge = |what: &str, answer: &Value| {
            let out_of_memory = answer["code"] == "internal" && answer["hint"].is_string();
            let is_done = answer["ok"] == true || answer["code"] == "wrong_passphrase";
            assert!(is_done || out_of_memory, "{what} with {mebibytes} MiB: {answer}");
            if out_of_memory {
                refused += 1;
            } else {
                done += 1;
            }
            w.assert_agent_is_well();
            let keys = w.request(&json!({"action": "listKeys"}));
            assert!(keys["keys"][0]["name"] == "mine" || keys["code"] == "locked", "{keys}");
        };

        let small = BASE64_STANDARD.decode(wire(encrypt(&w, SCRYPT, KEY, PASSPHRASE))).expect("base64");
        // N 16384, r 8, p 1; with r 127 it takes 254 MiB, and another key comes out.
        let at = small.windows(10).position(|bytes| bytes == b"\x02\x02\x40\x00\x02\x01\x08\x02\x01\x01");
        let mut large = small.clone();
        large[at.expect("OpenSSL's parameters") + 6] = 127;
        for (what, key) in [("scrypt, 16 MiB", small), ("scrypt, 254 MiB", large)] {
            let key = BASE64_STANDARD.encode(key);
            judge(what, &w.request(&json!({"action": "checkKey", "key": key, "passphrase": PASSPHRASE})));
        }
        let seal = json!({"action": "sealKey", "key": BASE64_STANDARD.encode(KEY), "newPassphrase": PASSPHRASE});
        judge("sealing", &w.request(&seal));
        let locked = w.request(&json!({"action": "lock", "passphrase": PASSPHRASE}));
        judge("lock", &locked);
        let is_locked = w.request(&json!({"action": "ping"}))["locked"] == true;
        assert_eq!(is_locked, locked["ok"] == true, "{mebibytes} MiB");
        if is_locked {
            judge("unlock", &w.request(&json!({"action": "unlock", "passphrase": PASSPHRASE})));
        }
    }
    // The control: the limits do take effect, and not on everything.
    assert!(refused > 0 && done > 0, "{refused} refused, {done} done");
}

#[test]
fn a_lock_without_memory_says_so_and_leaves_the_keys() {
    let mut w = World::new();
    let lines = w.shell("sh", "ulimit -v 80000; exec apptoken-agent -s").text();
    let (socket, pid) = crate::support::agent::parse_bourne(&lines).expect("the three lines");
    w.env("APPTOKEN_AUTH_SOCK", socket);
    w.env("APPTOKEN_AGENT_PID", pid.to_string());
    let lock = w.shell("sh", "echo hunter2 | apptoken lock --passphrase-fd 0");
    lock.fails(1, ["memory", "limit"]);
    w.assert_agent_is_well();
    assert_eq!(w.request(&json!({"action": "ping"}))["locked"], false);
}

#[test]
fn an_agent_that_may_start_no_thread_refuses_and_lives() {
    let mut w = World::new();
    let Some(user) = Unprivileged::in_world(&mut w, 0o755) else { return };
    if !need("prlimit") || !can_encrypt() {
        return;
    }
    let lines = user.command(&w, &["apptoken-agent", "-s", "-a", "socket"]).run().text();
    let (socket, pid) = crate::support::agent::parse_bourne(&lines).expect("the three lines");
    w.env("APPTOKEN_AUTH_SOCK", socket);
    w.env("APPTOKEN_AGENT_PID", pid.to_string());
    let mut key = add_key(&w.github, APP_ID, KEY);
    key["offline"] = true.into();
    assert_eq!(w.request(&key)["ok"], true);
    wait_until("the agent has one thread", DEADLINE, || threads(w.pid()) == 1);
    let limit =
        |soft: &str| user.command(&w, &["prlimit", "--pid", &pid.to_string(), &format!("--nproc={soft}:")]).run().ok();
    limit("1");
    for request in [
        json!({"action": "getToken"}),
        json!({"action": "lock", "passphrase": PASSPHRASE}),
        json!({"action": "checkKey", "key": wire(encrypt(&w, SCRYPT, KEY, PASSPHRASE)), "passphrase": PASSPHRASE}),
    ] {
        let answer = w.request(&request);
        let text = answer.to_string();
        assert!(answer["ok"] == false && (text.contains("memory") || text.contains("thread")), "{answer}");
        w.assert_agent_is_well();
    }
    // The control: the limit was all that kept it.
    limit("1000");
    // A failure is remembered for a few seconds.
    wait_until("a token is granted", DEADLINE, || w.request(&json!({"action": "getToken"}))["ok"] == true);
}

/// A connection that has sent half of a message, as far as the agent took it.
fn half_sent(w: &World) -> Peer {
    let mut peer = w.connect();
    // The agent may cut it off while it is sent.
    let _ = peer.try_send(half_message());
    peer
}

fn half_message() -> String {
    format!("{{\"action\":\"{}", "x".repeat(250 * 1024))
}

const PASSPHRASE: &str = "hunter2";
/// What unfinished messages and answers that are not taken may take: the 16 MiB that are promised, as much again for what the
/// allocator keeps, and the connections themselves.
const MOST_GROWTH: u64 = 48 << 20;
