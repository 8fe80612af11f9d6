//! Tokens end before their time when they are revoked, and a token that is dropped is handed out no more.

use std::time::Duration;

use serde_json::json;

use crate::support::github::{App, Fault, Installation, IssuedToken};
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, APP_ID, APPTOKEN, HOST, NO_OPTIONS, OTHER_KEY, SLUG, World};

const REVOKE: &str = "DELETE /installation/token";

#[test]
fn a_revoked_token_is_dead_at_github_and_the_next_one_is_new() {
    let w = World::with_key();
    let (token, narrow) = (w.token(&[]), w.token(&["--repo", "octo/hello"]));
    w.apptoken(["revoke", &token]).stderr("Tokens revoked: 1\n").ok();
    assert!(!w.github.is_live(&token));
    assert!(w.github.is_live(&narrow), "only the one that was named");
    assert_ne!(w.token(&[]), token);
    w.apptoken(["revoke", &token]).fails(1, ["no such token"]);
}

#[test]
fn tokens_can_be_named_on_stdin_where_nobody_sees_them() {
    let w = World::with_key();
    let tokens = format!("{}\n{}\n", w.token(&[]), w.token(&["--repo", "octo/hello"]));
    w.command(APPTOKEN).args(["revoke", "-"]).stdin(tokens).run().stderr("Tokens revoked: 2\n").ok();
    assert_eq!(w.living(), 0);
}

#[test]
fn all_tokens_are_revoked_also_those_that_were_renewed() {
    let w = World::with_key();
    w.github.token_lifetime(Duration::from_secs(400));
    w.token(&["--min-ttl", "390"]);
    w.github.token_lifetime(Duration::from_hours(1));
    w.token(&["--min-ttl", "30m"]);
    w.token(&["--repo", "octo/hello"]);
    assert_eq!(w.living(), 3);
    w.apptoken(["revoke", "--all"]).stderr("Tokens revoked: 3\n").ok();
    assert_eq!(w.living(), 0);
    w.apptoken(["revoke", "--all"]).stderr("Tokens revoked: 0\n").ok();
}

#[test]
fn a_key_can_be_chosen_whose_tokens_are_all_revoked() {
    let w = World::with_key();
    w.github.add_app(App::new(7, "other").key_pem(OTHER_KEY));
    w.github.install(7, Installation::new(70, "else").repositories(&["x"]).permissions(&[("contents", "read")]));
    w.file("other.pem", OTHER_KEY);
    w.add_for("7", "other.pem").run().stderr_contains("Identity added").ok();
    let (ours, others) = (w.token(&["--app", SLUG]), w.token(&["--app", "other"]));
    w.apptoken(["--app", "other", "revoke", "--all"]).stderr("Tokens revoked: 1\n").ok();
    assert!(w.github.is_live(&ours) && !w.github.is_live(&others));
}

#[test]
fn without_tokens_and_without_all_it_is_a_wrong_command_line() {
    let w = World::with_key();
    w.token(&[]);
    w.apptoken(["revoke"]).fails(64, ["TOKEN or --all"]);
    w.apptoken(["revoke", "--all", "x"]).fails(64, ["TOKEN or --all"]);
    assert_eq!(w.living(), 1);
}

#[test]
fn a_token_that_github_knows_no_more_counts_as_revoked() {
    let w = World::with_key();
    let token = w.token(&[]);
    w.github.revoke(&token);
    w.apptoken(["revoke", &token]).stderr("Tokens revoked: 1\n").ok();
    assert_ne!(w.token(&[]), token);
}

#[test]
fn a_token_of_somebody_elses_is_sent_nowhere() {
    let w = World::with_key();
    w.token(&[]);
    w.apptoken(["revoke", "ghs_someone_elses"]).fails(1, ["no such token"]);
    assert_eq!(w.github.count(REVOKE), 0);
}

#[test]
fn what_could_not_be_revoked_is_counted_and_can_be_tried_again() {
    let w = World::with_key();
    let token = w.token(&[]);
    w.github.always(REVOKE, Fault::Status(502));
    w.apptoken(["revoke", "--all"]).fails(1, ["1 token could not be revoked", "502"]);
    assert_eq!(w.token(&[]), token);
    w.github.clear_faults();
    w.apptoken(["revoke", "--all"]).stderr("Tokens revoked: 1\n").ok();
}

#[test]
fn a_key_is_removed_with_its_tokens_and_also_when_they_cannot_be_revoked() {
    let w = World::with_key();
    w.token(&[]);
    w.apptoken(["remove", "--revoke", SLUG]).stderr(format!("Identity removed: {SLUG}\nTokens revoked: 1\n")).ok();
    assert_eq!(w.living(), 0);

    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.token(&[]);
    w.github.always(REVOKE, Fault::Reset);
    let removed = w.apptoken(["remove", "--all", "--revoke"]).stderr_contains("All identities removed.");
    removed.stderr_contains("apptoken: 1 token could not be revoked").exit(1);
    w.apptoken(["list"]).stdout("The agent has no identities.\n").exit(1);
}

#[test]
fn without_being_asked_a_removal_revokes_nothing() {
    let w = World::with_key();
    w.token(&[]);
    w.apptoken(["remove", SLUG]).stderr(format!("Identity removed: {SLUG}\n")).ok();
    assert_eq!((w.living(), w.github.count(REVOKE)), (1, 0));
}

#[test]
fn an_agent_can_take_its_tokens_along() {
    let w = World::with_key();
    w.token(&[]);
    w.agent(["-k", "--revoke", "-s"]).stdout_contains("unset APPTOKEN_AUTH_SOCK").ok();
    assert_eq!(w.living(), 0);

    let w = World::with_key();
    w.token(&[]);
    w.github.always(REVOKE, Fault::Status(500));
    let run = w.agent(["-k", "--revoke", "-s"]).stderr_contains("were not revoked").stdout_contains("unset");
    run.ok();
    w.command(AGENT).args(["--revoke"]).run().stderr_contains("-k").exit(64);
}

#[test]
fn a_dropped_token_is_handed_out_no_more_and_lives_on() {
    let w = World::with_key();
    let token = w.token(&[]);
    assert_eq!(w.request(&json!({"action": "dropToken", "token": token})), json!({"ok": true, "dropped": true}));
    assert_eq!(w.request(&json!({"action": "dropToken", "token": token})), json!({"ok": true, "dropped": false}));
    assert_ne!(w.token(&[]), token);
    assert_eq!(w.living(), 2);
    assert_eq!(w.request(&json!({"action": "dropToken"}))["code"], "bad_request");
}

#[test]
fn a_locked_agent_has_nothing_to_revoke() {
    let w = World::with_key();
    w.token(&[]);
    assert_eq!(w.request(&json!({"action": "lock", "passphrase": "x"}))["ok"], true);
    for request in [json!({"action": "revoke"}), json!({"action": "dropToken", "token": "x"})] {
        assert_eq!(w.request(&request)["code"], "locked");
    }
}

#[test]
fn a_token_for_another_host_is_revoked_there() {
    let w = World::with_key();
    let other = crate::support::github::GitHub::start();
    other.add_app(App::new(APP_ID, "elsewhere").key_pem(OTHER_KEY));
    other.install(APP_ID, Installation::new(70, "else").repositories(&["x"]).permissions(&[("contents", "read")]));
    w.file("other.pem", OTHER_KEY);
    let (url, app) = (other.url(), APP_ID.to_string());
    let add = ["add", "other.pem", "--app-id", &app, "--host", "ghe.example", "--api-url", &url];
    w.apptoken(add).stderr_contains("Identity added").ok();
    w.token(&["--host", HOST]);
    let there = w.token(&["--host", "ghe.example"]);
    w.apptoken(["revoke", &there]).stderr("Tokens revoked: 1\n").ok();
    assert_eq!((other.count(REVOKE), w.github.count(REVOKE)), (1, 0));
}

#[test]
fn what_fails_at_one_host_leaves_no_token_alive_at_another() {
    let w = World::with_key();
    let other = crate::support::github::GitHub::start();
    other.add_app(App::new(APP_ID, "elsewhere").key_pem(OTHER_KEY));
    other.install(APP_ID, Installation::new(70, "else").repositories(&["x", "y"]).permissions(&[("contents", "read")]));
    w.file("other.pem", OTHER_KEY);
    let (url, app) = (other.url(), APP_ID.to_string());
    let add = ["add", "other.pem", "--app-id", &app, "--host", "ghe.example", "--api-url", &url];
    w.apptoken(add).stderr_contains("Identity added").ok();
    for name in ["x", "y"] {
        w.token(&["--host", "ghe.example", "--repo", &format!("else/{name}")]);
    }
    let permissions = ["contents=read", "contents=write", "pull_requests=read", "pull_requests=write"];
    for permissions in permissions {
        for repo in ["octo/hello", "octo/tools"] {
            w.token(&["--host", HOST, "--permissions", permissions, "--repo", repo]);
        }
    }
    for failure in [Fault::Status(502), Fault::Verbatim { status: 403, headers: Vec::new(), body: SUSPENDED.into() }] {
        other.always(REVOKE, failure);
        w.apptoken(["revoke", "--all"]).fails(1, ["could not be revoked"]);
        assert_eq!(w.living(), 0);
    }
}

const SUSPENDED: &str = r#"{"message":"This installation has been suspended"}"#;

#[test]
fn who_asks_for_it_and_leaves_has_asked_for_it() {
    let w = World::with_key();
    for repo in ["octo/hello", "octo/tools"] {
        w.token(&["--repo", repo]);
    }
    w.github.delay(Duration::from_millis(300));
    let mut leaving = w.connect();
    leaving.send(json!({"action": "removeKey", "key": SLUG, "revoke": true}).to_string());
    w.github.wait_for(|journal| journal.iter().any(|request| request.is(REVOKE)));
    drop(leaving);
    wait_until("all are revoked", DEADLINE, || w.living() == 0);
}

impl World {
    #[track_caller]
    fn token(&self, options: &[&str]) -> String {
        self.command(APPTOKEN).arg("token").args(options).run().line()
    }

    /// How many tokens GitHub takes.
    fn living(&self) -> usize {
        let live = |token: &&IssuedToken| self.github.is_live(&token.value);
        self.github.tokens().iter().filter(live).count()
    }
}
