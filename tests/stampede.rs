//! However many ask at once, and for however many different tokens: GitHub is asked once for each, and nobody slows another.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::github::{App, Fault, Installation, TokenFormat};
use crate::support::peer::Peer;
use crate::support::process::{allow_open_files, resident, tell};
use crate::support::together::at_once;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, OTHER_KEY, SLUG, World};

const MINT: &str = "POST /app/installations/*/access_tokens";

#[test]
fn a_thousand_who_ask_at_once_cost_one_mint() {
    let w = with_slow_github();
    let answers = crowd(&w, &json!({"action": "getToken"}));
    assert_eq!(answers.len(), 1, "all have the same answer: {answers:?}");
    let tokens = w.github.tokens();
    assert!(answers.first().is_some_and(|answer| answer.contains(&tokens[0].value)), "{answers:?}");
    assert_eq!((w.github.mints(), w.github.count("GET /app/installations")), (1, 1));
}

#[test]
fn a_thousand_who_ask_in_vain_cost_no_more_than_one() {
    let not_granted = json!({"message": "The permissions requested are not granted to this installation."}).to_string();
    let not_granted = Fault::Verbatim { status: 422, headers: Vec::new(), body: not_granted };
    let vain = [
        // What goes wrong, which requests it costs, and what all are told.
        (json!({}), Some(not_granted), MINT, 1, "not_granted"),
        (json!({}), Some(Fault::Status(502)), MINT, 4, "github_unavailable"),
        (json!({"repo": "octo/none"}), None, "GET /repos/octo/none/installation", 1, "not_installed"),
    ];
    for (scope, fault, asked, requests, code) in vain {
        let w = with_slow_github();
        if let Some(fault) = fault {
            w.github.always(MINT, fault);
        }
        let mut question = scope;
        question["action"] = "getToken".into();
        let answers = crowd(&w, &question);
        assert_eq!(answers.len(), 1, "all have the same answer: {answers:?}");
        let answer = answers.first().expect("there is one");
        assert!(answer.contains(code), "{answer}");
        assert_eq!(w.github.count(asked), requests, "{answer}");
    }
}

#[test]
fn a_refusal_is_remembered_for_two_seconds() {
    let w = World::with_key();
    w.github.always(MINT, Fault::Status(418));
    let ask = || w.request(&json!({"action": "getToken"}));
    let refusal = ask();
    assert_eq!(refusal["code"], "github_unavailable", "{refusal}");
    assert_eq!((ask(), w.github.mints()), (refusal, 1));
    // For another token it is another question.
    w.request(&json!({"action": "getToken", "repositories": ["hello"]}));
    assert_eq!(w.github.mints(), 2);

    w.github.clear_faults();
    wait_until("it is asked again", DEADLINE, || ask()["ok"] == true);
    let mints = w.github.wait_for(|journal| journal.iter().filter(|entry| entry.is(MINT)).count() == 3);
    let mints: Vec<Instant> = mints.iter().filter(|entry| entry.is(MINT)).map(|entry| entry.at).collect();
    assert!(mints[2] - mints[0] >= Duration::from_secs(2), "{:?}", mints[2] - mints[0]);
}

#[test]
fn no_more_than_eight_requests_are_under_way_at_once() {
    let w = with_ten_thousand_scopes();
    let takes = Duration::from_millis(100);
    w.github.always(MINT, Fault::Delay(takes));
    let questions: Vec<Value> = scopes().take(100).collect();
    let mut clients: Vec<Peer> = questions.iter().map(|_| w.connect()).collect();
    for (client, question) in clients.iter_mut().zip(&questions) {
        client.send(question.to_string());
    }
    for client in &mut clients {
        assert_eq!(client.answer()["ok"], true);
    }
    let mints: Vec<Instant> = w.github.journal().iter().filter(|entry| entry.is(MINT)).map(|entry| entry.at).collect();
    assert_eq!(mints.len(), 100);
    // The ninth comes when the first has been answered.
    for nine in mints.windows(9) {
        assert!(nine[8] - nine[0] >= takes, "nine within {:?}", nine[8] - nine[0]);
    }
}

#[test]
fn ten_thousand_tokens_take_little_memory_and_slow_nobody() {
    let w = with_ten_thousand_scopes();
    let questions: Vec<Value> = scopes().collect();
    assert_eq!(questions.len(), 10_000);
    let mut client = w.connect();
    let one_of_them = questions[0].to_string();
    fill(&w, &questions[..1]);
    // The first round is slower, whatever there is.
    cached_hit(&mut client, &one_of_them);
    let (alone, before) = (cached_hit(&mut client, &one_of_them), resident(w.pid()));
    fill(&w, &questions);
    let (crowded, after) = (cached_hit(&mut client, &one_of_them), resident(w.pid()));
    assert_eq!(w.github.mints(), 10_000, "each once");

    let (ratio, grown) = (crowded.as_secs_f64() / alone.as_secs_f64(), after.saturating_sub(before));
    tell(format_args!("a hit takes {alone:?} with one token and {crowded:?} with 10,000, {ratio:.2} times as long"));
    tell(format_args!("10,000 tokens take {grown} bytes, on top of {before}"));
    assert!(ratio < 2.0, "a hit takes {ratio:.2} times as long");
    assert!(grown < MEMORY_FOR_TOKENS, "{grown} bytes");
}

/// A world whose GitHub takes so long that everybody has asked before it answers.
fn with_slow_github() -> World {
    let w = World::with_key();
    w.github.delay(Duration::from_millis(400));
    w
}

/// Asks from a thousand connections at once; returns the different answers.
fn crowd(w: &World, question: &Value) -> BTreeSet<String> {
    allow_open_files(CLIENTS + 1000);
    let clients = at_once(0..THREADS, |_| (0..CLIENTS / THREADS).map(|_| w.connect()).collect::<Vec<_>>());
    let answers = at_once(clients, |mut clients| {
        for client in &mut clients {
            client.send(question.to_string());
        }
        clients.iter_mut().map(|client| client.answer().to_string()).collect::<Vec<_>>()
    });
    assert_eq!(answers.iter().map(Vec::len).sum::<usize>(), 1000);
    answers.into_iter().flatten().collect()
}

/// A world with an installation that [`scopes`] can be asked of.
fn with_ten_thousand_scopes() -> World {
    let w = World::with_key();
    let granted = PERMISSIONS.map(|name| (name, "write"));
    w.github.token_format(TokenFormat::Stateless);
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&REPOSITORIES).permissions(&granted));
    w
}

/// Questions that need a token each: a repository, and some of eight permissions or none, each to read or to write.
fn scopes() -> impl Iterator<Item = Value> {
    let narrowings = (0..2_500).flat_map(|number| REPOSITORIES.map(|name| (number, name)));
    narrowings.map(|(mut number, name)| {
        let mut permissions = serde_json::Map::new();
        for permission in PERMISSIONS {
            let level = [None, Some("read"), Some("write")][number % 3];
            permissions.extend(level.map(|level| (permission.to_owned(), level.into())));
            number /= 3;
        }
        let question = json!({"action": "getToken", "installationId": 2, "repositories": [name]});
        let mut question = question.as_object().expect("an object").clone();
        // An empty narrowing is refused: GitHub would read it as everything.
        question.extend((!permissions.is_empty()).then(|| ("permissions".to_owned(), permissions.into())));
        question.into()
    })
}

/// Asks all questions, from a few connections at once.
fn fill(w: &World, questions: &[Value]) {
    at_once(questions.chunks(questions.len().div_ceil(8)), |questions| {
        let mut client = w.connect();
        for question in questions {
            let answer = client.request(question);
            assert_eq!(answer["ok"], true, "{question}: {answer}");
        }
    });
}

/// How long an answer takes that needs nothing of GitHub, in the middle of many.
fn cached_hit(client: &mut Peer, question: &str) -> Duration {
    let mut took: Vec<Duration> = (0..2_001)
        .map(|_| {
            let asked = Instant::now();
            client.send(question);
            assert!(client.answer()["token"].is_string());
            asked.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

const CLIENTS: u64 = 1000;
const THREADS: u64 = 8;
const REPOSITORIES: [&str; 4] = ["web", "api", "infra", "docs"];
const PERMISSIONS: [&str; 8] =
    ["actions", "checks", "contents", "deployments", "issues", "pages", "pull_requests", "statuses"];
/// A token of 520 characters, in the line in which it is handed out, and its place in the cache: two kilobytes at the most.
const MEMORY_FOR_TOKENS: u64 = 20_000_000;

/// Who asks and leaves, again and again, costs what is under way, and no more.
#[test]
fn who_asks_and_leaves_fills_nothing_and_delays_no_other_app() {
    let w = World::with_key();
    let repositories: Vec<String> = (0..400).map(|number| format!("r{number}")).collect();
    let names: Vec<&str> = repositories.iter().map(String::as_str).collect();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&names));
    w.github.add_app(App::new(7, "other").key_pem(OTHER_KEY));
    w.github.install(7, Installation::new(70, "else").repositories(&["x"]).permissions(&[("contents", "read")]));
    w.file("other.pem", OTHER_KEY);
    w.add_for("7", "other.pem").run().stderr_contains("Identity added").ok();
    w.github.always("POST /app/installations/2/access_tokens", Fault::Delay(Duration::from_secs(2)));

    let ask = |number: usize| json!({"action": "getToken", "app": SLUG, "installationId": 2, "repositories": [repositories[number % 400]]});
    for round in 0..40 {
        let mut leaving: Vec<_> = (0..50).map(|_| w.connect()).collect();
        for (number, client) in leaving.iter_mut().enumerate() {
            client.send(ask(round * 50 + number).to_string());
        }
    }
    let mut staying: Vec<_> = (0..100).map(|_| w.connect()).collect();
    for (number, client) in staying.iter_mut().enumerate() {
        client.send(ask(number).to_string());
    }
    let asked = Instant::now();
    let answer = w.request(&json!({"action": "getToken", "app": "other"}));
    assert_eq!(answer["ok"], true, "{answer}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    // Those who left had asked for two thousand.
    let mints = w.github.count("POST /app/installations/2/access_tokens");
    assert!(mints < 100, "{mints}");
}
