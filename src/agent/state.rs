//! What the agent holds: keys and what was had with them, or, locked, only sealed bytes. Transitions take the time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Now;
use super::keyring::{HeldKey, Keyring};
use super::lock::{LockKey, Salt, Sealed};
use super::tokens::TokenCache;
use crate::ids::{InstallationId, Owner, Repo};
use crate::protocol::Whoami;

/// Everything that is secret. Locked, there is nothing here that could be used: forgetting to check does not compile.
pub enum State {
    /// The keys can be used.
    Unlocked(Held),
    /// They cannot, until the passphrase comes.
    Locked(Locked),
}

/// The keys, and what was had with them.
#[derive(Default)]
pub struct Held {
    /// The keys.
    pub keyring: Keyring,
    /// The tokens minted with them.
    pub tokens: TokenCache,
    /// Which installation a question leads to, so that it is asked once.
    places: HashMap<Place, (Found, Duration)>,
    /// Who each key's App is when it commits, by the key's fingerprint.
    pub bots: HashMap<Arc<str>, Whoami>,
}

/// Keys that only a passphrase brings back.
pub struct Locked {
    salt: Salt,
    /// Opens under the right key, also when there is nothing else that does.
    proof: Sealed,
    keys: Vec<SealedKey>,
}

struct SealedKey {
    /// Known without the passphrase: a lifetime goes on while locked.
    forget_at: Option<Duration>,
    sealed: Sealed,
}

/// A question that has an installation as its answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// The fingerprint of the key whose App is installed.
    pub key: Arc<str>,
    /// The key's number here.
    pub number: u64,
    /// What was asked.
    pub target: Target,
}

/// How a request says which installation it wants.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// By its number.
    Id(InstallationId),
    /// By a repository that it sees.
    Repo(Repo),
    /// By the account it is on.
    Owner(Owner),
    /// The only one there is.
    Sole,
}

/// An installation that was looked up.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its number.
    pub id: InstallationId,
    /// The account it is on.
    pub account: String,
}

/// The same, some time later.
pub struct Known {
    /// What was found.
    pub found: Found,
    /// Whether that is good enough to mint with: accounts are renamed, and an App that was installed once may be
    /// installed twice.
    pub is_fresh: bool,
}

/// Why nothing was unlocked.
#[derive(Debug, PartialEq, Eq)]
pub enum NotUnlocked {
    /// It is not locked, or not any more.
    NotLocked,
    /// The passphrase is not the one that locked.
    WrongPassphrase,
}

impl State {
    /// Forgets what is over at `now`. Called before anything is looked up, so that nothing is used past its time.
    pub fn expire(&mut self, now: Now) {
        match self {
            Self::Unlocked(held) => {
                for key in held.keyring.expire(now) {
                    held.let_go(&key);
                }
                held.tokens.expire(now);
            }
            Self::Locked(locked) => locked.keys.retain(|key| key.forget_at.is_none_or(|at| at > now.boot)),
        }
    }

    /// How long until something is over.
    pub fn next_expiry(&self, now: Now) -> Option<Duration> {
        let left = |at: Duration| at.saturating_sub(now.boot);
        match self {
            Self::Unlocked(held) => {
                [held.keyring.next_expiry().map(left), held.tokens.next_expiry(now)].into_iter().flatten().min()
            }
            Self::Locked(locked) => locked.keys.iter().filter_map(|key| key.forget_at).min().map(left),
        }
    }

    /// Forgets every key and token, and stays locked if it is; returns the names of the keys, if they are known.
    pub fn clear(&mut self) -> Vec<String> {
        match self {
            Self::Unlocked(held) => {
                let names = held.keyring.iter().map(|key| key.name.clone()).collect();
                held.keyring.iter().for_each(|key| key.pkcs1.wipe());
                *held = Held::default();
                names
            }
            Self::Locked(locked) => {
                locked.keys.clear();
                Vec::new()
            }
        }
    }

    /// Whether it is locked, and with which salt.
    pub fn salt(&self) -> Option<Salt> {
        match self {
            Self::Unlocked(_) => None,
            Self::Locked(locked) => Some(locked.salt),
        }
    }

    /// Seals every key under `key`, which was derived with `salt`, and drops tokens and plaintext. Does nothing when locked.
    pub fn lock(&mut self, key: &LockKey, salt: Salt) {
        let Self::Unlocked(held) = self else { return };
        let seal = |held: &HeldKey| Some(SealedKey { forget_at: held.forget_at, sealed: key.seal(&held.to_bytes()?) });
        let keys = held.keyring.iter().filter_map(seal).collect();
        held.keyring.iter().for_each(|key| key.pkcs1.wipe());
        *self = Self::Locked(Locked { salt, proof: key.seal(PROOF), keys });
    }

    /// Brings the keys back.
    pub fn unlock(&mut self, key: &LockKey) -> Result<(), NotUnlocked> {
        let Self::Locked(locked) = self else { return Err(NotUnlocked::NotLocked) };
        key.open(&locked.proof).ok_or(NotUnlocked::WrongPassphrase)?;
        let mut keyring = Keyring::default();
        for sealed in &locked.keys {
            let bytes = key.open(&sealed.sealed).ok_or(NotUnlocked::WrongPassphrase)?;
            let held = HeldKey::from_bytes(&bytes).expect("what was sealed is what was serialized");
            keyring.add(held).expect("they were in one keyring before");
        }
        *self = Self::Unlocked(Held { keyring, ..Held::default() });
        Ok(())
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Unlocked(Held::default())
    }
}

impl Held {
    /// Forgets one key and all that was had with it.
    pub fn remove(&mut self, fingerprint: &str) {
        if let Some(key) = self.keyring.remove(fingerprint) {
            self.let_go(&key);
        }
    }

    /// Which installation a question led to, the last time it was asked.
    pub fn known(&self, place: &Place, now: Now) -> Option<Known> {
        let (found, seen) = self.places.get(place)?;
        Some(Known { found: found.clone(), is_fresh: now.boot.saturating_sub(*seen) < FRESH })
    }

    /// Remembers which installation a question leads to.
    pub fn remember(&mut self, place: Place, found: Found, now: Now) {
        if self.places.len() >= MAX_PLACES {
            // They cost one request each to find again.
            self.places.clear();
        }
        self.places.insert(place, (found, now.boot));
    }

    /// Forgets which installation a question led to: it leads to none now.
    pub fn forget_place(&mut self, place: &Place) {
        self.places.remove(place);
    }

    /// Forgets every way to an installation that turned out not to be there.
    pub fn forget_installation(&mut self, key: &str, id: InstallationId) {
        self.places.retain(|place, (found, _)| *place.key != *key || found.id != id);
    }

    /// Wipes a key that was taken out, also for those who still refer to it, and forgets what was had with it.
    fn let_go(&mut self, key: &HeldKey) {
        key.pkcs1.wipe();
        self.forget_traces(key);
    }

    /// Forgets what was had with a key.
    pub fn forget_traces(&mut self, key: &HeldKey) {
        self.tokens.forget_key(&key.fingerprint);
        self.places.retain(|place, _| *place.key != *key.fingerprint);
        self.bots.remove(&key.fingerprint);
    }
}

/// What the proof of a lock says; any text would do.
const PROOF: &[u8] = b"unlocked";
/// Installation look-ups remembered at once.
const MAX_PLACES: usize = 10_000;
/// How long a look-up is good enough to mint with.
const FRESH: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::keyring::tests::key;

    const NOW: Now = Now { unix: 0, boot: Duration::from_secs(100) };

    fn later(seconds: u64) -> Now {
        Now { boot: NOW.boot + Duration::from_secs(seconds), ..NOW }
    }

    fn lock_key(passphrase: &str) -> LockKey {
        LockKey::derive(&passphrase.into(), &[7; 16]).expect("there is memory")
    }

    fn names(state: &State) -> Option<Vec<&str>> {
        match state {
            State::Unlocked(held) => Some(held.keyring.iter().map(|key| key.name.as_str()).collect()),
            State::Locked(_) => None,
        }
    }

    fn with_two_keys() -> State {
        let mut held = Held::default();
        held.keyring.add(key("a", "SHA256:a", 1, "github.com")).expect("added");
        let brief = HeldKey { forget_at: Some(later(5).boot), ..key("b", "SHA256:b", 2, "ghe.example") };
        held.keyring.add(brief).expect("added");
        State::Unlocked(held)
    }

    #[test]
    fn a_lock_gives_back_what_it_took_and_only_to_its_passphrase() {
        let mut state = with_two_keys();
        state.lock(&lock_key("right"), [7; 16]);
        assert_eq!(names(&state), None);
        assert_eq!(state.unlock(&lock_key("wrong")), Err(NotUnlocked::WrongPassphrase));
        assert_eq!(names(&state), None);
        assert_eq!(state.unlock(&lock_key("right")), Ok(()));
        assert_eq!(names(&state), Some(vec!["a", "b"]));
        let State::Unlocked(held) = &state else { panic!("it is unlocked") };
        assert_eq!(
            held.keyring.get("SHA256:b").and_then(|key| Some(key.pkcs1.open()?.expose().to_vec())),
            Some(b"key".to_vec())
        );
        assert_eq!(state.unlock(&lock_key("right")), Err(NotUnlocked::NotLocked));
    }

    #[test]
    fn a_lifetime_goes_on_while_locked() {
        let mut state = with_two_keys();
        state.lock(&lock_key("right"), [7; 16]);
        assert_eq!(state.next_expiry(NOW), Some(Duration::from_secs(5)));
        state.expire(later(5));
        assert_eq!(state.next_expiry(later(5)), None);
        state.unlock(&lock_key("right")).expect("the right passphrase");
        assert_eq!(names(&state), Some(vec!["a"]));
    }

    #[test]
    fn clearing_while_locked_forgets_the_keys_and_keeps_the_lock() {
        let mut state = with_two_keys();
        state.lock(&lock_key("right"), [7; 16]);
        state.clear();
        assert_eq!(state.unlock(&lock_key("wrong")), Err(NotUnlocked::WrongPassphrase));
        assert_eq!(state.unlock(&lock_key("right")), Ok(()));
        assert_eq!(names(&state), Some(vec![]));
    }
}
