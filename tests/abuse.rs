//! A wrong client harms only itself: it gets an error or a closed connection, and the agent serves all others as before.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::World;
use crate::support::agent::parse_bourne;
use crate::support::peer::Peer;
use crate::support::process::allow_open_files;
use crate::support::wait::{DEADLINE, wait_until};

const PING: &str = r#"{"action":"ping"}"#;

#[test]
fn garbage_is_answered_or_closed_and_nothing_else() {
    let w = World::with_agent();
    for garbage in [
        &b"hello"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x00\x00\x05\x0b",
        b"}",
        b"]]]]",
        b"{]",
        b"[}",
        b"{,}",
        b"{\"action\":\"ping\",}",
        b"{\"action\":\"ping\"}}",
        b"{'action':'ping'}",
        b"nul",
        b"1e999 ",
        b"\"\\ud800\" ",
        b"\xff\xfe{\"action\":\"ping\"}",
        b"{\"action\":\"\xff\xfe\"}",
        b"{\"action\":\"\xc0\xaf\"}",
        b"{\"action\":\"pi\x00ng\"}",
        b"\0\0\0\0",
    ] {
        let mut peer = w.connect();
        peer.send(garbage);
        peer.end_sending();
        for answer in peer.until_closed(DEADLINE) {
            let refused = answer["ok"] == false && answer["code"].is_string();
            assert!(refused || answer["pong"] == true, "{:?}: {answer}", String::from_utf8_lossy(garbage));
        }
    }
    w.assert_agent_is_well();
}

#[test]
fn invalid_utf8_is_a_bad_request_and_is_not_quoted() {
    let w = World::with_agent();
    let mut peer = w.connect();
    peer.send(b"{\"action\":\"canary\xff\"}");
    let answer = peer.answer();
    assert_eq!(answer["code"], "bad_request");
    assert!(!answer.to_string().contains("canary"), "{answer}");
}

#[test]
fn half_a_request_and_a_closed_connection_are_forgotten() {
    let w = World::with_agent();
    for length in 0..PING.len() {
        let mut peer = w.connect();
        peer.send(&PING[..length]);
        drop(peer);
    }
    w.assert_agent_is_well();
}

#[test]
fn half_a_request_is_waited_for_ten_seconds_and_an_idle_connection_for_longer() {
    let w = World::with_agent();
    let mut idle = w.connect();
    let mut between = w.connect();
    assert_eq!(between.request(&json!({"action": "ping"}))["pong"], true);
    let mut drip = w.connect();
    drip.send("{");
    let mut half = w.connect();
    half.send(r#"{"action":"#);
    let start = Instant::now();
    let answers = half.until_closed(Duration::from_secs(20));
    assert!(start.elapsed() > Duration::from_secs(8), "closed after {:?}", start.elapsed());
    assert!(answers.iter().all(|answer| answer["code"] == "timeout"), "{answers:?}");
    // The ten seconds are for the whole message: a byte now and then does not extend them.
    let _ = drip.try_send(" ");
    drip.until_closed(Duration::from_secs(5));
    for peer in [&mut idle, &mut between] {
        assert_eq!(peer.request(&json!({"action": "ping"}))["pong"], true);
    }
    w.assert_agent_is_well();
}

#[test]
fn a_message_of_256_kib_is_read_and_one_byte_more_is_too_large() {
    let w = World::with_agent();
    let padded = |size: usize| PING.replace('}', &" ".repeat(size - PING.len())) + "}";
    let mut peer = w.connect();
    peer.send(padded(256 * 1024));
    assert_eq!(peer.answer()["pong"], true);

    let mut peer = w.connect();
    let _ = peer.try_send(padded(256 * 1024 + 1));
    assert_eq!(peer.answer()["code"], "too_large");
    peer.until_closed(DEADLINE);
}

#[test]
fn three_hundred_kib_are_too_large_whatever_they_are() {
    let w = World::with_agent();
    for filler in ["A", "{", "[", "\\\"", "{\"a\":", "\u{1f600}"] {
        let mut peer = w.connect();
        let flood = format!("{{\"action\":\"{}", filler.repeat(300 * 1024 / filler.len()));
        // Refused is refused: the agent may close before all is sent.
        let _ = peer.try_send(flood);
        let answer = peer.try_answer().expect("an answer or a close in time");
        let code = answer.as_ref().map(|answer| answer["code"].as_str());
        assert!(matches!(code, None | Some(Some("too_large" | "bad_request"))), "{filler}: {answer:?}");
    }
    w.assert_agent_is_well();
}

#[test]
fn deep_nesting_is_refused_and_no_stack_overflows() {
    let w = World::with_agent();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [127, 128, 129, 20_000] {
            let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let mut peer = w.connect();
            peer.send(format!("{{\"action\":\"ping\",\"extra\":{value}}}"));
            assert_eq!(peer.answer()["code"], "bad_request", "{open} {depth}");
        }
        let mut peer = w.connect();
        peer.send(open.repeat(20_000));
        peer.end_sending();
        peer.until_closed(DEADLINE);
    }
    w.assert_agent_is_well();
}

#[test]
fn blanks_without_end_are_not_a_request() {
    let w = World::with_agent();
    let mut peer = w.connect();
    for _ in 0..64 {
        if peer.try_send(" \n".repeat(16 * 1024)).is_err() {
            break;
        }
    }
    w.assert_agent_is_well();
}

#[test]
fn a_client_that_leaves_before_its_answer_costs_nothing() {
    let w = World::with_key();
    w.github.delay(Duration::from_millis(50));
    for _ in 0..20 {
        let mut peer = w.connect();
        peer.send(r#"{"action":"getToken"}"#);
    }
    let mut many = w.connect();
    many.send(PING.repeat(1000));
    drop(many);
    assert!(w.request(&json!({"action": "getToken"}))["token"].is_string());
    w.assert_agent_is_well();
}

#[test]
fn a_client_that_never_reads_stops_only_itself() {
    let w = World::with_agent();
    let mut deaf = w.connect();
    deaf.write_timeout(Duration::from_millis(200));
    let flood = PING.repeat(1000);
    let stopped = (0..1000).find_map(|_| deaf.try_send(&flood).err());
    let error = stopped.expect("the agent takes no more from it than it can answer");
    assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::BrokenPipe), "{error}");
    w.assert_agent_is_well();
}

#[test]
fn two_thousand_connections_at_once_keep_nobody_from_being_served() {
    allow_open_files(4096);
    let w = World::with_agent();
    let mut crowd: Vec<Peer> = (0..2000).map(|_| w.connect()).collect();
    w.assert_agent_is_well();
    // Those that ask are answered, told that it is busy, or closed; none is left waiting.
    for peer in &mut crowd {
        if peer.try_send(PING).is_ok()
            && let Some(answer) = peer.try_answer().expect("an answer or a close in time")
        {
            assert!(answer["pong"] == true || answer["code"] == "busy", "{answer}");
        }
    }
    drop(crowd);
    w.assert_agent_is_well();
}

#[test]
fn two_hundred_halves_of_requests_do_not_delay_a_whole_one() {
    let w = World::with_agent();
    let _halves: Vec<Peer> = (0..200)
        .map(|_| {
            let mut peer = w.connect();
            peer.send(r#"{"action":"pi"#);
            peer
        })
        .collect();
    let start = Instant::now();
    for _ in 0..50 {
        w.assert_agent_is_well();
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_slow_github_delays_only_those_who_ask_it() {
    let w = World::with_key();
    w.github.delay(Duration::from_secs(2));
    let mut slow = w.connect();
    slow.send(r#"{"action":"getToken"}"#);
    w.github.wait_for(|journal| journal.iter().any(|request| request.is("GET /app/installations")));
    let start = Instant::now();
    w.assert_agent_is_well();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(slow.answer()["token"].is_string());
}

#[test]
fn an_agent_with_few_descriptors_sheds_connections_and_lives() {
    let w = World::new();
    let lines = w.shell("sh", "ulimit -n 40; exec apptoken-agent -s").text();
    let (socket, pid) = parse_bourne(&lines).expect("the three lines");
    let crowd: Vec<Peer> = (0..100).filter_map(|_| Peer::connect(&socket).ok()).collect();
    drop(crowd);
    wait_until("the agent answers", DEADLINE, || {
        let Ok(mut peer) = Peer::connect(&socket) else {
            return false;
        };
        peer.try_send(PING).is_ok() && matches!(peer.try_answer(), Ok(Some(pong)) if pong["pid"] == pid.as_raw())
    });
}

#[test]
fn signals_that_mean_nothing_to_it_do_not_end_it() {
    let w = World::with_agent();
    for signal in [Signal::SIGPIPE, Signal::SIGUSR1, Signal::SIGWINCH, Signal::SIGCHLD] {
        w.signal(signal);
        w.assert_agent_is_well();
    }
}
