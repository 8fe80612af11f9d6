//! A secret while it waits: encrypted in memory, as OpenSSH shields its idle keys.
//!
//! What leaks memory by side channels or speculation gets some bytes wrong. The key that opens the secret is the hash of a
//! large random block, so that all of the block would have to be leaked without one wrong bit.

use std::sync::{Mutex, MutexGuard};

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use super::guard::guard;
use crate::secret::Secret;

/// A secret that is in the clear only in what [`Shielded::open`] returns.
pub struct Shielded(Mutex<Option<Sealed>>);

struct Sealed {
    block: Secret<[u8]>,
    ciphertext: Vec<u8>,
}

impl Shielded {
    /// Shields a secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(Mutex::new(Some(Sealed::new(secret))))
    }

    /// Returns the secret, and shields it anew under another block; `None` once it was wiped.
    pub fn open(&self) -> Option<Secret<[u8]>> {
        let mut sealed = self.sealed();
        let secret = sealed.as_ref()?.open();
        *sealed = Some(Sealed::new(secret.expose()));
        Some(secret)
    }

    /// Wipes it, whoever still refers to it.
    pub fn wipe(&self) {
        *self.sealed() = None;
    }

    fn sealed(&self) -> MutexGuard<'_, Option<Sealed>> {
        guard(&self.0)
    }
}

impl Sealed {
    fn new(secret: &[u8]) -> Self {
        let mut block = vec![0; BLOCK];
        // The system's generator, not the library's: that one takes a tenth of a second to warm up.
        getrandom::fill(&mut block).expect("the system's random generator works");
        let block = Secret::from(block);
        let (cipher, nonce) = cipher(block.expose());
        let ciphertext = cipher.encrypt(&nonce, secret).expect("keys are shorter than AES-GCM's limit");
        Self { block, ciphertext }
    }

    fn open(&self) -> Secret<[u8]> {
        let (cipher, nonce) = cipher(self.block.expose());
        cipher.decrypt(&nonce, self.ciphertext.as_slice()).expect("what this process encrypted is intact").into()
    }
}

/// Each block is random and used for one encryption, so key and nonce may both come from its hash.
fn cipher(block: &[u8]) -> (Aes256Gcm, Nonce<aes_gcm::aead::consts::U12>) {
    let hash = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(block)));
    let (key, rest) = hash.split_at(32);
    let key = Zeroizing::new(<[u8; 32]>::try_from(key).expect("32 bytes were split off"));
    let nonce = <[u8; 12]>::try_from(&rest[..12]).expect("32 bytes are left");
    (Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)), nonce.into())
}

/// OpenSSH's size of the random block, in bytes.
const BLOCK: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shielded_opens_again_and_again_under_a_new_block_each_time() {
        let shielded = Shielded::new(b"a private key");
        let ciphertext = || shielded.sealed().as_ref().map(|sealed| sealed.ciphertext.clone());
        let before = ciphertext();
        for _ in 0..3 {
            assert_eq!(shielded.open().expect("it was not wiped").expose(), b"a private key");
        }
        assert_ne!(ciphertext(), before);
        shielded.wipe();
        assert!(shielded.open().is_none());
    }
}
