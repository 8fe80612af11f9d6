//! Which token: options choose the installation and narrow the scope, and nothing is chosen by guessing.

use serde_json::json;

use crate::support::github::Installation;
use crate::support::{APP_ID, APPTOKEN, World};

#[test]
fn repo_narrows_the_token_to_that_repository() {
    let w = World::with_key();
    let token = w.apptoken(["token", "--json", "--repo", "octo/hello"]).json();
    assert_eq!(token["repositories"], json!(["octo/hello"]));
    assert_eq!(w.github.tokens()[0].repositories, Some(vec!["hello".to_owned()]));
}

#[test]
fn differently_narrowed_tokens_are_different_tokens() {
    let w = World::with_key();
    let all = w.apptoken(["token"]).line();
    let hello = w.apptoken(["token", "--repo", "octo/hello"]).line();
    let tools = w.apptoken(["token", "--repo", "octo/tools"]).line();
    let read = w.apptoken(["token", "--permissions", "contents=read"]).line();
    assert_eq!(w.github.mints(), 4);
    let mut tokens = vec![all, hello.clone(), tools, read];
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 4);
    assert_eq!(w.apptoken(["token", "--repo", "octo/hello"]).line(), hello, "each is remembered");
    assert_eq!(w.github.mints(), 4);
}

#[test]
fn owner_chooses_the_installation_and_does_not_narrow() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    let token = w.apptoken(["token", "--json", "--owner", "acme"]).json();
    assert_eq!((&token["account"], &token["installation_id"]), (&json!("acme"), &json!(2)));
    assert_eq!(w.github.tokens()[0].repositories, None);
}

#[test]
fn repo_chooses_among_several_installations() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    assert_eq!(w.apptoken(["token", "--json", "--repo", "acme/web"]).json()["account"], "acme");
    assert_eq!(w.apptoken(["token", "--json", "--repo", "octo/tools"]).json()["account"], "octo");
}

#[test]
fn an_installation_can_be_chosen_by_its_number() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    let token = w.apptoken(["token", "--json", "--installation-id", "2"]).json();
    assert_eq!(token["installation_id"], 2);
}

#[test]
fn permissions_narrow_the_token() {
    let w = World::with_key();
    let token = w.apptoken(["token", "--json", "--permissions", "contents=read"]).json();
    assert_eq!(token["permissions"]["contents"], "read");
    assert!(token["permissions"].get("pull_requests").is_none(), "{token}");
}

#[test]
fn options_may_stand_before_the_verb_or_in_the_environment() {
    let w = World::with_key();
    let narrowed = w.apptoken(["token", "--repo", "octo/hello"]).line();
    assert_eq!(w.apptoken(["--repo", "octo/hello", "token"]).line(), narrowed);
    let by_variable = w.command(APPTOKEN).arg("token").env("APPTOKEN_REPO", "octo/hello").run().line();
    assert_eq!(by_variable, narrowed);
    let overridden = w.command(APPTOKEN).args(["token", "--repo", "octo/tools"]).env("APPTOKEN_REPO", "octo/hello");
    assert_ne!(overridden.run().line(), narrowed);
}

#[test]
fn with_two_installations_the_choices_are_listed() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    w.apptoken(["token"]).fails(1, ["octo", "acme", "--owner"]);
    assert_eq!(w.github.mints(), 0);

    let answer = w.request(&json!({"action": "getToken"}));
    assert_eq!(answer["code"], "choose_installation");
    let mut accounts: Vec<_> = answer["choices"].as_array().expect("choices").iter().map(|c| &c["account"]).collect();
    accounts.sort_by_key(|account| account.as_str());
    assert_eq!(accounts, ["acme", "octo"]);
}

#[test]
fn an_unknown_permission_is_passed_on_with_a_warning() {
    let w = World::with_key();
    let granted = [("contents", "read"), ("models", "read")];
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]).permissions(&granted));
    let ask = ["token", "--owner", "acme", "--permissions", "models=read"];
    for _ in 0..2 {
        let warning = "apptoken: warning: GitHub documents no permission `models`; it was asked for all the same\n";
        w.apptoken(ask).stderr(warning).stdout_contains("ghs_").ok();
    }
    assert_eq!(w.github.tokens().len(), 1, "it is granted, and kept");
    w.apptoken(["token", "--permissions", "pull-requests=write"]).fails(64, ["--permissions"]);
}

#[test]
fn a_level_that_a_permission_does_not_have_is_refused_before_github_is_asked() {
    let w = World::with_key();
    w.apptoken(["token", "--permissions", "contents=admin"]).fails(1, ["`contents` cannot be admin", "read or write"]);
    w.apptoken(["token", "--permissions", "workflows=read"]).fails(1, ["`workflows` cannot be read"]);
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn an_empty_narrowing_is_refused_at_every_entrance() {
    let w = World::with_key();
    for option in ["--repo", "--permissions"] {
        w.apptoken(["token", option, ""]).fails(64, [option]);
    }
    for name in ["APPTOKEN_REPO", "APPTOKEN_PERMISSIONS"] {
        w.command(APPTOKEN).arg("token").env(name, "").run().fails(64, [name, "unset"]);
    }
    for empty in [json!({"repositories": []}), json!({"permissions": {}}), json!({"repo": ""})] {
        let mut request = json!({"action": "getToken"});
        request.as_object_mut().expect("an object").extend(empty.as_object().expect("an object").clone());
        assert_eq!(w.request(&request)["code"], "bad_request", "{request}");
    }
    assert_eq!(w.github.mints(), 0);
    let by_option = w.command(APPTOKEN).args(["token", "--repo", "octo/hello"]).env("APPTOKEN_REPO", "");
    by_option.run().line();
}

#[test]
fn a_repository_in_the_environment_is_not_dropped_by_what_only_chooses() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    let narrow = |args: &[&str]| w.command(APPTOKEN).arg("token").args(args).env("APPTOKEN_REPO", "octo/hello").run();
    assert_eq!(narrow(&["--owner", "octo", "--json"]).json()["repositories"], json!(["octo/hello"]));
    narrow(&["--owner", "acme"]).fails(64, ["APPTOKEN_REPO"]);
    narrow(&["--installation-id", "2"]).fails(64, ["APPTOKEN_REPO"]);
    assert_eq!(narrow(&["--repo", "acme/web", "--json"]).json()["repositories"], json!(["acme/web"]));
}
