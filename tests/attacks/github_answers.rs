//! The agent checks GitHub's answers against its requests.
//!
//! The control for answers that are not what was asked for is a client that believes what it reads.

use std::fs;
use std::time::{Duration, Instant};

use apptoken::agent::clock;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::runtime;

use crate::support::agent::{is_alive, wait_for_agent_at};
use crate::support::github::{Fault, IssuedToken};
use crate::support::memory::Needles;
use crate::support::peer::Peer;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, APP_ID, INSTALLATION_ID, NO_OPTIONS, OTHER_KEY, SLUG, World, in_an_hour, need_root};

const MINT: &str = "POST /app/installations/*/access_tokens";
const REVOKE: &str = "DELETE /installation/token";

#[test]
fn another_installation_than_the_requested_one_is_refused() {
    let w = World::with_key();
    w.github.next_on("GET /app/installations/1001", answers(200, &installation(2002, "octo")));
    let answer = w.request(&json!({"action": "getToken", "installationId": 1001}));
    assert_refused(&answer, "github_unavailable", "answered for installation 2002");
    assert_eq!(w.github.mints(), 0);

    w.github.next_on("GET /app/installations/1001", answers(200, &installation(2002, "octo")));
    assert_eq!(believes(&w, "GET", "/app/installations/1001")["id"], 2002);
    // The failure is remembered for a moment.
    wait_until("it is asked again", DEADLINE, || ask(&w, &json!({"installationId": 1001}))["installationId"] == 1001);
}

#[test]
fn another_account_than_the_requested_one_is_refused() {
    let w = World::with_key();
    for (path, scope) in [
        ("/users/octo/installation", json!({"owner": "octo"})),
        ("/repos/octo/hello/installation", json!({"repo": "octo/hello"})),
    ] {
        let pattern = format!("GET {path}");
        for other in [installation(INSTALLATION_ID, "evil"), json!({"id": INSTALLATION_ID, "account": null})] {
            w.github.always(&pattern, answers(200, &other));
            assert_refused(&ask(&w, &scope), "github_unavailable", "another account than `octo`");
            assert_eq!(believes(&w, "GET", path)["account"], other["account"]);
            w.github.clear_faults();
            // The failure is remembered for a moment.
            wait_until("it is asked again", DEADLINE, || ask(&w, &scope)["ok"] == true);
            // What is known of a key is forgotten when it is added again.
            w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
        }
        // GitHub compares logins without case.
        w.github.next_on(&pattern, answers(200, &installation(INSTALLATION_ID, "OCTO")));
        assert_eq!(token(&w, &scope)["account"], "OCTO");
    }
}

#[test]
fn another_app_than_the_one_that_asked_is_refused() {
    let w = World::with_agent();
    w.github.next_on("GET /app", answers(200, &json!({"id": 7, "client_id": null, "slug": "evil"})));
    w.add_key(NO_OPTIONS).fails(1, ["another App than App 123456"]);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
}

#[test]
fn a_token_that_outlives_githubs_hour_is_refused_and_revoked() {
    for (lives, good) in [(3600, true), (3600 + 9 * 60, true), (2 * 3600, false), (400 * 24 * 3600, false)] {
        let w = World::with_key();
        w.github.token_lifetime(Duration::from_secs(lives));
        let answer = ask(&w, &json!({}));
        let minted = w.github.tokens().pop().expect("it was minted");
        if good {
            assert_eq!(answer["token"], minted.value, "{lives}: {answer}");
            assert!(w.github.is_live(&minted.value));
        } else {
            assert_refused(&answer, "github_unavailable", "and GitHub's live an hour");
            wait_until("the token is revoked", DEADLINE, || !w.github.is_live(&minted.value));
            let grant = json!({"token": "ghs_long", "expires_at": clock::rfc3339(minted.expires)});
            w.github.next_on(MINT, answers(201, &grant));
            let believed = believes(&w, "POST", "/app/installations/1001/access_tokens");
            let end = believed["expires_at"].as_str().and_then(clock::parse_rfc3339).expect("a time");
            assert!(end > clock::system().unix + 7000, "{believed}");
        }
    }
}

#[test]
fn a_token_of_more_than_some_kilobytes_is_refused() {
    let w = World::with_key();
    for (number, (bytes, good)) in [(4096, true), (4097, false), (2 * 1024 * 1024, false)].into_iter().enumerate() {
        let name = ["hello", "tools", "x"][number];
        let grant = json!({"token": "x".repeat(bytes), "expires_at": in_an_hour(),
            "repositories": [{"full_name": format!("octo/{name}")}]});
        w.github.next_on(MINT, answers(201, &grant));
        let answer = ask(&w, &json!({"owner": "octo", "repositories": [name]}));
        if good {
            assert_eq!(answer["token"].as_str().map(str::len), Some(bytes));
        } else {
            assert_refused(&answer, "github_unavailable", "a token that is larger than 4 KiB");
        }
        w.github.next_on(MINT, answers(201, &grant));
        let believed = believes(&w, "POST", "/app/installations/1001/access_tokens");
        assert_eq!(believed["token"].as_str().map(str::len), Some(bytes));
    }
}

#[test]
fn a_token_with_thousands_of_permissions_is_refused() {
    let w = World::with_key();
    let permissions = |count| (0..count).map(|n| (format!("p{n}"), json!("read"))).collect::<serde_json::Map<_, _>>();
    for (count, name) in [(100, "hello"), (101, "tools"), (17_000, "x")] {
        let grant = json!({"token": "ghs_many", "expires_at": in_an_hour(), "permissions": permissions(count),
            "repositories": [{"full_name": format!("octo/{name}")}]});
        w.github.next_on(MINT, answers(201, &grant));
        let answer = ask(&w, &json!({"owner": "octo", "repositories": [name]}));
        if count == 100 {
            assert_eq!(answer["permissions"].as_object().map(serde_json::Map::len), Some(count));
        } else {
            assert_refused(&answer, "github_unavailable", "more than 100 permissions");
        }
    }
}

#[test]
fn a_clock_is_not_corrected_by_more_than_a_day() {
    let hour = 3600;
    for (ahead, corrected) in [(23 * hour, true), (-23 * hour, true), (25 * hour, false), (-365 * 24 * hour, false)] {
        let w = World::with_agent();
        w.add_key(["--offline"]).stderr_contains("Identity added").ok();
        w.github.skew(ahead);
        let answer = ask(&w, &json!({}));
        if corrected {
            // This is the control: with the clock of the API the same agent signs for another day.
            assert_eq!(answer["ok"], true, "{ahead}: {answer}");
        } else {
            assert_refused(&answer, "clock_skew", "a day at most");
            assert_eq!(w.github.journal().len(), 1, "nothing is signed for {ahead} seconds from now");
        }
    }
}

#[test]
fn a_key_that_github_confirmed_precedes_an_unchecked_one() {
    let w = World::with_key();
    w.file("other.pem", OTHER_KEY);
    // GitHub does not know this key. It was added last.
    w.add_for(&APP_ID.to_string(), "other.pem")
        .args(["--offline", "--name", "unchecked"])
        .run()
        .stderr_contains("added")
        .ok();
    assert_eq!(ask(&w, &json!({}))["ok"], true);
    let answer = ask(&w, &json!({"app": "unchecked", "owner": "octo"}));
    assert_eq!(answer["code"], "app_mismatch", "the control: the unchecked key is no good: {answer}");
}

#[test]
fn an_expired_token_is_wiped_without_a_request() {
    if !need_root() {
        return;
    }
    let w = World::with_key();
    w.github.token_lifetime(Duration::from_secs(10));
    let answer = token(&w, &json!({"minTtl": 1}));
    let needles = Needles::new().and("token", answer["token"].as_str().expect("a token"));
    needles.assert_found_in(w.pid(), "token");
    let minted = w.github.tokens().pop().expect("it was minted");
    wait_until("it has expired", DEADLINE, || clock::system().unix > minted.expires);
    needles.assert_absent_from(w.pid());
}

#[test]
fn a_token_that_arrives_after_its_key_was_removed_is_revoked() {
    arrives_after(|w| assert_eq!(w.request(&json!({"action": "removeKey", "key": SLUG}))["ok"], true), "no_key");
}

#[test]
fn a_token_that_arrives_after_a_lock_is_revoked() {
    let lock = json!({"action": "lock", "passphrase": "correct horse battery staple"});
    arrives_after(|w| assert_eq!(w.request(&lock)["ok"], true), "locked");
}

#[test]
fn a_token_that_arrives_when_everybody_has_left_is_revoked() {
    let (w, asking) = while_minting(Fault::Delay(Duration::from_secs(2)), World::with_key());
    drop(asking);
    assert_only_token_is_revoked(&w);
}

#[test]
fn a_token_that_arrives_while_the_agent_ends_is_revoked() {
    // The agent answers for a second, and this is later.
    let (w, _asking) = while_minting(Fault::Delay(Duration::from_millis(1500)), World::with_key());
    let pid = w.pid();
    w.signal(Signal::SIGTERM);
    assert_only_token_is_revoked(&w);
    wait_until("the agent has ended", DEADLINE, || !is_alive(pid));
}

#[test]
fn a_token_that_cannot_be_revoked_at_the_end_is_reported() {
    for fails in ["the mint", "the revocation"] {
        let mut w = World::new();
        let (socket, log) = (w.path("here"), w.path("home/audit.log"));
        let agent = w.command(AGENT).args(["-D", "--audit-log"]).arg(&log).arg("-a").arg(&socket).start();
        wait_for_agent_at(&socket);
        w.env("APPTOKEN_AUTH_SOCK", &socket);
        w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
        let (late, unrevoked) = if fails == "the mint" {
            (Fault::Hang, "GitHub did not answer before the agent ended")
        } else {
            w.github.always(REVOKE, Fault::Status(403));
            (Fault::Delay(Duration::from_millis(1500)), "forbids it")
        };
        let (w, _asking) = while_minting(late, w);
        agent.signal(Signal::SIGTERM);
        let told = Instant::now();
        let said = agent.finish().stdout_contains("").stderr_contains("could not be revoked");
        assert!(told.elapsed() < DEADLINE / 3, "{fails}: it took {:?} to end", told.elapsed());
        said.stderr_contains(unrevoked).ok();
        let log = fs::read_to_string(&log).expect("it is ours");
        let line: Value = serde_json::from_str(log.lines().last().expect("a line")).expect("a line is JSON");
        assert_eq!(
            (&line["event"], &line["installation_id"]),
            (&json!("not_revoked"), &json!(INSTALLATION_ID)),
            "{line}"
        );
        assert_eq!(line["hashed_token"].is_string(), fails == "the revocation", "{line}");
        let minted = w.github.tokens();
        assert!(minted.iter().all(|token| !log.contains(&token.value)), "the token is in the log");
    }
}

/// Lets a token arrive after `act` has taken its key away.
#[track_caller]
fn arrives_after(act: impl FnOnce(&World), code: &str) {
    let (w, mut asking) = while_minting(Fault::Delay(Duration::from_secs(3)), World::with_key());
    act(&w);
    assert_eq!(w.github.tokens().len(), 0, "it has not arrived yet");
    let answer = asking.answer();
    assert_eq!(answer["code"], code, "{answer}");
    assert_only_token_is_revoked(&w);
    w.assert_agent_is_well();
}

/// A client of this world that waits for a token, whose mint meets a fault.
fn while_minting(fault: Fault, w: World) -> (World, Peer) {
    w.github.next_on(MINT, fault);
    let mut asking = w.connect();
    asking.send(json!({"action": "getToken"}).to_string());
    w.github.wait_for(|journal| journal.iter().any(|entry| entry.is(MINT)));
    (w, asking)
}

/// GitHub mints one token, which is then revoked. That it was alive before is the control.
#[track_caller]
fn assert_only_token_is_revoked(w: &World) {
    w.github.wait_for(|journal| journal.iter().any(|entry| entry.is(REVOKE) && entry.status == Some(204)));
    let minted: Vec<IssuedToken> = w.github.tokens();
    assert_eq!(minted.len(), 1);
    assert!(!w.github.is_live(&minted[0].value), "the token is left alive");
}

fn ask(w: &World, scope: &Value) -> Value {
    let mut question = scope.clone();
    question["action"] = "getToken".into();
    w.request(&question)
}

#[track_caller]
fn token(w: &World, scope: &Value) -> Value {
    let answer = ask(w, scope);
    assert_eq!(answer["ok"], true, "{answer}");
    answer
}

#[track_caller]
fn assert_refused(answer: &Value, code: &str, words: &str) {
    assert_eq!(answer["code"], code, "{answer}");
    assert!(answer["error"].as_str().is_some_and(|error| error.contains(words)), "{answer}");
    assert!(answer["hint"].is_string(), "{answer}");
}

fn answers(status: u16, body: &Value) -> Fault {
    Fault::Verbatim { status, headers: Vec::new(), body: body.to_string() }
}

fn installation(id: u64, login: &str) -> Value {
    json!({"id": id, "account": {"login": login}, "target_type": "User", "repository_selection": "all"})
}

/// What a client makes of an answer that it does not check.
fn believes(w: &World, method: &str, path: &str) -> Value {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs only memory");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client without TLS");
    let method = method.parse().expect("a method");
    runtime.block_on(async {
        let request = client.request(method, w.github.url() + path).header("User-Agent", "credulous");
        let body = request.send().await.expect("it answers").bytes().await.expect("it answers");
        serde_json::from_slice(&body).expect("an answer is JSON")
    })
}
