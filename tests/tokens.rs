//! `token` prints a token that is good for what was asked, costs GitHub one request, and says what is wrong otherwise.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::github::{App, Installation, TokenFormat};
use crate::support::{APP_ID, APPTOKEN, HOST, INSTALLATION_ID, NOWHERE, OTHER_KEY, World};

#[test]
fn the_token_and_a_newline_are_all_that_is_printed() {
    let w = World::with_key();
    let run = w.apptoken(["token"]).text();
    let [token] = &w.github.tokens()[..] else { panic!("one token was minted") };
    assert_eq!(run, format!("{}\n", token.value));
    assert_eq!((token.app, token.installation), (APP_ID, INSTALLATION_ID));
}

#[test]
fn a_second_call_mints_nothing_and_asks_github_nothing() {
    let w = World::with_key();
    let first = w.apptoken(["token"]).line();
    let requests = w.github.journal().len();
    assert_eq!(w.apptoken(["token"]).line(), first);
    assert_eq!(w.apptoken(["token", "--owner", "octo"]).line(), first, "another way to say the same");
    assert_eq!(w.request(&json!({"action": "getToken"}))["token"], first.as_str());
    assert_eq!(w.github.mints(), 1);
    assert!(w.github.journal().len() <= requests + 1, "{:?}", w.github.journal());
}

#[test]
fn as_json_it_says_what_the_token_is_good_for() {
    let w = World::with_key();
    let token = w.apptoken(["token", "--json"]).json();
    assert_eq!(token["token"], w.github.tokens()[0].value.as_str());
    assert_eq!(token["installation_id"], INSTALLATION_ID);
    assert_eq!(token["account"], "octo");
    assert_eq!(token["permissions"], json!({"contents": "write", "metadata": "read", "pull_requests": "write"}));
    let expires = token["expires_at"].as_str().expect("a time is a string");
    assert!(expires.len() == "2026-11-22T14:30:00Z".len() && expires.ends_with('Z'), "{expires}");
    assert!(token.get("repositories").is_none_or(Value::is_null), "it is not narrowed: {token}");
}

#[test]
fn an_app_that_is_not_installed_there_says_where_to_install_it() {
    let w = World::with_key();
    w.apptoken(["token", "--owner", "nobody"]).fails(1, ["not installed"]);
    w.apptoken(["token", "--repo", "octo/secret"]).fails(1, ["not installed"]);
    assert_eq!(w.request(&json!({"action": "getToken", "owner": "nobody"}))["code"], "not_installed");
}

#[test]
fn an_app_that_is_installed_nowhere_says_so() {
    let w = World::with_agent();
    w.github.add_app(App::new(777, "lonely").key_pem(OTHER_KEY));
    w.file("lonely.pem", OTHER_KEY);
    w.add_for("777", "lonely.pem").run().stderr_contains("Identity added").ok();
    w.apptoken(["token"]).fails(1, ["install"]);
}

#[test]
fn a_suspended_installation_is_named_as_such() {
    let w = World::with_key();
    w.github.suspend(INSTALLATION_ID);
    w.apptoken(["token"]).fails(1, ["suspended"]);
    assert_eq!(w.request(&json!({"action": "getToken"}))["code"], "suspended");
}

#[test]
fn a_permission_that_the_installation_lacks_is_not_granted() {
    let w = World::with_key();
    w.apptoken(["token", "--permissions", "issues=write"]).fails(1, ["permission"]);
    let answer = w.request(&json!({"action": "getToken", "permissions": {"issues": "write"}}));
    assert_eq!(answer["code"], "not_granted");
}

#[test]
fn without_a_network_the_address_that_was_tried_is_named() {
    let w = World::with_agent();
    let add = w.command(APPTOKEN).args(["add", "key.pem", "--app-id", "123456", "--host", HOST, "--offline"]);
    add.args(["--api-url", NOWHERE]).run().stderr_contains("Identity added").ok();
    w.apptoken(["token"]).fails(1, ["127.0.0.1:1"]);
    assert_eq!(w.request(&json!({"action": "getToken"}))["code"], "github_unavailable");
    w.assert_agent_is_well();
}

#[test]
fn without_a_key_it_says_how_to_add_one() {
    let w = World::with_agent();
    w.apptoken(["token"]).fails(1, ["key", "apptoken add"]);
    assert_eq!(w.request(&json!({"action": "getToken"}))["code"], "no_key");
}

#[test]
fn a_long_token_arrives_whole() {
    let w = World::with_key();
    w.github.token_format(TokenFormat::Stateless);
    let token = w.apptoken(["token"]).line();
    assert!(token.len() >= 500 && token.matches('.').count() == 2, "{token}");
    assert_eq!(token, w.github.tokens()[0].value);
    assert_eq!(w.apptoken(["token"]).line(), token);
}

#[test]
fn many_who_ask_at_once_cost_one_mint() {
    let w = World::with_key();
    w.github.delay(Duration::from_millis(100));
    let mut clients: Vec<_> = (0..100).map(|_| w.connect()).collect();
    for client in &mut clients {
        client.send(json!({"action": "getToken"}).to_string());
    }
    let mut tokens: Vec<_> = clients.iter_mut().map(|client| client.answer()["token"].to_string()).collect();
    tokens.dedup();
    assert_eq!(tokens, [format!("\"{}\"", w.github.tokens()[0].value)]);
    assert_eq!(w.github.mints(), 1);
    assert_eq!(w.github.count("GET /app/installations"), 1);
}

#[test]
fn many_commands_at_once_cost_one_mint() {
    let w = World::with_key();
    w.github.delay(Duration::from_millis(100));
    let tokens: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| w.apptoken(["token"]).line())).collect();
        asking.into_iter().map(|thread| thread.join().expect("it got one")).collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(w.github.mints(), 1);
}

#[test]
fn one_who_leaves_does_not_cancel_it_for_the_others() {
    let w = World::with_key();
    w.github.delay(Duration::from_millis(200));
    let mut first = w.connect();
    first.send(json!({"action": "getToken"}).to_string());
    w.github.wait_for(|journal| journal.iter().any(|request| request.is("GET /app/installations")));
    let mut second = w.connect();
    second.send(json!({"action": "getToken"}).to_string());
    drop(first);
    assert!(second.answer()["token"].is_string());
    assert_eq!(w.github.mints(), 1);
}

#[test]
fn a_token_with_too_little_life_left_is_not_handed_out_again() {
    let w = World::with_key();
    w.github.token_lifetime(Duration::from_mins(10));
    let short = w.apptoken(["token"]).line();
    assert_eq!(w.apptoken(["token", "--min-ttl", "5m"]).line(), short);
    w.github.token_lifetime(Duration::from_hours(1));
    let long = w.apptoken(["token", "--min-ttl", "30m"]).line();
    assert_ne!(long, short);
}

#[test]
fn more_life_than_github_grants_is_an_error() {
    let w = World::with_key();
    w.apptoken(["token", "--min-ttl", "2h"]).fails(1, []);
    w.github.token_lifetime(Duration::from_mins(10));
    w.apptoken(["token", "--min-ttl", "30m"]).fails(1, []);
}

#[test]
fn installations_lists_where_the_app_is_installed() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    let said = w.apptoken(["installations"]).text();
    assert_eq!(said.lines().count(), 2, "{said}");
    for part in ["1001", "octo", "2", "acme"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(w.apptoken(["installations", "--json"]).json().to_string().contains("acme"));
}

#[test]
fn installations_are_read_to_the_last_page() {
    let w = World::with_key();
    for id in 1..=150 {
        w.github.install(APP_ID, Installation::new(5000 + id, &format!("org{id}")));
    }
    assert_eq!(w.apptoken(["installations"]).text().lines().count(), 151);
}

#[test]
fn status_shows_what_is_held_and_cached_and_no_token() {
    let w = World::with_key();
    let token = w.apptoken(["token"]).line();
    let plain = w.apptoken(["status"]).text();
    let json = w.apptoken(["status", "--json"]).json().to_string();
    for said in [plain, json] {
        assert!(said.contains("acme-deployer") && said.contains("octo"), "{said}");
        assert!(said.contains(&w.pid().to_string()), "{said}");
        assert!(!said.contains(&token), "{said}");
    }
}

#[test]
fn what_github_is_sent_is_what_it_asks_for() {
    let w = World::with_key();
    w.apptoken(["token", "--repo", "octo/hello", "--permissions", "contents=read"]).line();
    for request in w.github.journal() {
        assert!(request.user_agent.starts_with("apptoken"), "{request:?}");
        assert_eq!(request.accept, "application/vnd.github+json", "{request:?}");
        assert!(!request.api_version.is_empty(), "{request:?}");
    }
    let journal = w.github.journal();
    let mint = journal
        .iter()
        .find(|request| request.is("POST /app/installations/*/access_tokens"))
        .expect("a token was minted");
    assert_eq!(mint.body, Some(json!({"repositories": ["hello"], "permissions": {"contents": "read"}})));
}
