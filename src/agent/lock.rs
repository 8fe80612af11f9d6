//! The lock: what is locked is encrypted under the key that its passphrase becomes.

use super::derive::{Nonce, OutOfMemory, Params, PassphraseKey, random};
use crate::secret::Secret;

pub use super::derive::Salt;

/// The key that a passphrase becomes.
pub struct LockKey(PassphraseKey);

/// Bytes that only the right key opens.
pub struct Sealed {
    nonce: Nonce,
    ciphertext: Vec<u8>,
}

impl LockKey {
    /// Derives the key; takes a tenth of a second and 64 MiB, by design.
    pub fn derive(passphrase: &Secret<str>, salt: &Salt) -> Result<Self, OutOfMemory> {
        PassphraseKey::derive(passphrase, salt, Params::USUAL).map(Self)
    }

    /// Encrypts under a random nonce.
    pub fn seal(&self, plaintext: &[u8]) -> Sealed {
        let nonce = random();
        Sealed { nonce, ciphertext: self.0.encrypt(&nonce, plaintext, &[]) }
    }

    /// Decrypts; `None` under another key than the one it was sealed with.
    pub fn open(&self, sealed: &Sealed) -> Option<Secret<[u8]>> {
        self.0.decrypt(&sealed.nonce, &sealed.ciphertext, &[])
    }
}

/// A salt for a new lock.
pub fn new_salt() -> Salt {
    random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_passphrase_with_its_salt_opens() {
        let salt = new_salt();
        let derive = |passphrase: &str, salt| LockKey::derive(&passphrase.into(), salt).expect("there is memory");
        let sealed = derive("hunter2", &salt).seal(b"a private key");
        let open = |passphrase: &str, salt| derive(passphrase, salt).open(&sealed);
        assert_eq!(open("hunter2", &salt).expect("the right one").expose(), b"a private key");
        assert!(open("hunter3", &salt).is_none());
        assert!(open("hunter2", &new_salt()).is_none());
    }
}
