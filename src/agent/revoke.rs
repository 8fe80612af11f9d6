//! Ending tokens before their time: at GitHub, and here.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::fair::{ShareKey, Waiters};
use super::github::{Caller, Credential};
use super::handler::Agent;
use super::keyring::HeldKey;
use super::refuse::{Asked, refuse};
use super::reply::GitHubError;
use super::tokens::Token;
use crate::ids::AppId;
use crate::protocol::{Code, Dropped, Refusal, Revoke, Revoked};
use crate::secret::Secret;

impl Agent {
    /// Revokes what was asked for; a token that is over already counts as revoked.
    pub(super) async fn revoke(self: &Arc<Self>, which: Revoke, share: ShareKey) -> Result<Revoked, Refusal> {
        let key = match (&which.app, &which.host) {
            (None, None) => None,
            (app, host) => Some(self.choose(app.as_deref(), host.as_ref())?),
        };
        let tokens = self.living(which.token.as_ref(), key.as_ref().map(|key| &*key.fingerprint), share)?;
        if tokens.is_empty() && which.token.is_some() {
            return Err(Refusal::new(Code::BadRequest, "the agent has no such token")
                .hint("it may be over, revoked already, or handed out before the agent was locked"));
        }
        let (revoked, failed) = self.end(tokens).await;
        match failed {
            None => Ok(Revoked { revoked, warning: None }),
            Some((left, refusal)) => Err(Refusal { error: alive(left, &refusal), ..refusal }),
        }
    }

    /// Hands out this token no more, so that the next who asks gets a new one.
    pub(super) fn drop_token(&self, text: &Secret<str>) -> Result<Dropped, Refusal> {
        self.held(|held, _| Dropped { dropped: held.tokens.drop_token(text) })
    }

    /// Revokes tokens of keys that are to be removed, or were. That they are gone does not depend on it.
    pub(super) async fn revoke_with_keys(self: &Arc<Self>, tokens: Vec<Living>) -> Revoked {
        let (revoked, failed) = self.end(tokens).await;
        Revoked { revoked, warning: failed.map(|(left, refusal)| alive(left, &refusal)) }
    }

    /// The tokens that are alive, with their keys: this one, those of one key, or all.
    /// Revoking them uses the share of the peer that asked for it.
    pub(super) fn living(
        &self,
        text: Option<&Secret<str>>,
        key: Option<&str>,
        share: ShareKey,
    ) -> Result<Vec<Living>, Refusal> {
        self.held(|held, _| {
            let living = |token: Token| {
                let key = Arc::clone(held.keyring.get(&token.key)?);
                Some(Living { key, token, waiters: share.into() })
            };
            held.tokens.living(text, key).into_iter().filter_map(living).collect()
        })
    }

    /// Revokes some at a time; returns how many are dead, and how many not and why. An API that cannot be reached is not asked
    /// about the rest of its tokens.
    async fn end(self: &Arc<Self>, tokens: Vec<Living>) -> (usize, Option<(usize, Refusal)>) {
        let all = tokens.len();
        let (mut revoked, mut failure, mut gone) = (0, None, HashSet::new());
        let mut waiting = tokens.into_iter();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(living) = waiting.find(|living| !gone.contains(&living.key.api_url))
            {
                let agent = Arc::clone(self);
                under_way.spawn(async move { agent.end_one(&living).await.map_err(|error| (living.key, error)) });
            }
            match under_way.join_next().await {
                Some(Ok(Ok(()))) => revoked += 1,
                Some(Ok(Err((key, error)))) => {
                    failure.get_or_insert_with(|| refuse(&error, &key, Asked::App));
                    if error.is_no_answer() {
                        gone.insert(key.api_url.clone());
                    }
                }
                Some(Err(_)) => failure = Some(Refusal::new(Code::Internal, "the agent failed at this request")),
                None => return (revoked, failure.map(|refusal| (all - revoked, refusal))),
            }
        }
    }

    async fn end_one(&self, living: &Living) -> Result<(), GitHubError> {
        self.github.revoke(living).await?;
        if let Some(text) = living.token.text() {
            // Locked meanwhile, it is forgotten already.
            let _ = self.held(|held, _| held.tokens.forget_token(&text));
        }
        Ok(())
    }
}

/// A token that is alive, and the key it was had with.
pub(super) struct Living {
    pub(super) key: Arc<HeldKey>,
    pub(super) token: Token,
    /// The peers that wait for what is done with it.
    pub(super) waiters: Waiters,
}

impl Caller for Living {
    fn api_url(&self) -> &str {
        &self.key.api_url
    }

    fn app_id(&self) -> &AppId {
        &self.key.app_id
    }

    fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    fn credential(&self, _now: i64) -> Credential<'_> {
        Box::pin(async { self.token.text().ok_or(GitHubError::KeyGone) })
    }
}

fn alive(left: usize, refusal: &Refusal) -> String {
    let tokens = if left == 1 { "1 token".to_owned() } else { format!("{left} tokens") };
    format!("{tokens} could not be revoked: {}", refusal.error)
}

/// Revocations at a time, as many as one API is asked at once.
const AT_ONCE: usize = 8;
