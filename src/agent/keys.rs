//! What is done with keys: judged, checked against GitHub, held, removed, told of.

use std::sync::Arc;
use std::time::Duration;

use super::clock;
use super::fair::ShareKey;
use super::github::{api_base, host_of_api};
use super::handler::{Agent, gone};
use super::key::AppKey;
use super::keyring::{HeldKey, NotAdded, NotChosen, next_number};
use super::opening::Opened;
use super::refuse::{Asked, refuse};
use super::reply::GitHubError;
use super::revoke::Living;
use super::signing::Signing;
use crate::ids::{AppId, AppNames, Host, KeyName};
use crate::lifetime::{self, MAX_LIFETIME};
use crate::protocol::{Added, Choice, Code, KeySource, NewKey, Refusal, RemoveAllKeys, RemoveKey, Removed};
use crate::secret::on_wiped_stack;

impl Agent {
    /// Chooses a key that is held.
    pub(super) fn choose(&self, app: Option<&str>, host: Option<&Host>) -> Result<Arc<HeldKey>, Refusal> {
        self.held(|held, _| held.keyring.choose(app, host).cloned().map_err(not_chosen))?
    }

    /// Whether a key is held, and can be used.
    pub(super) fn still_held(&self, key: &HeldKey) -> Result<(), Refusal> {
        if self.held(|held, _| held.keyring.holds(key))? { Ok(()) } else { Err(gone()) }
    }

    /// Holds a new key, once it is known to be good.
    pub(super) async fn add(&self, new: NewKey, share: ShareKey) -> Result<Added, Refusal> {
        // A locked agent has no business asking GitHub.
        self.held(|_, _| ())?;
        self.judge(&new)?;
        let api = Api::new(new.host.as_ref(), new.api_url.as_deref())?;
        let opened = self.open(KeySource::one_of(new.key, new.key_file)?, new.passphrase, share).await?;
        let mut key =
            HeldKey { installation: new.installation_id, confirm: new.confirm, ..held_key(opened, new.app_id, api) };
        let (slug, warning) = self.check(&mut key, new.offline, share).await?;
        let (key, now) = self.held(|held, now| {
            let before = held.keyring.get(&key.fingerprint).cloned();
            let wanted = slug.clone().unwrap_or_else(|| format!("app-{}", key.app_id));
            key.name = new.name.clone().unwrap_or_else(|| held.keyring.free_name(&wanted, &key.fingerprint));
            // Adding a key again loosens nothing: a limit that it had stays unless a new one is given.
            let until = |span: Duration| now.boot + span;
            let asked = new.lifetime.map(Duration::from_secs).map(until);
            let had = before.as_ref().and_then(|key| key.forget_at);
            key.forget_at = asked.or(had).or(self.rules.max_lifetime.map(until));
            key.confirm |= before.as_ref().is_some_and(|key| key.confirm);
            let key = held.keyring.add(key).map_err(|why| not_added(&why))?;
            if let Some(before) = before {
                held.forget_traces(&before);
            }
            Ok((key, now))
        })??;
        self.finding.forget_failures();
        self.minting.forget_failures();
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

    /// Forgets one key: by name, by fingerprint, or by itself.
    pub(super) async fn remove(self: &Arc<Self>, which: RemoveKey, share: ShareKey) -> Result<Removed, Refusal> {
        let fingerprint = on_wiped_stack(|| AppKey::from_wire(&which.key).map(|key| key.fingerprint));
        let name = fingerprint.as_deref().unwrap_or(which.key.expose());
        let found = self.held(|held, _| held.keyring.find(name).cloned())?;
        let found = found.ok_or_else(|| {
            Refusal::new(Code::NoKey, "no key of that name or fingerprint is loaded").hint("see `apptoken list`")
        })?;
        let tokens = which.revoke.then(|| self.living(None, Some(&found.fingerprint), share)).transpose()?;
        self.held(|held, _| held.remove(&found.fingerprint))?;
        self.removed(vec![found.name.clone()], tokens).await
    }

    /// Forgets every key.
    pub(super) async fn remove_all(self: &Arc<Self>, how: RemoveAllKeys, share: ShareKey) -> Result<Removed, Refusal> {
        self.held(|_, _| ())?;
        let tokens = how.revoke.then(|| self.living(None, None, share)).transpose()?;
        self.removed(self.forget_all(), tokens).await
    }

    async fn removed(self: &Arc<Self>, names: Vec<String>, tokens: Option<Vec<Living>>) -> Result<Removed, Refusal> {
        let revoked = match tokens {
            Some(tokens) => Some(self.revoke_with_keys(tokens).await),
            None => None,
        };
        Ok(Removed { removed: names, revoked })
    }

    /// Judges what is said of a key, before anything is asked or changed.
    fn judge(&self, new: &NewKey) -> Result<(), Refusal> {
        if let Some(Err(why)) = new.name.as_deref().map(str::parse::<KeyName>) {
            return Err(Refusal::new(Code::BadRequest, why.0).hint("choose another name"));
        }
        let Some(asked) = new.lifetime.map(Duration::from_secs) else { return Ok(()) };
        if asked.is_zero() || asked > MAX_LIFETIME {
            return Err(
                Refusal::new(Code::BadRequest, "a lifetime is one second to 68 years").hint("leave it out for none")
            );
        }
        match self.rules.max_lifetime {
            Some(most) if asked > most => {
                Err(Refusal::new(Code::Denied, format!("this agent keeps no key longer than {}", lifetime::show(most)))
                    .hint("ask for less with `-t`"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the key signs, and that GitHub knows it for its App; returns the App's slug, or why GitHub cannot say.
    async fn check(
        &self,
        key: &mut HeldKey,
        offline: bool,
        share: ShareKey,
    ) -> Result<(Option<String>, Option<String>), Refusal> {
        if offline {
            return self.signs(&key.pkcs1).await.map(|()| (None, None));
        }
        match self.names_of(key, share).await {
            Ok(names) => {
                let slug = names.slug.clone();
                key.app = Some(names);
                Ok((slug, None))
            }
            // The key may be right all the same; it is the network that is not.
            Err(error) if error.is_no_answer() => {
                let why = refuse(&error, key, Asked::App).error;
                Ok((None, Some(format!("the key could not be checked: {why}"))))
            }
            Err(error) => Err(refuse(&error, key, Asked::App)),
        }
    }

    /// Asks GitHub what the key's App is called.
    pub(super) async fn names_of(&self, key: &HeldKey, share: ShareKey) -> Result<AppNames, GitHubError> {
        self.github.app(&Signing::of(key, share)).await
    }
}

/// The host that an App lives on, and the base of its API.
pub(super) struct Api {
    host: Host,
    url: String,
}

impl Api {
    /// What was said of them, and for the rest what is usual.
    pub(super) fn new(host: Option<&Host>, url: Option<&str>) -> Result<Self, Refusal> {
        // An API elsewhere has its tokens elsewhere: they must never be taken for github.com's.
        let host = match (host, url) {
            (Some(host), _) => host.clone(),
            (None, None) => Host::github(),
            (None, Some(url)) => host_of_api(url).ok_or_else(|| {
                Refusal::new(Code::BadRequest, "it is not known which host this API belongs to")
                    .hint("say it with `--host`")
            })?,
        };
        let url = url.map_or_else(|| api_base(&host.api_url()), api_base);
        let url = url.ok_or_else(|| {
            Refusal::new(
                Code::BadRequest,
                "the API's address must be https, or http to this machine: on any other way plain http can be read",
            )
            .hint("write it like https://api.github.com or http://127.0.0.1:8080")
        })?;
        Ok(Self { host, url })
    }
}

/// A key of which no more is known than whose it is.
pub(super) fn held_key(opened: Opened, app_id: AppId, api: Api) -> HeldKey {
    HeldKey {
        number: next_number(),
        name: String::new(),
        fingerprint: opened.fingerprint.into(),
        bits: opened.bits,
        app_id,
        app: None,
        host: api.host,
        api_url: api.url,
        installation: None,
        forget_at: None,
        confirm: false,
        pkcs1: opened.pkcs1,
    }
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
