//! A sealed file is made by the agent and opened by the agent, and by nobody else; whatever is wrong with one harms nothing.

use apptoken::agent::derive::Params;
use apptoken::agent::sealed::{MAX_MEMORY, MAX_PASSES, seal};
use apptoken::secret::Secret;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::support::encrypting::{OLD_PEM, can_encrypt, encrypt, wire};
use crate::support::peer::Peer;
use crate::support::process::peak;
use crate::support::{APP_ID, HOST, INSTALLATION_ID, KEY, SLUG, World};

const PASSPHRASE: &str = "correct horse päßword";
/// As little as Argon2 can do: what is tested here is not how strong a file is.
const CHEAP: Params = Params { memory: 8, passes: 1, lanes: 1 };

#[test]
fn a_sealed_key_is_loaded_with_its_passphrase_and_gets_tokens() {
    let w = World::with_agent();
    let sealed = w.request(&json!({"action": "sealKey", "key": wire(KEY), "newPassphrase": PASSPHRASE}));
    assert!(w.request(&json!({"action": "listKeys"}))["keys"] == json!([]), "nothing of it is kept");
    let added = w.request(&w.add_sealed(&sealed["sealed"], PASSPHRASE));
    assert_eq!((&added["name"], &added["fingerprint"]), (&json!(SLUG), &sealed["fingerprint"]), "{added}");
    let token = w.request(&json!({"action": "getToken"}));
    assert_eq!(token["installationId"], INSTALLATION_ID, "{token}");
}

#[test]
fn a_sealed_key_is_not_opened_by_another_passphrase_or_none() {
    let w = World::with_agent();
    let sealed = json!(BASE64_STANDARD.encode(cheap()));
    for wrong in ["wrong", "", "correct horse paßword"] {
        let answer = w.request(&w.add_sealed(&sealed, wrong));
        assert_eq!(answer["code"], "wrong_passphrase", "{answer}");
    }
    let answer = w.request(&json!({"action": "addKey", "key": sealed, "appId": APP_ID}));
    assert_eq!(answer["code"], "wrong_passphrase", "{answer}");
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("encrypted with a passphrase")), "{answer}");
    assert_eq!(w.request(&json!({"action": "listKeys"}))["keys"], json!([]));
}

#[test]
fn what_is_sealed_is_as_strong_as_it_is_said_to_be_and_never_the_same_twice() {
    let w = World::with_agent();
    let [one, other] = [(); 2].map(|()| {
        let answer = w.request(&json!({"action": "sealKey", "key": wire(KEY), "newPassphrase": PASSPHRASE}));
        BASE64_STANDARD.decode(answer["sealed"].as_str().expect("a file")).expect("base64")
    });
    // 64 MiB, 3 passes, 1 lane.
    assert!(one.starts_with(b"apptoken-key-v1\n\x00\x01\x00\x00\x00\x00\x00\x03\x00\x00\x00\x01"), "{one:?}");
    assert_eq!(one.len(), 56 + der().len() + 16);
    for field in [28..44, 44..56, 56..one.len()] {
        assert_ne!(one[field.clone()], other[field.clone()], "{field:?}");
    }
}

#[test]
fn a_key_is_sealed_anew_under_another_passphrase_from_whatever_it_was_encrypted_with() {
    if !can_encrypt() {
        return;
    }
    let w = World::with_agent();
    for (file, passphrase) in [(encrypt(&w, OLD_PEM, KEY, "old"), "old"), (cheap(), PASSPHRASE)] {
        let key = wire(file);
        let seal = |passphrase: &str, new: &str| {
            w.request(&json!({"action": "sealKey", "key": key, "passphrase": passphrase, "newPassphrase": new}))
        };
        assert_eq!(seal("wrong", "new")["code"], "wrong_passphrase");
        let answer = w.request(&json!({"action": "sealKey", "key": key, "newPassphrase": "new"}));
        assert_eq!(answer["code"], "wrong_passphrase", "{answer}");
        let sealed = seal(passphrase, "new");
        assert_eq!(check(&mut w.connect(), &sealed["sealed"], passphrase)["code"], "wrong_passphrase");
        assert_eq!(check(&mut w.connect(), &sealed["sealed"], "new")["fingerprint"], sealed["fingerprint"]);
    }
}

#[test]
fn only_a_good_key_is_sealed_and_only_under_a_passphrase() {
    let w = World::with_agent();
    let seal = |key: &str, new: &str| w.request(&json!({"action": "sealKey", "key": key, "newPassphrase": new}));
    let answer = seal(&wire(KEY), "");
    assert_eq!(answer["code"], "bad_request", "{answer}");
    // Its last number does not belong to the others.
    let mut torn = der();
    *torn.last_mut().expect("a key has bytes") ^= 1;
    for bad in [torn, der()[..600].to_vec(), b"hello".to_vec()] {
        let answer = seal(&BASE64_STANDARD.encode(bad), PASSPHRASE);
        assert_eq!(answer["code"], "bad_key", "{answer}");
        assert_eq!(answer["sealed"], Value::Null);
    }
}

#[test]
fn every_byte_of_a_sealed_file_counts_and_none_can_harm_the_agent() {
    let w = World::with_agent();
    let mut peer = w.connect();
    let file = cheap();
    assert_eq!(check(&mut peer, &json!(BASE64_STANDARD.encode(&file)), PASSPHRASE)["bits"], 2048);
    for (at, change) in (0..file.len()).flat_map(|at| [0x01, 0x80].map(|change| (at, change))) {
        let mut changed = file.clone();
        changed[at] ^= change;
        let answer = check(&mut peer, &json!(BASE64_STANDARD.encode(changed)), PASSPHRASE);
        let code = answer["code"].as_str().unwrap_or_default();
        // The ciphertext is as good as any: it is the tag that tells.
        let expected: &[&str] = if at < 56 { &["bad_key", "wrong_passphrase"] } else { &["wrong_passphrase"] };
        assert!(expected.contains(&code), "byte {at} changed by {change:#x}: {answer}");
        assert!(answer["error"].is_string() && answer["hint"].is_string(), "byte {at}: {answer}");
    }
    assert_eq!(peer.request(&json!({"action": "ping"}))["pid"], w.pid().as_raw(), "over the same connection");
    assert_eq!(check(&mut peer, &json!(BASE64_STANDARD.encode(&file)), PASSPHRASE)["bits"], 2048);
}

#[test]
fn a_file_of_a_newer_version_is_said_to_be_one() {
    let w = World::with_agent();
    let mut file = cheap();
    file[14] = b'2';
    let answer = check(&mut w.connect(), &json!(BASE64_STANDARD.encode(file)), PASSPHRASE);
    assert_eq!(answer["code"], "bad_key", "{answer}");
    assert!(answer["error"].as_str().is_some_and(|error| error.contains("newer apptoken")), "{answer}");
}

#[test]
fn a_file_that_asks_for_too_much_is_refused_before_anything_is_spent_on_it() {
    let w = World::with_agent();
    let mut peer = w.connect();
    let mut with_params = |memory: u32, passes: u32, lanes: u32| {
        let mut file = cheap();
        file[16..28].copy_from_slice([memory, passes, lanes].map(u32::to_be_bytes).as_flattened());
        check(&mut peer, &json!(BASE64_STANDARD.encode(file)), PASSPHRASE)
    };
    assert_eq!(with_params(8, 1, 1)["bits"], 2048);
    let before = peak(w.pid());
    for (memory, passes, lanes) in [
        (MAX_MEMORY + 1, 1, 1),
        (u32::MAX, u32::MAX, u32::MAX),
        (8, MAX_PASSES + 1, 1),
        (64, 1, 5),
        (7, 1, 1),
        (8, 0, 1),
        (8, 1, 0),
    ] {
        let answer = with_params(memory, passes, lanes);
        assert_eq!(answer["code"], "bad_key", "{memory} {passes} {lanes}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains("more memory or time")), "{answer}");
    }
    assert!(peak(w.pid()) - before < A_LITTLE, "from {before} to {} bytes", peak(w.pid()));
    // The control: what is within the bounds is spent, and seen here.
    assert_eq!(with_params(64 * 1024, 1, 1)["code"], "wrong_passphrase");
    assert!(peak(w.pid()) - before > A_LITTLE, "from {before} to {} bytes", peak(w.pid()));
}

#[test]
fn a_locked_agent_opens_and_seals_nothing_and_spends_nothing_on_it() {
    let w = World::with_agent();
    let sealed = w.request(&json!({"action": "sealKey", "key": wire(KEY), "newPassphrase": PASSPHRASE}));
    // That and the lock took 64 MiB; this would take more.
    let mut costly = BASE64_STANDARD.decode(sealed["sealed"].as_str().expect("a file")).expect("base64");
    costly[16..20].copy_from_slice(&MAX_MEMORY.to_be_bytes());
    let costly = json!(BASE64_STANDARD.encode(costly));
    assert_eq!(w.request(&json!({"action": "lock", "passphrase": "hunter2"}))["ok"], true);
    let before = peak(w.pid());
    for request in [
        w.add_sealed(&costly, PASSPHRASE),
        json!({"action": "checkKey", "key": costly, "passphrase": PASSPHRASE}),
        json!({"action": "checkKey", "key": wire(KEY), "appId": APP_ID, "apiUrl": "ftp://nowhere"}),
        json!({"action": "sealKey", "key": costly, "passphrase": PASSPHRASE, "newPassphrase": ""}),
        json!({"action": "sealKey", "key": wire(KEY), "newPassphrase": PASSPHRASE}),
    ] {
        let answer = w.request(&request);
        assert_eq!(answer["code"], "locked", "{answer}");
    }
    assert!(peak(w.pid()) - before < A_LITTLE, "from {before} to {} bytes", peak(w.pid()));
    assert!(w.github.journal().is_empty());
}

impl World {
    /// `addKey` for the App of this world.
    fn add_sealed(&self, key: &Value, passphrase: &str) -> Value {
        let url = self.github.url();
        json!({"action": "addKey", "key": key, "passphrase": passphrase, "appId": APP_ID, "host": HOST, "apiUrl": url})
    }
}

fn check(peer: &mut Peer, key: &Value, passphrase: &str) -> Value {
    peer.request(&json!({"action": "checkKey", "key": key, "passphrase": passphrase}))
}

/// A sealed file that costs next to nothing to open.
fn cheap() -> Vec<u8> {
    seal(&der().into(), &Secret::from(PASSPHRASE), CHEAP).expect("there is memory")
}

fn der() -> Vec<u8> {
    BASE64_STANDARD.decode(wire(KEY)).expect("the fixture is a key")
}

/// Bytes of memory that some requests may take: far less than opening what is refused here would.
const A_LITTLE: u64 = 32 << 20;
