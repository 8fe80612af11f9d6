//! The socket's protocol: any program can speak it with the JSON that its language has, and no mistake widens a token.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::support::wait::DEADLINE;
use crate::support::{World, need};

#[test]
fn ping_says_who_is_there() {
    let w = World::with_agent();
    let pong = w.request(&json!({"action": "ping"}));
    let expected = json!({
        "ok": true, "pong": true, "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "pid": w.pid().as_raw(), "locked": false
    });
    assert_eq!(pong, expected);
}

#[test]
fn get_token_answers_with_the_documented_fields() {
    let w = World::with_key();
    let answer =
        w.request(&json!({"action": "getToken", "repositories": ["hello"], "permissions": {"contents": "read"}}));
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["token"], w.github.tokens()[0].value.as_str());
    assert_eq!(answer["account"], "octo");
    assert_eq!(answer["installationId"], 1001);
    assert_eq!(answer["repositories"], json!(["octo/hello"]));
    assert_eq!(answer["permissions"]["contents"], "read");
    assert!(answer["expiresAt"].as_str().is_some_and(|time| time.ends_with('Z')), "{answer}");
}

#[test]
fn a_key_can_be_added_listed_and_removed_over_the_socket() {
    if !need("openssl") {
        return;
    }
    let w = World::with_agent();
    let der = w.shell("sh", "openssl rsa -in key.pem -outform DER 2>/dev/null | openssl base64 -A").text();
    let added = w.request(&json!({
        "action": "addKey", "key": der, "appId": 123_456, "host": "github.localhost", "apiUrl": w.github.url(), "lifetime": 60
    }));
    assert_eq!(
        (&added["ok"], &added["slug"], &added["name"]),
        (&json!(true), &json!("acme-deployer"), &json!("acme-deployer"))
    );
    assert!(added["fingerprint"].as_str().is_some_and(|print| print.starts_with("SHA256:")), "{added}");
    assert!(added["expiresAt"].is_string(), "{added}");

    let listed = w.request(&json!({"action": "listKeys"}));
    assert_eq!(listed["keys"][0]["fingerprint"], added["fingerprint"], "{listed}");
    let removed = w.request(&json!({"action": "removeKey", "key": added["fingerprint"]}));
    assert_eq!(removed["ok"], true, "{removed}");
    assert_eq!(w.request(&json!({"action": "listKeys"}))["keys"], json!([]));
}

#[test]
fn a_request_ends_where_its_json_value_ends_with_or_without_a_newline() {
    let w = World::with_agent();
    for ending in ["", "\n", "\r\n", "  \t\n"] {
        let mut peer = w.connect();
        for _ in 0..2 {
            peer.send(format!("{{\"action\":\"ping\"}}{ending}"));
            assert_eq!(peer.answer()["pong"], true, "{ending:?}");
        }
    }
}

#[test]
fn a_request_may_be_written_over_several_lines_and_hold_braces_in_strings() {
    let w = World::with_agent();
    let mut peer = w.connect();
    peer.send("\n {\n  \"action\" :\n\"ping\"\n}\n");
    assert_eq!(peer.answer()["pong"], true);
    peer.send(r#"{"action":"removeKey","key":"}{\"][\\"}{"action":"ping"}"#);
    assert_eq!(peer.answer()["ok"], false);
    assert_eq!(peer.answer()["pong"], true);
}

#[test]
fn several_requests_in_one_write_are_answered_in_order() {
    let w = World::with_key();
    let mut peer = w.connect();
    peer.send(
        r#"{"action":"getToken"}{"action":"ping"}{"action":"nonsense"}"#.to_owned() + "\n{\"action\":\"listKeys\"}\n",
    );
    assert!(peer.answer()["token"].is_string());
    assert_eq!(peer.answer()["pong"], true);
    assert_eq!(peer.answer()["code"], "unknown_action");
    assert!(peer.answer()["keys"].is_array());
}

#[test]
fn a_request_may_come_one_byte_at_a_time() {
    let w = World::with_key();
    let mut peer = w.connect();
    for byte in br#"{"action":"getToken","owner":"octo"}"# {
        peer.send([*byte]);
    }
    assert_eq!(peer.answer()["account"], "octo");
}

#[test]
fn a_request_is_answered_though_nothing_more_can_follow_it() {
    let w = World::with_agent();
    let mut peer = w.connect();
    peer.send(r#"{"action":"ping"}"#);
    peer.end_sending();
    assert_eq!(peer.answer()["pong"], true);
    assert_eq!(peer.until_closed(DEADLINE), [] as [Value; 0]);
}

#[test]
fn the_node_program_of_the_documentation_prints_the_token() {
    if !need("node") {
        return;
    }
    let w = World::with_key();
    let token = w.apptoken(["token"]).line();
    let client = r#"
        const s = require("net").connect(process.env.APPTOKEN_AUTH_SOCK);
        s.write(JSON.stringify({ action: "getToken" }));
        s.on("data", (d) => console.log(JSON.parse(d).token));
    "#;
    // It never ends by itself: an idle connection may stay open.
    let node = w.command("node").args(["-e", client]).start();
    node.expect_stdout(&format!("{token}\n"));
}

#[test]
fn a_python_program_that_writes_one_byte_at_a_time_prints_the_token() {
    if !need("python3") {
        return;
    }
    let w = World::with_key();
    let token = w.apptoken(["token"]).line();
    let client = r#"
import json, os, socket
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["APPTOKEN_AUTH_SOCK"])
for byte in json.dumps({"action": "getToken"}).encode():
    s.send(bytes([byte]))
print(json.loads(s.makefile().readline())["token"])
"#;
    assert_eq!(w.command("python3").args(["-c", client]).run().line(), token);
}

#[test]
fn socat_will_do() {
    if !need("socat") {
        return;
    }
    let w = World::with_agent();
    let script = r#"echo '{"action":"ping"}' | socat - "UNIX-CONNECT:$APPTOKEN_AUTH_SOCK""#;
    assert_eq!(w.shell("sh", script).json()["pong"], true);
}

#[test]
fn what_is_unknown_or_malformed_is_refused_with_a_code() {
    let w = World::with_key();
    for (request, code) in [
        (json!({"action": "getTokens"}), "unknown_action"),
        (json!({"action": ""}), "unknown_action"),
        (json!({"acton": "getToken"}), "bad_request"),
        (json!({"action": 1}), "bad_request"),
        (json!({}), "bad_request"),
        (json!([]), "bad_request"),
        (json!("ping"), "bad_request"),
        (json!(null), "bad_request"),
        (json!({"action": "ping", "extra": 1}), "bad_request"),
        (json!({"action": "getToken", "repositorys": ["hello"]}), "bad_request"),
        (json!({"action": "getToken", "repositories": "hello"}), "bad_request"),
        (json!({"action": "getToken", "repositories": [1]}), "bad_request"),
        (json!({"action": "getToken", "repositories": ["octo/hello"]}), "bad_request"),
        (json!({"action": "getToken", "permissions": ["contents"]}), "bad_request"),
        (json!({"action": "getToken", "permissions": {"contents": "sideways"}}), "bad_request"),
        (json!({"action": "getToken", "repo": "hello"}), "bad_request"),
        (json!({"action": "getToken", "repo": "../../app"}), "bad_request"),
        (json!({"action": "getToken", "owner": "octo/../x"}), "bad_request"),
        (json!({"action": "getToken", "minTtl": -1}), "bad_request"),
        (json!({"action": "getToken", "installationId": "1001"}), "bad_request"),
        (json!({"action": "addKey"}), "bad_request"),
        (json!({"action": "addKey", "key": "AAAA", "appId": 1}), "bad_key"),
        (json!({"action": "addKey", "key": "not base64!", "appId": 1}), "bad_key"),
        (json!({"action": "addKey", "key": "AAAA", "appId": 1, "passphrase": null}), "bad_request"),
        (json!({"action": "checkKey"}), "bad_request"),
        (json!({"action": "checkKey", "key": "AAAA", "lifetime": 60}), "bad_request"),
        (json!({"action": "checkKey", "key": "AAAA"}), "bad_key"),
        (json!({"action": "sealKey", "key": "AAAA"}), "bad_request"),
        (json!({"action": "sealKey", "key": "AAAA", "newPassphrase": ""}), "bad_request"),
        (json!({"action": "sealKey", "key": "AAAA", "newPassphrase": "hunter2"}), "bad_key"),
        (json!({"action": "removeKey"}), "bad_request"),
        (json!({"action": "removeKey", "key": "someone-else"}), "no_key"),
    ] {
        let mut peer = w.connect();
        let answer = peer.request(&request);
        assert_eq!((&answer["ok"], &answer["code"]), (&json!(false), &json!(code)), "{request}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()), "{request}: {answer}");
    }
    assert_eq!(w.github.mints(), 0);
    w.assert_agent_is_well();
}

/// GitHub reads an empty list as "everything".
#[test]
fn an_empty_narrowing_is_refused() {
    let w = World::with_key();
    for field in ["repositories", "permissions"] {
        for empty in [json!([]), json!({}), json!(null)] {
            let answer = w.request(&json!({"action": "getToken", field: empty}));
            assert_eq!(answer["code"], "bad_request", "{field} {empty}: {answer}");
        }
    }
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn a_field_that_is_given_twice_is_refused() {
    let w = World::with_key();
    let mut peer = w.connect();
    for fields in [
        r#""repositories":["hello"],"repositories":["tools"]"#,
        r#""permissions":{"contents":"read","contents":"write"}"#,
    ] {
        peer.send(format!(r#"{{"action":"getToken",{fields}}}"#));
        assert_eq!(peer.answer()["code"], "bad_request", "{fields}");
    }
}

#[test]
fn nothing_that_was_sent_is_quoted_back() {
    const CANARY: &str = "canary-5f3a9c";
    let w = World::with_key();
    for request in [
        json!({"action": CANARY}),
        json!({"action": [CANARY]}),
        json!({"action": "ping", CANARY: 1}),
        json!({"action": "ping", "extra": CANARY}),
        json!({"action": "getToken", "minTtl": CANARY}),
        json!({"action": "getToken", "repositories": {CANARY: CANARY}}),
        json!({"action": "getToken", "permissions": {"contents": CANARY}}),
        json!({"action": "getToken", "permissions": CANARY}),
        json!({"action": "getToken", "installationId": CANARY}),
        json!({"action": "getToken", "repo": format!("{CANARY}/")}),
        json!({"action": "addKey", "key": CANARY, "appId": 1}),
        json!({"action": "addKey", "key": [CANARY], "appId": 1}),
        json!({"action": "addKey", "key": "AAAA", "appId": {CANARY: 1}}),
        json!({"action": "addKey", "key": "AAAA", "appId": 1, "apiUrl": format!("ftp://{CANARY}/")}),
        json!({"action": "addKey", "key": "AAAA", "appId": 1, "passphrase": [CANARY]}),
        json!({"action": "checkKey", "key": CANARY, "passphrase": CANARY}),
        json!({"action": "checkKey", "key": BASE64_STANDARD.encode(format!("apptoken-key-v2\n{CANARY}")), "passphrase": CANARY}),
        json!({"action": "sealKey", "key": CANARY, "newPassphrase": CANARY}),
        json!({"action": "sealKey", "key": CANARY, "newPassphrase": [CANARY]}),
        json!({"action": "removeKey", "key": CANARY}),
        json!(CANARY),
        json!([CANARY]),
    ] {
        let answer = w.request(&request);
        assert_eq!(answer["ok"], false, "{request}: {answer}");
        assert!(!answer.to_string().contains(CANARY), "{request}: {answer}");
    }
    let mut peer = w.connect();
    peer.send(format!("{{\"action\":\"{CANARY}\u{1}\"}}"));
    assert!(!peer.answer().to_string().contains(CANARY));
}
