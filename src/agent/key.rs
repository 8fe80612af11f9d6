//! An App's private key as the agent takes it: RSA, known by the fingerprint that GitHub shows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs1::der::{Decode, Encode};
use pkcs8::spki::{SubjectPublicKeyInfo, der::asn1::BitStringRef};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::pem::{KeyError, MAX_KEY};
use crate::secret::Secret;

/// A private key that was read and judged, not yet used.
#[derive(Debug)]
pub struct AppKey {
    /// The key as PKCS#1 DER, the form that signing takes.
    pub pkcs1: Secret<[u8]>,
    /// The size of its modulus.
    pub bits: u32,
    /// `SHA256:` and the base64 of SHA-256 over the public key's DER, as the App's settings page shows it.
    pub fingerprint: String,
}

impl AppKey {
    /// Reads the form in which a key crosses the socket: PKCS#1 or PKCS#8 DER in base64.
    pub fn from_wire(text: &Secret<str>) -> Result<Self, KeyError> {
        if text.expose().len() > MAX_KEY {
            return Err(KeyError::TooLarge);
        }
        let der = STANDARD.decode(text.expose()).map(Zeroizing::new).map_err(|_| KeyError::Damaged)?;
        Self::from_der(&der)
    }

    /// Reads PKCS#1 or PKCS#8 DER.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let Ok(wrapped) = pkcs8::PrivateKeyInfoRef::from_der(der) else { return Self::from_pkcs1(der) };
        if wrapped.algorithm.oid != pkcs1::ALGORITHM_OID {
            return Err(KeyError::NotRsa);
        }
        Self::from_pkcs1(wrapped.private_key.as_bytes())
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let key = pkcs1::RsaPrivateKeyRef::from_der(der).map_err(|_| KeyError::Damaged)?;
        let modulus = key.modulus.as_bytes();
        let unused = modulus.first().map_or(0, |first| first.leading_zeros());
        let bits = u32::try_from(modulus.len() * 8).map_err(|_| KeyError::TooLarge)?.saturating_sub(unused);
        if bits < MIN_BITS {
            return Err(KeyError::TooShort);
        }
        let public = key.public_key().to_der().map_err(|_| KeyError::Damaged)?;
        let info = SubjectPublicKeyInfo {
            algorithm: pkcs1::ALGORITHM_ID,
            subject_public_key: BitStringRef::from_bytes(&public).map_err(|_| KeyError::Damaged)?,
        };
        let fingerprint = Sha256::digest(info.to_der().map_err(|_| KeyError::Damaged)?);
        Ok(Self { pkcs1: der.to_vec().into(), bits, fingerprint: format!("SHA256:{}", STANDARD.encode(fingerprint)) })
    }
}

/// The size of the keys that GitHub makes, and the least that is safe.
pub const MIN_BITS: u32 = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pem;

    const PEM: &str = include_str!("../../tests/fixtures/UNSAFE-TEST-ONLY-1.pem");

    #[test]
    fn a_key_is_known_by_its_fingerprint_in_either_wrapping() {
        let wire = pem::read(PEM.as_bytes()).expect("a key").wire;
        let key = AppKey::from_wire(&wire).expect("a key");
        assert_eq!(key.bits, 2048);
        assert!(key.fingerprint.starts_with("SHA256:") && key.fingerprint.len() == 51);

        let pkcs1 = pkcs8::der::asn1::OctetStringRef::new(key.pkcs1.expose()).expect("short enough");
        let wrapped = pkcs8::PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, pkcs1).to_der().expect("DER");
        let again = AppKey::from_wire(&STANDARD.encode(wrapped).into()).expect("the same key");
        assert_eq!(again.fingerprint, key.fingerprint);
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        for (wire, why) in [("", KeyError::Damaged), ("!", KeyError::Damaged), ("MIIB", KeyError::Damaged)] {
            assert_eq!(AppKey::from_wire(&wire.into()).map(|key| key.bits), Err(why), "{wire}");
        }
        assert_eq!(AppKey::from_wire(&"A".repeat(MAX_KEY + 4).into()).map(|key| key.bits), Err(KeyError::TooLarge));
    }
}
