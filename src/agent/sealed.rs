//! The sealed file: a private key at rest, which only its passphrase opens.
//!
//! | bytes | what |
//! |---|---|
//! | 0–15 | `apptoken-key-v1` and a newline: what this is, and how the rest is laid out |
//! | 16–19 | Argon2id: memory in KiB |
//! | 20–23 | Argon2id: passes over that memory |
//! | 24–27 | Argon2id: lanes |
//! | 28–43 | Argon2id: salt |
//! | 44–55 | AES-256-GCM: nonce |
//! | 56– | the key as PKCS#1 DER, encrypted; the last 16 bytes are the tag |
//!
//! Numbers are four bytes, the high one first. There is nothing else: no name and no App, so that the file tells nobody what
//! it is for; those are the configuration's.
//!
//! The passphrase, as UTF-8, becomes the key of AES-256-GCM by Argon2id, version 0x13 (RFC 9106). Files are sealed with
//! [`Params::USUAL`], 64 MiB, 3 passes and 1 lane, and a random salt and nonce each; parameters are in the file so that later
//! versions can ask for more, and files of before stay readable.
//!
//! The tag covers all of the file: bytes 0 to 55 are the associated data, the rest is what it is computed of. A file with
//! one bit changed does not open. What was changed, nobody can tell from a wrong passphrase.
//!
//! Whoever can write the file can ask for any parameters, and these have to be obeyed before the tag can be looked at. Hence
//! they are held against bounds before anything is allocated: at most 256 MiB ([`MAX_MEMORY`]), 16 passes ([`MAX_PASSES`])
//! and 4 lanes ([`MAX_LANES`]), which is seconds of one core. Below there is no bound but Argon2's own, 8 KiB a lane and one
//! pass: a file that was sealed with less is weak already, and refusing to read it would help nobody. Nobody but who sealed
//! it can have made it so, since a file with other parameters does not open.

use super::derive::{Nonce, OutOfMemory, Params, PassphraseKey, Salt, random};
use crate::pem::MAX_KEY;
use crate::secret::Secret;

/// A sealed file that was read, not yet opened: its parameters are within bounds.
#[derive(Debug)]
pub struct SealedFile {
    params: Params,
    salt: Salt,
    nonce: Nonce,
    header: [u8; HEADER],
    ciphertext: Vec<u8>,
}

/// Why a sealed file does not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotUnsealed {
    /// It is not laid out as a sealed file, or is too small or too large for one.
    Damaged,
    /// It asks for more memory or time than any file needs, or for what Argon2 cannot do.
    OutOfBounds,
    /// Its layout is one that later versions have.
    Newer,
    /// The passphrase is another, or something in the file was changed: that looks the same.
    WrongPassphrase,
    /// The system does not give the memory that its parameters ask for.
    OutOfMemory,
}

impl From<OutOfMemory> for NotUnsealed {
    fn from(OutOfMemory: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl SealedFile {
    /// Whether this is a sealed file of any version, as far as its first bytes tell.
    pub fn is_meant(bytes: &[u8]) -> bool {
        bytes.starts_with(FAMILY)
    }

    /// Reads a file. Allocates no more than the file has.
    pub fn read(file: &[u8]) -> Result<Self, NotUnsealed> {
        if is_newer(file) {
            return Err(NotUnsealed::Newer);
        }
        let (header, ciphertext) = file.split_first_chunk::<HEADER>().ok_or(NotUnsealed::Damaged)?;
        if !header.starts_with(MAGIC) || ciphertext.len() <= TAG || file.len() > MAX_KEY {
            return Err(NotUnsealed::Damaged);
        }
        let number = |at: usize| u32::from_be_bytes(field(header, at));
        let params = Params { memory: number(16), passes: number(20), lanes: number(24) };
        if params.memory > MAX_MEMORY || params.passes > MAX_PASSES || params.lanes > MAX_LANES || !params.are_valid() {
            return Err(NotUnsealed::OutOfBounds);
        }
        let (salt, nonce) = (field(header, 28), field(header, 44));
        Ok(Self { params, salt, nonce, header: *header, ciphertext: ciphertext.to_vec() })
    }

    /// What it asks for.
    pub(super) fn params(&self) -> Params {
        self.params
    }

    /// Opens it: the key as PKCS#1 DER. Takes what its parameters ask for.
    pub fn open(&self, passphrase: &Secret<str>) -> Result<Secret<[u8]>, NotUnsealed> {
        let key = PassphraseKey::derive(passphrase, &self.salt, self.params)?;
        key.decrypt(&self.nonce, &self.ciphertext, &self.header).ok_or(NotUnsealed::WrongPassphrase)
    }
}

/// Seals a key, which is PKCS#1 DER, for whoever knows the passphrase. Files to keep are sealed with [`Params::USUAL`].
pub fn seal(pkcs1: &Secret<[u8]>, passphrase: &Secret<str>, params: Params) -> Result<Vec<u8>, OutOfMemory> {
    let (salt, nonce): (Salt, Nonce) = (random(), random());
    let numbers = [params.memory, params.passes, params.lanes].map(u32::to_be_bytes);
    let mut file = [MAGIC.as_slice(), numbers.as_flattened(), &salt, &nonce].concat();
    let ciphertext = PassphraseKey::derive(passphrase, &salt, params)?.encrypt(&nonce, pkcs1.expose(), &file);
    file.extend(ciphertext);
    Ok(file)
}

/// Whether it says that it is of a version above this one, in a line of its own.
fn is_newer(file: &[u8]) -> bool {
    let Some(version) = file.strip_prefix(FAMILY) else { return false };
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = version.split_at(digits);
    rest.starts_with(b"\n") && !matches!(digits, [] | [b'0', ..] | b"1")
}

/// The field that begins `at` this byte.
fn field<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    header[at..at + N].try_into().expect("the field is N bytes long, and within the header")
}

const MAGIC: &[u8; 16] = b"apptoken-key-v1\n";
/// What the files of all versions begin with.
const FAMILY: &[u8] = b"apptoken-key-v";
/// Bytes before the ciphertext.
const HEADER: usize = 56;
/// Bytes that AES-GCM adds.
const TAG: usize = 16;
/// Most memory that a file may ask for, in KiB: four times what is usual.
pub const MAX_MEMORY: u32 = 256 * 1024;
/// Most passes: with the most memory, that is ten times what is usual, about a second and a half.
pub const MAX_PASSES: u32 = 8;
/// Most lanes: RFC 9106 recommends four. They cost nothing more.
pub const MAX_LANES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// As cheap as Argon2 can be.
    const CHEAP: Params = Params { memory: 8, passes: 1, lanes: 1 };

    fn sealed() -> Vec<u8> {
        seal(&b"a private key".to_vec().into(), &"hunter2".into(), CHEAP).expect("there is memory")
    }

    fn opened(file: &[u8], passphrase: &str) -> Result<Vec<u8>, NotUnsealed> {
        SealedFile::read(file)?.open(&passphrase.into()).map(|key| key.expose().to_vec())
    }

    fn with_params(memory: u32, passes: u32, lanes: u32) -> Vec<u8> {
        let mut file = sealed();
        file[16..28].copy_from_slice([memory, passes, lanes].map(u32::to_be_bytes).as_flattened());
        file
    }

    #[test]
    fn only_the_right_passphrase_opens() {
        let file = sealed();
        assert_eq!(opened(&file, "hunter2"), Ok(b"a private key".to_vec()));
        for wrong in ["hunter3", "", "hunter2 "] {
            assert_eq!(opened(&file, wrong), Err(NotUnsealed::WrongPassphrase), "{wrong}");
        }
    }

    #[test]
    fn the_layout_is_that_of_the_table() {
        let file =
            seal(&b"a private key".to_vec().into(), &"hunter2".into(), Params { memory: 40, passes: 2, lanes: 3 })
                .expect("there is memory");
        assert!(file.starts_with(b"apptoken-key-v1\n\0\0\0\x28\0\0\0\x02\0\0\0\x03"), "{file:?}");
        assert_eq!(file.len(), 56 + b"a private key".len() + 16);
        let again = sealed();
        assert_ne!(file[28..44], again[28..44], "a salt is used once");
        assert_ne!(file[44..56], again[44..56], "a nonce is used once");
    }

    /// Made with other code, Python's `cryptography`.
    #[test]
    fn a_file_of_the_first_version_stays_readable() {
        let file = hex(VECTOR);
        assert_eq!(opened(&file, "päss"), Ok(b"a private key".to_vec()));
    }

    #[test]
    fn no_byte_of_it_can_be_changed_or_left_out() {
        let file = sealed();
        for (at, change) in (0..file.len()).flat_map(|at| [0x01, 0x80, 0xff].map(|change| (at, change))) {
            let mut changed = file.clone();
            changed[at] ^= change;
            assert!(opened(&changed, "hunter2").is_err(), "byte {at} changed by {change:x}");
        }
        for length in 0..file.len() {
            assert!(opened(&file[..length], "hunter2").is_err(), "the first {length} bytes");
        }
        assert!(opened(&[&file[..], b"\0"].concat(), "hunter2").is_err(), "one byte more");
    }

    #[test]
    fn parameters_are_held_against_both_bounds_before_they_are_obeyed() {
        for (memory, passes, lanes) in [(MAX_MEMORY, MAX_PASSES, MAX_LANES), (8, 1, 1), (32, 1, 4)] {
            assert!(SealedFile::read(&with_params(memory, passes, lanes)).is_ok(), "{memory} {passes} {lanes}");
        }
        for (memory, passes, lanes) in [
            (MAX_MEMORY + 1, 1, 1),
            (8, MAX_PASSES + 1, 1),
            (64, 1, MAX_LANES + 1),
            (u32::MAX, u32::MAX, u32::MAX),
            (7, 1, 1),
            (31, 1, 4),
            (8, 0, 1),
            (8, 1, 0),
            (0, 0, 0),
        ] {
            let read = SealedFile::read(&with_params(memory, passes, lanes));
            assert_eq!(read.err(), Some(NotUnsealed::OutOfBounds), "{memory} {passes} {lanes}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let rest = &sealed()[16..];
        for (magic, why) in [
            ("apptoken-key-v2\n", NotUnsealed::Newer),
            ("apptoken-key-v17\n", NotUnsealed::Newer),
            ("apptoken-key-v0\n", NotUnsealed::Damaged),
            ("apptoken-key-v\n", NotUnsealed::Damaged),
            ("apptoken-key-v1 ", NotUnsealed::Damaged),
            ("apptoken-key-v2 ", NotUnsealed::Damaged),
        ] {
            let file = [magic.as_bytes(), rest].concat();
            assert_eq!(SealedFile::read(&file).err(), Some(why), "{magic:?}");
            assert!(SealedFile::is_meant(&file), "{magic:?}");
        }
        assert_eq!(SealedFile::read(b"apptoken-key-v2\n").err(), Some(NotUnsealed::Newer));
    }

    #[test]
    fn a_file_larger_than_any_key_is_not_read() {
        let mut file = sealed();
        file.resize(MAX_KEY, 0);
        assert!(SealedFile::read(&file).is_ok());
        file.push(0);
        assert_eq!(SealedFile::read(&file).err(), Some(NotUnsealed::Damaged));
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
        digits.chunks(2).map(pair).collect()
    }

    const VECTOR: &str = "
        617070746f6b656e2d6b65792d76310a00000040000000020000000400010203
        0405060708090a0b0c0d0e0f6465666768696a6b6c6d6e6f1e180aaede0a3f1a
        ef79c16e32a29a1924d18ad3e04b8bb8bea6fa15a4";
}
