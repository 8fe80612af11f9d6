//! No secret is where others can see it: arguments, environment, output, log, or a file.

use std::fs;

use serde_json::json;

use crate::support::agent::wait_for_agent_at;
use crate::support::{AGENT, APPTOKEN, KEY, NO_OPTIONS, World, files_below};

#[test]
fn no_secret_is_in_the_agents_arguments_or_environment() {
    let w = World::with_key();
    let token = w.apptoken(["token"]).line();
    for file in ["cmdline", "environ"] {
        // Only root may read the environment of what is not dumpable.
        let bytes = fs::read(format!("/proc/{}/{file}", w.pid())).unwrap_or_default();
        assert_no_secret(&String::from_utf8_lossy(&bytes), &token);
    }
}

#[test]
fn no_command_prints_a_secret_that_it_was_not_asked_for() {
    let w = World::with_key();
    let token = w.apptoken(["token"]).line();
    for args in [
        &["list"][..],
        &["list", "--json"],
        &["status"],
        &["status", "--json"],
        &["installations"],
        &["installations", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["token", "--owner", "nobody"],
        &["token", "--permissions", "issues=write"],
        &["remove", "nobody"],
        &["run", "--", "true"],
        &["run", "--", "no-such-command"],
        &["gh"],
        &["remove", "--all"],
        &["--help"],
        &["--version"],
    ] {
        let gh = w.command(APPTOKEN).args(args).env("APPTOKEN_GH", "true");
        assert_no_secret(&gh.run().everything(), &token);
    }
    assert_no_secret(&w.agent(["-k"]).everything(), &token);
}

#[test]
fn no_answer_but_the_tokens_own_holds_a_secret() {
    let w = World::with_key();
    let token = w.apptoken(["token"]).line();
    for action in ["ping", "listKeys", "status", "installations", "diagnose", "removeAllKeys", "nonsense"] {
        assert_no_secret(&w.request(&json!({"action": action})).to_string(), &token);
    }
}

#[test]
fn a_file_that_is_no_key_is_not_quoted() {
    let w = World::with_agent();
    let damaged = KEY.replacen("MII", "CANARY", 1);
    for contents in ["canary", "-----BEGIN CANARY-----\ncanary\n-----END CANARY-----\n", &damaged] {
        w.file("bad.pem", contents);
        let said = w.add("bad.pem").run().everything();
        assert!(!said.to_lowercase().contains("canary"), "{said}");
        assert_no_secret(&said, "canary");
    }
}

#[test]
fn the_debug_log_tells_what_happened_and_no_secret() {
    let mut w = World::new();
    let socket = w.path("here");
    let agent = w.command(AGENT).arg("-d").arg("-a").arg(&socket).start();
    wait_for_agent_at(&socket);
    w.env("APPTOKEN_AUTH_SOCK", &socket);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    let token = w.apptoken(["token"]).line();
    w.apptoken(["token", "--owner", "nobody"]).fails(1, []);
    let mut peer = w.connect();
    peer.request(&json!({"action": "addKey", "key": ["canary"], "appId": "canary"}));
    peer.request(&json!({"action": "canary", "token": token}));
    drop(peer);
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    let log = agent.finish().everything();
    assert!(log.contains("getToken") || log.contains("token"), "it logs:\n{log}");
    assert!(!log.contains("canary"), "{log}");
    assert!(!log.contains("eyJ"), "a JWT:\n{log}");
    assert_no_secret(&log, &token);
}

#[test]
fn nothing_is_written_to_disk() {
    let w = World::with_key();
    let token = w.apptoken(["token"]).line();
    w.apptoken(["run", "--", "true"]).ok();
    fs::remove_file(w.path("home/key.pem")).expect("the key was only read");
    w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    for file in files_below(&w.path("")) {
        let bytes = fs::read(&file).expect("it is ours");
        assert_no_secret(&String::from_utf8_lossy(&bytes), &token);
    }
}

#[test]
fn a_command_is_given_the_token_in_its_environment_and_not_in_its_arguments() {
    let w = World::with_key();
    let token = w.apptoken(["token"]).line();
    let said = w.apptoken(["run", "--", "cat", "/proc/self/cmdline"]).text();
    assert_no_secret(&said, &token);
    let gh = w.command(APPTOKEN).args(["gh", "/proc/self/cmdline"]).env("APPTOKEN_GH", "cat");
    assert_no_secret(&gh.run().text(), &token);
}

/// Neither the token nor any line of the key is in `text`.
#[track_caller]
fn assert_no_secret(text: &str, token: &str) {
    assert!(!text.contains(token), "the token is in:\n{text}");
    let lines = KEY.lines().filter(|line| !line.starts_with('-'));
    for line in lines {
        assert!(!text.contains(line), "a line of the key is in:\n{text}");
    }
}
