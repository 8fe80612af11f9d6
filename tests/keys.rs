//! Keys go in by `add`, are seen by `list` and go by `remove`; a key and an App that do not belong together are refused.

use crate::support::github::{App, Installation};
use crate::support::{APP_ID, APPTOKEN, HOST, NO_OPTIONS, NOWHERE, OTHER_KEY, SLUG, World, need};

#[test]
fn add_says_what_was_added_and_list_shows_it() {
    let w = World::with_agent();
    w.apptoken(["list"]).stdout("The agent has no identities.\n").exit(1);
    w.add_key(NO_OPTIONS).stderr(format!("Identity added: {SLUG} (App {APP_ID} on {HOST})\n")).ok();
    let line = w.apptoken(["list"]).line();
    assert_eq!(line, format!("2048 {} {SLUG} (App {APP_ID} on {HOST})", fingerprint_in(&line)));
}

#[test]
fn the_fingerprint_is_the_one_that_openssl_computes_as_github_asks() {
    if !need("openssl") {
        return;
    }
    let w = World::with_key();
    let script = "openssl rsa -in key.pem -pubout -outform DER 2>/dev/null | openssl sha256 -binary | openssl base64";
    let computed = w.shell("sh", script).line();
    assert_eq!(fingerprint_in(&w.apptoken(["list"]).line()), format!("SHA256:{computed}"));
}

#[test]
fn list_as_json_holds_what_the_line_holds() {
    let w = World::with_key();
    let fingerprint = fingerprint_in(&w.apptoken(["list"]).line());
    let json = w.apptoken(["list", "--json"]).json().to_string();
    for part in [fingerprint.as_str(), SLUG, &APP_ID.to_string(), HOST] {
        assert!(json.contains(part), "{part}: {json}");
    }
}

#[test]
fn add_checks_key_and_app_with_github_unless_it_is_told_not_to() {
    let w = World::with_agent();
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    assert_eq!(w.github.count("GET /app"), 1);

    let w = World::with_agent();
    w.add_key(["--offline"]).stderr_contains("Identity added").ok();
    assert_eq!(w.github.journal().len(), 0);
    assert_eq!(w.apptoken(["token"]).line().len(), 40);
}

#[test]
fn a_client_id_names_the_app_as_well_as_its_number() {
    let w = World::with_agent();
    w.github.add_app(App::new(777, "second").client_id("Iv23liABCDEFGHIJKLMN").key_pem(OTHER_KEY));
    w.github.install(777, Installation::new(2, "acme"));
    let file = w.file("second.pem", OTHER_KEY);
    w.add_for("Iv23liABCDEFGHIJKLMN", file).run().stderr_contains("Identity added: second").ok();
    assert_eq!(w.apptoken(["token"]).line().len(), 40);
}

#[test]
fn a_key_that_is_not_the_apps_is_refused_and_the_app_named() {
    let w = World::with_agent();
    let other = w.file("other.pem", OTHER_KEY);
    w.add(&other).run().fails(1, ["App 123456"]);
    w.apptoken(["list"]).stdout_contains("no identities").exit(1);
}

#[test]
fn an_app_that_github_does_not_know_is_refused_and_named() {
    let w = World::with_agent();
    w.add_for("424242", "key.pem").run().fails(1, ["424242"]);
    w.apptoken(["list"]).stdout_contains("no identities").exit(1);
}

#[test]
fn without_a_network_the_key_is_added_with_a_warning() {
    let w = World::with_agent();
    let add = w.command(APPTOKEN).args(["add", "key.pem", "--app-id", "123456", "--host", HOST]);
    let run = add.args(["--api-url", NOWHERE]).run();
    run.stderr_contains("Identity added").stderr_contains("warning").ok();
    w.apptoken(["list"]).stdout_contains("App 123456").ok();
}

#[test]
fn without_an_app_id_add_asks_on_the_terminal() {
    let w = World::with_agent();
    let add = w.command(APPTOKEN).args(["add", "key.pem", "--host", HOST, "--api-url", &w.github.url()]);
    let mut terminal = add.on_terminal();
    terminal.expect("App ID");
    terminal.type_line("123456");
    terminal.expect("Identity added");
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn without_an_app_id_and_a_terminal_add_says_which_option_to_use() {
    let w = World::with_agent();
    w.apptoken(["add", "key.pem"]).fails(64, ["--app-id"]);
}

#[test]
fn a_key_is_removed_by_name_fingerprint_or_file() {
    let w = World::with_key();
    let fingerprint = fingerprint_in(&w.apptoken(["list"]).line());
    for choice in [SLUG, fingerprint.as_str(), "key.pem"] {
        w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
        w.apptoken(["remove", choice]).stderr(format!("Identity removed: {SLUG}\n")).ok();
        w.apptoken(["list"]).stdout("The agent has no identities.\n").exit(1);
        w.apptoken(["token"]).fails(1, ["key"]);
    }
}

#[test]
fn a_key_that_is_not_held_cannot_be_removed() {
    let w = World::with_key();
    w.apptoken(["remove", "someone-else"]).fails(1, []);
    w.file("other.pem", OTHER_KEY);
    w.apptoken(["remove", "other.pem"]).fails(1, []);
    w.apptoken(["list"]).stdout_contains(SLUG).ok();
}

#[test]
fn remove_all_forgets_every_key_and_does_not_mind_when_there_is_none() {
    let w = World::with_two_keys();
    assert_eq!(w.apptoken(["list"]).text().lines().count(), 2);
    for _ in 0..2 {
        w.apptoken(["remove", "--all"]).stderr("All identities removed.\n").ok();
        w.apptoken(["list"]).stdout("The agent has no identities.\n").exit(1);
    }
}

#[test]
fn a_removed_keys_tokens_are_not_handed_out_again() {
    let w = World::with_key();
    let before = w.apptoken(["token"]).line();
    w.apptoken(["remove", SLUG]).stderr_contains("Identity removed").ok();
    w.apptoken(["token"]).fails(1, ["key"]);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    assert_ne!(w.apptoken(["token"]).line(), before);
}

#[test]
fn a_name_can_be_chosen() {
    let w = World::with_agent();
    w.add_key(["--name", "release-bot"]).stderr_contains("Identity added: release-bot").ok();
    w.apptoken(["list"]).stdout_contains(" release-bot (App 123456 ").ok();
    assert_eq!(w.apptoken(["token", "--app", "release-bot"]).line().len(), 40);
    w.apptoken(["remove", "release-bot"]).stderr("Identity removed: release-bot\n").ok();
}

#[test]
fn with_two_keys_the_app_chooses_and_without_it_the_choices_are_named() {
    let w = World::with_two_keys();
    w.apptoken(["token"]).fails(1, [SLUG, "second", "--app"]);
    w.apptoken(["token", "--app", "second"]).line();
    w.apptoken(["token", "--app", SLUG]).line();
    w.apptoken(["token", "--app", "third"]).fails(1, []);
    let apps: Vec<_> = w.github.tokens().iter().map(|token| token.app).collect();
    assert_eq!(apps, [777, APP_ID]);
}

impl World {
    /// A world whose agent holds the key of the App and that of `second`, which is installed on `acme`.
    fn with_two_keys() -> Self {
        let w = Self::with_key();
        w.github.add_app(App::new(777, "second").key_pem(OTHER_KEY));
        w.github.install(777, Installation::new(2, "acme").repositories(&["web"]));
        w.file("second.pem", OTHER_KEY);
        let add = w.command(APPTOKEN).args(["add", "second.pem", "--app-id", "777", "--host", HOST]);
        add.args(["--api-url", &w.github.url()]).run().stderr_contains("Identity added: second").ok();
        w
    }
}

fn fingerprint_in(line: &str) -> String {
    let fingerprint = line.split(' ').nth(1).expect("bits fingerprint name …");
    assert!(fingerprint.starts_with("SHA256:") && fingerprint.len() == 7 + 44, "{line}");
    fingerprint.to_owned()
}
