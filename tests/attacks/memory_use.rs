//! The agent's memory has a limit, and a lack of memory refuses a request and nothing more.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::support::encrypting::{SCRYPT, can_encrypt, encrypt, wire};
use crate::support::{KEY, World};

#[test]
fn an_agent_that_gets_no_memory_refuses_and_lives() {
    if !can_encrypt() {
        return;
    }
    let (mut refused, mut done) = (0, 0);
    for mebibytes in [80, 100, 120, 160, 200, 250, 300, 350, 400] {
        let mut w = World::new();
        let limited = w.shell("sh", &format!("ulimit -v {}; exec apptoken-agent -s", mebibytes * 1024));
        let lines = limited.text();
        let (socket, pid) = crate::support::agent::parse_bourne(&lines).expect("the three lines");
        w.env("APPTOKEN_AUTH_SOCK", socket);
        w.env("APPTOKEN_AGENT_PID", pid.to_string());
        w.add_key(["--offline", "--name", "mine"]).stderr_contains("Identity added").ok();
        let mut judge = |what: &str, answer: &Value| {
            let out_of_memory = answer["code"] == "internal" && answer["hint"].is_string();
            let is_done = answer["ok"] == true || answer["code"] == "wrong_passphrase";
            assert!(is_done || out_of_memory, "{what} with {mebibytes} MiB: {answer}");
            if out_of_memory {
                refused += 1;
            } else {
                done += 1;
            }
            w.assert_agent_is_well();
            let keys = w.request(&json!({"action": "listKeys"}));
            assert!(keys["keys"][0]["name"] == "mine" || keys["code"] == "locked", "{keys}");
        };

        let small = BASE64_STANDARD.decode(wire(encrypt(&w, SCRYPT, KEY, PASSPHRASE))).expect("base64");
        // N 16384, r 8, p 1; with r 127 it takes 254 MiB, and another key comes out.
        let at = small.windows(10).position(|bytes| bytes == b"\x02\x02\x40\x00\x02\x01\x08\x02\x01\x01");
        let mut large = small.clone();
        large[at.expect("OpenSSL's parameters") + 6] = 127;
        for (what, key) in [("scrypt, 16 MiB", small), ("scrypt, 254 MiB", large)] {
            let key = BASE64_STANDARD.encode(key);
            judge(what, &w.request(&json!({"action": "checkKey", "key": key, "passphrase": PASSPHRASE})));
        }
        let seal = json!({"action": "sealKey", "key": BASE64_STANDARD.encode(KEY), "newPassphrase": PASSPHRASE});
        judge("sealing", &w.request(&seal));
        let locked = w.request(&json!({"action": "lock", "passphrase": PASSPHRASE}));
        judge("lock", &locked);
        let is_locked = w.request(&json!({"action": "ping"}))["locked"] == true;
        assert_eq!(is_locked, locked["ok"] == true, "{mebibytes} MiB");
        if is_locked {
            judge("unlock", &w.request(&json!({"action": "unlock", "passphrase": PASSPHRASE})));
        }
    }
    // The control: the limits do take effect, and not on everything.
    assert!(refused > 0 && done > 0, "{refused} refused, {done} done");
}

#[test]
fn a_lock_without_memory_says_so_and_leaves_the_keys() {
    let mut w = World::new();
    let lines = w.shell("sh", "ulimit -v 80000; exec apptoken-agent -s").text();
    let (socket, pid) = crate::support::agent::parse_bourne(&lines).expect("the three lines");
    w.env("APPTOKEN_AUTH_SOCK", socket);
    w.env("APPTOKEN_AGENT_PID", pid.to_string());
    let lock = w.shell("sh", "echo hunter2 | apptoken lock --passphrase-fd 0");
    lock.fails(1, ["memory", "limit"]);
    w.assert_agent_is_well();
    assert_eq!(w.request(&json!({"action": "ping"}))["locked"], false);
}

const PASSPHRASE: &str = "hunter2";
