//! Honest clients get right answers in time while hostile ones attack the agent, it is locked and unlocked, and GitHub fails.
//!
//! Ten honest and five hostile clients, each its own process, work at the same time, and one call to GitHub in ten fails.
//! Every answer to an honest client is judged: its scope, the life left in its token, the lock, and how long it took. The
//! memory of the agent is compared after a first part of the load and at the end.
//!
//! `MIXED_LOAD_SECONDS` sets the length, and `MIXED_LOAD_PROGRAMS` names a directory with the programs to test. An hour of
//! the release build:
//!
//! ```sh
//! cargo build --release
//! MIXED_LOAD_SECONDS=3600 MIXED_LOAD_PROGRAMS=target/release cargo test --test main mixed_load::honest -- --nocapture
//! ```

mod judge;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use judge::{Judge, PROMPT_DEADLINE, Question, Scope, Share, Wanted};

use crate::support::agent::parse_bourne;
use crate::support::command::Running;
use crate::support::encrypting::{PKCS8, encrypt, wire};
use crate::support::github::{Fault, Level};
use crate::support::process::{peak, resident, tell};
use crate::support::wait::wait_until;
use crate::support::{AGENT, INSTALLATION_ID, KEY, NO_OPTIONS, World, need};

#[test]
fn honest_clients_are_served_well_among_hostile_ones() {
    if !need("python3") || !need("openssl") {
        return;
    }
    let length = env::var("MIXED_LOAD_SECONDS").map_or(DEFAULT_LENGTH, |seconds| {
        Duration::from_secs(seconds.parse().expect("MIXED_LOAD_SECONDS is a whole number"))
    });
    // The first minute of an hour, or a third of a short run.
    let first = (length / 3).min(Duration::from_mins(1));
    let named = env::var_os("MIXED_LOAD_PROGRAMS");
    let (half_sent, patience) =
        if named.is_some() { (HALF_SENT, 1.0) } else { (HALF_SENT_OF_DEBUG, PATIENCE_OF_DEBUG) };
    let programs = programs(named);
    let mut w = World::new();
    start(&mut w, &programs);
    let key = encrypt(&w, PKCS8, KEY, PASSPHRASE);
    let expensive = expensive_key(&w);
    fail_now_and_then(&w);

    let load = Load { world: &w, programs: &programs, expensive, half_sent };
    let mut judge = Judge::new(&w.github, w.pid().as_raw(), patience, questions(&wire(key)));
    let before = load.run(&mut judge, first, 1);
    let after = load.run(&mut judge, length.saturating_sub(first), 2);

    let (failed, calls) = w.github.random_faults();
    tell(format_args!(
        "mixed load of {length:?}: {judge}\n  GitHub failed {failed} of {calls} calls\n  memory: {} after {first:?}, {} at \
         the end, {} at the most\n  hostile clients: {}",
        megabytes(before.at_rest),
        megabytes(after.at_rest),
        megabytes(after.peak),
        after.attacks.join("\n                   "),
    ));
    assert!(judge.fewest() >= MIN_ANSWERS, "a client had only {} answers", judge.fewest());
    assert!(judge.granted >= MIN_TOKENS, "the honest clients had only {} tokens in all", judge.granted);
    assert!(
        judge.granted * 100 >= judge.due * MIN_GRANTED,
        "of {} tokens that were due, only {} were granted",
        judge.due,
        judge.granted
    );
    assert!(failed * 20 >= calls, "too few calls failed to show anything: {failed} of {calls}");
    let allowed = if first >= WARM_UP { before.at_rest / 10 } else { before.at_rest / 2 };
    assert!(
        after.at_rest <= before.at_rest + allowed,
        "memory grew from {} to {}",
        megabytes(before.at_rest),
        megabytes(after.at_rest)
    );
    assert!(after.peak <= MAX_PEAK, "the agent held {} at some time", megabytes(after.peak));
}

/// The control: without it, a judge that sees nothing would pass every agent.
#[test]
fn wrong_and_late_answers_are_found() {
    let w = World::with_key();
    let scope = Scope { permissions: &[], repositories: &[], min_ttl: 300 };
    let narrow = Scope { permissions: &[("contents", Level::Read)], ..scope };
    let narrowed = w.request(&json!({"action": "getToken", "permissions": {"contents": "read"}}));
    let whole = w.request(&json!({"action": "getToken"}));
    let wanted = [Wanted::Token(scope), Wanted::Token(narrow), Wanted::Pong];
    let questions = || wanted.map(|wanted| Question { request: json!({}), arguments: &[], wanted }).into();
    let pid = w.pid().as_raw();
    let pong = json!({"ok": true, "pong": true, "pid": pid, "locked": false});
    let refused = |code: &str| json!({"ok": false, "code": code, "error": "…"});
    let with = |answer: &Value, name: &str, value: Value| {
        let mut answer = answer.clone();
        answer[name] = value;
        answer
    };
    // The agent is locked from 100 s to 200 s.
    let at = |sent: f64, took: f64, question: usize, answer: &Value| {
        let mut judge = Judge::new(&w.github, pid, 1.0, questions());
        judge.locked(100.0, 100.1, Some(&json!({"ok": true})));
        judge.unlocked(200.0, 200.1, Some(&json!({"ok": true})));
        let at = w.github.token(whole["token"].as_str().expect("a token")).expect("it was granted").issued;
        let line = json!({"question": question, "at": at, "sent": sent, "received": sent + took, "answer": answer});
        judge.hear("client", &line.to_string());
        judge.findings.pop()
    };
    for (what, sent, took, question, answer) in [
        ("a token", 0.0, 0.1, 0, &whole),
        ("a narrow token", 0.0, 0.1, 1, &narrowed),
        ("a token that was minted", 0.0, 20.0, 0, &whole),
        ("a token on the way to the lock", 99.0, 2.0, 0, &whole),
        ("locked", 150.0, 0.1, 0, &refused("locked")),
        ("locked after all", 99.0, 20.0, 0, &refused("locked")),
        ("overtaken by a lock", 99.0, 20.0, 0, &refused("no_key")),
        ("GitHub's failure", 0.0, 20.0, 0, &refused("github_unavailable")),
        ("a pong", 0.0, 0.1, 2, &pong),
        ("a pong of a locked agent", 150.0, 0.1, 2, &with(&pong, "locked", json!(true))),
    ] {
        assert_eq!(at(sent, took, question, answer), None, "{what} is right");
    }
    for (what, sent, took, question, answer) in [
        ("more permissions", 0.0, 0.1, 1, &whole),
        ("another scope", 0.0, 0.1, 0, &with(&whole, "permissions", json!({"contents": "read"}))),
        ("another end", 0.0, 0.1, 0, &with(&whole, "expiresAt", json!("2099-01-01T00:00:00Z"))),
        ("a token of nobody's", 0.0, 0.1, 0, &with(&whole, "token", json!("ghs_0"))),
        ("a late token", 0.0, 31.0, 0, &whole),
        ("a token of a locked agent", 150.0, 0.1, 0, &whole),
        ("no lock", 50.0, 0.1, 0, &refused("locked")),
        ("a late lock", 150.0, PROMPT_DEADLINE + 0.1, 0, &refused("locked")),
        ("busy", 0.0, 0.1, 0, &refused("busy")),
        ("no key", 0.0, 0.1, 0, &refused("no_key")),
        ("GitHub's failure while locked", 150.0, 0.1, 0, &refused("timeout")),
        ("a late pong", 0.0, PROMPT_DEADLINE + 0.1, 2, &pong),
        ("a refused ping", 0.0, 0.1, 2, &refused("busy")),
        ("a pong of another", 0.0, 0.1, 2, &with(&pong, "pid", json!(1))),
        ("a pong without the lock", 150.0, 0.1, 2, &pong),
        ("a pong with a lock", 50.0, 0.1, 2, &with(&pong, "locked", json!(true))),
    ] {
        assert!(at(sent, took, question, answer).is_some(), "{what} is wrong");
    }
    w.github.revoke(whole["token"].as_str().expect("a token"));
    assert!(at(0.0, 0.1, 0, &whole).is_some(), "a revoked token is wrong");
}

/// What is the same in each part of the load.
struct Load<'a> {
    world: &'a World,
    programs: &'a Path,
    /// A key that takes long to open.
    expensive: String,
    /// How many messages are half sent at the same time.
    half_sent: u64,
}

/// What was seen in one part.
struct Seen {
    at_rest: u64,
    peak: u64,
    attacks: Vec<String>,
}

impl Load<'_> {
    /// Lets all clients work for so long, then waits until they have ended and the agent is at rest.
    fn run(&self, judge: &mut Judge, length: Duration, part: u64) -> Seen {
        let until = monotonic() + length.as_secs_f64();
        let (lines, heard) = mpsc::channel();
        let hostile = ATTACKS.map(|attack| (attack, self.hostile(attack, until)));
        let honest = (0..).zip(HONEST).map(|(number, (name, mode, share))| {
            let plan = json!({
                "socket": self.world.socket(), "until": until, "mode": mode, "questions": judge.plan(share),
                "seed": part * 100 + number, "pause": PAUSE.as_secs_f64(), "program": self.programs.join("apptoken"),
            });
            self.honest(name, &plan, &lines)
        });
        let honest: Vec<Running> = honest.collect();
        drop(lines);

        let mut lock = LockCycle::new(self.world, length);
        let mut ends = false;
        loop {
            match heard.recv_timeout(TICK) {
                Ok((client, line)) => judge.hear(client, &line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            ends |= monotonic() >= until;
            lock.go_on(judge, ends);
            if judge.has_seen_enough() {
                break;
            }
        }
        judge.assert_nothing_wrong();
        for client in honest {
            client.finish().ok();
        }
        let attacks = hostile.into_iter().map(|(attack, client)| {
            let did = client.finish().json();
            self.check_attack(attack, &did);
            format!("{attack} {did}")
        });
        let attacks = attacks.collect();
        Seen { at_rest: self.at_rest(), peak: peak(self.world.pid()), attacks }
    }

    fn hostile(&self, attack: &str, until: f64) -> Running {
        let plan = json!({
            "socket": self.world.socket(), "until": until, "attack": attack, "key": self.expensive,
            "half_sent": self.half_sent,
        });
        self.world.command("python3").args(["-c", HOSTILE_CLIENT]).stdin(plan.to_string()).start()
    }

    fn honest(&self, name: &'static str, plan: &Value, lines: &Sender<(&'static str, String)>) -> Running {
        let lines = lines.clone();
        let client = self.world.command("python3").args(["-c", HONEST_CLIENT]).stdin(plan.to_string());
        // Nobody listens any more when the test has failed.
        client.each_line(move |line| drop(lines.send((name, line.to_owned())))).start()
    }

    /// The attack must have taken place: an honest client is served well among clients that do nothing.
    fn check_attack(&self, attack: &str, did: &Value) {
        let number = |name: &str| did[name].as_u64().unwrap_or_default();
        let answered = |code: &str| did["answers"][code].as_u64().unwrap_or_default();
        let took_place = match attack {
            "half_sent" => number("most_open") >= self.half_sent / 2,
            "wrong_unlocks" => answered("denied") + answered("busy") >= 1 && number("sent") >= 200,
            "owners" => number("sent") >= 600,
            "expensive_keys" => number("sent") >= 40,
            "flood" => number("blocked") >= 20 && answered("too_large") + answered("bad_request") >= 1,
            _ => false,
        };
        assert!(took_place, "the attack {attack} did not take place: {did}");
    }

    /// The memory of the agent once it has closed all connections, and its threads for short work have ended.
    fn at_rest(&self) -> u64 {
        let pid = self.world.pid();
        let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).expect("the agent runs").count();
        let start = Instant::now();
        let (mut last, mut since) = ((0, 0), start);
        wait_until("the agent is at rest", 3 * THREAD_LIFE, || {
            let now = (count("task"), count("fd"));
            if now != last {
                (last, since) = (now, Instant::now());
            }
            start.elapsed() > THREAD_LIFE && since.elapsed() > SETTLED
        });
        resident(pid)
    }
}

/// Locks the agent and unlocks it again, time after time.
struct LockCycle<'a> {
    world: &'a World,
    every: Duration,
    locked_for: Duration,
    next: Instant,
    is_locked: bool,
}

impl<'a> LockCycle<'a> {
    fn new(world: &'a World, length: Duration) -> Self {
        let every = (length / 4).min(Duration::from_mins(1));
        Self { world, every, locked_for: every / 6, next: Instant::now() + every / 2, is_locked: false }
    }

    /// Does what is due; when the load `ends`, only unlocks.
    fn go_on(&mut self, judge: &mut Judge, ends: bool) {
        if self.is_locked && (ends || Instant::now() >= self.next) {
            let (sent, received, answer) = self.request("unlock");
            judge.unlocked(sent, received, answer.as_ref());
            self.is_locked = false;
            self.next = Instant::now() + self.every.saturating_sub(self.locked_for);
        } else if !self.is_locked && !ends && Instant::now() >= self.next {
            let (sent, received, answer) = self.request("lock");
            judge.locked(sent, received, answer.as_ref());
            self.is_locked = true;
            self.next = Instant::now() + self.locked_for;
        }
    }

    /// Sends the request; when it was sent, when it was answered, and the answer if there was one.
    fn request(&self, action: &str) -> (f64, f64, Option<Value>) {
        let sent = monotonic();
        let mut peer = self.world.connect();
        let request = json!({"action": action, "passphrase": PASSPHRASE});
        let answer = peer.try_send(request.to_string()).and_then(|()| peer.try_answer());
        (sent, monotonic(), answer.ok().flatten())
    }
}

/// Starts the agent of these programs, with the App's key.
fn start(w: &mut World, programs: &Path) {
    let lines = w.command(programs.join("apptoken-agent")).arg("-s").run().text();
    let (socket, pid) = parse_bourne(&lines).expect("the three lines");
    w.env("APPTOKEN_AUTH_SOCK", socket);
    w.env("APPTOKEN_AGENT_PID", pid.to_string());
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
}

/// The directory of the programs to test.
fn programs(named: Option<OsString>) -> PathBuf {
    let named = named.map(|directory| fs::canonicalize(directory).expect("MIXED_LOAD_PROGRAMS names a directory"));
    named.unwrap_or_else(|| Path::new(AGENT).parent().expect("a program is in a directory").to_owned())
}

/// Makes one call to GitHub in ten fail.
fn fail_now_and_then(w: &World) {
    w.github.delay(API_DELAY);
    w.github.token_lifetime(TOKEN_LIFE);
    let quickly = [
        Fault::Status(500),
        Fault::Status(502),
        Fault::Html(502),
        Fault::RetryAfter { status: 503, seconds: 1 },
        Fault::Reset,
        Fault::CloseBeforeReply,
        Fault::Truncate,
    ];
    // What holds the agent up meets those calls only that come from honest clients: the hostile ones make so many others that
    // GitHub would be out of order all the time.
    let slowly = [
        Fault::Delay(Duration::from_secs(3)),
        Fault::Hang,
        Fault::SecondaryLimit { status: 403, retry_after: Some(1) },
        Fault::SecondaryLimit { status: 429, retry_after: Some(1) },
    ];
    w.github.at_random("GET /**", 10, &quickly, 1);
    w.github.at_random("POST /**", 10, &[&quickly[..], &slowly[..]].concat(), 2);
}

/// What honest clients ask. No two scopes are the same, so that a token that was granted before is at hand.
fn questions(key: &str) -> Vec<Question> {
    let token = |more: Value, permissions, repositories, min_ttl| {
        let mut request = json!({"action": "getToken"});
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        Question { request, arguments: &[], wanted: Wanted::Token(Scope { permissions, repositories, min_ttl }) }
    };
    let ask = |action: &str, wanted| Question { request: json!({ "action": action }), arguments: &[], wanted };
    let usual = 300;
    let check = json!({"action": "checkKey", "key": key, "passphrase": PASSPHRASE});
    vec![
        Question { arguments: &["token"], ..token(json!({}), &[], &[], usual) },
        token(json!({"owner": "octo", "permissions": {"contents": "read"}}), &[("contents", Level::Read)], &[], usual),
        token(
            json!({"repo": "octo/hello", "permissions": {"contents": "write"}}),
            &[("contents", Level::Write)],
            &["hello"],
            usual,
        ),
        token(
            json!({"repo": "octo/tools", "permissions": {"pull_requests": "read"}}),
            &[("pull_requests", Level::Read)],
            &["tools"],
            usual,
        ),
        token(
            json!({"installationId": INSTALLATION_ID, "permissions": {"metadata": "read"}}),
            &[("metadata", Level::Read)],
            &[],
            usual,
        ),
        token(
            json!({"repositories": ["hello"], "permissions": {"contents": "read", "pull_requests": "read"}}),
            &[("contents", Level::Read), ("pull_requests", Level::Read)],
            &["hello"],
            usual,
        ),
        // These are granted anew every few seconds: see `TOKEN_LIFE`.
        token(
            json!({"permissions": {"pull_requests": "write"}, "minTtl": 3520}),
            &[("pull_requests", Level::Write)],
            &[],
            3520,
        ),
        token(json!({"permissions": {"contents": "write"}, "minTtl": 3540}), &[("contents", Level::Write)], &[], 3540),
        ask("ping", Wanted::Pong),
        ask("status", Wanted::Status),
        ask("listKeys", Wanted::Keys),
        Question { request: check, arguments: &[], wanted: Wanted::KeyCheck },
    ]
}

/// A key whose encryption says that opening it takes millions of rounds; no passphrase opens it.
fn expensive_key(w: &World) -> String {
    let cheap = encrypt(w, "openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 100000 -passout env:NEW", KEY, PASSPHRASE);
    let mut der = BASE64_STANDARD.decode(wire(cheap)).expect("base64");
    // 100,000 as DER has it; the agent opens keys with at most ten million rounds.
    let rounds = der.windows(5).position(|window| window == b"\x02\x03\x01\x86\xa0").expect("the rounds");
    der[rounds + 2..rounds + 5].copy_from_slice(b"\x7f\xff\xff");
    BASE64_STANDARD.encode(der)
}

/// Seconds on the monotonic clock, which all processes share.
fn monotonic() -> f64 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is such a clock")).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^53 bytes")]
fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

const HONEST_CLIENT: &str = include_str!("mixed_load/honest.py");
const HOSTILE_CLIENT: &str = include_str!("mixed_load/hostile.py");

/// The honest clients: what each is called, how it connects, and what it asks.
const HONEST: [(&str, &str, Share); 10] = [
    ("stay-1", "stay", Share::Usual),
    ("stay-2", "stay", Share::Usual),
    ("stay-3", "stay", Share::Usual),
    ("stay-4", "stay", Share::Usual),
    ("anew-1", "anew", Share::Usual),
    ("anew-2", "anew", Share::Usual),
    ("anew-3", "anew", Share::Usual),
    ("keys", "anew", Share::WithKeys),
    ("command-1", "command", Share::Command),
    ("command-2", "command", Share::Command),
];
/// The hostile clients, by the names that `hostile.py` has for them.
const ATTACKS: [&str; 5] = ["half_sent", "wrong_unlocks", "owners", "expensive_keys", "flood"];
const PASSPHRASE: &str = "correct horse";

/// Short, since it runs beside the other tests.
const DEFAULT_LENGTH: Duration = Duration::from_secs(24);
/// How long an honest client pauses between two requests.
const PAUSE: Duration = Duration::from_millis(20);
/// How long GitHub takes for each answer.
const API_DELAY: Duration = Duration::from_millis(50);
/// Little longer than the longest life that a client may ask for, so that tokens are renewed while the load lasts.
const TOKEN_LIFE: Duration = Duration::from_secs(3550);
/// How often to look whether there is something to do.
const TICK: Duration = Duration::from_millis(20);
/// An idle thread of tokio's for blocking work ends after ten seconds, and so does a message that is not finished.
const THREAD_LIFE: Duration = Duration::from_secs(11);
/// How long the numbers of threads and connections must then stay the same.
const SETTLED: Duration = Duration::from_secs(1);
/// Each of these holds up to 250 kB, so that together they exceed what the agent keeps.
const HALF_SENT: u64 = 500;
/// The same for a debug build, which takes many times as long to read and to wipe a message.
const HALF_SENT_OF_DEBUG: u64 = 100;
/// The deadlines of a debug build that runs beside other tests are so many times as long.
const PATIENCE_OF_DEBUG: f64 = 4.0;
/// After this time the agent has granted every token and used every size of memory that the load needs. During a shorter
/// beginning it still grows, but by less than half.
const WARM_UP: Duration = Duration::from_mins(1);
/// Of each honest client; one that waits for GitHub each time has few.
const MIN_ANSWERS: usize = 10;
/// Of all honest clients together; each of them asks many times a second.
const MIN_TOKENS: usize = 50;
/// In hundredths: a call is tried four times, so that few clients see that GitHub fails.
const MIN_GRANTED: usize = 90;
/// Bytes that the agent may hold at some time: 64 MiB for a lock or unlock and as much for the end of the one before, 16 MiB
/// each for unfinished messages and for waiting requests, and the agent itself.
const MAX_PEAK: u64 = 224 * 1024 * 1024;
