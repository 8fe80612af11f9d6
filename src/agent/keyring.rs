//! The keys held: which one is meant, and when each is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::clock::Now;
use super::shield::Shielded;
use crate::ids::{AppId, AppNames, Host, InstallationId};
use crate::protocol::KeyInfo;
use crate::secret::Secret;

/// The keys, in the order in which they were added.
#[derive(Default)]
pub struct Keyring {
    keys: Vec<Arc<HeldKey>>,
}

/// One key and what is known about it.
pub struct HeldKey {
    /// What it is called here; no two keys share a name.
    pub name: String,
    /// Its number here; the same key added again, perhaps for another App or API, has another.
    pub number: u64,
    /// The fingerprint that GitHub shows for it; it is what makes a key that key.
    pub fingerprint: Arc<str>,
    /// Its size.
    pub bits: u32,
    /// The App it belongs to.
    pub app_id: AppId,
    /// What GitHub said of that App.
    pub app: Option<AppNames>,
    /// The host the App lives on.
    pub host: Host,
    /// The REST API's base, without a slash at its end.
    pub api_url: String,
    /// The installation used when a request chooses none.
    pub installation: Option<InstallationId>,
    /// When it is forgotten, in time since boot.
    pub forget_at: Option<Duration>,
    /// Whether each use must be confirmed.
    pub confirm: bool,
    /// The key itself, PKCS#1 DER.
    pub pkcs1: Arc<Shielded>,
}

/// Why no key was chosen.
pub enum NotChosen<'a> {
    /// None is held.
    Empty,
    /// None of those held fits.
    NoneFits,
    /// These do, and they are not of one App.
    Several(Vec<&'a HeldKey>),
}

/// Why a key was not added.
#[derive(Debug)]
pub enum NotAdded {
    /// Another key has that name.
    NameTaken,
    /// There are [`MAX_KEYS`] already.
    Full,
}

impl Keyring {
    /// Adds a key, in place of the same key if it is held.
    pub fn add(&mut self, key: HeldKey) -> Result<Arc<HeldKey>, NotAdded> {
        if self.keys.iter().any(|other| other.name == key.name && other.fingerprint != key.fingerprint) {
            return Err(NotAdded::NameTaken);
        }
        let key = Arc::new(key);
        match self.keys.iter().position(|other| other.fingerprint == key.fingerprint) {
            Some(place) => self.keys[place] = Arc::clone(&key),
            None if self.keys.len() >= MAX_KEYS => return Err(NotAdded::Full),
            None => self.keys.push(Arc::clone(&key)),
        }
        Ok(key)
    }

    /// Chooses the key that `app` (a name, fingerprint, App ID, client ID or slug) and `host` mean.
    ///
    /// Of several keys of one App, as there are while a key is being replaced, it is the one added last among those that
    /// GitHub confirmed. A key that was added unchecked may not be known there, so it is chosen only if there is no other.
    pub fn choose(&self, app: Option<&str>, host: Option<&Host>) -> Result<&Arc<HeldKey>, NotChosen<'_>> {
        // Of several that are equal here, `max_by_key` returns the last.
        let Some(best) = self.fitting(app, host).max_by_key(|key| key.app.is_some()) else {
            return Err(if self.keys.is_empty() { NotChosen::Empty } else { NotChosen::NoneFits });
        };
        let is_of_one_app =
            |key: &Arc<HeldKey>| key.host == best.host && key.api_url == best.api_url && key.app_id == best.app_id;
        if self.fitting(app, host).all(is_of_one_app) {
            return Ok(best);
        }
        Err(NotChosen::Several(self.fitting(app, host).map(|key| &**key).collect()))
    }

    /// Every key that `app` and `host` may mean.
    pub fn fitting<'k, 'a>(
        &'k self,
        app: Option<&'a str>,
        host: Option<&'a Host>,
    ) -> impl Iterator<Item = &'k Arc<HeldKey>> {
        let fits = move |key: &&Arc<HeldKey>| {
            host.is_none_or(|host| key.host == *host) && app.is_none_or(|app| key.is_called(app))
        };
        self.keys.iter().filter(fits)
    }

    /// The key of this fingerprint.
    pub fn get(&self, fingerprint: &str) -> Option<&Arc<HeldKey>> {
        self.keys.iter().find(|key| *key.fingerprint == *fingerprint)
    }

    /// Whether this very key is held, and was not removed or added again since.
    pub fn holds(&self, key: &HeldKey) -> bool {
        self.keys.iter().any(|held| held.number == key.number)
    }

    /// The key of this name or fingerprint.
    pub fn find(&self, name_or_fingerprint: &str) -> Option<&Arc<HeldKey>> {
        self.keys.iter().find(|key| key.name == name_or_fingerprint || *key.fingerprint == *name_or_fingerprint)
    }

    /// Forgets the key of this fingerprint.
    pub fn remove(&mut self, fingerprint: &str) -> Option<Arc<HeldKey>> {
        let place = self.keys.iter().position(|key| *key.fingerprint == *fingerprint)?;
        Some(self.keys.remove(place))
    }

    /// Forgets the keys whose lifetime is over, and returns them.
    pub fn expire(&mut self, now: Now) -> Vec<Arc<HeldKey>> {
        self.keys.extract_if(.., |key| key.forget_at.is_some_and(|at| at <= now.boot)).collect()
    }

    /// When the next key is to be forgotten, in time since boot.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.keys.iter().filter_map(|key| key.forget_at).min()
    }

    /// A name that no other key has: `wanted`, else `wanted-2` and so on.
    pub fn free_name(&self, wanted: &str, fingerprint: &str) -> String {
        let is_free = |name: &String| self.keys.iter().all(|key| key.name != *name || *key.fingerprint == *fingerprint);
        let numbered = (2..).map(|n| format!("{wanted}-{n}"));
        std::iter::once(wanted.to_owned())
            .chain(numbered)
            .find(is_free)
            .expect("one of more names than there are keys is free")
    }

    /// Every key, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &HeldKey> {
        self.keys.iter().map(|key| &**key)
    }
}

impl HeldKey {
    /// How much of its lifetime is left, if it has one.
    pub fn time_left(&self, now: Now) -> Option<Duration> {
        self.forget_at.map(|at| at.saturating_sub(now.boot))
    }

    /// What may be told of it.
    pub fn info(&self, now: Now) -> KeyInfo {
        KeyInfo {
            name: self.name.clone(),
            fingerprint: self.fingerprint.to_string(),
            bits: self.bits,
            app_id: self.app_id.clone(),
            slug: self.app.as_ref().and_then(|app| app.slug.clone()),
            host: self.host.clone(),
            api_url: self.api_url.clone(),
            installation_id: self.installation,
            lifetime: self.time_left(now).map(|left| left.as_secs()),
            confirm: self.confirm,
        }
    }

    /// Everything, the key in the clear: what is sealed when the agent is locked.
    pub fn to_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let parcel = Parcel {
            name: self.name.clone(),
            fingerprint: self.fingerprint.to_string(),
            bits: self.bits,
            app_id: self.app_id.clone(),
            app: self.app.clone(),
            host: self.host.clone(),
            api_url: self.api_url.clone(),
            installation: self.installation,
            forget_at: self.forget_at,
            confirm: self.confirm,
            pkcs1: STANDARD.encode(self.pkcs1.open()?.expose()).into(),
        };
        Some(Zeroizing::new(serde_json::to_vec(&parcel).expect("a parcel has only string keys")))
    }

    /// Reads what [`HeldKey::to_bytes`] wrote.
    pub fn from_bytes(bytes: &Secret<[u8]>) -> Option<Self> {
        let parcel: Parcel = serde_json::from_slice(bytes.expose()).ok()?;
        let pkcs1 = Zeroizing::new(STANDARD.decode(parcel.pkcs1.expose()).ok()?);
        Some(Self {
            number: next_number(),
            name: parcel.name,
            fingerprint: parcel.fingerprint.into(),
            bits: parcel.bits,
            app_id: parcel.app_id,
            app: parcel.app,
            host: parcel.host,
            api_url: parcel.api_url,
            installation: parcel.installation,
            forget_at: parcel.forget_at,
            confirm: parcel.confirm,
            pkcs1: Arc::new(Shielded::new(&pkcs1)),
        })
    }

    fn is_called(&self, word: &str) -> bool {
        let number = |id: u64| word.parse() == Ok(id);
        self.name == word
            || *self.fingerprint == *word
            || match &self.app_id {
                AppId::Number(id) => number(*id),
                AppId::Client(id) => id == word,
            }
            || self.app.as_ref().is_some_and(|app| {
                number(app.id) || app.client_id.as_deref() == Some(word) || app.slug.as_deref() == Some(word)
            })
    }
}

/// A number that no key had before.
pub fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A key as it is written down to be sealed.
#[derive(Serialize, Deserialize)]
struct Parcel {
    name: String,
    fingerprint: String,
    bits: u32,
    app_id: AppId,
    app: Option<AppNames>,
    host: Host,
    api_url: String,
    installation: Option<InstallationId>,
    forget_at: Option<Duration>,
    confirm: bool,
    pkcs1: Secret<str>,
}

/// Keys held at once. Nobody has so many Apps; a client that adds keys in a loop has a fault.
pub const MAX_KEYS: usize = 100;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const NOW: Now = Now { unix: 0, boot: Duration::from_secs(100) };

    /// A key that signs nothing.
    pub(in crate::agent) fn key(name: &str, fingerprint: &str, app_id: u64, host: &str) -> HeldKey {
        HeldKey {
            number: next_number(),
            name: name.into(),
            fingerprint: fingerprint.into(),
            bits: 2048,
            app_id: AppId::Number(app_id),
            app: None,
            host: host.parse().expect("a host"),
            api_url: String::new(),
            installation: None,
            forget_at: None,
            confirm: false,
            pkcs1: Arc::new(Shielded::new(b"key")),
        }
    }

    fn ring(keys: Vec<HeldKey>) -> Keyring {
        let mut ring = Keyring::default();
        for key in keys {
            ring.add(key).expect("added");
        }
        ring
    }

    #[test]
    fn a_sole_key_needs_no_choice_and_several_apps_do() {
        let mut ring = ring(vec![key("a", "SHA256:a", 1, "github.com")]);
        assert!(ring.choose(None, None).is_ok());
        ring.add(key("b", "SHA256:b", 2, "github.com")).expect("added");
        assert!(matches!(ring.choose(None, None), Err(NotChosen::Several(several)) if several.len() == 2));
        for word in ["b", "SHA256:b", "2"] {
            assert_eq!(ring.choose(Some(word), None).ok().map(|key| &*key.name), Some("b"), "{word}");
        }
        assert!(matches!(ring.choose(Some("c"), None), Err(NotChosen::NoneFits)));
        assert!(matches!(Keyring::default().choose(None, None), Err(NotChosen::Empty)));
    }

    #[test]
    fn a_host_chooses_and_never_yields_another_hosts_key() {
        let ring = ring(vec![key("a", "SHA256:a", 1, "github.com"), key("b", "SHA256:b", 1, "ghe.example")]);
        let host = "ghe.example".parse().expect("a host");
        assert_eq!(ring.choose(None, Some(&host)).ok().map(|key| &*key.name), Some("b"));
        let evil = "github.com.evil.example".parse().expect("a host");
        assert!(matches!(ring.choose(None, Some(&evil)), Err(NotChosen::NoneFits)));
    }

    #[test]
    fn of_two_keys_of_one_app_the_newer_is_used() {
        let ring = ring(vec![key("a", "SHA256:a", 1, "github.com"), key("a-2", "SHA256:b", 1, "github.com")]);
        assert_eq!(ring.choose(None, None).ok().map(|key| &*key.name), Some("a-2"));
    }

    #[test]
    fn a_key_that_github_confirmed_precedes_an_unchecked_one() {
        let confirmed = |name, fingerprint| HeldKey {
            app: Some(AppNames { id: 1, client_id: None, slug: None }),
            ..key(name, fingerprint, 1, "github.com")
        };
        let unchecked = |name, fingerprint| key(name, fingerprint, 1, "github.com");
        let chosen = |keys| ring(keys).choose(None, None).ok().map(|key| key.name.clone());
        assert_eq!(chosen(vec![confirmed("a", "SHA256:a"), unchecked("b", "SHA256:b")]).as_deref(), Some("a"));
        assert_eq!(chosen(vec![unchecked("a", "SHA256:a"), confirmed("b", "SHA256:b")]).as_deref(), Some("b"));
        let two = vec![confirmed("a", "SHA256:a"), confirmed("b", "SHA256:b"), unchecked("c", "SHA256:c")];
        assert_eq!(chosen(two).as_deref(), Some("b"));
    }

    #[test]
    fn the_same_key_is_replaced_and_another_key_cannot_take_its_name() {
        let mut ring = ring(vec![key("a", "SHA256:a", 1, "github.com")]);
        ring.add(key("renamed", "SHA256:a", 1, "github.com")).expect("replaced");
        assert_eq!(ring.iter().map(|key| &*key.name).collect::<Vec<_>>(), ["renamed"]);
        assert!(matches!(ring.add(key("renamed", "SHA256:b", 1, "github.com")), Err(NotAdded::NameTaken)));
        assert_eq!(ring.free_name("renamed", "SHA256:b"), "renamed-2");
        assert_eq!(ring.free_name("renamed", "SHA256:a"), "renamed");
    }

    #[test]
    fn a_key_is_forgotten_at_its_time_and_not_before() {
        let at = NOW.boot + Duration::from_secs(5);
        let mut ring = ring(vec![HeldKey { forget_at: Some(at), ..key("a", "SHA256:a", 1, "github.com") }]);
        assert_eq!(ring.next_expiry(), Some(at));
        assert!(ring.expire(Now { boot: at.saturating_sub(Duration::from_nanos(1)), ..NOW }).is_empty());
        assert_eq!(ring.expire(Now { boot: at, ..NOW }).len(), 1);
        assert_eq!(ring.next_expiry(), None);
    }
}
