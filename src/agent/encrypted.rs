//! Keys as they cross the socket, and the opening of those that a passphrase encrypts: what OpenSSL makes, what the original
//! tool kept, and our own sealed file.
//!
//! What comes is told apart by its first bytes:
//!
//! | it begins with | it is |
//! |---|---|
//! | `apptoken-key-v` | a sealed file, as `sealed.rs` describes it |
//! | `-----BEGIN` | PEM: with `Proc-Type: 4,ENCRYPTED` OpenSSL's old way, whose key MD5 derives, else as the next |
//! | 0x30 | DER: encrypted PKCS#8, which is PBES2 of RFC 8018 with PBKDF2 or scrypt, or a key in the clear |
//! | else | a `pem.enc`: base64 of salt 32, IV 16, tag 16, ciphertext; PBKDF2, AES-256-GCM, inside it PEM |
//!
//! 0x30 is the digit 0 as well: what is all base64 is no DER.
//!
//! What deriving costs is for the file to say. It is held against bounds while it is read, before anything is derived. PBES2
//! is read here and not by the crate `pkcs5`, which panics on a short IV and a cost of zero; both come from the file.

use std::hint::black_box;
use std::num::NonZeroU32;

use aes_gcm::aead::consts::U16;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
use aes_gcm::{AesGcm, Key, Nonce};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use des::TdesEde3;
use md5::{Digest, Md5};
use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Decode};
use pkcs8::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::sealed::{NotUnsealed, SealedFile};
use crate::pem::{self, KeyError, MAX_KEY};
use crate::secret::Secret;

/// A key that crossed the socket, read as far as that goes without a passphrase.
pub enum Packed {
    /// DER in the clear, not yet judged.
    Plain(Secret<[u8]>),
    /// What has to be opened.
    Encrypted(Encrypted),
}

/// A key that a passphrase opens, and what deriving its key costs is within bounds.
pub struct Encrypted(Form);

enum Form {
    Sealed(SealedFile),
    Pkcs8 { derivation: Derivation, cipher: Cipher, iv: Vec<u8>, ciphertext: Vec<u8> },
    OldPem { cipher: Cipher, iv: Vec<u8>, ciphertext: Vec<u8> },
    PemEnc(Vec<u8>),
}

/// Why there is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotOpened {
    /// It is no key that GitHub Apps use.
    NoKey(KeyError),
    /// It is encrypted in a way that is not known here.
    Unknown,
    /// It asks for more memory or time than is spent on any.
    OutOfBounds,
    /// A newer version of this program sealed it.
    Newer,
    /// The passphrase does not open it, or it is damaged: that looks the same.
    WrongPassphrase,
    /// The system does not give the memory that opening it takes.
    OutOfMemory,
}

impl Packed {
    /// Reads a key that was sent in base64.
    pub fn from_wire(text: &Secret<str>) -> Result<Self, NotOpened> {
        if text.expose().len() > MAX_WIRE {
            return Err(KeyError::TooLarge.into());
        }
        Self::from_bytes(decode(text.expose())?)
    }

    /// Reads the content of a key file, in every form that a client can send and that [`pem::read`] reads.
    pub fn from_file(content: Secret<[u8]>) -> Result<Self, NotOpened> {
        if content.expose().len() > MAX_KEY {
            return Err(KeyError::TooLarge.into());
        }
        match pem::read(content.expose()) {
            Ok(key) => Self::from_wire(&key.wire),
            // Neither DER nor a `pem.enc` is PEM. Where it is nothing at all, the user should hear what is missing.
            Err(KeyError::NotPem) if is_der(content.expose()) => Self::from_bytes(content),
            Err(KeyError::NotPem) => pem_enc(content.expose()).map_err(|_| KeyError::NotPem.into()),
            Err(why) => Err(why.into()),
        }
    }

    fn from_bytes(bytes: Secret<[u8]>) -> Result<Self, NotOpened> {
        match bytes.expose() {
            der if is_der(der) => Self::from_der(bytes),
            file if SealedFile::is_meant(file) => Ok(Self::Encrypted(Encrypted(Form::Sealed(SealedFile::read(file)?)))),
            file if file.starts_with(BEGIN) => {
                let inner = decode(pem::read(file)?.wire.expose())?;
                // Of what PEM holds, only this is read as PEM again.
                if inner.expose().starts_with(BEGIN) { old_pem(inner.expose()) } else { Self::from_der(inner) }
            }
            file => pem_enc(file),
        }
    }

    fn from_der(der: Secret<[u8]>) -> Result<Self, NotOpened> {
        // A key in the clear begins with a version, an encrypted one with how that was done.
        let envelope = |der| {
            AnyRef::from_der(der)?.sequence(|reader| -> der::Result<_> {
                Ok((AlgorithmIdentifierRef::decode(reader)?, <&OctetStringRef>::decode(reader)?.as_bytes()))
            })
        };
        let Ok((scheme, ciphertext)) = envelope(der.expose()) else { return Ok(Self::Plain(der)) };
        let (derivation, cipher, iv) = pbes2(&scheme)?;
        Ok(Self::Encrypted(Encrypted(Form::Pkcs8 { derivation, cipher, iv, ciphertext: ciphertext.to_vec() })))
    }
}

impl Encrypted {
    /// Opens it: DER in the clear, not yet judged. Takes as long as the file asks for, some seconds at most.
    pub fn open(&self, passphrase: &Secret<str>) -> Result<Secret<[u8]>, NotOpened> {
        let der = self.decrypted(passphrase)?;
        if self.is_authenticated() || is_key(&der) { Ok(der) } else { Err(NotOpened::WrongPassphrase) }
    }

    fn decrypted(&self, passphrase: &Secret<str>) -> Result<Secret<[u8]>, NotOpened> {
        match &self.0 {
            Form::Sealed(file) => Ok(file.open(passphrase)?),
            Form::Pkcs8 { derivation, cipher, iv, ciphertext } => {
                let key = derivation.derive(passphrase, cipher.key_length())?;
                cipher.decrypt(&key, iv, ciphertext).ok_or(NotOpened::WrongPassphrase)
            }
            Form::OldPem { cipher, iv, ciphertext } => {
                let key = derive_by_md5(passphrase, &iv[..OLD_SALT], cipher.key_length());
                cipher.decrypt(&key, iv, ciphertext).ok_or(NotOpened::WrongPassphrase)
            }
            Form::PemEnc(file) => open_pem_enc(file, passphrase),
        }
    }

    /// What opening it takes. The fuzz target holds it against the bounds, and opens what takes next to nothing; no program asks.
    #[doc(hidden)]
    pub fn cost(&self) -> Cost {
        let (memory, steps) = match &self.0 {
            Form::Sealed(file) => {
                let params = file.params();
                (u64::from(params.memory) * 1024, u64::from(params.memory) * u64::from(params.passes))
            }
            Form::Pkcs8 { derivation: Derivation::Pbkdf2 { iterations, .. }, .. } => (0, iterations.get().into()),
            Form::Pkcs8 { derivation: Derivation::Scrypt { params, .. }, .. } => {
                let (cost, block, lanes) = (1 << params.log_n(), u64::from(params.r()), u64::from(params.p()));
                (scrypt_memory(params), cost * block * lanes)
            }
            Form::OldPem { .. } => (0, 1),
            Form::PemEnc(_) => (0, PEM_ENC_ITERATIONS.get().into()),
        };
        Cost { memory, steps }
    }

    /// Whether what was decrypted is what was encrypted. In CBC mode, one wrong passphrase in 256 decrypts to something.
    fn is_authenticated(&self) -> bool {
        matches!(self.0, Form::Sealed(_) | Form::PemEnc(_))
    }
}

/// Bytes that are needed at once, and how often the smallest step of the derivation is made.
#[doc(hidden)]
pub struct Cost {
    pub memory: u64,
    pub steps: u64,
}

/// How a passphrase becomes a key in PBES2.
enum Derivation {
    Pbkdf2 { prf: pbkdf2::Algorithm, iterations: NonZeroU32, salt: Vec<u8> },
    Scrypt { params: scrypt::Params, salt: Vec<u8> },
}

impl Derivation {
    fn derive(&self, passphrase: &Secret<str>, length: usize) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
        let passphrase = passphrase.expose().as_bytes();
        let mut key = Zeroizing::new(vec![0; length]);
        match self {
            Self::Pbkdf2 { prf, iterations, salt } => pbkdf2::derive(*prf, *iterations, salt, passphrase, &mut key),
            Self::Scrypt { params, salt } => {
                ensure_memory(scrypt_memory(params))?;
                scrypt::scrypt(passphrase, salt, params, &mut key).expect("scrypt makes keys of this length");
            }
        }
        Ok(key)
    }
}

/// Bytes that scrypt needs at once.
fn scrypt_memory(params: &scrypt::Params) -> u64 {
    ((1 << params.log_n()) + u64::from(params.p())) * u64::from(params.r()) * 128
}

/// Checks that the system gives so much memory. The crate `scrypt` allocates by itself, and the process would abort where
/// that fails.
fn ensure_memory(bytes: u64) -> Result<(), NotOpened> {
    let bytes = usize::try_from(bytes).ok().and_then(|bytes| bytes.checked_add(SPARE_MEMORY));
    let bytes = bytes.ok_or(NotOpened::OutOfMemory)?;
    let mut memory = Vec::<u8>::new();
    let reserved = memory.try_reserve_exact(bytes);
    // An allocation that nobody uses may be optimized away.
    black_box(&mut memory);
    reserved.map_err(|_| NotOpened::OutOfMemory)
}

/// The ciphers that OpenSSL is asked for, all in CBC mode.
#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
}

impl Cipher {
    fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            AES_128_CBC => Some(Self::Aes128),
            AES_192_CBC => Some(Self::Aes192),
            AES_256_CBC => Some(Self::Aes256),
            DES_EDE3_CBC => Some(Self::TripleDes),
            _ => None,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "AES-128-CBC" => Some(Self::Aes128),
            "AES-192-CBC" => Some(Self::Aes192),
            "AES-256-CBC" => Some(Self::Aes256),
            "DES-EDE3-CBC" => Some(Self::TripleDes),
            _ => None,
        }
    }

    fn key_length(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
        }
    }

    fn iv_length(self) -> usize {
        match self {
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
            Self::TripleDes => 8,
        }
    }

    /// Decrypts; `None` when what comes out has no padding as it should.
    fn decrypt(self, key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Option<Secret<[u8]>> {
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let plaintext: &[u8] = match self {
            Self::Aes128 => aes(&AES_128, key, iv, &mut buffer)?,
            Self::Aes192 => aes(&AES_192, key, iv, &mut buffer)?,
            Self::Aes256 => aes(&AES_256, key, iv, &mut buffer)?,
            Self::TripleDes => {
                let cipher = cbc::Decryptor::<TdesEde3>::new_from_slices(key, iv).ok()?;
                cipher.decrypt_padded::<Pkcs7>(&mut buffer).ok()?
            }
        };
        Some(plaintext.to_vec().into())
    }
}

fn aes<'a>(algorithm: &'static Algorithm, key: &[u8], iv: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    key.decrypt(buffer, DecryptionContext::Iv128(iv.try_into().ok()?)).ok().map(|plaintext| &*plaintext)
}

/// Reads how encrypted PKCS#8 was encrypted: <https://www.rfc-editor.org/rfc/rfc8018#appendix-A.4>
fn pbes2(scheme: &AlgorithmIdentifierRef<'_>) -> Result<(Derivation, Cipher, Vec<u8>), NotOpened> {
    if scheme.oid != PBES2 {
        return Err(NotOpened::Unknown);
    }
    let (derivation, encryption) = params(scheme, |reader| {
        Ok((AlgorithmIdentifierRef::decode(reader)?, AlgorithmIdentifierRef::decode(reader)?))
    })?;
    let cipher = Cipher::from_oid(encryption.oid).ok_or(NotOpened::Unknown)?;
    let iv = encryption.parameters.and_then(|iv| iv.decode_as::<&OctetStringRef>().ok()).ok_or(DAMAGED)?;
    if iv.as_bytes().len() != cipher.iv_length() {
        return Err(DAMAGED);
    }
    let (derivation, length) = match derivation.oid {
        PBKDF2 => read_pbkdf2(&derivation)?,
        SCRYPT => read_scrypt(&derivation)?,
        _ => return Err(NotOpened::Unknown),
    };
    if length.is_some_and(|length| length != cipher.key_length() as u64) {
        return Err(DAMAGED);
    }
    Ok((derivation, cipher, iv.as_bytes().to_vec()))
}

/// Reads the parameters of PBKDF2, and the length of the key if it is said.
fn read_pbkdf2(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(Derivation, Option<u64>), NotOpened> {
    let (salt, iterations, length, prf) = params(algorithm, |reader| {
        let salt = <&OctetStringRef>::decode(reader)?;
        Ok((salt, u64::decode(reader)?, Option::decode(reader)?, Option::<AlgorithmIdentifierRef<'_>>::decode(reader)?))
    })?;
    let prf = match prf.map_or(HMAC_SHA1, |prf| prf.oid) {
        HMAC_SHA1 => pbkdf2::PBKDF2_HMAC_SHA1,
        HMAC_SHA256 => pbkdf2::PBKDF2_HMAC_SHA256,
        HMAC_SHA384 => pbkdf2::PBKDF2_HMAC_SHA384,
        HMAC_SHA512 => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return Err(NotOpened::Unknown),
    };
    let iterations = u32::try_from(iterations).ok().filter(|iterations| *iterations <= MAX_ITERATIONS);
    let iterations = iterations.and_then(NonZeroU32::new).ok_or(NotOpened::OutOfBounds)?;
    Ok((Derivation::Pbkdf2 { prf, iterations, salt: salt.as_bytes().to_vec() }, length))
}

/// Reads the parameters of scrypt, and the length of the key if it is said: <https://www.rfc-editor.org/rfc/rfc7914#section-7>
fn read_scrypt(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<(Derivation, Option<u64>), NotOpened> {
    let (salt, cost, block, lanes, length) = params(algorithm, |reader| {
        let salt = <&OctetStringRef>::decode(reader)?;
        Ok((salt, u64::decode(reader)?, u32::decode(reader)?, u32::decode(reader)?, Option::decode(reader)?))
    })?;
    let bytes = |blocks: u128| blocks * u128::from(block) * 128;
    let (memory, work) = (u128::from(cost) + u128::from(lanes), u128::from(cost) * u128::from(lanes));
    if cost < 2 || !cost.is_power_of_two() || bytes(memory) > MAX_SCRYPT_MEMORY || bytes(work) > MAX_SCRYPT_WORK {
        return Err(NotOpened::OutOfBounds);
    }
    let log_cost = u8::try_from(cost.trailing_zeros()).expect("it has 64 bits");
    let params = scrypt::Params::new(log_cost, block, lanes).map_err(|_| NotOpened::OutOfBounds)?;
    Ok((Derivation::Scrypt { params, salt: salt.as_bytes().to_vec() }, length))
}

/// Reads an algorithm's parameters, which are a sequence.
fn params<'a, T>(
    algorithm: &AlgorithmIdentifierRef<'a>,
    read: impl FnOnce(&mut der::SliceReader<'a>) -> der::Result<T>,
) -> Result<T, NotOpened> {
    algorithm.parameters.and_then(|params| params.sequence(read).ok()).ok_or(DAMAGED)
}

/// Reads PEM with headers in the one form that `pem::read` gives it.
fn old_pem(text: &[u8]) -> Result<Packed, NotOpened> {
    let text = std::str::from_utf8(text).map_err(|_| DAMAGED)?;
    let mut lines = text.lines().skip(2);
    let (info, body) = (lines.next().unwrap_or_default(), lines.nth(1).unwrap_or_default());
    let (cipher, iv) = info.strip_prefix("DEK-Info: ").and_then(|info| info.split_once(',')).ok_or(DAMAGED)?;
    let cipher = Cipher::from_name(cipher).ok_or(NotOpened::Unknown)?;
    let iv = hex(iv).filter(|iv| iv.len() == cipher.iv_length()).ok_or(DAMAGED)?;
    let ciphertext = STANDARD.decode(body).map_err(|_| DAMAGED)?;
    Ok(Packed::Encrypted(Encrypted(Form::OldPem { cipher, iv, ciphertext })))
}

/// Reads what may be a `pem.enc`, which has nothing to know it by.
fn pem_enc(text: &[u8]) -> Result<Packed, NotOpened> {
    let packed: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let file = STANDARD.decode(packed).map_err(|_| DAMAGED)?;
    if file.len() <= PEM_ENC_SALT + PEM_ENC_IV + PEM_ENC_TAG {
        return Err(DAMAGED);
    }
    Ok(Packed::Encrypted(Encrypted(Form::PemEnc(file))))
}

fn open_pem_enc(file: &[u8], passphrase: &Secret<str>) -> Result<Secret<[u8]>, NotOpened> {
    let (salt, rest) = file.split_at(PEM_ENC_SALT);
    let (iv, rest) = rest.split_at(PEM_ENC_IV);
    let (tag, ciphertext) = rest.split_at(PEM_ENC_TAG);
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        PEM_ENC_ITERATIONS,
        salt,
        passphrase.expose().as_bytes(),
        key.as_mut_slice(),
    );
    let cipher = AesGcm::<Aes256, U16>::new(&Key::<Aes256>::from(*key));
    let iv = Nonce::try_from(iv).expect("it is 16 bytes");
    // Node keeps the tag apart; here it follows the ciphertext.
    let payload = [ciphertext, tag].concat();
    let text = cipher.decrypt(&iv, Payload::from(payload.as_slice())).map(Secret::from);
    let pem = pem::read(text.map_err(|_| NotOpened::WrongPassphrase)?.expose())?;
    if pem.encrypted { Err(KeyError::Encrypted.into()) } else { decode(pem.wire.expose()) }
}

/// OpenSSL's `EVP_BytesToKey` with MD5, once: <https://docs.openssl.org/3.0/man3/EVP_BytesToKey/>
fn derive_by_md5(passphrase: &Secret<str>, salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    // Two hashes are as long as the longest key.
    let mut key = Zeroizing::new(Vec::with_capacity(32));
    while key.len() < length {
        let last = key.len().saturating_sub(16);
        let hash =
            Md5::new().chain_update(&key[last..]).chain_update(passphrase.expose()).chain_update(salt).finalize();
        key.extend_from_slice(&hash);
    }
    key.truncate(length);
    key
}

/// Whether this is a private key of any kind.
fn is_key(der: &Secret<[u8]>) -> bool {
    pkcs1::RsaPrivateKeyRef::from_der(der.expose()).is_ok() || pkcs8::PrivateKeyInfoRef::from_der(der.expose()).is_ok()
}

/// Returns true if this can be DER. In base64 it is not, although base64 can begin with the same byte: `0`.
fn is_der(bytes: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=".contains(byte);
    bytes.first() == Some(&DER_SEQUENCE) && !bytes.iter().all(is_base64)
}

fn decode(base64: &str) -> Result<Secret<[u8]>, NotOpened> {
    STANDARD.decode(base64).map(Secret::from).map_err(|_| DAMAGED)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

impl From<KeyError> for NotOpened {
    fn from(why: KeyError) -> Self {
        Self::NoKey(why)
    }
}

impl From<NotUnsealed> for NotOpened {
    fn from(why: NotUnsealed) -> Self {
        match why {
            NotUnsealed::Damaged => DAMAGED,
            NotUnsealed::OutOfBounds => Self::OutOfBounds,
            NotUnsealed::Newer => Self::Newer,
            NotUnsealed::WrongPassphrase => Self::WrongPassphrase,
            NotUnsealed::OutOfMemory => Self::OutOfMemory,
        }
    }
}

const DAMAGED: NotOpened = NotOpened::NoKey(KeyError::Damaged);
/// Longest key that is sent, in bytes: the largest file in base64.
const MAX_WIRE: usize = MAX_KEY.div_ceil(3) * 4;
/// Most iterations of PBKDF2; RFC 8018 says of so many that they may do for especially critical keys. Some seconds.
const MAX_ITERATIONS: u32 = 10_000_000;
/// Most memory that scrypt may use, in bytes: as much as a sealed file may, and some for its lanes; OpenSSL asks for 16 MiB.
const MAX_SCRYPT_MEMORY: u128 = 257 << 20;
/// Memory that must be free beside what scrypt needs, in bytes: other threads may allocate between the check and the use.
const SPARE_MEMORY: usize = 4 << 20;
/// Most that scrypt may go through, in bytes: some seconds.
const MAX_SCRYPT_WORK: u128 = 1 << 30;

const BEGIN: &[u8] = b"-----BEGIN";
const DER_SEQUENCE: u8 = 0x30;
/// The salt of the old PEM is the first bytes of the IV.
const OLD_SALT: usize = 8;
const PEM_ENC_SALT: usize = 32;
const PEM_ENC_IV: usize = 16;
const PEM_ENC_TAG: usize = 16;
const PEM_ENC_ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("it is not zero");

const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
const SCRYPT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11591.4.11");
const HMAC_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
const HMAC_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");
const HMAC_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
const HMAC_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");
const AES_128_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.2");
const AES_192_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.22");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");
const DES_EDE3_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.3.7");

#[cfg(test)]
mod tests {
    use aes_gcm::aes::Aes128;
    use aes_gcm::aes::cipher::{BlockCipherEncrypt, BlockModeEncrypt};

    use super::*;

    const PEM: &str = include_str!("../../tests/fixtures/UNSAFE-TEST-ONLY-1.pem");
    const IV: [u8; 16] = *b"0123456789abcdef";

    fn read(bytes: &[u8]) -> Result<Packed, NotOpened> {
        Packed::from_wire(&STANDARD.encode(bytes).into())
    }

    fn refusal(bytes: &[u8]) -> Option<NotOpened> {
        read(bytes).err()
    }

    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u16::try_from(content.len()).expect("short").to_be_bytes();
        let length = if content.len() < 0x80 { vec![length[1]] } else { vec![0x82, length[0], length[1]] };
        [&[tag], &length[..], &content].concat()
    }

    fn sequence(parts: &[&[u8]]) -> Vec<u8> {
        tlv(0x30, parts)
    }

    fn integer(number: u64) -> Vec<u8> {
        let bytes = [&[0][..], &number.to_be_bytes()].concat();
        let needless = bytes.windows(2).take_while(|two| two[0] == 0 && two[1] < 0x80).count();
        tlv(0x02, &[&bytes[needless..]])
    }

    fn octets(bytes: &[u8]) -> Vec<u8> {
        tlv(0x04, &[bytes])
    }

    fn algorithm(oid: ObjectIdentifier, params: &[u8]) -> Vec<u8> {
        sequence(&[&tlv(0x06, &[oid.as_bytes()]), params])
    }

    fn pkcs8(derivation: &[u8], encryption: &[u8]) -> Vec<u8> {
        pkcs8_of(derivation, encryption, &[7; 32])
    }

    fn pkcs8_of(derivation: &[u8], encryption: &[u8], ciphertext: &[u8]) -> Vec<u8> {
        sequence(&[&algorithm(PBES2, &sequence(&[derivation, encryption])), &octets(ciphertext)])
    }

    fn aes256() -> Vec<u8> {
        algorithm(AES_256_CBC, &octets(&IV))
    }

    fn with_pbkdf2(iterations: u64) -> Vec<u8> {
        pkcs8(&algorithm(PBKDF2, &sequence(&[&octets(b"salt"), &integer(iterations)])), &aes256())
    }

    fn with_scrypt(cost: u64, block: u64, lanes: u64) -> Vec<u8> {
        let params = sequence(&[&octets(b"salt"), &integer(cost), &integer(block), &integer(lanes)]);
        pkcs8(&algorithm(SCRYPT, &params), &aes256())
    }

    /// The key of the tests, encrypted.
    fn encrypted<C: BlockCipherEncrypt + KeyInit>(key: &[u8]) -> Vec<u8> {
        let der = decode(pem::read(PEM.as_bytes()).expect("a key").wire.expose()).expect("base64");
        let mut buffer = [der.expose(), &[0; 16]].concat();
        let cipher = cbc::Encryptor::<C>::new_from_slices(key, &IV).expect("right lengths");
        cipher.encrypt_padded::<Pkcs7>(&mut buffer, der.expose().len()).expect("room for the padding").to_vec()
    }

    fn in_old_pem(passphrase: &str) -> Vec<u8> {
        let iv = "30313233343536373839616263646566";
        assert_eq!(hex(iv), Some(IV.to_vec()));
        let (begin, end) = ("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----");
        let body = STANDARD.encode(encrypted::<Aes128>(&derive_by_md5(&passphrase.into(), &IV[..OLD_SALT], 16)));
        format!("{begin}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{iv}\n\n{body}\n{end}\n").into_bytes()
    }

    fn in_pkcs8(passphrase: &str) -> Vec<u8> {
        let (prf, iterations) = (pbkdf2::PBKDF2_HMAC_SHA1, NonZeroU32::MIN);
        let key = Derivation::Pbkdf2 { prf, iterations, salt: b"salt".to_vec() }.derive(&passphrase.into(), 32);
        let key = key.expect("it takes no memory");
        let derivation = algorithm(PBKDF2, &sequence(&[&octets(b"salt"), &integer(1)]));
        pkcs8_of(&derivation, &aes256(), &encrypted::<Aes256>(&key))
    }

    #[test]
    fn the_cost_of_deriving_is_bounded_from_above_and_below() {
        for good in [
            with_pbkdf2(1),
            with_pbkdf2(MAX_ITERATIONS.into()),
            with_scrypt(2, 1, 1),
            with_scrypt(1 << 18, 8, 1),
            with_scrypt(1 << 18, 8, 4),
            with_scrypt(1 << 14, 8, 64),
        ] {
            assert!(matches!(read(&good), Ok(Packed::Encrypted(_))), "{good:x?}");
        }
        for bad in [
            with_pbkdf2(0),
            with_pbkdf2(u64::from(MAX_ITERATIONS) + 1),
            with_pbkdf2(1 << 32 | 1),
            with_pbkdf2(u64::MAX),
            with_scrypt(1 << 19, 8, 1),
            with_scrypt(1 << 18, 16, 1),
            with_scrypt(1 << 18, 8, 5),
            with_scrypt(2, u32::MAX.into(), u32::MAX.into()),
            with_scrypt(u64::MAX, 8, 1),
            with_scrypt(1 << 63, 1 << 31, 1 << 31),
            with_scrypt(0, 8, 1),
            with_scrypt(1, 8, 1),
            with_scrypt(3, 8, 1),
            with_scrypt(2, 0, 1),
            with_scrypt(2, 1, 0),
        ] {
            assert_eq!(refusal(&bad), Some(NotOpened::OutOfBounds), "{bad:x?}");
        }
    }

    #[test]
    fn what_the_parameters_say_must_fit_together() {
        let derivation = |params: &[&[u8]]| algorithm(PBKDF2, &sequence(params));
        let usual = derivation(&[&octets(b"salt"), &integer(1)]);
        let with_length = |length| derivation(&[&octets(b"salt"), &integer(1), &integer(length)]);
        assert!(read(&pkcs8(&with_length(32), &aes256())).is_ok());
        let null = tlv(0x05, &[]);
        let prf = |oid| derivation(&[&octets(b"salt"), &integer(1), &algorithm(oid, &null)]);
        assert!(read(&pkcs8(&prf(HMAC_SHA512), &aes256())).is_ok());
        for (bad, why) in [
            (pkcs8(&with_length(16), &aes256()), DAMAGED),
            (pkcs8(&usual, &algorithm(AES_256_CBC, &octets(&IV[..15]))), DAMAGED),
            (pkcs8(&usual, &algorithm(DES_EDE3_CBC, &octets(&IV))), DAMAGED),
            (pkcs8(&usual, &algorithm(DES_EDE3_CBC, &octets(b""))), DAMAGED),
            (pkcs8(&usual, &algorithm(AES_256_CBC, &null)), DAMAGED),
            (pkcs8(&derivation(&[&null, &integer(1)]), &aes256()), DAMAGED),
            (pkcs8(&algorithm(PBKDF2, &null), &aes256()), DAMAGED),
            (pkcs8(&usual, &algorithm(PBES2, &octets(&IV))), NotOpened::Unknown),
            (pkcs8(&algorithm(PBES2, &null), &aes256()), NotOpened::Unknown),
            (pkcs8(&prf(AES_128_CBC), &aes256()), NotOpened::Unknown),
            (sequence(&[&algorithm(SCRYPT, &null), &octets(b"")]), NotOpened::Unknown),
        ] {
            assert_eq!(refusal(&bad), Some(why), "{bad:x?}");
        }
    }

    #[test]
    fn no_damage_to_an_encrypted_file_makes_reading_it_panic() {
        for file in [with_pbkdf2(1), with_scrypt(2, 1, 1), in_pkcs8("hunter2"), in_old_pem("hunter2"), vec![b'A'; 200]]
        {
            for at in 0..file.len() {
                // It is a fault or none: a number may have become another. What matters is that there is an answer.
                let _ = read(&file[..at]);
                for change in [0x01, 0x80, 0xff] {
                    let mut changed = file.clone();
                    changed[at] ^= change;
                    let _ = read(&changed);
                }
            }
        }
    }

    #[test]
    fn a_wrong_passphrase_is_told_as_such_also_where_the_padding_is_right_by_chance() {
        for file in [in_old_pem("hunter2"), in_pkcs8("hunter2")] {
            let Ok(Packed::Encrypted(file)) = read(&file) else { panic!("it is encrypted") };
            assert!(is_key(&file.open(&"hunter2".into()).expect("the right passphrase")));
            let mut right_by_chance = 0;
            for number in 0..1_000 {
                let wrong = Secret::from(format!("wrong {number}"));
                assert_eq!(file.open(&wrong).err(), Some(NotOpened::WrongPassphrase), "{number}");
                right_by_chance += usize::from(file.decrypted(&wrong).is_ok());
            }
            assert!(right_by_chance > 0, "there was no such passphrase among these");
        }
    }

    #[test]
    fn headers_that_are_not_understood_are_refused_with_the_reason() {
        let pem = String::from_utf8(in_old_pem("hunter2")).expect("text");
        for (info, why) in [
            ("AES-128-CBC,30313233", DAMAGED),
            ("AES-128-CBC,303132333435363738396162636465XY", DAMAGED),
            ("AES-128-CBC,3031323334353637383961626364656", DAMAGED),
            ("DES-EDE3-CBC,30313233343536373839616263646566", DAMAGED),
            ("AES-128-CBC", DAMAGED),
            ("DES-CBC,3031323334353637", NotOpened::Unknown),
        ] {
            let changed = pem.replace("AES-128-CBC,30313233343536373839616263646566", info);
            assert_eq!(refusal(changed.as_bytes()), Some(why), "{info}");
        }
    }

    #[test]
    fn a_pem_enc_that_begins_like_der_is_still_one() {
        for first in ["0", "A"] {
            let file = first.repeat(4) + &"A".repeat(200);
            let is_encrypted = |read: Result<Packed, NotOpened>| matches!(read, Ok(Packed::Encrypted(_)));
            assert!(is_encrypted(read(file.as_bytes())), "{first}");
            assert!(is_encrypted(Packed::from_file(file.into_bytes().into())), "{first}");
        }
    }

    #[test]
    fn a_file_is_read_in_every_form() {
        let der = decode(pem::read(PEM.as_bytes()).expect("a key").wire.expose()).expect("base64").expose().to_vec();
        let from_file = |bytes: Vec<u8>| Packed::from_file(bytes.into());
        for form in [PEM.as_bytes().to_vec(), PEM.replace('\n', "\\n").into(), STANDARD.encode(PEM).into(), der.clone()]
        {
            let Ok(Packed::Plain(read)) = from_file(form) else { panic!("it is not encrypted") };
            assert_eq!(read.expose(), der);
        }
        for form in [in_old_pem("hunter2"), in_pkcs8("hunter2")] {
            assert!(matches!(from_file(form), Ok(Packed::Encrypted(_))));
        }
        for (content, why) in [
            (Vec::new(), KeyError::Empty),
            (b"hello".to_vec(), KeyError::NotPem),
            (vec![0xff; 100], KeyError::NotPem),
            (vec![b'A'; MAX_KEY + 1], KeyError::TooLarge),
        ] {
            assert_eq!(from_file(content).err(), Some(why.into()));
        }
    }

    #[test]
    fn what_is_larger_than_any_key_is_not_decoded() {
        let sent = |length| Packed::from_wire(&"A".repeat(length).into()).err();
        assert_eq!(sent(MAX_WIRE + 1), Some(KeyError::TooLarge.into()));
        assert_eq!(sent(MAX_WIRE), Some(DAMAGED));
    }
}
