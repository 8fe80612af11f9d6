//! The journal: every request that arrived, in order, without a secret in it.

use std::fmt::Write as _;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use super::pattern::Pattern;

/// A request and what became of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `GET`, `POST`…
    pub method: String,
    /// The path, without host, `/api/v3` and query.
    pub path: String,
    /// The query without its question mark; empty if there was none.
    pub query: String,
    /// The status sent; `None` as long as there is none, for ever if the request hangs or its connection is cut.
    pub status: Option<u16>,
    /// Who asked.
    pub authorization: Auth,
    /// `User-Agent`, empty if missing.
    pub user_agent: String,
    /// `Accept`, empty if missing.
    pub accept: String,
    /// `X-GitHub-Api-Version`, empty if missing.
    pub api_version: String,
    /// The body, if it was JSON.
    pub body: Option<Value>,
    /// When the request was read.
    pub at: Instant,
}

/// Who asked, as far as the journal may tell: never the credential, only its SHA-256 in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No `Authorization` at all.
    Anonymous,
    /// An App, by the `iss` of its JWT, which may be forged.
    Jwt { iss: String, sha256: String },
    /// An installation token that was handed out here, alive or not.
    Token { app: u64, installation: u64, sha256: String },
    /// Something else under this scheme.
    Unknown { scheme: String, sha256: String },
}

impl Entry {
    /// Tells whether the request fits a pattern such as `GET /app/installations/*`.
    #[track_caller]
    pub fn is(&self, pattern: &str) -> bool {
        Pattern::parse(pattern).fits(&self.method, &self.path)
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes all that is written");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::sha256;

    #[test]
    fn a_credential_is_noted_as_its_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
