//! Keys that others encrypted, with OpenSSL in all its ways or as the original tool did, are opened by the agent, for whoever
//! has the passphrase.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::support::encrypting::{OLD_PEM, PEM_ENC, PKCS8, SCRYPT, WAYS, can_encrypt, encrypt, wire};
use crate::support::{APP_ID, HOST, KEY, SLUG, World};

const PASSPHRASE: &str = "correct horse päßword";

#[test]
fn every_encrypted_form_is_opened_and_only_by_its_passphrase() {
    let Some(w) = World::that_encrypts() else { return };
    let mut peer = w.connect();
    for way in WAYS {
        let file = w.encrypted(way, KEY);
        for (passphrase, code) in [
            (json!({}), "wrong_passphrase"),
            (json!({"passphrase": "wrong"}), "wrong_passphrase"),
            (json!({"passphrase": ""}), "wrong_passphrase"),
        ] {
            let answer = peer.request(&w.add_request(&file, &passphrase));
            assert_eq!(answer["code"], code, "{way}: {answer}");
            assert!(answer["hint"].is_string(), "{way}: {answer}");
        }
        let answer = peer.request(&w.add_request(&file, &json!({ "passphrase": PASSPHRASE })));
        assert_eq!(answer["name"], SLUG, "{way}: {answer}");
        assert!(peer.request(&json!({"action": "getToken"}))["token"].is_string(), "{way}");
        assert_eq!(peer.request(&json!({"action": "removeAllKeys"}))["removed"], json!([SLUG]), "{way}");
    }
    w.assert_agent_is_well();
}

#[test]
fn without_a_passphrase_it_is_said_that_one_is_needed() {
    let Some(w) = World::that_encrypts() else { return };
    for way in WAYS {
        let answer = w.request(&w.add_request(&w.encrypted(way, KEY), &json!({})));
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.ends_with("it is encrypted with a passphrase"), "{way}: {answer}");
    }
}

#[test]
fn the_old_pem_is_read_in_every_form_in_which_people_paste_it() {
    let Some(w) = World::that_encrypts() else { return };
    let file = w.encrypted(OLD_PEM, KEY);
    let text = String::from_utf8(file).expect("PEM is text");
    for form in [
        text.replace('\n', "\r\n"),
        text.replace('\n', "\\n"),
        text.replace('\n', " "),
        format!("\n\n  {text}\n \t\n"),
        BASE64_STANDARD.encode(&text),
    ] {
        let answer = w.request(&w.add_request(form.as_bytes(), &json!({ "passphrase": PASSPHRASE })));
        assert_eq!(answer["name"], SLUG, "{form}: {answer}");
    }
}

#[test]
fn a_file_may_be_sent_as_it_is() {
    let Some(w) = World::that_encrypts() else { return };
    for (file, passphrase) in WAYS.map(|way| (w.encrypted(way, KEY), json!({ "passphrase": PASSPHRASE }))) {
        let answer = w.request(&check_request(&BASE64_STANDARD.encode(&file), &passphrase));
        assert_eq!(answer["bits"], 2048, "{}: {answer}", String::from_utf8_lossy(&file));
    }
    let answer = w.request(&check_request(&BASE64_STANDARD.encode(KEY), &json!({})));
    assert_eq!(answer["bits"], 2048, "{answer}");
}

#[test]
fn a_passphrase_that_is_not_needed_is_not_looked_at() {
    let w = World::with_agent();
    let answer = w.request(&w.add_request(KEY.as_bytes(), &json!({ "passphrase": PASSPHRASE })));
    assert_eq!(answer["name"], SLUG, "{answer}");
}

#[test]
fn what_is_encrypted_in_a_way_that_is_not_known_is_told_from_damage() {
    let Some(w) = World::that_encrypts() else { return };
    for way in [
        "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout env:NEW",
        "openssl pkcs8 -topk8 -v2 camellia256 -passout env:NEW",
        "openssl pkcs8 -topk8 -v2 aria128 -passout env:NEW",
        "openssl rsa -camellia128 -traditional -passout env:NEW",
    ] {
        let file = w.encrypted(way, KEY);
        let answer = w.request(&w.add_request(&file, &json!({ "passphrase": PASSPHRASE })));
        assert_eq!(answer["code"], "bad_key", "{way}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains("not known here")), "{way}: {answer}");
        assert!(answer["hint"].as_str().is_some_and(|hint| hint.contains("openssl pkcs8")), "{way}: {answer}");
    }
}

#[test]
fn what_was_encrypted_is_judged_as_what_was_not() {
    let Some(w) = World::that_encrypts() else { return };
    let short = w.shell("sh", "openssl genrsa -traditional 1024 2>/dev/null").text();
    let twice = String::from_utf8(w.encrypted(OLD_PEM, KEY)).expect("PEM is text");
    let curve = w.shell("sh", "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256").text();
    for (way, key, reason) in [
        (PKCS8, &short, "2048"),
        (PKCS8, &curve, "not an RSA key"),
        (OLD_PEM, &short, "2048"),
        ("openssl ec -aes128 -passout env:NEW 2>/dev/null", &curve, "not an RSA key"),
        (PEM_ENC, &short, "2048"),
        (PEM_ENC, &curve, "not an RSA key"),
        (PEM_ENC, &"hello".to_owned(), "not a PEM file"),
        (PEM_ENC, &twice, "encrypted with a passphrase"),
    ] {
        let file = w.encrypted(way, key);
        let answer = w.request(&check_request(&wire(&file), &json!({ "passphrase": PASSPHRASE })));
        assert_eq!(answer["code"], "bad_key", "{way}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(reason)), "{way}: {answer}");
    }
}

#[test]
fn what_would_take_too_long_to_open_is_refused_before_it_is_begun() {
    let Some(w) = World::that_encrypts() else { return };
    let der = BASE64_STANDARD.decode(wire(w.encrypted(SCRYPT, KEY))).expect("base64");
    // N 16384, r 8, p 1: numbers that nothing authenticates.
    let params = b"\x02\x02\x40\x00\x02\x01\x08\x02\x01\x01";
    let at = der.windows(params.len()).position(|window| window == params).expect("OpenSSL's parameters");
    let send = |place: usize, number: u8| {
        let mut changed = der.clone();
        changed[at + place] = number;
        w.request(&check_request(&BASE64_STANDARD.encode(changed), &json!({ "passphrase": PASSPHRASE })))
    };
    assert_eq!(send(9, 1)["bits"], 2048);
    // p 127, N 16383, N 0, and a negative r.
    for (place, number) in [(9, 0x7f), (3, 0xff), (2, 0x00), (6, 0xff)] {
        let answer = send(place, number);
        assert_eq!(answer["code"], "bad_key", "{place}: {answer}");
    }
    let answer = send(9, 0x7f);
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("more memory or time")), "{answer}");
    w.assert_agent_is_well();
}

impl World {
    /// A world with an agent, if there is something to encrypt with.
    fn that_encrypts() -> Option<Self> {
        can_encrypt().then(Self::with_agent)
    }

    #[track_caller]
    fn encrypted(&self, way: &str, pem: &str) -> Vec<u8> {
        encrypt(self, way, pem, PASSPHRASE)
    }

    /// `addKey` for the App of this world, with what a client makes of the `file`.
    fn add_request(&self, file: &[u8], more: &Value) -> Value {
        let url = self.github.url();
        let request = json!({"action": "addKey", "key": wire(file), "appId": APP_ID, "host": HOST, "apiUrl": url});
        with(request, more)
    }
}

/// `checkKey` without asking GitHub.
fn check_request(key: &str, more: &Value) -> Value {
    with(json!({"action": "checkKey", "key": key}), more)
}

fn with(mut request: Value, more: &Value) -> Value {
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    request
}
