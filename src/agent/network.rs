//! Why there is no connection, in words for a person: the libraries' own are for programmers.

use std::error::Error;
use std::io;

use rustls::CertificateError;

/// What keeps us from a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// A clause to follow "cannot be reached: ".
    pub(super) text: String,
    /// Whether the next try would meet it as well.
    pub(super) lasts: bool,
}

/// Puts an error into words. Where there are none it is the innermost error, which is the system's; the outer ones repeat
/// the address.
pub(super) fn reason(error: &(dyn Error + 'static)) -> Reason {
    let text = error.to_string();
    if let Some(tls) = error.downcast_ref() {
        return untrusted(tls);
    }
    match (text.strip_prefix(TUNNEL), cause(error)) {
        // It is the proxy that cannot be reached.
        (Some(_), Some(cause)) => {
            let Reason { text, lasts } = reason(cause);
            Reason { text: format!("the proxy fails: {text}"), lasts }
        }
        (Some(what), None) => no_tunnel(what),
        (None, Some(cause)) if text == LOOKUP => no_address(cause),
        (None, Some(cause)) => reason(cause),
        (None, None) => Reason { text, lasts: false },
    }
}

/// What is behind an error. What an I/O error holds counts there as the error itself, and is passed over by `source`.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source())
}

fn untrusted(error: &rustls::Error) -> Reason {
    let (text, lasts) = match error {
        rustls::Error::InvalidCertificate(error) => (format!("its TLS certificate {}", flaw(error)), true),
        rustls::Error::InvalidMessage(_) => ("it does not speak TLS".to_owned(), true),
        // This is how the system's certificates are missed.
        rustls::Error::General(_) => ("no CA certificate is found by which to trust it".to_owned(), true),
        other => (format!("TLS with it fails: {other}"), false),
    };
    Reason { text, lasts }
}

/// What is wrong with a certificate. What it says itself is not repeated: anybody can have written it.
fn flaw(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "was issued by nobody that this machine trusts"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "is for another host",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        // That is what `openssl req -x509` makes.
        CertificateError::Other(why) if why.to_string() == "CaUsedAsEndEntity" => "is a CA's own, and not a server's",
        _ => "is not acceptable",
    }
}

/// The type of this error cannot be named, hence its words.
fn no_tunnel(what: &str) -> Reason {
    let (text, lasts) = match what {
        "proxy authorization required" => ("the proxy wants a user name and a password", true),
        "unexpected end of file" => ("the proxy hung up", false),
        _ => ("the proxy does not lead there", false),
    };
    Reason { text: text.to_owned(), lasts }
}

/// The type of this error cannot be named either; behind it is the system's, which does not say what it is about.
fn no_address(cause: &(dyn Error + 'static)) -> Reason {
    let says = cause.to_string();
    let why = says.split_once(": ").map_or(says.as_str(), |(_, why)| why);
    Reason { text: format!("the address of that name is not found: {why}"), lasts: false }
}

/// What an error is called when no address is found for a name.
const LOOKUP: &str = "dns error";
/// How errors of a proxy begin.
const TUNNEL: &str = "tunnel error: ";
