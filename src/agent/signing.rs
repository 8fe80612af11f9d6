//! A held key at work: it signs for its App, on a thread of its own, and is in the clear only there.

use std::sync::{Arc, LazyLock};

use super::fair::{ShareKey, Waiters};
use super::github::{Caller, Credential};
use super::jwt;
use super::keyring::HeldKey;
use super::network::Reason;
use super::reply::GitHubError;
use super::shield::Shielded;
use super::worker::Worker;
use crate::ids::AppId;
use crate::secret::on_wiped_stack;

/// What signing needs of a key.
pub struct Signing {
    app_id: AppId,
    api_url: String,
    pkcs1: Arc<Shielded>,
    waiters: Waiters,
}

impl Signing {
    /// A key's App, ready to sign for those who wait.
    pub fn of(key: &HeldKey, waiters: impl Into<Waiters>) -> Self {
        Self {
            app_id: key.app_id.clone(),
            api_url: key.api_url.clone(),
            pkcs1: Arc::clone(&key.pkcs1),
            waiters: waiters.into(),
        }
    }

    /// A key of nobody's, to see whether it signs.
    pub fn trial(key: &Arc<Shielded>) -> Self {
        let waiters = ShareKey::Unknown.into();
        Self { app_id: AppId::Number(0), api_url: String::new(), pkcs1: Arc::clone(key), waiters }
    }
}

impl Caller for Signing {
    fn api_url(&self) -> &str {
        &self.api_url
    }

    fn app_id(&self) -> &AppId {
        &self.app_id
    }

    fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    fn credential(&self, now: i64) -> Credential<'_> {
        let (app_id, pkcs1) = (self.app_id.clone(), Arc::clone(&self.pkcs1));
        let sign = move || {
            on_wiped_stack(|| {
                let key = pkcs1.open().ok_or(GitHubError::KeyGone)?;
                jwt::sign(&app_id, &key, now).map_err(|_| GitHubError::CannotSign)
            })
        };
        Box::pin(async {
            SIGNER.run(sign).await.unwrap_or_else(|error| Err(GitHubError::Unreachable(Reason::no_thread(&error))))
        })
    }
}

/// One signature at a time: it takes a millisecond, and every further thread that once made one would keep memory.
static SIGNER: LazyLock<Worker> = LazyLock::new(|| Worker::new("sign"));
