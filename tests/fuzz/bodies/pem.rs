//! Private keys as they are pasted and as they cross the socket: what is read is the same in every form, and is a key that
//! can be told by its fingerprint; whether it can sign is found out without harm.

use apptoken::agent::jwt;
use apptoken::agent::key::{AppKey, MIN_BITS};
use apptoken::agent::sealed::SealedFile;
use apptoken::ids::AppId;
use apptoken::pem::{self, KeyError, MAX_KEY, Pem};
use apptoken::secret::Secret;
use base64::prelude::{BASE64_STANDARD, Engine as _};

/// An input is a file of a key. It is also taken for what is inside of one.
pub(super) fn body(data: &[u8]) {
    if let Ok(Pem { wire, encrypted }) = pem::read(data) {
        assert!(!wire.expose().is_empty() && (encrypted || wire.expose().len() <= data.len()), "it grew");
        assert!(!wire.expose().contains(|letter: char| letter.is_ascii_whitespace()), "blanks are left in it");
        // A sealed file is no text, and has no other form.
        if !SealedFile::is_meant(data) {
            is_read_in_other_forms(data, &wire);
            is_one_key(data);
        }
        is_judged(&wire);
    }
    is_judged(&BASE64_STANDARD.encode(data).into());
}

fn is_read_in_other_forms(data: &[u8], wire: &Secret<str>) {
    let text = std::str::from_utf8(data).expect("a key is text");
    let mut forms = vec![format!("\n {text} \n"), text.replace('\n', "\r\n")];
    if text.contains("-----BEGIN ") {
        forms.push(BASE64_STANDARD.encode(text));
    }
    for form in forms.iter().filter(|form| form.len() <= MAX_KEY) {
        let read = pem::read(form.as_bytes()).expect("the same key in another form");
        assert!(read.wire.expose() == wire.expose(), "another form is another key");
    }
}

/// Two keys in a file are never taken for one of them.
fn is_one_key(data: &[u8]) {
    let two = [data, b"\n", OTHER.as_bytes()].concat();
    if data.windows(6).any(|window| window == b"-BEGIN") && two.len() <= MAX_KEY {
        assert_eq!(pem::read(&two).err(), Some(KeyError::Several));
    }
}

fn is_judged(wire: &Secret<str>) {
    let Ok(key) = AppKey::from_wire(wire) else { return };
    assert!(key.bits >= MIN_BITS && key.bits as usize <= MAX_KEY * 8, "{} bits", key.bits);
    let hash = key.fingerprint.strip_prefix("SHA256:").and_then(|hash| BASE64_STANDARD.decode(hash).ok());
    assert!(hash.is_some_and(|hash| hash.len() == 32), "{}", key.fingerprint);
    let again = BASE64_STANDARD.encode(key.pkcs1.expose());
    let again = AppKey::from_wire(&again.into()).expect("what is inside of a key is a key");
    assert_eq!((&again.fingerprint, again.bits), (&key.fingerprint, key.bits), "another wrapping is another key");
    if let Ok(jwt) = jwt::sign(&AppId::Number(1), &key.pkcs1, 1_795_357_800) {
        assert_eq!(jwt.expose().split('.').count(), 3);
    }
}

const OTHER: &str = include_str!("../../fixtures/UNSAFE-TEST-ONLY-2.pem");
