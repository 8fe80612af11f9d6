//! What GitHub answers is held against what was asked, and against its own clock.

use std::thread;

use serde_json::json;

use crate::support::github::{App, Fault, Installation};
use crate::support::{APP_ID, APPTOKEN, HOST, INSTALLATION_ID, NO_OPTIONS, OTHER_KEY, World, in_an_hour};

const MINT: &str = "POST /app/installations/*/access_tokens";

/// What a GitHub gone wrong answers to any question for a token.
fn granted(more: &serde_json::Value) -> Fault {
    let mut body = json!({"token": "ghs_too_much", "expires_at": in_an_hour()});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    Fault::Verbatim { status: 201, headers: Vec::new(), body: body.to_string() }
}

#[test]
fn a_token_that_may_do_more_than_was_asked_for_is_not_handed_out() {
    let w = World::with_key();
    for permissions in [json!({"contents": "write"}), json!({"contents": "read", "administration": "write"})] {
        w.github.next_on(MINT, granted(&json!({ "permissions": permissions })));
        w.apptoken(["token", "--permissions", "contents=read"]).fails(1, ["more than was asked for"]);
    }
}

#[test]
fn a_token_for_other_repositories_is_not_handed_out() {
    let w = World::with_key();
    for name in ["octo/tools", "other/hello"] {
        w.github.next_on(MINT, granted(&json!({"permissions": {}, "repositories": [{"full_name": name}]})));
        w.apptoken(["token", "--repo", "octo/hello"]).fails(1, ["other repositories"]);
    }
}

#[test]
fn an_installation_and_a_repository_cannot_contradict_each_other() {
    let w = World::with_key();
    let id = INSTALLATION_ID.to_string();
    w.apptoken(["token", "--installation-id", &id, "--repo", "other/hello"]).fails(1, ["chosen twice"]);
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn a_token_has_the_asked_life_left_however_far_the_clocks_are_apart() {
    for skew in [2 * 3600, 7 * 60, -7 * 60, -2 * 3600] {
        let w = World::with_key();
        w.github.skew(skew);
        let first = w.apptoken(["token", "--min-ttl", "55m"]).line();
        assert_eq!(w.apptoken(["token", "--min-ttl", "55m"]).line(), first, "{skew}: it is good, and kept");
        assert_eq!(w.github.tokens().len(), 1, "{skew}");
    }
}

#[test]
fn two_hosts_with_clocks_of_their_own_do_not_disturb_each_other() {
    let w = World::with_key();
    let other = crate::support::github::GitHub::start();
    other.skew(2 * 3600);
    other.add_app(App::new(7, "elsewhere").key_pem(OTHER_KEY));
    other.install(7, Installation::new(70, "else").user().repositories(&["x"]).permissions(&[("contents", "read")]));
    w.file("other.pem", OTHER_KEY);
    let url = other.url();
    let add = ["add", "other.pem", "--app-id", "7", "--host", "ghe.example", "--api-url", &url];
    w.apptoken(add).stderr_contains("Identity added").ok();
    thread::scope(|scope| {
        for host in [HOST, "ghe.example"].repeat(4) {
            let w = &w;
            scope.spawn(move || w.command(APPTOKEN).args(["--host", host, "token"]).run().line());
        }
    });
}

#[test]
fn a_key_added_for_an_api_elsewhere_is_not_taken_for_githubs() {
    let w = World::with_agent();
    let url = w.github.url();
    let app = APP_ID.to_string();
    w.apptoken(["add", "key.pem", "--app-id", &app, "--api-url", &url]).stderr_contains("Identity added").ok();
    let host = url.strip_prefix("http://").expect("plain http");
    assert!(w.apptoken(["list"]).line().ends_with(&format!("(App {APP_ID} on {host})")));
    w.apptoken(["--host", "github.com", "token"]).fails(1, ["no key"]);
}

#[test]
fn a_slug_that_is_no_name_is_not_shown() {
    let w = World::with_agent();
    let slug = "x\u{1b}[31m\nKey fingerprint SHA256:FAKE";
    let app = json!({"id": APP_ID, "slug": slug, "client_id": null}).to_string();
    w.github.next_on("GET /app", Fault::Verbatim { status: 200, headers: Vec::new(), body: app });
    w.add_key(NO_OPTIONS).stderr(format!("Identity added: app-{APP_ID} (App {APP_ID} on {HOST})\n")).ok();
    assert!(!w.apptoken(["list", "--json"]).text().contains("FAKE"));
}

#[test]
fn what_could_not_be_shown_is_as_good_as_not_said() {
    let w = World::with_key();
    let body = |body: serde_json::Value| Fault::Verbatim { status: 200, headers: Vec::new(), body: body.to_string() };
    let one = |id: u32, login: &str| json!({"id": id, "account": {"login": login}, "target_type": "User\r\n"});
    let list = json!([one(1, "octo\u{1b}]0;title\u{7}"), one(2, "acme\n3 evil")]);
    w.github.always("GET /app/installations", body(list));
    let list = w.apptoken(["installations"]).text();
    assert_eq!(list, "1  (,  repositories)\n2  (,  repositories)\n");
    let refusal = w.request(&json!({"action": "getToken"}));
    assert_eq!(refusal["choices"], json!([{"installationId": 1, "account": ""}, {"installationId": 2, "account": ""}]));
    w.github.always("GET /app", body(json!({"id": APP_ID, "slug": "x\u{1b}[31m\nred"})));
    w.apptoken(["whoami"]).fails(1, ["no name in URLs"]);
}

#[test]
fn what_github_does_not_say_does_not_count_as_granted() {
    let w = World::with_key();
    for answer in
        [json!({"permissions": {"contents": "read"}}), json!({"permissions": {"contents": "read"}, "repositories": []})]
    {
        w.github.next_on(MINT, granted(&answer));
        w.apptoken(["token", "--repo", "octo/hello"]).fails(1, ["repositor"]);
        w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    }
    w.github.next_on(MINT, granted(&json!({"permissions": {}})));
    w.apptoken(["token", "--permissions", "contents=read"]).fails(1, ["without a word on what it may do"]);
}

#[test]
fn what_could_not_be_a_token_is_not_handed_out() {
    let w = World::with_key();
    for token in ["", "ghs_a\nhost=evil.example", "ghs_a b", "ghs_\u{0}", "ghs_\u{e9}"] {
        w.github.next_on(MINT, granted(&json!({"token": token, "permissions": {}})));
        w.apptoken(["token"]).fails(1, ["in the place of a token"]);
        w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    }
}

#[test]
fn a_key_that_was_added_again_for_another_api_gets_no_token_of_the_one_before() {
    let w = World::with_agent();
    let before = crate::support::github::GitHub::start();
    crate::support::install_our_app(&before);
    let add = |url: &str| {
        let key = w.command(APPTOKEN).args(["add", "key.pem", "--offline", "--app-id", "123456", "--host", HOST]);
        key.args(["--api-url", url]).run().stderr_contains("Identity added").ok();
    };
    add(&before.url());
    before.delay(std::time::Duration::from_millis(500));
    let question = json!({"action": "getToken", "installationId": INSTALLATION_ID});
    let mut asking = w.connect();
    asking.send(question.to_string());
    before.wait_for(|journal| journal.iter().any(|request| request.is(MINT)));
    w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    add(&w.github.url());
    let token = w.request(&question)["token"].as_str().expect("a token").to_owned();
    assert!(w.github.is_live(&token) && !before.tokens().iter().any(|old| old.value == token));
    assert_eq!(asking.answer()["code"], "no_key");
}
