//! Keys that a passphrase opens: sealed files and what other programs make. What opening one takes is within bounds before
//! anything is derived; what is sealed opens again, and changed by one bit it does not.

use apptoken::agent::derive::Params;
use apptoken::agent::encrypted::{Cost, Encrypted, Packed};
use apptoken::agent::key::AppKey;
use apptoken::agent::sealed::{MAX_LANES, MAX_MEMORY, MAX_PASSES, NotUnsealed, SealedFile, seal};
use apptoken::pem::{self, MAX_KEY};
use base64::prelude::{BASE64_STANDARD, Engine as _};

/// An input is a file. Its first byte also chooses the bit that is changed in what is sealed of it.
pub(super) fn body(data: &[u8]) {
    is_within_bounds(data);
    let sent = [Some(BASE64_STANDARD.encode(data).into()), pem::read(data).ok().map(|pem| pem.wire)];
    for wire in sent.iter().flatten() {
        if let Ok(Packed::Encrypted(encrypted)) = Packed::from_wire(wire) {
            opens_in_time(&encrypted);
        }
    }
    comes_back(data);
}

fn is_within_bounds(file: &[u8]) {
    match SealedFile::read(file) {
        Ok(_) => {
            assert!(file.starts_with(b"apptoken-key-v1\n") && file.len() <= MAX_KEY);
            let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes"));
            assert!(number(16) <= MAX_MEMORY && number(20) <= MAX_PASSES && number(24) <= MAX_LANES);
        }
        Err(NotUnsealed::WrongPassphrase | NotUnsealed::OutOfMemory) => panic!("a passphrase was not asked for yet"),
        Err(NotUnsealed::Damaged | NotUnsealed::OutOfBounds | NotUnsealed::Newer) => {}
    }
}

/// What takes little is opened; of the others it is enough that they do not take more than they may.
fn opens_in_time(encrypted: &Encrypted) {
    let Cost { memory, steps } = encrypted.cost();
    assert!(memory <= MOST_MEMORY && steps <= MOST_STEPS, "{memory} bytes, {steps} steps");
    if memory <= CHEAP_MEMORY && steps <= CHEAP_STEPS {
        for passphrase in [PASSPHRASE, ""] {
            if let Ok(der) = encrypted.open(&passphrase.into()) {
                let _ = AppKey::from_der(der.expose());
            }
        }
    }
}

fn comes_back(key: &[u8]) {
    if key.is_empty() || key.len() > MAX_KEY / 2 {
        return;
    }
    let open = |file: &[u8]| SealedFile::read(file)?.open(&PASSPHRASE.into());
    let mut file = seal(&key.to_vec().into(), &PASSPHRASE.into(), Params { memory: 8, passes: 1, lanes: 1 })
        .expect("there is memory");
    assert!(open(&file).is_ok_and(|opened| opened.expose() == key), "another key comes out");
    // Not in what the file asks for: that would be obeyed first.
    let (bit, at) = (key[0] % 8, 28 + usize::from(key[0]) % (file.len() - 28));
    file[at] ^= 1 << bit;
    assert!(open(&file).is_err(), "it opens though byte {at} was changed");
}

const PASSPHRASE: &str = "hunter2";
/// What opening a file may take, in bytes and steps: scrypt has some bytes a lane beside the 256 MiB, and PBKDF2 most steps.
const MOST_MEMORY: u64 = 257 << 20;
const MOST_STEPS: u64 = 10_000_000;
/// What takes well under a millisecond.
const CHEAP_MEMORY: u64 = 256 << 10;
const CHEAP_STEPS: u64 = 256;
