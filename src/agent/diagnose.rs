//! What lies between the keys and GitHub: every step that a token takes, taken and told. The token itself stays here.

use std::fmt::Write;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::clock::Now;
use super::fair::ShareKey;
use super::github::{GitHub, Probe};
use super::handler::Agent;
use super::keyring::HeldKey;
use super::peer::Peer;
use super::question::{Question, size};
use super::refuse::{Asked, install_page, refuse};
use super::reply::GitHubError;
use super::signing::Signing;
use crate::ids::Host;
use crate::lifetime;
use crate::protocol::{Code, Diagnosis, Finding, Installation, Outcome, Refusal, TokenInfo, TokenRequest};

impl Agent {
    /// Looks at every key that the question may mean, at all of them at once.
    pub(super) async fn diagnose(self: &Arc<Self>, asked: TokenRequest, peer: Peer) -> Result<Diagnosis, Refusal> {
        let (app, host) = (asked.app.as_deref(), asked.host.as_ref());
        let (keys, now) = self.held(|held, now| (held.keyring.fitting(app, host).cloned().collect::<Vec<_>>(), now))?;
        if keys.is_empty() {
            self.choose(app, host)?;
        }
        let _room =
            self.waiting.take(size(asked.repositories.as_deref().unwrap_or_default(), asked.permissions.as_ref()))?;
        let asked = Arc::new(asked);
        let mut looks = JoinSet::new();
        for (place, key) in keys.iter().take(MAX_KEYS).cloned().enumerate() {
            let (agent, asked, peer, alone) = (Arc::clone(self), Arc::clone(&asked), peer.clone(), keys.len() == 1);
            looks.spawn(async move {
                let mut found = Findings { key: (!alone).then(|| key.name.clone()), list: Vec::new() };
                agent.look(&asked, &key, &peer, &mut found).await;
                (place, found.list)
            });
        }
        let mut looks = looks.join_all().await;
        looks.sort_unstable_by_key(|(place, _)| *place);
        let mut checks = vec![tell_keys(&keys, now)];
        checks.extend(looks.into_iter().flat_map(|(_, found)| found));
        Ok(Diagnosis { checks })
    }

    /// Goes the way of one key, as far as it leads.
    async fn look(self: &Arc<Self>, asked: &TokenRequest, key: &Arc<HeldKey>, peer: &Peer, found: &mut Findings) {
        if let Err(stop) = self.go(asked, key, peer, found).await {
            found.end(&stop);
        }
    }

    async fn go(
        self: &Arc<Self>,
        asked: &TokenRequest,
        key: &Arc<HeldKey>,
        peer: &Peer,
        found: &mut Findings,
    ) -> Result<(), Stop> {
        let scope = || "a look at the way to GitHub".to_owned();
        self.confirm(key, scope, peer).await.map_err(Stop::at("app", "the key was not used"))?;
        let share = ShareKey::of_process(peer.pid);
        let slug = found.way(self.github.probe(&Signing::of(key, share)).await, key)?;
        let all = self.installations(key, share).await;
        let all = all.map_err(Stop::at("installations", "where the App is installed is not known"))?;
        found.installations(&all, key, slug.as_deref())?;
        let (token, warning) = self.try_token(asked.clone(), key, &all, share).await.map_err(Stop::at("token", ""))?;
        found.token(&token, warning);
        Ok(())
    }

    /// Gets a token, as the one that was asked for; where nothing chooses one of several installations, of any that has one.
    async fn try_token(
        self: &Arc<Self>,
        mut asked: TokenRequest,
        key: &Arc<HeldKey>,
        all: &[Installation],
        share: ShareKey,
    ) -> Result<(TokenInfo, Option<String>), Refusal> {
        let chosen = asked.owner.is_some() || asked.repo.is_some() || key.installation.is_some();
        if !chosen && asked.installation_id.is_none() && all.len() > 1 {
            asked.installation_id = all.iter().find(|one| !one.suspended).or(all.first()).map(|one| one.id);
        }
        let question = Arc::new(Question::read(asked, Arc::clone(key))?);
        let token = self.obtain(&question, share).await?;
        self.still_held(key)?;
        let told = serde_json::from_slice(token.line.expose()).expect("an answer has what is told of it");
        Ok((told, question.warning.clone()))
    }
}

/// Where the way of a key ends.
struct Stop {
    check: &'static str,
    refusal: Box<Refusal>,
    /// Why the others cannot be looked at.
    why: &'static str,
}

impl Stop {
    fn at(check: &'static str, why: &'static str) -> impl FnOnce(Refusal) -> Self {
        move |refusal| Self { check, refusal: Box::new(refusal), why }
    }
}

/// What was found on the way of one key.
struct Findings {
    /// Its name, if there are others.
    key: Option<String>,
    list: Vec<Finding>,
}

impl Findings {
    /// How the question went who the App is, and what that tells of the way; returns the App's slug.
    fn way(&mut self, Probe { ahead, app }: Probe, key: &HeldKey) -> Result<Option<String>, Stop> {
        let stop = |error: &GitHubError, check, why| Stop::at(check, why)(refuse(error, key, Asked::App));
        if let Err(error @ (GitHubError::CannotSign | GitHubError::KeyGone)) = &app {
            return Err(stop(error, "app", "the key cannot be used"));
        }
        self.clock(ahead, &key.host);
        if let Err(error @ (GitHubError::Unreachable(_) | GitHubError::Barred(_) | GitHubError::Timeout)) = &app {
            return Err(stop(error, "api", "the API is not reached"));
        }
        let by = GitHub::proxy_to(&key.api_url).map(|proxy| format!(", by the proxy {proxy}")).unwrap_or_default();
        self.ok("api", format!("{} answers{by}", key.api_url));
        let slug = app.map_err(|error| stop(&error, "app", "GitHub refuses the key"))?.slug;
        self.ok("app", format!("App {} is {}", key.app_id, slug.as_deref().unwrap_or("known there")));
        Ok(slug)
    }

    fn clock(&mut self, ahead: Option<i64>, host: &Host) {
        let Some(ahead) = ahead else {
            return self.tell("clock", Outcome::Skip, "GitHub did not tell the time".to_owned(), None);
        };
        let seconds = ahead.unsigned_abs();
        let outcome = match seconds {
            0..=FAR => Outcome::Ok,
            _ if seconds <= TOO_FAR => Outcome::Warn,
            _ => Outcome::Fail,
        };
        let says = match ahead {
            0 => format!("this machine's clock agrees with {host}'s"),
            1.. => format!("this machine's clock is {seconds} seconds behind {host}'s"),
            _ => format!("this machine's clock is {seconds} seconds ahead of {host}'s"),
        };
        let hint = (outcome != Outcome::Ok).then(|| "set the clock: timedatectl set-ntp true".to_owned());
        self.tell("clock", outcome, says, hint);
    }

    fn installations(&mut self, all: &[Installation], key: &HeldKey, slug: Option<&str>) -> Result<(), Stop> {
        if all.is_empty() {
            let page = slug.map(|slug| format!("at {}", install_page(&key.host, slug)));
            let refusal = Refusal::new(Code::NotInstalled, format!("App {} is not installed anywhere", key.app_id))
                .hint(format!("install it {}", page.as_deref().unwrap_or("from its settings page")));
            return Err(Stop::at("installations", "the App is not installed")(refusal));
        }
        // An account whose name cannot be shown has none here.
        let name = |one: &Installation| if one.account.is_empty() { one.id.to_string() } else { one.account.clone() };
        let one = |one: &Installation| name(one) + if one.suspended { " (suspended)" } else { "" };
        let named = all.iter().take(MAX_NAMED).map(one).collect::<Vec<_>>().join(", ");
        let more = if all.len() > MAX_NAMED { ", …" } else { "" };
        self.ok("installations", format!("{}: {named}{more}", all.len()));
        Ok(())
    }

    fn token(&mut self, token: &TokenInfo, warning: Option<String>) {
        let TokenInfo { account, installation_id, expires_at, .. } = token;
        let says = format!("one for {account} (installation {installation_id}) ends {expires_at}");
        self.tell("token", if warning.is_some() { Outcome::Warn } else { Outcome::Ok }, says, warning);
    }

    /// Tells where it ended; what else was not looked at before, or comes after it, cannot be.
    fn end(&mut self, Stop { check, refusal, why }: &Stop) {
        for step in STEPS {
            if step == *check {
                self.tell(check, Outcome::Fail, refusal.error.clone(), refusal.hint.clone());
            } else if self.list.iter().all(|found| found.check != step) {
                self.tell(step, Outcome::Skip, (*why).to_owned(), None);
            }
        }
    }

    fn ok(&mut self, check: &'static str, says: String) {
        self.tell(check, Outcome::Ok, says, None);
    }

    fn tell(&mut self, check: &'static str, state: Outcome, says: String, hint: Option<String>) {
        self.list.push(Finding { check, state, says, hint, key: self.key.clone() });
    }
}

fn tell_keys(keys: &[Arc<HeldKey>], now: Now) -> Finding {
    let left = |key: &HeldKey| key.time_left(now);
    let one = |key: &Arc<HeldKey>| {
        let left = left(key).map(|left| format!(", {} left", lifetime::show(left))).unwrap_or_default();
        format!("{} (App {} on {}{left})", key.name, key.app_id, key.host)
    };
    let mut says = keys.iter().take(MAX_KEYS).map(one).collect::<Vec<_>>().join(", ");
    if keys.len() > MAX_KEYS {
        let _ = write!(says, " and {} more; `--app` chooses", keys.len() - MAX_KEYS);
    }
    let soon = keys.iter().find(|key| left(key).is_some_and(|left| left.as_secs() < SOON));
    Finding {
        check: "keys",
        state: if soon.is_some() { Outcome::Warn } else { Outcome::Ok },
        says,
        hint: soon.map(|key| format!("{} is soon forgotten: add it again", key.name)),
        key: None,
    }
}

/// What is looked at for each key, in this order.
const STEPS: [&str; 5] = ["clock", "api", "app", "installations", "token"];
/// Keys that are looked at.
const MAX_KEYS: usize = 10;
/// Seconds that a key has left when it is worth a word: a long push should not outlive it.
const SOON: u64 = 10 * 60;
/// Seconds by which clocks that are kept do not differ.
const FAR: u64 = 30;
/// Seconds from which on a difference fails. A JWT is dated back by 60, so that by a clock that is further ahead GitHub refuses
/// the first of an agent, which goes by GitHub's clock from then on; by a slow clock it would be nine minutes. But whatever
/// else goes by a clock so wrong fails as well, such as certificates and other programs' JWTs.
const TOO_FAR: u64 = 60;
/// Accounts that are named.
const MAX_NAMED: usize = 5;
