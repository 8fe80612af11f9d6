//! What the agent answers: `{"ok":true,…}` with the fields of one answer, or `{"ok":false,…}` with those of a refusal.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::ids::{AppId, Host, InstallationId};
use crate::secret::Secret;

/// A request that was carried out. On the wire its fields stand beside `"ok":true`.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To `ping`.
    Pong(Pong),
    /// To `getToken`.
    Token(TokenAnswer),
    /// The same, or any other, as a line that was written before.
    #[serde(skip)]
    Written(Arc<Secret<[u8]>>),
    /// To `addKey`.
    Added(Added),
    /// To `checkKey`.
    Checked(Checked),
    /// To `sealKey`.
    Sealed(SealedKey),
    /// To `listKeys`.
    Keys(Keys),
    /// To `removeKey` and `removeAllKeys`.
    Removed(Removed),
    /// To `whoami`.
    Whoami(Whoami),
    /// To `revoke`.
    Revoked(Revoked),
    /// To `dropToken`.
    Dropped(Dropped),
    /// To `lock` and `unlock`.
    Done(Done),
    /// To `status`.
    Status(Status),
    /// To `installations`.
    Installations(Installations),
    /// To `diagnose`.
    Diagnosis(Diagnosis),
}

/// Who is there.
#[derive(Debug, Serialize)]
pub struct Pong {
    /// Always true.
    pub pong: bool,
    /// The agent's version.
    pub version: String,
    /// The protocol it speaks: [`super::PROTOCOL`].
    pub protocol: u32,
    /// Its process.
    pub pid: u32,
    /// Whether it is locked.
    pub locked: bool,
}

/// An installation token and what it is good for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenAnswer {
    /// The token; opaque.
    pub token: Secret<str>,
    /// When it ends, RFC 3339 in UTC.
    pub expires_at: String,
    /// The host it is for, and must not leave.
    pub host: Host,
    /// The installation it belongs to.
    pub installation_id: InstallationId,
    /// The account that installation is on.
    pub account: String,
    /// What it may do, as GitHub granted it.
    pub permissions: BTreeMap<String, String>,
    /// The repositories it is narrowed to, as `OWNER/NAME`; absent when it sees all that the installation sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repositories: Option<Vec<String>>,
    /// What the one who asked should know, such as that GitHub documents no permission of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A key that is now held.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Added {
    /// The fingerprint that GitHub shows for it.
    pub fingerprint: String,
    /// What it is called here.
    pub name: String,
    /// The App it belongs to.
    pub app_id: AppId,
    /// The host that App lives on.
    pub host: Host,
    /// The App's slug, when GitHub was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// Seconds until it is forgotten, when it has a lifetime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
    /// When that is, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Whether each use must be confirmed.
    pub confirm: bool,
    /// Why key and App could not be checked against GitHub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A key that would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The fingerprint that GitHub shows for it.
    pub fingerprint: String,
    /// The size of its modulus.
    pub bits: u32,
    /// The App's slug, when GitHub was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// Where the App is installed, when GitHub was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installations: Option<Vec<Installation>>,
}

/// A key that only its passphrase opens.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedKey {
    /// What to store, in standard base64: the file that the agent's module `sealed` describes.
    pub sealed: String,
    /// The fingerprint of the key in it.
    pub fingerprint: String,
}

/// What lies between the keys and GitHub.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// What was looked at: the keys, and for each of them the clock, the API, the App, its installations and a token.
    pub checks: Vec<Finding>,
}

/// What came of looking at one thing; no secrets.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What was looked at, in a word.
    pub check: &'static str,
    /// How that ended.
    pub state: Outcome,
    /// What was found.
    pub says: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The name of the key it is about, when there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be looked at.
    Skip,
}

/// The keys held, in the order in which they were added.
#[derive(Debug, Serialize)]
pub struct Keys {
    /// Each key.
    pub keys: Vec<KeyInfo>,
}

/// What may be told of a key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyInfo {
    /// What it is called here.
    pub name: String,
    /// The fingerprint that GitHub shows for it.
    pub fingerprint: String,
    /// Its size.
    pub bits: u32,
    /// The App it belongs to.
    pub app_id: AppId,
    /// The App's slug, when GitHub was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// The host that App lives on.
    pub host: Host,
    /// The REST API's base.
    pub api_url: String,
    /// The installation used when a request chooses none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installation_id: Option<InstallationId>,
    /// Seconds left until it is forgotten, when it has a lifetime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
    /// Whether each use must be confirmed.
    pub confirm: bool,
}

/// What was forgotten.
#[derive(Debug, Serialize)]
pub struct Removed {
    /// The names of the keys.
    pub removed: Vec<String>,
    /// What became of the tokens had with them, when they were to be revoked.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
}

/// What became of tokens that were to be revoked.
#[derive(Debug, Default, Serialize)]
pub struct Revoked {
    /// How many are dead now.
    pub revoked: usize,
    /// Why others may be alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A token that is not handed out any more.
#[derive(Debug, Serialize)]
pub struct Dropped {
    /// Whether the agent had it.
    pub dropped: bool,
}

/// It is done, and there is no more to say.
#[derive(Debug, Serialize)]
pub struct Done {}

/// What the agent holds; no secrets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The protocol it speaks.
    pub protocol: u32,
    /// Its process.
    pub pid: u32,
    /// Whether it is locked; then the lists are empty.
    pub locked: bool,
    /// Seconds since it started.
    pub uptime: u64,
    /// Seconds that keys get that are added without a lifetime, and the most that they may get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<u64>,
    /// Seconds without a request after which every key is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<u64>,
    /// Whether it keeps an audit log.
    pub audited: bool,
    /// The keys held.
    pub keys: Vec<KeyInfo>,
    /// The tokens cached.
    pub tokens: Vec<TokenInfo>,
}

/// What may be told of a cached token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// The name of the key it was minted with.
    #[serde(default)]
    pub key: String,
    /// The account it is for.
    pub account: String,
    /// The installation it belongs to.
    pub installation_id: InstallationId,
    /// The repositories it is narrowed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repositories: Option<Vec<String>>,
    /// When it ends, RFC 3339 in UTC.
    pub expires_at: String,
    /// Seconds since it was minted.
    #[serde(default)]
    pub age: u64,
}

/// Where an App is installed.
#[derive(Debug, Serialize)]
pub struct Installations {
    /// Each installation, in GitHub's order.
    pub installations: Vec<Installation>,
}

/// One installation of an App.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Installation {
    /// Its number.
    pub id: InstallationId,
    /// The account it is on.
    pub account: String,
    /// `Organization`, `User` or `Enterprise`.
    pub account_type: String,
    /// `all` or `selected`.
    pub repository_selection: String,
    /// Whether the account suspended it.
    pub suspended: bool,
}

/// Who an App is when it commits.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Whoami {
    /// The bot's login: `SLUG[bot]`.
    pub name: String,
    /// Its number, which is not the App's.
    pub id: u64,
    /// The address that GitHub knows its commits by.
    pub email: String,
    /// The App.
    pub app_id: AppId,
    /// The App's name in URLs.
    pub slug: String,
    /// The host the App lives on.
    pub host: Host,
}

/// One response as a line of JSON.
pub fn written(response: &Result<Answer, Refusal>) -> Cow<'_, [u8]> {
    #[derive(Serialize)]
    struct Wire<'a, T> {
        ok: bool,
        #[serde(flatten)]
        fields: &'a T,
    }

    // Room for a token of the long kind with its surroundings, so that the buffer does not grow by copying it.
    let mut line = Vec::with_capacity(1024);
    let written = match response {
        Ok(Answer::Written(line)) => return line.expose().into(),
        Ok(answer) => serde_json::to_writer(&mut line, &Wire { ok: true, fields: answer }),
        Err(refusal) => serde_json::to_writer(&mut line, &Wire { ok: false, fields: refusal }),
    };
    written.expect("answers have only string keys, and a Vec takes all that is written");
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Code;

    #[test]
    fn an_answer_stands_beside_ok_on_one_line() {
        let pong = Answer::Pong(Pong { pong: true, version: "1.2.3".into(), protocol: 1, pid: 7, locked: false });
        let pong = Ok(pong);
        let line = written(&pong);
        assert_eq!(
            String::from_utf8_lossy(&line),
            "{\"ok\":true,\"pong\":true,\"version\":\"1.2.3\",\"protocol\":1,\"pid\":7,\"locked\":false}\n"
        );
    }

    #[test]
    fn a_refusal_leaves_out_what_it_does_not_say() {
        let no = Err(Refusal::new(Code::NoKey, "no key is loaded"));
        let line = written(&no);
        assert_eq!(
            String::from_utf8_lossy(&line),
            "{\"ok\":false,\"error\":\"no key is loaded\",\"code\":\"no_key\"}\n"
        );
    }
}
