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
    /// A key file of another program, `puttygen`.
    Putty,
    /// What a browser or a program shows, HTML or JSON, without a key in it.
    Page,
    /// Encrypted with a passphrase, and none was given.
    Encrypted,
    /// Cut off or damaged.
    Damaged,
    /// Fewer than 2048 bits.
    TooShort,
}

/// A private key as it is sent to the agent; what is in it, the agent judges.
#[derive(Debug)]
pub struct Pem {
    /// In base64: the DER, or what only a passphrase opens.
    pub wire: Secret<str>,
    /// Whether it needs one: then `wire` is encrypted PKCS#8, PEM with `Proc-Type`, or a sealed file.
    pub encrypted: bool,
}

/// Reads PEM: PKCS#1 or PKCS#8, encrypted or not, with CRLF, blanks around it, newlines written out as `\n`, or the whole of
/// it in base64. A sealed file, which is none, is passed on as it is.
pub fn read(text: &[u8]) -> Result<Pem, KeyError> {
    if text.len() > MAX_KEY {
        return Err(KeyError::TooLarge);
    }
    if text.starts_with(SEALED) {
        return Ok(Pem { wire: STANDARD.encode(text).into(), encrypted: true });
    }
    let text = std::str::from_utf8(text).map_err(|_| KeyError::NotPem)?;
    if text.contains(BEGIN) {
        return unwrap(text);
    }
    match text.trim_ascii().as_bytes() {
        [] => return Err(KeyError::Empty),
        [b'<' | b'{', ..] => return Err(KeyError::Page),
        text if text.starts_with(PUTTY) => return Err(KeyError::Putty),
        _ => {}
    }
    let packed = without_blanks(text);
    let inner = STANDARD.decode(&*packed).map(Zeroizing::new).map_err(|_| KeyError::NotPem)?;
    match std::str::from_utf8(&inner) {
        Ok(inner) if inner.contains(BEGIN) => unwrap(inner),
        _ => Err(KeyError::NotPem),
    }
}

fn unwrap(text: &str) -> Result<Pem, KeyError> {
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
            "RSA PRIVATE KEY" | "PRIVATE KEY" | ENCRYPTED if key.is_some() => return Err(KeyError::Several),
            "RSA PRIVATE KEY" | "PRIVATE KEY" | ENCRYPTED => key = Some((label, body)),
            "OPENSSH PRIVATE KEY" => otherwise = KeyError::OpenSsh,
            "EC PRIVATE KEY" | "DSA PRIVATE KEY" => otherwise = KeyError::NotRsa,
            _ if label.ends_with("PUBLIC KEY") => otherwise = KeyError::PublicKey,
            _ if label.starts_with("CERTIFICATE") => otherwise = KeyError::Certificate,
            _ => {}
        }
    }
    let (label, body) = key.ok_or(otherwise)?;
    // Not a letter of base64: a body that has it has headers.
    if body.contains(':') {
        return with_headers(label, body);
    }
    let body = without_blanks(body);
    // Padding and alphabet are the agent's to judge; a body without any is no key.
    if body.is_empty() {
        return Err(KeyError::Damaged);
    }
    Ok(Pem { wire: body.as_str().into(), encrypted: label == ENCRYPTED })
}

/// What was encrypted in the old way says how in headers. They are kept, in the one form in which OpenSSL writes them.
fn with_headers(label: &str, body: &str) -> Result<Pem, KeyError> {
    let (_, info) = body.split_once("DEK-Info:").ok_or(KeyError::Damaged)?;
    let (info, body) =
        info.trim_ascii_start().split_once(|c: char| c.is_ascii_whitespace()).ok_or(KeyError::Damaged)?;
    let body = without_blanks(body);
    let text = [
        [BEGIN, label, DASHES].concat(),
        "Proc-Type: 4,ENCRYPTED".to_owned(),
        ["DEK-Info: ", info].concat(),
        String::new(),
        body.as_str().to_owned(),
        [END, label, DASHES, "\n"].concat(),
    ];
    Ok(Pem { wire: STANDARD.encode(text.join("\n")).into(), encrypted: true })
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
            Self::Encrypted => "give its passphrase as well",
            Self::Several => "give one file for each key",
            Self::TooShort | Self::NotRsa | Self::OpenSsh | Self::Putty | Self::PublicKey | Self::Certificate => {
                "generate one under \"Private keys\" on the App's settings page; GitHub downloads it as a .pem file"
            }
            Self::Empty | Self::TooLarge | Self::NotPem | Self::Page | Self::Damaged => {
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
            Self::Putty => "it is a PuTTY key; a GitHub App's key is needed",
            Self::Page => "it is a web page or JSON without a key in it",
            Self::Encrypted => "it is encrypted with a passphrase",
            Self::Damaged => "it is cut off or damaged",
            Self::TooShort => "it has fewer than 2048 bits",
        })
    }
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// The label of encrypted PKCS#8.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
/// What a sealed file begins with, of whatever version; the agent's module `sealed` describes the rest.
const SEALED: &[u8] = b"apptoken-key-v";
const PUTTY: &[u8] = b"PuTTY-User-Key-File-";
/// Largest key file read, in bytes; an 8192-bit key in PEM has under 7 KiB.
pub const MAX_KEY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = include_str!("../tests/fixtures/UNSAFE-TEST-ONLY-1.pem");
    const OTHER: &str = include_str!("../tests/fixtures/UNSAFE-TEST-ONLY-2.pem");

    fn wire(text: &str) -> Result<String, KeyError> {
        read(text.as_bytes()).map(|pem| pem.wire.expose().to_owned())
    }

    /// All the shapes in which people paste what was this.
    fn shapes(pem: &str) -> [String; 6] {
        [
            pem.replace('\n', "\r\n"),
            pem.replace('\n', "\\n"),
            format!("\n\n   {pem}   \n"),
            pem.replace('\n', " "),
            STANDARD.encode(pem),
            pem.replace('\n', "\n    "),
        ]
    }

    #[test]
    fn a_key_is_read_in_every_form_in_which_people_paste_it() {
        let key = wire(PEM).expect("a key");
        for form in shapes(PEM) {
            assert_eq!(wire(&form), Ok(key.clone()), "{}", &form[..40]);
        }
    }

    #[test]
    fn what_is_encrypted_is_told_from_what_is_not() {
        assert!(!read(PEM.as_bytes()).expect("a key").encrypted);
        let pkcs8 = read(PEM.replace("RSA PRIVATE KEY", ENCRYPTED).as_bytes()).expect("a key");
        assert!(pkcs8.encrypted);
        assert_eq!(pkcs8.wire.expose(), wire(PEM).expect("a key"));
        let file = b"apptoken-key-v9\n\0\xff";
        let sealed = read(file).expect("a sealed file");
        assert!(sealed.encrypted);
        assert_eq!(STANDARD.decode(sealed.wire.expose()).expect("base64"), file);
    }

    #[test]
    fn the_old_headers_are_kept_in_one_form_whatever_was_pasted() {
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\n\
                   AAAABBBB\nCCCC\n-----END RSA PRIVATE KEY-----\n";
        let normal = pem.replace("BBBB\n", "BBBB");
        for form in shapes(pem).into_iter().chain([pem.into(), pem.replace(": ", ":")]) {
            let read = read(form.as_bytes()).expect("a key");
            let text = STANDARD.decode(read.wire.expose()).expect("base64");
            assert_eq!(String::from_utf8_lossy(&text), normal, "{form}");
            assert!(read.encrypted);
        }
        for half in ["Proc-Type: 4,ENCRYPTED\n", "DEK-Info: AES-128-CBC,00FF"] {
            let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{half}-----END RSA PRIVATE KEY-----\n");
            assert_eq!(wire(&pem), Err(KeyError::Damaged), "{half}");
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
            (format!("{PEM}{}", label(ENCRYPTED)), KeyError::Several),
            (format!("{}{PEM}", label(ENCRYPTED)), KeyError::Several),
            (label("PUBLIC KEY"), KeyError::PublicKey),
            (label("CERTIFICATE"), KeyError::Certificate),
            (label("EC PRIVATE KEY"), KeyError::NotRsa),
            (label("OPENSSH PRIVATE KEY"), KeyError::OpenSsh),
            ("PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n".into(), KeyError::Putty),
            ("<!DOCTYPE html>\n<html>".into(), KeyError::Page),
            (r#" {"message": "Not Found"}"#.into(), KeyError::Page),
            (half.into(), KeyError::Damaged),
        ] {
            assert_eq!(wire(&text), Err(why), "{}", text.get(..40).unwrap_or(&text));
        }
    }
}
