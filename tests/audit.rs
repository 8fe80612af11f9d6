//! The audit log: who got which token when, and who did not, in one line each; and never a secret.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process;
use std::thread;

use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::support::agent::parse_bourne;
use crate::support::{AGENT, APPTOKEN, INSTALLATION_ID, KEY, NO_OPTIONS, World, need};

#[test]
fn a_hand_out_is_one_line_that_says_who_got_what() {
    let w = with_log();
    let fingerprint = w.request(&json!({"action": "listKeys"}))["keys"][0]["fingerprint"].clone();
    let (before, answer) = (now(), w.request(&json!({"action": "getToken"})));
    let after = now();
    let [line] = &lines(&w)[..] else { panic!("one line: {:?}", lines(&w)) };

    let time = line["time"].as_str().expect("a time is a string");
    assert!((&*before..=&*after).contains(&time), "{before} {time} {after}");
    assert_eq!(line["uid"], Uid::effective().as_raw());
    assert_eq!(line["pid"], process::id());
    let us = env::current_exe().expect("we have a name");
    assert_eq!(line["executable"], us.to_string_lossy().as_ref());
    assert_eq!(line["key"], fingerprint);
    assert!(fingerprint.as_str().is_some_and(|print| print.starts_with("SHA256:")), "{fingerprint}");
    assert_eq!(line["account"], "octo");
    assert_eq!(line["installation_id"], INSTALLATION_ID);
    assert_eq!(line["permissions"], answer["permissions"]);
    assert_eq!(line["repositories"], Value::Null, "it is not narrowed");
    assert_eq!(line["outcome"], "granted");
    let mut fields: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(line["asked"], "a token, all repositories, all permissions");
    let expected =
        "account asked executable hashed_token installation_id key outcome permissions pid repositories time uid";
    assert_eq!(fields.join(" "), expected);
}

#[test]
fn a_narrowed_hand_out_says_to_what() {
    let w = with_log();
    let narrow = ["token", "--repo", "octo/hello", "--permissions", "contents=read"];
    assert!(w.apptoken(narrow).line().starts_with("ghs_"));
    let [line] = &lines(&w)[..] else { panic!("one line: {:?}", lines(&w)) };
    assert_eq!(line["repositories"], json!(["octo/hello"]));
    assert_eq!(line["permissions"]["contents"], "read");
    let apptoken = fs::canonicalize(APPTOKEN).expect("it is built");
    assert_eq!(line["executable"], apptoken.to_string_lossy().as_ref());
}

#[test]
fn a_token_from_memory_is_a_hand_out_like_any_other() {
    let w = with_log();
    for _ in 0..3 {
        w.apptoken(["token"]).line();
    }
    assert_eq!(w.github.mints(), 1);
    let [first, second, third] = &lines(&w)[..] else { panic!("three lines: {:?}", lines(&w)) };
    assert_eq!(first["hashed_token"], second["hashed_token"]);
    assert_eq!(second["outcome"], third["outcome"]);
}

#[test]
fn a_refusal_is_a_line_with_its_code() {
    let w = with_log();
    let fingerprint = w.request(&json!({"action": "listKeys"}))["keys"][0]["fingerprint"].clone();
    let ask = |request: &Value, code: &str, key: &Value| {
        let before = lines(&w).len();
        assert_eq!(w.request(request)["code"], code);
        let log = lines(&w);
        assert_eq!(log.len(), before + 1, "{log:?}");
        let line = &log[before];
        assert_eq!((&line["outcome"], &line["key"]), (&json!(code), key), "{line}");
        assert_eq!((&line["uid"], &line["pid"]), (&json!(Uid::effective().as_raw()), &json!(process::id())));
        assert_eq!((&line["hashed_token"], &line["account"]), (&Value::Null, &Value::Null), "{line}");
    };
    ask(&json!({"action": "getToken", "owner": "nobody"}), "not_installed", &fingerprint);
    assert_eq!(lines(&w)[0]["asked"], "a token for nobody, all repositories, all permissions");
    ask(&json!({"action": "getToken", "permissions": {"issues": "write"}}), "not_granted", &fingerprint);
    assert_eq!(lines(&w)[1]["asked"], "a token, all repositories, issues=write");
    ask(&json!({"action": "getToken", "app": "no-such-key"}), "no_key", &Value::Null);
    ask(&json!({"action": "getToken", "minTtl": 4000}), "bad_request", &Value::Null);
    w.add_key(["-c"]).stderr_contains("confirm").ok();
    ask(&json!({"action": "getToken"}), "denied", &fingerprint);
    assert_eq!(w.request(&json!({"action": "lock", "passphrase": "sesame"}))["ok"], true);
    ask(&json!({"action": "getToken"}), "locked", &Value::Null);
}

#[test]
fn what_hands_out_no_token_leaves_no_line() {
    let w = with_log();
    for action in ["ping", "status", "listKeys", "installations", "nonsense", "removeAllKeys"] {
        w.request(&json!({"action": action}));
    }
    w.connect().send("{\"action\":\"getToken\",\"misspelt\":1}");
    w.assert_agent_is_well();
    assert_eq!(lines(&w), [] as [Value; 0]);
}

/// The form that GitHub's own audit log has: a token found there is found here.
#[test]
fn the_hashed_token_is_what_openssl_makes_of_the_token() {
    if !need("openssl") {
        return;
    }
    let w = with_log();
    w.shell("sh", "apptoken token | tr -d '\\n' | openssl dgst -sha256 -binary | openssl base64 >hashed").ok();
    let hashed = fs::read_to_string(w.path("home/hashed")).expect("the shell wrote it");
    assert_eq!(lines(&w)[0]["hashed_token"], hashed.trim_end());
}

#[test]
fn the_log_is_its_owners_alone_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let w = World::new();
        w.shell("sh", &format!("umask {umask}; exec apptoken-agent -s --audit-log log")).stdout_contains("").ok();
        let mode = fs::metadata(w.path("home/log")).expect("a log").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "umask {umask}");
    }
}

#[test]
fn what_is_in_the_log_stays_there() {
    let mut w = World::new();
    w.file("log", "kept\n");
    for _ in 0..2 {
        w.start_agent(["--new", "--audit-log", "log"]);
        w.request(&json!({"action": "getToken"}));
    }
    let log = fs::read_to_string(w.path("home/log")).expect("a log");
    assert!(log.starts_with("kept\n{") && log.ends_with("}\n"), "{log}");
    assert_eq!(log.lines().count(), 3);
}

#[test]
fn lines_of_many_at_once_are_whole() {
    let w = with_log();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut peer = w.connect();
                for _ in 0..25 {
                    assert_eq!(peer.request(&json!({"action": "getToken"}))["ok"], true);
                }
            });
        }
    });
    assert_eq!(lines(&w).len(), 200);
}

#[test]
fn no_secret_is_in_the_log() {
    let w = with_log();
    let token = w.apptoken(["token"]).line();
    w.apptoken(["token", "--owner", "nobody"]).fails(1, []);
    for action in ["lock", "unlock"] {
        assert_eq!(w.request(&json!({"action": action, "passphrase": "open-sesame-canary"}))["ok"], true);
    }
    w.connect().send("{\"action\":\"getToken\",\"owner\":\"field-canary!\"}");
    w.assert_agent_is_well();
    let log = fs::read_to_string(w.path("home/log")).expect("a log");
    assert!(log.contains("granted") && log.contains("not_installed"), "{log}");
    assert!(!log.contains(&token) && !log.contains("ghs_") && !log.contains("canary"), "{log}");
    for line in KEY.lines() {
        assert!(!log.contains(line), "{line}");
    }
}

#[test]
fn without_its_log_no_agent_starts() {
    let w = World::new();
    let socket = w.path("here");
    for log in ["no/such/directory/log", "/no/such/log", "/"] {
        let named = format!("cannot open the audit log {log}: ");
        w.agent(["-s", "--audit-log", log]).stderr_contains(&named).exit(1);
        w.agent(["--new", "--audit-log", log]).stderr_contains(&named).exit(1);
        w.command(AGENT).args(["-D", "--audit-log", log, "-a"]).arg(&socket).run().stderr_contains(&named).exit(1);
    }
    assert_eq!(w.sockets(), [] as [&Path; 0]);
    w.agent(["-s"]).stdout_contains("Agent pid").ok();
}

/// The log has as many bytes already as a file may have here, so that every write fails, as on a full disk.
#[test]
fn a_token_that_cannot_be_written_down_is_not_handed_out() {
    let mut w = World::new();
    w.file("log", "\n".repeat(512));
    let lines = w.shell("sh", "ulimit -f 1; exec apptoken-agent -s --audit-log log").text();
    let (socket, pid) = parse_bourne(&lines).expect("the three lines");
    w.env("APPTOKEN_AUTH_SOCK", socket);
    w.env("APPTOKEN_AGENT_PID", pid.to_string());
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    let answer = w.request(&json!({"action": "getToken"}));
    assert_eq!((&answer["ok"], &answer["code"]), (&json!(false), &json!("internal")), "{answer}");
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("audit log")), "{answer}");
    assert!(answer["hint"].is_string() && answer.get("token").is_none(), "{answer}");
    w.apptoken(["token"]).fails(1, ["audit log", "File too large"]);
    w.apptoken(["run", "--", "touch", "ran"]).fails(1, ["audit log"]);
    assert!(!w.path("home/ran").exists());
    // What needs no token goes on.
    assert!(w.apptoken(["list"]).line().contains("acme-deployer"));
    w.assert_agent_is_well();
}

#[test]
fn status_says_whether_there_is_a_log() {
    assert_eq!(with_log().apptoken(["status", "--json"]).json()["audited"], true);
    assert_eq!(World::with_agent().apptoken(["status", "--json"]).json()["audited"], false);
}

/// An agent that holds the App's key, and writes to `log` in the home directory.
fn with_log() -> World {
    let mut w = World::new();
    w.start_agent(["--audit-log", "log"]);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w
}

#[track_caller]
fn lines(w: &World) -> Vec<Value> {
    let log = fs::read_to_string(w.path("home/log")).expect("a log");
    assert!(log.is_empty() || log.ends_with('\n'), "{log}");
    log.lines().map(|line| serde_json::from_str(line).expect("a line is a JSON object")).collect()
}

/// The time as the log writes it, which sorts as it passes.
fn now() -> String {
    apptoken::agent::clock::rfc3339(apptoken::agent::clock::system().unix)
}
