//! What the agent holds, and what passing time takes from it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Now;
use super::keyring::{HeldKey, Keyring};
use super::tokens::TokenCache;
use crate::ids::{InstallationId, Owner, Repo};

/// Everything that is secret or derived from secrets.
#[derive(Default)]
pub struct State {
    /// The keys.
    pub keyring: Keyring,
    /// The tokens minted with them.
    pub tokens: TokenCache,
    /// Which installation a question leads to, so that it is asked once.
    pub places: HashMap<Place, Found>,
}

/// A question that has an installation as its answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// The fingerprint of the key whose App is installed.
    pub key: Arc<str>,
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

impl State {
    /// Forgets what is over at `now`. Called before anything is looked up, so that nothing is used past its time.
    pub fn expire(&mut self, now: Now) {
        for key in self.keyring.expire(now) {
            self.forget_traces(&key);
        }
    }

    /// How long until something is over.
    pub fn next_expiry(&self, now: Now) -> Option<Duration> {
        self.keyring.next_expiry(now)
    }

    /// Forgets one key, by name or fingerprint, and all that was had with it.
    pub fn remove(&mut self, name_or_fingerprint: &str) -> Option<Arc<HeldKey>> {
        let key = self.keyring.remove(name_or_fingerprint)?;
        self.forget_traces(&key);
        Some(key)
    }

    /// Forgets everything; returns the names of the keys.
    pub fn clear(&mut self) -> Vec<String> {
        let names = self.keyring.iter().map(|key| key.name.clone()).collect();
        *self = Self::default();
        names
    }

    /// Remembers which installation a question leads to.
    pub fn remember(&mut self, place: Place, found: Found) {
        if self.places.len() >= MAX_PLACES {
            // They cost one request each to find again.
            self.places.clear();
        }
        self.places.insert(place, found);
    }

    /// Forgets every way to an installation that turned out not to be there.
    pub fn forget_installation(&mut self, key: &str, id: InstallationId) {
        self.places.retain(|place, found| *place.key != *key || found.id != id);
    }

    fn forget_traces(&mut self, key: &HeldKey) {
        self.tokens.forget_key(&key.fingerprint);
        self.places.retain(|place, _| *place.key != *key.fingerprint);
    }
}

/// Installation look-ups remembered at once.
const MAX_PLACES: usize = 10_000;
