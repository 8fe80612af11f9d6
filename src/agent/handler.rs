//! What the agent does about each request: the one match.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::clock::{self, Clock, Now};
use super::flight::Flights;
use super::github::{GitHub, GitHubError, may_talk_to};
use super::jwt;
use super::key::AppKey;
use super::keyring::{HeldKey, NotAdded, NotChosen};
use super::mint::Signing;
use super::refuse::{Asked, refuse};
use super::shield::Shielded;
use super::state::{Found, Place, State};
use super::tokens::{Scope, Token};
use crate::ids::Host;
use crate::lifetime::{self, MAX_LIFETIME};
use crate::pem::KeyError;
use crate::protocol::{
    Added, Answer, Choice, Code, Installations, KeyChoice, KeyInfo, Keys, NewKey, PROTOCOL, Pong, Refusal, Removed,
    Request, Status, TokenInfo,
};

/// The agent behind the socket.
pub struct Agent {
    state: Mutex<State>,
    max_lifetime: Option<Duration>,
    started: Now,
    pub(super) clock: Clock,
    pub(super) github: GitHub,
    pub(super) finding: Flights<Place, Result<Found, Refusal>>,
    pub(super) minting: Flights<Scope, Result<Arc<Token>, Refusal>>,
    /// Rung when a key was added, which may be the next to expire.
    pub(super) key_added: Notify,
}

impl Agent {
    /// An agent without keys. `max_lifetime` is what keys get that are added without one, and the most that they may get.
    pub fn new(max_lifetime: Option<Duration>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            max_lifetime,
            started: clock(),
            clock,
            github: GitHub::new(clock),
            finding: Flights::default(),
            minting: Flights::default(),
            key_added: Notify::new(),
        })
    }

    /// Carries out one request.
    pub async fn handle(self: &Arc<Self>, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Ping => Ok(Answer::Pong(Self::pong())),
            Request::GetToken(asked) => self.token(asked).await.map(Answer::Token),
            Request::AddKey(key) => self.add(*key).await.map(Answer::Added),
            Request::ListKeys => Ok(Answer::Keys(Keys { keys: self.keys() })),
            Request::RemoveKey(which) => self.remove(which.key.expose()).map(Answer::Removed),
            Request::RemoveAllKeys => Ok(Answer::Removed(Removed { removed: self.forget_all() })),
            Request::Status => Ok(Answer::Status(self.status())),
            Request::Installations(choice) => self.where_installed(&choice).await.map(Answer::Installations),
        }
    }

    /// Forgets every key and token; returns the names of the keys.
    pub fn forget_all(&self) -> Vec<String> {
        self.state(|state, _| state.clear())
    }

    /// Forgets what is over; returns how long until there is more to forget.
    pub fn expire(&self) -> Option<Duration> {
        self.state(|state, now| state.next_expiry(now))
    }

    /// Lends the state as of now, for a look or a change, never across a wait.
    pub(super) fn state<T>(&self, f: impl FnOnce(&mut State, Now) -> T) -> T {
        // A panic elsewhere must not end the agent: every change is made whole or not at all.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        state.expire(now);
        f(&mut state, now)
    }

    /// Chooses a key that is held.
    pub(super) fn choose(&self, app: Option<&str>, host: Option<&Host>) -> Result<Arc<HeldKey>, Refusal> {
        self.state(|state, _| state.keyring.choose(app, host).cloned().map_err(not_chosen))
    }

    async fn add(self: &Arc<Self>, new: NewKey) -> Result<Added, Refusal> {
        let key = Arc::new(self.read(&new)?);
        let asked = if new.offline { Ok(None) } else { self.github.app(&Signing::of(&key)).await.map(Some) };
        let (app, warning) = match asked {
            Ok(app) => (app, None),
            // The key may be right all the same; it is the network that is not.
            Err(error) if is_passing(&error) => {
                let why = refuse(&error, &key, Asked::App).error;
                (None, Some(format!("the key could not be checked: {why}")))
            }
            Err(error) => return Err(refuse(&error, &key, Asked::App)),
        };
        let key = Arc::into_inner(key).expect("the request that borrowed it is over");
        let slug = app.as_ref().and_then(|app| app.slug.clone());
        let added = self.state(|state, now| {
            let before = state.remove(&key.fingerprint);
            let wanted = slug.clone().unwrap_or_else(|| format!("app-{}", key.app_id));
            let name = new.name.clone().unwrap_or_else(|| state.keyring.free_name(&wanted, &key.fingerprint));
            // Adding a key again loosens nothing: a limit that it had stays unless a new one is given.
            let forget_at = self
                .lifetime(new.lifetime)
                .map(|span| now.boot + span)
                .or(before.as_ref().and_then(|key| key.forget_at));
            let confirm = key.confirm || before.is_some_and(|key| key.confirm);
            state.keyring.add(HeldKey { name, app, forget_at, confirm, ..key }).map(|key| (key, now))
        });
        let (key, now) = added.map_err(|why| not_added(&why))?;
        self.key_added.notify_one();
        let left = key.time_left(now);
        Ok(Added {
            fingerprint: key.fingerprint.to_string(),
            name: key.name.clone(),
            app_id: key.app_id.clone(),
            host: key.host.clone(),
            slug,
            lifetime: left.map(|left| left.as_secs()),
            expires_at: left.map(|left| clock::rfc3339(now.unix.saturating_add_unsigned(left.as_secs()))),
            confirm: key.confirm,
            warning,
        })
    }

    /// Reads and judges a key that was sent, before anything is asked or changed.
    fn read(&self, new: &NewKey) -> Result<HeldKey, Refusal> {
        let bad_key = |why: KeyError| Refusal::new(Code::BadKey, format!("this is no key: {why}")).hint(why.hint());
        let key = AppKey::from_wire(&new.key).map_err(bad_key)?;
        if let Some(name) = &new.name
            && !is_name(name)
        {
            return Err(Refusal::new(Code::BadRequest, "a key's name is letters, digits, `.`, `_` and `-`")
                .hint("choose another name"));
        }
        if new.lifetime.is_some_and(|seconds| seconds == 0 || seconds > MAX_LIFETIME.as_secs()) {
            return Err(
                Refusal::new(Code::BadRequest, "a lifetime is one second to 68 years").hint("leave it out for none")
            );
        }
        if let (Some(asked), Some(most)) = (new.lifetime, self.max_lifetime)
            && asked > most.as_secs()
        {
            return Err(Refusal::new(
                Code::Denied,
                format!("this agent keeps no key longer than {}", lifetime::show(most)),
            )
            .hint("ask for less with `-t`"));
        }
        if new.confirm {
            return Err(Refusal::new(Code::BadRequest, "this agent cannot ask for confirmation yet")
                .hint("add the key without `-c`"));
        }
        let host = new.host.clone().unwrap_or_else(Host::github);
        let api_url = new.api_url.as_deref().map_or_else(|| host.api_url(), |url| url.trim_end_matches('/').to_owned());
        if !may_talk_to(&api_url) {
            return Err(Refusal::new(Code::BadRequest, "the API's address must be https, or http to this machine")
                .hint("write it like https://api.github.com or http://127.0.0.1:8080"));
        }
        // GitHub would notice as well, but not offline.
        jwt::sign(&new.app_id, &key.pkcs1, (self.clock)().unix).map_err(|_| bad_key(KeyError::Damaged))?;
        Ok(HeldKey {
            name: String::new(),
            fingerprint: key.fingerprint.into(),
            bits: key.bits,
            app_id: new.app_id.clone(),
            app: None,
            host,
            api_url,
            installation: new.installation_id,
            forget_at: None,
            confirm: new.confirm,
            pkcs1: Shielded::new(key.pkcs1.expose()),
        })
    }

    fn lifetime(&self, asked: Option<u64>) -> Option<Duration> {
        asked.map(Duration::from_secs).or(self.max_lifetime)
    }

    fn remove(&self, which: &str) -> Result<Removed, Refusal> {
        let key = self.state(|state, _| state.remove(which)).or_else(|| {
            let fingerprint = AppKey::from_wire(&which.into()).ok()?.fingerprint;
            self.state(|state, _| state.remove(&fingerprint))
        });
        key.map(|key| Removed { removed: vec![key.name.clone()] }).ok_or_else(|| {
            Refusal::new(Code::NoKey, "no key of that name or fingerprint is loaded").hint("see `apptoken list`")
        })
    }

    async fn where_installed(self: &Arc<Self>, choice: &KeyChoice) -> Result<Installations, Refusal> {
        let key = self.choose(choice.app.as_deref(), choice.host.as_ref())?;
        self.installations(&key).await.map(|installations| Installations { installations })
    }

    fn pong() -> Pong {
        Pong { pong: true, version: VERSION.to_owned(), protocol: PROTOCOL, pid: std::process::id(), locked: false }
    }

    fn keys(&self) -> Vec<KeyInfo> {
        self.state(|state, now| state.keyring.iter().map(|key| key_info(key, now)).collect())
    }

    fn status(&self) -> Status {
        self.state(|state, now| {
            state.tokens.expire(now);
            let name = |scope: &Scope| state.keyring.get(&scope.key).map(|key| key.name.clone()).unwrap_or_default();
            let tokens = state.tokens.iter().take(MAX_TOKENS_TOLD);
            Status {
                version: VERSION.to_owned(),
                protocol: PROTOCOL,
                pid: std::process::id(),
                locked: false,
                uptime: now.boot.saturating_sub(self.started.boot).as_secs(),
                keys: state.keyring.iter().map(|key| key_info(key, now)).collect(),
                tokens: tokens.map(|(scope, token)| token_info(name(scope), token, now)).collect(),
            }
        })
    }
}

fn key_info(key: &HeldKey, now: Now) -> KeyInfo {
    KeyInfo {
        name: key.name.clone(),
        fingerprint: key.fingerprint.to_string(),
        bits: key.bits,
        app_id: key.app_id.clone(),
        slug: key.app.as_ref().and_then(|app| app.slug.clone()),
        host: key.host.clone(),
        api_url: key.api_url.clone(),
        installation_id: key.installation,
        lifetime: key.time_left(now).map(|left| left.as_secs()),
        confirm: key.confirm,
    }
}

fn token_info(key: String, token: &Token, now: Now) -> TokenInfo {
    TokenInfo {
        key,
        account: token.account.clone(),
        installation_id: token.installation,
        repositories: token.repositories.clone(),
        expires_at: token.expires_at.clone(),
        age: now.boot.saturating_sub(token.minted.boot).as_secs(),
    }
}

/// Whether an error says nothing about the key: it may be gone at the next try.
fn is_passing(error: &GitHubError) -> bool {
    matches!(
        error,
        GitHubError::Timeout | GitHubError::Unreachable(_) | GitHubError::RateLimited(_) | GitHubError::Status(500..)
    )
}

fn not_chosen(why: NotChosen<'_>) -> Refusal {
    match why {
        NotChosen::Empty => Refusal::new(Code::NoKey, "the agent has no key").hint("add one: apptoken add KEY.pem"),
        NotChosen::NoneFits => Refusal::new(Code::NoKey, "no key for that App or host is loaded")
            .hint("see `apptoken list` for those that are, or add it: apptoken add KEY.pem"),
        NotChosen::Several(keys) => Refusal::new(Code::ChooseKey, format!("{} keys fit", keys.len()))
            .hint("choose one with `--app` or `--host`")
            .choices(keys.into_iter().map(choice).collect()),
    }
}

fn choice(key: &HeldKey) -> Choice {
    Choice::key(key.name.clone(), key.fingerprint.to_string(), key.app_id.clone(), key.host.clone())
}

fn not_added(why: &NotAdded) -> Refusal {
    match why {
        NotAdded::NameTaken => {
            Refusal::new(Code::BadRequest, "another key has that name").hint("choose another with `--name`")
        }
        NotAdded::Full => {
            Refusal::new(Code::Denied, "the agent holds as many keys as it can").hint("remove one: apptoken remove KEY")
        }
    }
}

/// A name is printed, matched and typed on command lines.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.starts_with('-')
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Longest name of a key, in bytes.
const MAX_NAME: usize = 64;
/// Cached tokens that a status tells of.
const MAX_TOKENS_TOLD: usize = 100;
