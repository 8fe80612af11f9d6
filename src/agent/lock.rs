//! The lock: a passphrase becomes a key, and what is locked is encrypted under it.

use std::time::Duration;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::secret::{Secret, on_wiped_stack};

/// What a passphrase was mixed with, new for each lock.
pub type Salt = [u8; 16];

/// The key that a passphrase becomes.
pub struct LockKey(Zeroizing<[u8; 32]>);

/// Bytes that only the right key opens.
pub struct Sealed {
    nonce: [u8; 12],
    ciphertext: Vec<u8>,
}

impl LockKey {
    /// Derives the key with Argon2id (RFC 9106); takes a tenth of a second and 64 MiB, by design.
    pub fn derive(passphrase: &Secret<str>, salt: &Salt) -> Self {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("these parameters are within Argon2's bounds");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        on_wiped_stack(|| argon2.hash_password_into(passphrase.expose().as_bytes(), salt, &mut *key))
            .expect("salt, key and passphrase have lengths that Argon2 takes");
        Self(key)
    }

    /// Encrypts with AES-256-GCM under a random nonce.
    pub fn seal(&self, plaintext: &[u8]) -> Sealed {
        let nonce: [u8; 12] = random();
        let ciphertext = self.cipher().encrypt(&Nonce::from(nonce), plaintext);
        Sealed { nonce, ciphertext: ciphertext.expect("keys are shorter than AES-GCM's limit") }
    }

    /// Decrypts; `None` under another key than the one it was sealed with.
    pub fn open(&self, sealed: &Sealed) -> Option<Secret<[u8]>> {
        let plaintext = self.cipher().decrypt(&Nonce::from(sealed.nonce), sealed.ciphertext.as_slice());
        plaintext.ok().map(Secret::from)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(*self.0))
    }
}

/// A salt for a new lock.
pub fn new_salt() -> Salt {
    random()
}

/// What the `failures`th wrong passphrase costs its caller, as ssh-agent has it.
pub fn penalty(failures: u32) -> Duration {
    PENALTY_STEP.saturating_mul(failures).min(MAX_PENALTY)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random generator works");
    bytes
}

/// Argon2id's parameters: RFC 9106's second recommendation, with one lane.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
const PENALTY_STEP: Duration = Duration::from_millis(100);
const MAX_PENALTY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_passphrase_with_its_salt_opens() {
        let salt = new_salt();
        let sealed = LockKey::derive(&"hunter2".into(), &salt).seal(b"a private key");
        let open = |passphrase: &str, salt| LockKey::derive(&passphrase.into(), salt).open(&sealed);
        assert_eq!(open("hunter2", &salt).expect("the right one").expose(), b"a private key");
        assert!(open("hunter3", &salt).is_none());
        assert!(open("hunter2", &new_salt()).is_none());
    }

    #[test]
    fn each_wrong_passphrase_costs_more_up_to_a_bound() {
        assert_eq!(penalty(1), Duration::from_millis(100));
        assert_eq!(penalty(5), Duration::from_millis(500));
        assert_eq!(penalty(u32::MAX), MAX_PENALTY);
    }
}
