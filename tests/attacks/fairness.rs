//! One process cannot starve the others.
//!
//! The test's own process is one of the attackers: all of its connections have one share. The client of the victim is
//! another process.

use std::time::{Duration, Instant};

use apptoken::agent::sealed::{NotUnsealed, SealedFile};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use crate::support::encrypting::{PKCS8, can_encrypt, encrypt};
use crate::support::peer::Peer;
use crate::support::process::{allow_open_files, connections_to, processes_in_session, tell};
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APPTOKEN, KEY, World};

#[test]
fn wrong_unlocks_of_one_process_do_not_delay_another() {
    let w = locked();
    let mut flood: Vec<Peer> = (0..CROWD).map(|_| w.connect()).collect();
    for guesser in &mut flood {
        guesser.send(json!({"action": "unlock", "passphrase": "wrong"}).to_string());
    }
    let took = unlock(&w);
    // Once it is unlocked, no other passphrase is tried.
    let tried = flood.iter_mut().map(Peer::answer).filter(|answer| answer["code"] == "denied").count();
    tell(format_args!("a right unlock behind {CROWD} wrong ones of one process takes {took:?}, after {tried} of them"));
    assert!(tried <= MOST_TRIED, "{tried} of them were tried first");
}

#[test]
fn wrong_unlocks_of_many_processes_do_not_delay_another() {
    let w = locked();
    let guess = format!("for i in $(seq {CROWD}); do printf wrong | {UNLOCK} 2>&1 & done; echo started; wait");
    let flood = w.command("sh").args(["-c", &guess]).start();
    flood.expect_stdout("started");
    // Those that are not connected yet would come after the right one, and not before it.
    wait_until("the wrong unlocks wait", DEADLINE, || {
        let guessers = processes_in_session(flood.pid(), "apptoken");
        guessers >= CROWD / 2 && connections_to(&w.socket()) >= guessers
    });
    let took = unlock(&w);
    let answers = flood.finish().text();
    let tried = answers.lines().filter(|line| line.contains("that is not the passphrase")).count();
    let too_late = answers.lines().filter(|line| line.contains("the agent is not locked")).count();
    tell(format_args!("a right unlock behind those of {CROWD} processes takes {took:?}, after {tried} of them"));
    assert!(too_late >= CROWD / 2, "the control: only {too_late} waited when the right one came\n{answers}");
    assert!(tried <= MOST_TRIED, "{tried} of them were tried first");
}

#[test]
fn a_stream_of_new_processes_does_not_hold_an_unlock_back() {
    let w = locked();
    let guess = format!("while printf wrong | {UNLOCK} 2>/dev/null; [ $? = 1 ]; do :; done");
    let guess = format!("for i in $(seq 4); do ({guess}) & done; wait");
    let flood = w.command("sh").args(["-c", &guess]).start();
    wait_until("the wrong unlocks wait", DEADLINE, || connections_to(&w.socket()) >= 3);
    let took = unlock(&w);
    tell(format_args!("a right unlock among endless new processes takes {took:?}"));
    drop(flood);
}

#[test]
fn keys_that_are_expensive_to_open_do_not_keep_others_out() {
    if !can_encrypt() {
        return;
    }
    let w = World::with_agent();
    w.file("encrypted.pem", encrypt(&w, PKCS8, KEY, PASSPHRASE));
    let expensive = BASE64_STANDARD.encode(expensive_file());
    let mut flood: Vec<Peer> = (0..40).map(|_| w.connect()).collect();
    for importer in &mut flood {
        importer.send(json!({"action": "checkKey", "key": expensive, "passphrase": "wrong"}).to_string());
    }
    // The control: there is no room for all of them, and their own process is told.
    assert_eq!(flood[1].answer()["code"], "busy");
    let add = w.add("encrypted.pem").args(["--offline", "--passphrase-fd", "0"]).stdin(PASSPHRASE);
    add.run().stderr_contains("Identity added").ok();
    assert!(!flood[39].is_answered_within(Duration::from_millis(1)), "the flood was there all the time");
}

#[test]
fn requests_of_one_process_do_not_delay_a_token_of_another() {
    allow_open_files(2 * 1024);
    let w = World::with_key();
    w.apptoken(["token"]).line();
    let start = Instant::now();
    w.apptoken(["token"]).line();
    let alone = start.elapsed();
    w.github.delay(Duration::from_millis(400));
    let mut flood: Vec<Peer> = (0..1_000).map(|_| w.connect()).collect();
    for (number, asker) in flood.iter_mut().enumerate() {
        asker.send(json!({"action": "getToken", "owner": format!("owner-{number}")}).to_string());
    }
    w.github.wait_for(|journal| journal.iter().filter(|entry| entry.is("GET /users/*/installation")).count() > 4);

    let start = Instant::now();
    w.apptoken(["token"]).line();
    let cached = start.elapsed();
    tell(format_args!("a cached token behind 1,000 requests of another process takes {cached:?}"));
    assert!(cached < CACHED_BOUND, "{cached:?}, and {alone:?} alone");

    // The control: a request of the same process has to wait for all of these.
    let mut own = w.connect();
    own.send(r#"{"action":"getToken","repositories":["tools"]}"#);
    let start = Instant::now();
    w.apptoken(["--repo", "octo/hello", "token"]).line();
    let minted = start.elapsed();
    tell(format_args!("a new token behind 1,000 requests of another process takes {minted:?}"));
    assert!(minted < Duration::from_secs(10), "{minted:?}");
    assert!(!own.is_answered_within(Duration::from_millis(1)));
}

#[test]
fn a_call_that_another_process_joins_takes_its_turn() {
    allow_open_files(2 * 1024);
    let w = World::with_key();
    w.github.delay(Duration::from_millis(400));
    let mut flood: Vec<Peer> = (0..300).map(|_| w.connect()).collect();
    for (number, asker) in flood.iter_mut().enumerate() {
        asker.send(json!({"action": "getToken", "owner": format!("owner-{number}")}).to_string());
    }
    // The attacker asks for what the victim will need, behind everything else.
    let mut first = w.connect();
    first.send(r#"{"action":"getToken","owner":"octo"}"#);
    assert!(!first.is_answered_within(Duration::from_secs(2)), "the control: alone, it waits");
    let start = Instant::now();
    w.apptoken(["--owner", "octo", "token"]).line();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// A world whose agent is locked with [`PASSPHRASE`].
fn locked() -> World {
    allow_open_files(1024);
    let w = World::with_agent();
    assert_eq!(w.request(&json!({"action": "lock", "passphrase": PASSPHRASE}))["ok"], true);
    w
}

/// Unlocks as a user does; returns how long that takes.
#[track_caller]
fn unlock(w: &World) -> Duration {
    let start = Instant::now();
    let unlock = w.command(APPTOKEN).args(["unlock", "--passphrase-fd", "0"]).stdin(PASSPHRASE);
    unlock.run().stderr("Agent unlocked.\n").ok();
    start.elapsed()
}

/// A file that looks sealed, and takes about a second to find that it does not open.
fn expensive_file() -> Vec<u8> {
    let [memory, passes, lanes] = [128 * 1024_u32, 5, 1].map(u32::to_be_bytes);
    let file = [&b"apptoken-key-v1\n"[..], &memory, &passes, &lanes, &[7; 16 + 12 + 64]].concat();
    assert!(!matches!(SealedFile::read(&file), Err(NotUnsealed::Damaged | NotUnsealed::OutOfBounds)));
    file
}

const PASSPHRASE: &str = "hunter2";
const UNLOCK: &str = "apptoken unlock --passphrase-fd 0";
/// Wrong unlocks before the right one.
const CROWD: usize = 200;
/// How many of them may be tried before it: those that had their turn while the others were still starting, and one under way.
const MOST_TRIED: usize = CROWD / 10;
/// How long a cached token may take: the bench measures the real figure, while the tests share the machine with each other.
const CACHED_BOUND: Duration = Duration::from_secs(5);
