//! What a client may ask, and the strict reading of it.

use std::borrow::Cow;
use std::fmt;
use std::os::fd::BorrowedFd;

use serde::de::{self, DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};

use super::key_source::{KeyFile, KeySource, OpenFile};
use super::{Code, Refusal};
use crate::ids::{AppId, Host, InstallationId, Owner, Permissions, Repo, RepoName};
use crate::secret::Secret;

/// One request; on the wire a JSON object whose `action` names the variant.
#[derive(Serialize)]
#[serde(tag = "action", rename_all = "camelCase")]
pub enum Request {
    /// Is an agent there, and which?
    Ping,
    /// An installation token.
    GetToken(TokenRequest),
    /// Hold this key.
    AddKey(Box<NewKey>),
    /// Would this key do? Nothing of it is kept.
    CheckKey(Box<CheckKey>),
    /// Encrypt this key under a passphrase, for whoever sent it to store.
    SealKey(Box<SealKey>),
    /// Which keys are held?
    ListKeys,
    /// Forget a key.
    RemoveKey(RemoveKey),
    /// Forget all keys.
    RemoveAllKeys(RemoveAllKeys),
    /// Encrypt everything until the passphrase comes back.
    Lock(Passphrase),
    /// Here it is.
    Unlock(Passphrase),
    /// What is loaded and cached?
    Status,
    /// Where is the App installed?
    Installations(KeyChoice),
    /// Who is the App when it commits?
    Whoami(KeyChoice),
    /// End tokens at GitHub.
    Revoke(Revoke),
    /// Hand out this token no more.
    DropToken(DropToken),
    /// What is in the way of such a token? Nothing is handed out.
    Diagnose(TokenRequest),
}

/// Which token: every field narrows or chooses, none is needed.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// Chooses the key: its name, fingerprint, App ID, client ID or the App's slug.
    #[serde(default, deserialize_with = "short", skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Chooses the key by its App's host.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Chooses the installation by the account it is on.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Chooses the installation that sees this repository, and narrows the token to it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub repo: Option<Repo>,
    /// Narrows the token to these repositories of the chosen installation.
    #[serde(default, deserialize_with = "at_least_one", skip_serializing_if = "Option::is_none")]
    pub repositories: Option<Vec<RepoName>>,
    /// Chooses the installation by its number.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub installation_id: Option<InstallationId>,
    /// Narrows the token to these permissions.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// Seconds the token must still live when it is handed out.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub min_ttl: Option<u64>,
}

/// A private key to hold.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewKey {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// The key in standard base64: PKCS#1 or PKCS#8 DER, or PEM; or with `passphrase` one that is encrypted, which is PKCS#8 in
    /// either form, PEM with `Proc-Type`, a sealed file, or a `pem.enc` of the original tool. Without escapes in it, it is
    /// copied once and wiped.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Secret<str>>,
    /// In place of `key`: an open file that holds the key in any of these forms, or as people paste it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<KeyFile>,
    /// What opens it, when it is encrypted; else it is not looked at.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret<str>>,
    /// The App it belongs to.
    pub app_id: AppId,
    /// What to call it; else the App's slug.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The host its App lives on; else github.com.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// The REST API's base; else the host's usual one. Plain `http` for loopback only.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// The installation to use when a request chooses none.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub installation_id: Option<InstallationId>,
    /// Seconds until it is forgotten; else the agent's default.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<u64>,
    /// Ask the user at each use.
    #[serde(default)]
    pub confirm: bool,
    /// Do not check key and App against GitHub.
    #[serde(default)]
    pub offline: bool,
}

/// A key to judge, and to check against GitHub if an App is named.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckKey {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// As in [`NewKey::key`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Secret<str>>,
    /// As in [`NewKey::key_file`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<KeyFile>,
    /// As in [`NewKey::passphrase`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret<str>>,
    /// The App it should belong to; without it GitHub is not asked.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub app_id: Option<AppId>,
    /// As in [`NewKey::host`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// As in [`NewKey::api_url`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
}

/// A key to seal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealKey {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// As in [`NewKey::key`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Secret<str>>,
    /// As in [`NewKey::key_file`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<KeyFile>,
    /// What opens it, when it is encrypted: as in [`NewKey::passphrase`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret<str>>,
    /// What the sealed file is to open with; not empty.
    pub new_passphrase: Secret<str>,
}

/// Which key to forget.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveKey {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// Its name or fingerprint, or the key itself: PKCS#1 or PKCS#8 DER in base64.
    pub key: Secret<str>,
    /// Revoke the tokens had with it as well.
    #[serde(default)]
    pub revoke: bool,
}

/// How to forget all keys.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveAllKeys {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// Revoke the tokens had with them as well.
    #[serde(default)]
    pub revoke: bool,
}

/// Which tokens to revoke: this one, else all of a key, else all.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// A token that the agent handed out.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret<str>>,
    /// As in [`TokenRequest::app`].
    #[serde(default, deserialize_with = "short", skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// As in [`TokenRequest::host`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
}

/// Which token to hand out no more, such as one that GitHub refuses.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropToken {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// The token.
    pub token: Secret<str>,
}

/// What locks and unlocks.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passphrase {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// The passphrase; not empty.
    pub passphrase: Secret<str>,
}

/// Which key's App is asked about.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyChoice {
    #[serde(default, rename = "action", skip_serializing)]
    pub(crate) _action: IgnoredAny,
    /// As in [`TokenRequest::app`].
    #[serde(default, deserialize_with = "short", skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// As in [`TokenRequest::host`].
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
}

impl NewKey {
    /// A key of this App with nothing else said.
    pub fn new(key: impl Into<KeySource>, app_id: AppId) -> Self {
        let (key, key_file) = key.into().fields();
        Self {
            _action: IgnoredAny,
            key,
            key_file,
            passphrase: None,
            app_id,
            name: None,
            host: None,
            api_url: None,
            installation_id: None,
            lifetime: None,
            confirm: false,
            offline: false,
        }
    }
}

impl CheckKey {
    /// A key of which nothing else is said.
    pub fn new(key: impl Into<KeySource>) -> Self {
        let (key, key_file) = key.into().fields();
        Self { _action: IgnoredAny, key, key_file, passphrase: None, app_id: None, host: None, api_url: None }
    }
}

impl SealKey {
    /// A key, and what it is to open with.
    pub fn new(key: impl Into<KeySource>, new_passphrase: Secret<str>) -> Self {
        let (key, key_file) = key.into().fields();
        Self { _action: IgnoredAny, key, key_file, passphrase: None, new_passphrase }
    }
}

impl RemoveKey {
    /// The key that is called this, or is this.
    pub fn new(key: Secret<str>, revoke: bool) -> Self {
        Self { _action: IgnoredAny, key, revoke }
    }
}

impl DropToken {
    /// This one.
    pub fn new(token: Secret<str>) -> Self {
        Self { _action: IgnoredAny, token }
    }
}

impl Passphrase {
    /// This one.
    pub fn new(passphrase: Secret<str>) -> Self {
        Self { _action: IgnoredAny, passphrase }
    }
}

impl Request {
    /// Reads one message. Fields that the action does not have are refused: a misspelt `repositories` must not widen a token.
    pub fn parse(message: &[u8]) -> Result<Self, Refusal> {
        /// An action without fields, and the first look at every message: there the fields are passed over.
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(borrow)]
            action: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Bare {
            #[serde(rename = "action")]
            _action: IgnoredAny,
        }

        // A list of an object's values would be read as well.
        if message.trim_ascii_start().first() != Some(&b'{') {
            return Err(malformed(&de::Error::custom("no object")));
        }
        let head: Head<'_> = serde_json::from_slice(message).map_err(|e| malformed(&e))?;
        let bare = || fields::<Bare>(message);
        Ok(match &*head.action {
            "ping" => bare().map(|_| Self::Ping)?,
            "getToken" => Self::GetToken(fields(message)?),
            "addKey" => Self::AddKey(fields(message)?),
            "checkKey" => Self::CheckKey(fields(message)?),
            "sealKey" => Self::SealKey(fields(message)?),
            "listKeys" => bare().map(|_| Self::ListKeys)?,
            "removeKey" => Self::RemoveKey(fields(message)?),
            "removeAllKeys" => Self::RemoveAllKeys(fields(message)?),
            "lock" => Self::Lock(fields(message)?),
            "unlock" => Self::Unlock(fields(message)?),
            "status" => bare().map(|_| Self::Status)?,
            "installations" => Self::Installations(fields(message)?),
            "whoami" => Self::Whoami(fields(message)?),
            "revoke" => Self::Revoke(fields(message)?),
            "dropToken" => Self::DropToken(fields(message)?),
            "diagnose" => Self::Diagnose(fields(message)?),
            _ => {
                return Err(Refusal::new(Code::UnknownAction, "this agent knows no such action")
                    .hint("compare the versions that `apptoken --version` and `apptoken status` print"));
            }
        })
    }

    /// Returns true if a file descriptor belongs to the request.
    pub fn has_key_file(&self) -> bool {
        self.key_file().is_some()
    }

    /// Returns the descriptor that is sent with the request.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.key_file()?.0.as_ref().map(|file| file.as_fd())
    }

    /// Gives the request the file that came with it, if the request says that one does.
    pub fn attach(&mut self, file: OpenFile) -> Result<(), Refusal> {
        let field = match self {
            Self::AddKey(request) => request.key_file.as_mut(),
            Self::CheckKey(request) => request.key_file.as_mut(),
            Self::SealKey(request) => request.key_file.as_mut(),
            _ => None,
        };
        let unexpected = || {
            Refusal::new(Code::BadRequest, "a file descriptor came with a request that has no `keyFile`")
                .hint("say `keyFile` in the request that the descriptor belongs to")
        };
        field.ok_or_else(unexpected)?.0 = Some(file);
        Ok(())
    }

    fn key_file(&self) -> Option<&KeyFile> {
        match self {
            Self::AddKey(request) => request.key_file.as_ref(),
            Self::CheckKey(request) => request.key_file.as_ref(),
            Self::SealKey(request) => request.key_file.as_ref(),
            _ => None,
        }
    }

    /// Returns true if a key, a passphrase or a token comes with it, or may.
    pub fn has_secret(&self) -> bool {
        self.carries_key_or_passphrase() || matches!(self, Self::Revoke(_) | Self::DropToken(_))
    }

    /// Returns true if a key or a passphrase comes with it, or may: `removeKey` takes a name or the key itself.
    pub fn carries_key_or_passphrase(&self) -> bool {
        matches!(
            self,
            Self::AddKey(_)
                | Self::CheckKey(_)
                | Self::SealKey(_)
                | Self::RemoveKey(_)
                | Self::Lock(_)
                | Self::Unlock(_)
        )
    }

    /// The action's name on the wire, for logs.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::GetToken(_) => "getToken",
            Self::AddKey(_) => "addKey",
            Self::CheckKey(_) => "checkKey",
            Self::SealKey(_) => "sealKey",
            Self::ListKeys => "listKeys",
            Self::RemoveKey(_) => "removeKey",
            Self::RemoveAllKeys(_) => "removeAllKeys",
            Self::Lock(_) => "lock",
            Self::Unlock(_) => "unlock",
            Self::Status => "status",
            Self::Installations(_) => "installations",
            Self::Whoami(_) => "whoami",
            Self::Revoke(_) => "revoke",
            Self::DropToken(_) => "dropToken",
            Self::Diagnose(_) => "diagnose",
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action())
    }
}

fn fields<T: DeserializeOwned>(message: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(message).map_err(|e| malformed(&e))
}

/// Says where, never what: serde's own sentence contains the offending value, and that may be a secret.
fn malformed(error: &serde_json::Error) -> Refusal {
    let place = match error.line() {
        0 | 1 => format!("column {}", error.column()),
        line => format!("line {line} column {}", error.column()),
    };
    Refusal::new(Code::BadRequest, format!("malformed request at {place}"))
        .hint("the fields of each action are listed in the README under \"The socket\"")
}

/// A field that is there must have a value: `null` is not a way to leave out a narrowing.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The same for a text that is kept while the request waits; no name of a key or an App is longer.
fn short<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    if text.len() > MAX_SHORT { Err(de::Error::custom("too long")) } else { Ok(Some(text.into_owned())) }
}

/// GitHub reads an empty list as "every repository". The number of entries is checked before they are kept.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<RepoName>>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Vec<RepoName>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("names of repositories")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(name) = entries.next_element()? {
                if list.len() >= MAX_LISTED {
                    return Err(de::Error::custom("too many"));
                }
                list.push(name);
            }
            if list.is_empty() { Err(de::Error::custom("an empty list")) } else { Ok(list) }
        }
    }
    deserializer.deserialize_seq(Visitor).map(Some)
}

/// Bytes of a text by which a key is chosen. A client ID or a login has at most 100, a fingerprint 51.
const MAX_SHORT: usize = 256;
/// Repositories read of one request. It is twice what GitHub takes, so that a list that is only a little too long is
/// refused in words.
const MAX_LISTED: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(message: &str) -> Refusal {
        Request::parse(message.as_bytes()).err().unwrap_or_else(|| panic!("{message} was accepted"))
    }

    #[test]
    fn what_a_client_writes_is_what_the_agent_reads() {
        let asked = TokenRequest {
            repo: Some("octo/hello".parse().expect("a repository")),
            permissions: Some("contents=read".parse().expect("permissions")),
            min_ttl: Some(600),
            ..TokenRequest::default()
        };
        let wire = serde_json::to_vec(&Request::GetToken(asked)).expect("serializable");
        assert_eq!(
            String::from_utf8_lossy(&wire),
            r#"{"action":"getToken","repo":"octo/hello","permissions":{"contents":"read"},"minTtl":600}"#
        );
        let Ok(Request::GetToken(read)) = Request::parse(&wire) else { panic!("not read back") };
        assert_eq!(read.repo.map(|r| r.to_string()).as_deref(), Some("octo/hello"));
        assert_eq!(read.min_ttl, Some(600));
    }

    #[test]
    fn the_place_of_a_mistake_is_named_and_the_mistake_is_not() {
        let no = refusal(r#"{"action":"getToken","minTtl":"CANARY"}"#);
        assert_eq!((no.code, no.error.as_str()), (Code::BadRequest, "malformed request at column 38"));
        for message in [
            r#"{"action":"getToken","CANARY":1}"#,
            r#"{"action":"CANARY"}"#,
            r#"{"action":"addKey","key":["CANARY"],"appId":1}"#,
            r#"{"action":"getToken","repo":"CANARY"}"#,
            r#"{"action":"ping","more":"CANARY"}"#,
            r#"{"CANARY":"#,
        ] {
            assert!(!format!("{:?}", refusal(message)).contains("CANARY"), "{message}");
        }
    }

    #[test]
    fn nothing_can_widen_a_token_by_mistake() {
        for message in [
            r#"{"action":"getToken","repositorys":["hello"]}"#,
            r#"{"action":"getToken","repositories":[]}"#,
            r#"{"action":"getToken","repositories":null}"#,
            r#"{"action":"getToken","permissions":{}}"#,
            r#"{"action":"getToken","permissions":null}"#,
            r#"{"action":"getToken","repo":null}"#,
            r#"{"action":"getToken","repo":"octo/hello","repo":"octo/other"}"#,
        ] {
            assert_eq!(refusal(message).code, Code::BadRequest, "{message}");
        }
    }

    #[test]
    fn what_a_request_can_hold_has_a_limit() {
        let list = |count| vec!["\"a\""; count].join(",");
        let repositories = |count| format!(r#"{{"action":"getToken","repositories":[{}]}}"#, list(count));
        assert!(Request::parse(repositories(MAX_LISTED).as_bytes()).is_ok());
        assert_eq!(refusal(&repositories(MAX_LISTED + 1)).code, Code::BadRequest);
        for action in ["getToken", "whoami", "installations", "revoke", "diagnose"] {
            let named = |length| format!(r#"{{"action":"{action}","app":"{}"}}"#, "a".repeat(length));
            assert!(Request::parse(named(MAX_SHORT).as_bytes()).is_ok(), "{action}");
            assert_eq!(refusal(&named(MAX_SHORT + 1)).code, Code::BadRequest, "{action}");
        }
    }

    #[test]
    fn an_unknown_action_is_told_from_a_malformed_request() {
        assert_eq!(refusal(r#"{"action":"getTokens"}"#).code, Code::UnknownAction);
        assert_eq!(refusal(r#"{"acton":"getToken"}"#).code, Code::BadRequest);
        for message in ["", "[]", r#"["ping"]"#, r#""ping""#] {
            assert_eq!(refusal(message).code, Code::BadRequest, "{message}");
        }
    }

    #[test]
    fn debug_of_a_request_is_its_action() {
        let request = Request::AddKey(Box::new(NewKey::new(Secret::from("CANARY"), AppId::Number(1))));
        assert_eq!(format!("{request:?}"), "addKey");
    }
}
