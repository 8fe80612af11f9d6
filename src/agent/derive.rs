//! A passphrase becomes a key: by Argon2id (RFC 9106), for AES-256-GCM. What is locked and what is sealed share it.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key};
use argon2::{Algorithm, Argon2, Version};
use zeroize::Zeroizing;

use crate::secret::{Secret, on_wiped_stack};

/// What a passphrase is mixed with, new for each key.
pub type Salt = [u8; 16];
/// What makes one encryption under a key differ from another.
pub type Nonce = [u8; 12];

/// What Argon2id is to spend on a passphrase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Params {
    /// Memory, in KiB.
    pub memory: u32,
    /// How often it goes through that memory.
    pub passes: u32,
    /// How many may share the work.
    pub lanes: u32,
}

impl Params {
    /// RFC 9106's second recommendation, with one lane: a tenth of a second and 64 MiB.
    pub const USUAL: Self = Self { memory: 64 * 1024, passes: 3, lanes: 1 };

    /// Whether Argon2 can work with them.
    pub fn are_valid(self) -> bool {
        self.to_argon2().is_ok()
    }

    fn to_argon2(self) -> argon2::Result<argon2::Params> {
        argon2::Params::new(self.memory, self.passes, self.lanes, None)
    }
}

/// What a passphrase became.
pub struct PassphraseKey(Zeroizing<[u8; 32]>);

impl PassphraseKey {
    /// Derives it; takes as long as `params`, which must be valid, ask for.
    pub fn derive(passphrase: &Secret<str>, salt: &Salt, params: Params) -> Result<Self, OutOfMemory> {
        let params = params.to_argon2().expect("whoever chose the parameters chose valid ones");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        match on_wiped_stack(|| argon2.hash_password_into(passphrase.expose().as_bytes(), salt, &mut *key)) {
            Err(argon2::Error::OutOfMemory) => Err(OutOfMemory),
            derived => {
                derived.expect("salt, key and passphrase have lengths that Argon2 takes");
                Ok(Self(key))
            }
        }
    }

    /// Encrypts; what is `associated` is not in the result, but it opens only together with the same.
    pub fn encrypt(&self, nonce: &Nonce, plaintext: &[u8], associated: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: plaintext, aad: associated };
        self.cipher().encrypt(&(*nonce).into(), payload).expect("keys are shorter than AES-GCM's limit")
    }

    /// Decrypts; `None` with anything else than what it was encrypted with.
    pub fn decrypt(&self, nonce: &Nonce, ciphertext: &[u8], associated: &[u8]) -> Option<Secret<[u8]>> {
        let payload = Payload { msg: ciphertext, aad: associated };
        self.cipher().decrypt(&(*nonce).into(), payload).ok().map(Secret::from)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(*self.0))
    }
}

/// The system does not give the memory that a derivation needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

/// Bytes that nobody can guess, for a salt or a nonce.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random generator works");
    bytes
}
