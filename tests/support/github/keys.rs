//! The public half of an App's keys, which is all that GitHub keeps of them.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::Decode as _;

/// An RSA public key registered for an App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// A PKCS#1 `RSAPublicKey`, in DER.
    der: Vec<u8>,
}

impl PublicKey {
    /// Derives the public key of a private one, in PEM: PKCS#1 as GitHub hands it out, or PKCS#8.
    pub(super) fn of_private_pem(pem: &str) -> Self {
        let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
        let der = BASE64_STANDARD.decode(body).expect("a PEM body is base64");
        let pair = if pem.contains("BEGIN RSA PRIVATE KEY") {
            KeyPair::from_der(&der).expect("a PKCS#1 RSA key of at least 2048 bits")
        } else {
            KeyPair::from_pkcs8(&der).expect("a PKCS#8 RSA key of at least 2048 bits")
        };
        Self { der: pair.public_key().as_ref().to_vec() }
    }

    /// Tells whether `signature` is this key's RS256 signature of `message` (RFC 7518, section 3.3).
    pub(super) fn verifies(&self, message: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.der).verify(message.as_bytes(), signature).is_ok()
    }
}

/// Generates a key as GitHub's "Generate a private key" button does: RSA, 2048 bits, PKCS#1 in PEM.
pub fn generate_key_pem() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("the system has randomness");
    let pkcs8: Pkcs8V1Der = pair.as_der().expect("a generated key has a PKCS#8 form");
    let info = PrivateKeyInfoRef::from_der(pkcs8.as_ref()).expect("what was just encoded decodes");
    let body = BASE64_STANDARD.encode(info.private_key.as_bytes());

    let mut pem = String::from("-----BEGIN RSA PRIVATE KEY-----\n");
    for start in (0..body.len()).step_by(PEM_COLUMNS) {
        pem.push_str(&body[start..body.len().min(start + PEM_COLUMNS)]);
        pem.push('\n');
    }
    pem + "-----END RSA PRIVATE KEY-----\n"
}

/// RFC 7468, section 2.
const PEM_COLUMNS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_reads_back_as_github_would_have_written_it() {
        let pem = generate_key_pem();
        assert!(pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\nMII"), "{pem}");
        assert!(pem.lines().all(|line| line.len() <= PEM_COLUMNS), "{pem}");
        assert_eq!(PublicKey::of_private_pem(&pem), PublicKey::of_private_pem(&pem));
        assert_ne!(PublicKey::of_private_pem(&pem), PublicKey::of_private_pem(&generate_key_pem()));
    }
}
