//! Tokens that GitHub was asked for and that nobody has yet: none of them is left alive and forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::guard::guard;
use crate::ids::InstallationId;
use crate::secret::Secret;

/// Every request for a token that is under way, until its token is handed out or revoked.
#[derive(Clone, Default)]
pub struct Unclaimed(Arc<Inner>);

#[derive(Default)]
struct Inner {
    entries: Mutex<Entries>,
    ended: Notify,
}

#[derive(Default)]
struct Entries {
    next: u64,
    all: BTreeMap<u64, Origin>,
}

/// Where a token comes from.
#[derive(Clone)]
pub struct Origin {
    /// The name of the key that it was asked for with.
    pub name: String,
    /// The fingerprint of that key.
    pub key: Arc<str>,
    /// The installation that it belongs to.
    pub installation: InstallationId,
}

/// One such request; it is over when this is dropped. The default one is registered nowhere.
#[derive(Default)]
pub struct Entry {
    inner: Arc<Inner>,
    number: u64,
}

/// What happens to a token that nobody wants.
pub type Discard = Arc<dyn Fn(Secret<str>, Entry) + Send + Sync>;

/// A token that was minted. It is discarded when it is dropped unclaimed.
pub struct Minted(Option<(Secret<str>, Entry)>, Discard);

impl Unclaimed {
    /// Registers a request that is about to be sent.
    pub fn begin(&self, origin: Origin) -> Entry {
        let mut entries = guard(&self.0.entries);
        let number = entries.next;
        entries.next += 1;
        entries.all.insert(number, origin);
        Entry { inner: Arc::clone(&self.0), number }
    }

    /// Waits until all are over, for this long at most; returns those that are not.
    pub async fn settle(&self, patience: Duration) -> Vec<Origin> {
        let settled = async {
            loop {
                // Registered before the look, so that none is missed that ends between the two.
                let ended = self.0.ended.notified();
                if guard(&self.0.entries).all.is_empty() {
                    return;
                }
                ended.await;
            }
        };
        let _ = timeout(patience, settled).await;
        guard(&self.0.entries).all.values().cloned().collect()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        guard(&self.inner.entries).all.remove(&self.number);
        self.inner.ended.notify_waiters();
    }
}

impl Minted {
    /// A token that just arrived.
    pub fn new(token: Secret<str>, entry: Entry, discard: Discard) -> Self {
        Self(Some((token, entry)), discard)
    }

    /// Lends the token.
    pub fn expose(&self) -> &str {
        self.0.as_ref().map(|(token, _)| token.expose()).unwrap_or_default()
    }

    /// Somebody has it now.
    pub fn claim(mut self) {
        self.0 = None;
    }
}

impl Drop for Minted {
    fn drop(&mut self) {
        if let Some((token, entry)) = self.0.take() {
            (self.1)(token, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_discarded_unless_it_is_claimed() {
        let unclaimed = Unclaimed::default();
        let discarded = Arc::new(Mutex::new(Vec::new()));
        let discard: Discard = {
            let discarded = Arc::clone(&discarded);
            Arc::new(move |token, _entry| guard(&discarded).push(token.expose().to_owned()))
        };
        let origin = || Origin { name: "key".into(), key: "SHA256:a".into(), installation: InstallationId(1) };
        let minted = |token: &str| Minted::new(token.into(), unclaimed.begin(origin()), Arc::clone(&discard));
        minted("claimed").claim();
        drop(minted("dropped"));
        assert_eq!(*guard(&discarded), ["dropped"]);
        assert!(unclaimed.settle(Duration::ZERO).await.is_empty());

        let waiting = minted("waiting");
        let left = unclaimed.settle(Duration::from_millis(1)).await;
        assert_eq!(left.iter().map(|origin| origin.installation).collect::<Vec<_>>(), [InstallationId(1)]);
        let settling = unclaimed.clone();
        let settling = tokio::spawn(async move { settling.settle(Duration::from_secs(30)).await.len() });
        tokio::task::yield_now().await;
        drop(waiting);
        assert_eq!(settling.await.expect("it does not panic"), 0);
    }
}
