//! A hostile API does not delay other clients, and requests that wait for it hold little memory.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime;
use tokio::time::timeout;

use crate::support::encrypting::wire;
use crate::support::github::Fault;
use crate::support::listener::Listener;
use crate::support::peer::Peer;
use crate::support::process::{allow_open_files, resident, tell};
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, HOST, OTHER_KEY, World};

const MINT: &str = "POST /app/installations/*/access_tokens";

#[test]
fn a_flood_of_1xx_answers_delays_no_ping() {
    let flood = flood();
    let w = World::with_agent();
    let url = format!("http://{}", flood.address());
    let add = ["add", "--offline", "key.pem", "--app-id", &APP_ID.to_string(), "--host", HOST, "--api-url", &url];
    w.apptoken(add).stderr_contains("Identity added").ok();
    // The flood begins when all of them have connected to it.
    let _waiting: Vec<Peer> = (0..FLOODS).map(|n| asking(&w, &json!({"owner": format!("owner-{n}")}))).collect();
    wait_until("the API floods every connection", DEADLINE, || flood.accepted() > 0);
    let slowest = slowest_ping(&mut w.connect());

    let unprotected = slowest_ping_beside_http(&flood);
    tell(format_args!(
        "the slowest ping beside {FLOODS} floods takes {slowest:?}; on the thread of one flood {unprotected:?}"
    ));
    assert!(slowest * 4 < unprotected, "the slowest ping takes {slowest:?}; without protection {unprotected:?}");
}

#[test]
fn a_flood_of_one_api_does_not_stop_another() {
    let flood = flood();
    let w = World::with_key();
    let url = format!("http://{}", flood.address());
    let key = json!({"action": "addKey", "key": wire(OTHER_KEY), "appId": 7, "host": "evil.example",
        "apiUrl": url, "offline": true});
    assert_eq!(w.request(&key)["ok"], true);
    let _waiting: Vec<Peer> =
        (0..FLOODS).map(|n| asking(&w, &json!({"app": "7", "owner": format!("owner-{n}")}))).collect();
    wait_until("the API floods a connection", DEADLINE, || flood.accepted() > 0);
    let began = Instant::now();
    let answer = w.request(&json!({"action": "getToken", "app": APP_ID.to_string(), "owner": "octo"}));
    tell(format_args!("beside {FLOODS} floods of one API, another's token takes {:?}", began.elapsed()));
    assert_eq!(answer["ok"], true, "{answer}");
}

#[test]
fn thousands_of_permission_names_are_refused_at_once() {
    let w = World::with_key();
    w.github.always(MINT, Fault::Hang);
    let names: Vec<(String, &str)> = (0..NAMES).rev().map(|n| (format!("p{n:05}"), "read")).collect();
    // Each name goes before those that are there already, which then have to move.
    let list: Vec<String> = names.iter().map(|(name, level)| format!("\"{name}\":\"{level}\"")).collect();
    let message = format!("{{\"action\":\"getToken\",\"permissions\":{{{}}}}}", list.join(","));
    assert!(message.len() < 256 * 1024, "{} bytes", message.len());

    let mut pinging = w.connect();
    let before = resident(w.pid());
    let mut attacking: Vec<Peer> = (0..ATTACKERS).map(|_| w.connect()).collect();
    let mut slowest = Duration::ZERO;
    for attacker in &mut attacking {
        attacker.send(&message);
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        slowest = slowest.max(ping(&mut pinging));
    }
    let held = resident(w.pid()).saturating_sub(before);

    // The control keeps each name before it counts them.
    let began = Instant::now();
    let mut kept: Vec<(String, &str)> = Vec::new();
    for (name, level) in &names {
        let at = kept.binary_search_by(|(other, _)| other.cmp(name)).expect_err("each name is new");
        kept.insert(at, (name.clone(), level));
    }
    let unprotected = began.elapsed();
    let bytes = kept.iter().map(|entry| size_of_val(entry) + entry.0.len()).sum::<usize>();
    tell(format_args!(
        "beside {ATTACKERS} requests with {NAMES} permissions each, the slowest ping takes {slowest:?}, and the agent holds \
         {held} bytes more; the names of one take {unprotected:?} and {bytes} bytes"
    ));
    for attacker in &mut attacking {
        let answer = attacker.answer();
        assert_eq!(answer["code"], "bad_request", "{answer}");
    }
    assert!(held < (ATTACKERS * bytes / 2) as u64, "the agent holds {held} bytes more");
}

#[test]
fn requests_that_wait_for_github_hold_little_memory() {
    allow_open_files(4 * WAITING as u64);
    let w = World::with_key();
    w.github.always(MINT, Fault::Hang);
    let repositories: Vec<String> = (0..500).map(|n| format!("{n:0>100}")).collect();
    // The rest of the message is blank: the agent must not keep it while the request waits.
    let question = json!({"action": "getToken", "repositories": repositories}).to_string();
    let blanks = " ".repeat(100 * 1024 - question.len());
    let large = question.replacen('{', &format!("{{{blanks}"), 1);
    let before = resident(w.pid());
    let mut waiting: Vec<Peer> = (0..WAITING).map(|_| w.connect()).collect();
    for client in &mut waiting {
        client.send(&large);
    }
    w.assert_agent_is_well();
    // An ordinary request is not refused because of the large ones.
    let mut ordinary = asking(&w, &json!({"owner": "octo", "repositories": ["hello"]}));
    wait_until("both are asked of GitHub", DEADLINE, || w.github.mints() >= 2);
    let held = resident(w.pid()).saturating_sub(before);
    let sent = WAITING * repositories.iter().map(String::len).sum::<usize>();
    tell(format_args!(
        "{WAITING} requests with {sent} bytes of names wait, and the agent holds {held} bytes more than {before}"
    ));

    w.github.clear_faults();
    assert!(held < 48 * 1024 * 1024, "the agent holds {held} bytes more");
    let answers: Vec<Value> = waiting.iter_mut().map(Peer::answer).collect();
    let busy = answers.iter().filter(|answer| answer["code"] == "busy").count();
    assert!((1..WAITING).contains(&busy), "{busy} of {WAITING} were refused: {:?}", answers.last());
    // Nobody waits any more, so that there is room again.
    assert_eq!(ordinary.answer()["ok"], true);
    let mut again = w.connect();
    again.send(&large);
    assert_eq!(again.answer()["code"], "not_granted", "it is asked of GitHub, which knows none of these repositories");
}

/// An API that answers every request with `103 Early Hints`, again and again.
fn flood() -> Listener {
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(4096);
    Listener::start(move |mut stream| {
        let hints = hints.clone();
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let began = Instant::now();
            // It has an end, since nothing else ends the control.
            while began.elapsed() < FLOOD && stream.write_all(hints.as_bytes()).await.is_ok() {}
        }
    })
}

/// A client that has asked for a token, and waits.
fn asking(w: &World, scope: &Value) -> Peer {
    let mut question = scope.clone();
    question["action"] = "getToken".into();
    let mut client = w.connect();
    client.send(question.to_string());
    client
}

fn ping(peer: &mut Peer) -> Duration {
    let began = Instant::now();
    assert_eq!(peer.request(&json!({"action": "ping"}))["ok"], true);
    began.elapsed()
}

fn slowest_ping(peer: &mut Peer) -> Duration {
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    while began.elapsed() < FOR {
        slowest = slowest.max(ping(peer));
    }
    slowest
}

/// The same requests and the same pings on one thread, as the control.
fn slowest_ping_beside_http(flood: &Listener) -> Duration {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs only memory");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client without TLS");
    let accepted = flood.accepted();
    runtime.block_on(async {
        let request = client.get(format!("http://{}", flood.address()));
        tokio::spawn(timeout(DEADLINE, request.send()));
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        tokio::spawn(async move {
            while let Ok(byte) = theirs.read_u8().await {
                let _ = theirs.write_u8(byte).await;
            }
        });
        let (began, mut slowest) = (Instant::now(), Duration::ZERO);
        while began.elapsed() < FOR || flood.accepted() <= accepted {
            let asked = Instant::now();
            ours.write_u8(1).await.expect("it is read");
            ours.read_u8().await.expect("it is answered");
            slowest = slowest.max(asked.elapsed());
        }
        slowest
    })
}

/// The requests that one App makes at a time.
const FLOODS: usize = 5;
/// For how long a connection is flooded, longer than the agent waits for an answer.
const FLOOD: Duration = Duration::from_secs(12);
/// For how long pings are sent.
const FOR: Duration = Duration::from_secs(4);
/// Permission names in one message; they fill it.
const NAMES: usize = 14_000;
const ATTACKERS: usize = 20;
/// Connections whose requests are as large as GitHub allows.
const WAITING: usize = 300;
