//! Why there is no connection, in words for a person: the libraries' own are for programmers.

use std::error::Error;
use std::io;

use rustls::CertificateError;

/// What keeps us from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A clause to follow "cannot be reached: ".
    pub text: String,
    /// Whether the next try would meet it as well.
    pub lasts: bool,
    /// What to do about it.
    pub hint: &'static str,
}

impl Reason {
    /// The environment names a proxy by something that is no address.
    pub(super) fn no_proxy(name: &str) -> Self {
        Self { text: format!("{name} is no address of a proxy"), lasts: true, hint: CHECK_THE_WAY }
    }

    /// The system starts no thread.
    pub(super) fn no_thread(error: &dyn Error) -> Self {
        let hint = "let the agent have more memory and more threads, or end other programs";
        Self { text: format!("no thread can be started for it: {error}"), lasts: false, hint }
    }
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
            let reason = reason(cause);
            Reason { text: format!("the proxy fails: {}", reason.text), ..reason }
        }
        (Some(what), None) => no_tunnel(what),
        (None, Some(cause)) if text == LOOKUP => no_address(cause),
        (None, Some(cause)) => reason(cause),
        (None, None) => Reason { text, lasts: false, hint: CHECK_THE_WAY },
    }
}

/// What is behind an error. What an I/O error holds counts there as the error itself, and is passed over by `source`.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source())
}

fn untrusted(error: &rustls::Error) -> Reason {
    let (text, lasts, hint) = match error {
        rustls::Error::InvalidCertificate(error) => {
            (format!("its TLS certificate {}", flaw(error)), true, CHECK_THE_WAY)
        }
        rustls::Error::InvalidMessage(_) => ("it does not speak TLS".to_owned(), true, CHECK_THE_WAY),
        rustls::Error::General(text) if text.starts_with(NO_CERTIFICATES) => {
            ("no CA certificate is found by which to trust it".to_owned(), true, INSTALL_CERTIFICATES)
        }
        // The text of any other comes from the TLS library itself and not from the server.
        rustls::Error::General(text) => (format!("the TLS library fails: {text}"), true, REPORT),
        other => (format!("TLS with it fails: {other}"), false, CHECK_THE_WAY),
    };
    Reason { text, lasts, hint }
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
    Reason { text: text.to_owned(), lasts, hint: CHECK_THE_WAY }
}

/// The type of this error cannot be named either; behind it is the system's, which does not say what it is about.
fn no_address(cause: &(dyn Error + 'static)) -> Reason {
    let says = cause.to_string();
    let why = says.split_once(": ").map_or(says.as_str(), |(_, why)| why);
    Reason { text: format!("the address of that name is not found: {why}"), lasts: false, hint: CHECK_THE_WAY }
}

/// What an error is called when no address is found for a name.
const LOOKUP: &str = "dns error";
/// How errors of a proxy begin.
const TUNNEL: &str = "tunnel error: ";
/// How the error begins that rustls-platform-verifier reports when the system has no CA certificates. It is a `General`
/// error, as are faults of the library that have nothing to do with certificates.
const NO_CERTIFICATES: &str = "No CA certificates";
/// The hint where the fault may lie anywhere between here and the server.
const CHECK_THE_WAY: &str = "check the network, and HTTPS_PROXY and SSL_CERT_FILE as they were when the agent started";
const INSTALL_CERTIFICATES: &str = "install the system's CA certificates (the package is often called ca-certificates), or start the agent with \
     SSL_CERT_FILE naming a file of them";
const REPORT: &str =
    "this is a fault of the agent's TLS library, and not of the network or the certificates: report it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_general_error_of_rustls_is_reported_as_what_it_is() {
        let general = |text: &str| reason(&rustls::Error::General(text.to_owned()));
        let missing = general("No CA certificates were loaded from the system");
        assert!(missing.text.contains("no CA certificate") && missing.hint.contains("SSL_CERT_FILE"), "{missing:?}");
        let other = general("signing failed");
        assert_eq!(other.text, "the TLS library fails: signing failed");
        assert!(!other.hint.contains("SSL_CERT_FILE") && other.lasts, "{other:?}");
    }
}
