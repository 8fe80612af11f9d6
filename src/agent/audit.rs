//! The audit log: a line for each hand-out and each refusal of one, without secrets.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::clock;
use super::peer::Peer;
use crate::ids::InstallationId;
use crate::protocol::{Code, Refusal};
use crate::secret::Secret;

/// An open log; each line is one JSON object, written at once.
pub struct Audit(File);

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    uid: u32,
    pid: Option<i32>,
    executable: Option<String>,
    key: Option<&'a str>,
    asked: Option<String>,
    #[serde(flatten)]
    granted: Option<Granted>,
    outcome: Outcome,
    hashed_token: Option<String>,
}

/// A token that nobody has and that may be alive.
#[derive(Serialize)]
struct NotRevoked<'a> {
    time: String,
    event: &'static str,
    key: &'a str,
    installation_id: InstallationId,
    hashed_token: Option<String>,
    reason: &'a str,
}

/// What of an answer is written down as it is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
struct Granted {
    account: String,
    installation_id: u64,
    permissions: BTreeMap<String, String>,
    #[serde(default)]
    repositories: Option<Vec<String>>,
    #[serde(skip_serializing)]
    token: Secret<str>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Granted,
    #[serde(untagged)]
    Refused(Code),
}

impl Audit {
    /// Opens the log for appending; a new one is for its owner alone.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(Self)
    }

    /// Writes down what `peer` got for what it `asked`, a key's fingerprint and a scope, if that could be understood: the line
    /// handed out, or why none was.
    pub fn write(
        &self,
        peer: &Peer,
        asked: Option<(&str, String)>,
        outcome: Result<&[u8], &Refusal>,
        unix: i64,
    ) -> io::Result<()> {
        let granted: Option<Granted> = outcome.ok().map(serde_json::from_slice).transpose()?;
        let mut line = serde_json::to_vec(&Line {
            time: clock::rfc3339(unix),
            uid: peer.uid,
            pid: peer.pid,
            executable: peer.executable(),
            key: asked.as_ref().map(|(key, _)| *key),
            asked: asked.map(|(_, scope)| scope),
            outcome: outcome.map_or_else(|refusal| Outcome::Refused(refusal.code), |_| Outcome::Granted),
            // The form that GitHub's own audit log has.
            hashed_token: granted.as_ref().map(|granted| STANDARD.encode(Sha256::digest(granted.token.expose()))),
            granted,
        })?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }

    /// Writes down that a token was not handed out and may be alive all the same; `hashed_token` is absent when it never
    /// arrived.
    pub fn not_revoked(
        &self,
        key: &str,
        installation_id: InstallationId,
        hashed_token: Option<String>,
        reason: &str,
        unix: i64,
    ) -> io::Result<()> {
        let time = clock::rfc3339(unix);
        let line = NotRevoked { time, event: "not_revoked", key, installation_id, hashed_token, reason };
        let mut line = serde_json::to_vec(&line)?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }
}
