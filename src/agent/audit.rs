//! The audit log: a line for each hand-out and each refusal of one, without secrets.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::clock;
use super::peer::Peer;
use crate::protocol::{Code, Refusal, TokenAnswer};

/// An open log; each line is one JSON object, written at once.
pub struct Audit(File);

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    uid: u32,
    pid: Option<i32>,
    executable: Option<String>,
    key: Option<&'a str>,
    account: Option<&'a str>,
    installation_id: Option<u64>,
    repositories: Option<&'a [String]>,
    permissions: Option<&'a std::collections::BTreeMap<String, String>>,
    outcome: Outcome,
    hashed_token: Option<String>,
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

    /// Writes down what `peer` got with the key of this fingerprint, if one was chosen.
    pub fn write(
        &self,
        peer: Peer,
        key: Option<&str>,
        outcome: Result<&TokenAnswer, &Refusal>,
        unix: i64,
    ) -> io::Result<()> {
        let token = outcome.ok();
        let mut line = serde_json::to_vec(&Line {
            time: clock::rfc3339(unix),
            uid: peer.uid,
            pid: peer.pid,
            executable: peer.executable().map(|path| path.to_string_lossy().into_owned()),
            key,
            account: token.map(|token| token.account.as_str()),
            installation_id: token.map(|token| token.installation_id.0),
            repositories: token.and_then(|token| token.repositories.as_deref()),
            permissions: token.map(|token| &token.permissions),
            outcome: outcome.map_or_else(|refusal| Outcome::Refused(refusal.code), |_| Outcome::Granted),
            // The form that GitHub's own audit log has.
            hashed_token: token.map(|token| STANDARD.encode(Sha256::digest(token.token.expose()))),
        })?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }
}
