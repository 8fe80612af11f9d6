//! Private keys as people paste them: PEM in many shapes, and all that is mistaken for one.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Why something is not a private key that GitHub Apps use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// Nothing but blanks.
    Empty,
    /// More than [`MAX_KEY`] bytes.
    TooLarge,
    /// No `-----BEGIN` anywhere.
    NotPem,
    /// More than one private key.
    Several,
    /// The public half.
    PublicKey,
    /// A certificate or a request for one.
    Certificate,
    /// An OpenSSH key file.
    OpenSsh,
    /// EC, Ed25519 or another kind that is not RSA.
    NotRsa,
    /// Encrypted with a passphrase.
    Encrypted,
    /// Cut off or damaged.
    Damaged,
    /// Fewer than 2048 bits.
    TooShort,
}

/// Reads PEM: PKCS#1 or PKCS#8, with CRLF, blanks around it, newlines written out as `\n`, or the whole of it in base64.
/// Returns the DER in base64, the form in which a key crosses the socket; what is in it, the agent judges.
pub fn read(text: &[u8]) -> Result<Secret<str>, KeyError> {
    if text.len() > MAX_KEY {
        return Err(KeyError::TooLarge);
    }
    let text = std::str::from_utf8(text).map_err(|_| KeyError::NotPem)?;
    if text.trim_ascii().is_empty() {
        return Err(KeyError::Empty);
    }
    if text.contains(BEGIN) {
        return unwrap(text);
    }
    let packed = without_blanks(text);
    let inner = STANDARD.decode(&*packed).map(Zeroizing::new).map_err(|_| KeyError::NotPem)?;
    match std::str::from_utf8(&inner) {
        Ok(inner) if inner.contains(BEGIN) => unwrap(inner),
        _ => Err(KeyError::NotPem),
    }
}

fn unwrap(text: &str) -> Result<Secret<str>, KeyError> {
    // Secrets that came through an environment variable have their newlines written out.
    let text = Zeroizing::new(text.replace("\\r", "").replace("\\n", "\n"));
    let mut rest = text.as_str();
    let mut key = None;
    let mut otherwise = KeyError::Damaged;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (label, body) = after.split_once(DASHES).ok_or(KeyError::Damaged)?;
        let (body, end) = body.split_once(END).ok_or(KeyError::Damaged)?;
        rest = end.strip_prefix(label).and_then(|end| end.strip_prefix(DASHES)).ok_or(KeyError::Damaged)?;
        match label {
            "RSA PRIVATE KEY" | "PRIVATE KEY" if body.contains("ENCRYPTED") => return Err(KeyError::Encrypted),
            "RSA PRIVATE KEY" | "PRIVATE KEY" if key.is_some() => return Err(KeyError::Several),
            "RSA PRIVATE KEY" | "PRIVATE KEY" => key = Some(body),
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            "OPENSSH PRIVATE KEY" => otherwise = KeyError::OpenSsh,
            "EC PRIVATE KEY" | "DSA PRIVATE KEY" => otherwise = KeyError::NotRsa,
            _ if label.ends_with("PUBLIC KEY") => otherwise = KeyError::PublicKey,
            _ if label.starts_with("CERTIFICATE") => otherwise = KeyError::Certificate,
            _ => {}
        }
    }
    let body = without_blanks(key.ok_or(otherwise)?);
    // Padding and alphabet are the agent's to judge; a body without any is no key.
    if body.is_empty() { Err(KeyError::Damaged) } else { Ok(body.as_str().into()) }
}

fn without_blanks(text: &str) -> Zeroizing<String> {
    let mut packed = Zeroizing::new(String::with_capacity(text.len()));
    packed.extend(text.chars().filter(|letter| !letter.is_ascii_whitespace()));
    packed
}

impl KeyError {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Encrypted => "decrypt it first: openssl rsa -in KEY.pem -out DECRYPTED.pem",
            Self::Several => "give one file for each key",
            Self::TooShort | Self::NotRsa | Self::OpenSsh | Self::PublicKey | Self::Certificate => {
                "generate one under \"Private keys\" on the App's settings page; GitHub downloads it as a .pem file"
            }
            Self::Empty | Self::TooLarge | Self::NotPem | Self::Damaged => {
                "use the .pem file as GitHub gave it: from -----BEGIN RSA PRIVATE KEY----- to the line that ends it"
            }
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLarge => "it is larger than any key, over 16 KiB",
            Self::NotPem => "it is not a PEM file",
            Self::Several => "it holds several private keys",
            Self::PublicKey => "it is a public key; the private one is needed",
            Self::Certificate => "it is a certificate; a private key is needed",
            Self::OpenSsh => "it is an OpenSSH key; a GitHub App's key is needed",
            Self::NotRsa => "it is not an RSA key, and GitHub Apps use no other",
            Self::Encrypted => "it is encrypted with a passphrase",
            Self::Damaged => "it is cut off or damaged",
            Self::TooShort => "it has fewer than 2048 bits",
        })
    }
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// Largest key file read, in bytes; an 8192-bit key in PEM has under 7 KiB.
pub const MAX_KEY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = include_str!("../tests/fixtures/UNSAFE-TEST-ONLY-1.pem");
    const OTHER: &str = include_str!("../tests/fixtures/UNSAFE-TEST-ONLY-2.pem");

    fn wire(text: &str) -> Result<String, KeyError> {
        read(text.as_bytes()).map(|key| key.expose().to_owned())
    }

    #[test]
    fn a_key_is_read_in_every_form_in_which_people_paste_it() {
        let key = wire(PEM).expect("a key");
        for form in [
            PEM.replace('\n', "\r\n"),
            PEM.replace('\n', "\\n"),
            format!("\n\n   {PEM}   \n"),
            PEM.replace('\n', " "),
            STANDARD.encode(PEM),
            PEM.replace('\n', "\n    "),
        ] {
            assert_eq!(wire(&form), Ok(key.clone()), "{}", &form[..40]);
        }
    }

    #[test]
    fn what_is_no_app_key_is_refused_with_the_reason() {
        let label = |label: &str| PEM.replace("RSA PRIVATE KEY", label);
        let half = &PEM[..PEM.len() / 2];
        for (text, why) in [
            (String::new(), KeyError::Empty),
            ("  \n".into(), KeyError::Empty),
            ("hello".into(), KeyError::NotPem),
            ("x".repeat(MAX_KEY + 1), KeyError::TooLarge),
            (format!("{PEM}{OTHER}"), KeyError::Several),
            (label("PUBLIC KEY"), KeyError::PublicKey),
            (label("CERTIFICATE"), KeyError::Certificate),
            (label("EC PRIVATE KEY"), KeyError::NotRsa),
            (label("OPENSSH PRIVATE KEY"), KeyError::OpenSsh),
            (label("ENCRYPTED PRIVATE KEY"), KeyError::Encrypted),
            (half.into(), KeyError::Damaged),
        ] {
            assert_eq!(wire(&text), Err(why), "{}", text.get(..40).unwrap_or(&text));
        }
    }
}
