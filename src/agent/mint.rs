//! From a question to a token: is one at hand, else which installation, else mint; each step asked once however many ask.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::clock;
use super::fair::{ShareKey, Waiters};
use super::github::{Caller, Credential, Granted};
use super::handler::{Agent, gone};
use super::keyring::HeldKey;
use super::peer::Peer;
use super::question::Question;
use super::refuse::{Asked, install_hint, refuse};
use super::reply::GitHubError;
use super::signing::Signing;
use super::state::{Found, Target};
use super::tokens::{Lookup, Scope, Token, covers, within};
use super::unclaimed::{Discard, Entry, Origin};
use crate::ids::{AppId, Owner, Repo};
use crate::protocol::{Answer, Choice, Code, Installation, Refusal, TokenAnswer, TokenRequest, written};
use crate::secret::Secret;

impl Agent {
    /// Answers with a token that has the asked life left and the asked scope or less.
    pub(super) async fn token(self: &Arc<Self>, asked: TokenRequest, peer: Peer) -> Result<Answer, Refusal> {
        let key = self.choose(asked.app.as_deref(), asked.host.as_ref());
        let question = key.and_then(|key| Question::read(asked, key)).map(Arc::new);
        let answer = match &question {
            Ok(question) => self.answer(question, &peer).await,
            Err(refusal) => Err(refusal.clone()),
        };
        if let Some(audit) = &self.rules.audit {
            let asked = question.as_ref().ok().map(|question| (&*question.key.fingerprint, question.shown()));
            // What cannot be written down does not happen.
            let outcome = answer.as_ref().map(|token| token.line.expose());
            audit.write(&peer, asked, outcome, (self.clock)().unix).await.map_err(|error| {
                Refusal::new(Code::Internal, format!("the audit log cannot be written: {error}"))
                    .hint("see whether its disk has room and answers")
            })?;
            // The disk may have taken its time.
            if let (Ok(question), Ok(_)) = (&question, &answer) {
                self.still_held(&question.key)?;
            }
        }
        answer.map(|token| Answer::Written(token.line))
    }

    async fn answer(self: &Arc<Self>, question: &Arc<Question>, peer: &Peer) -> Result<Token, Refusal> {
        if question.key.confirm {
            question.wait_in(&self.waiting)?;
        }
        self.confirm(&question.key, || question.shown(), peer).await?;
        let token = self.obtain(question, ShareKey::of_process(peer.pid)).await?;
        // Much can have happened while GitHub was asked.
        self.still_held(&question.key)?;
        Ok(token)
    }

    /// The same, for a question that was confirmed.
    pub(super) async fn obtain(self: &Arc<Self>, question: &Arc<Question>, share: ShareKey) -> Result<Token, Refusal> {
        let known = self.held(|held, now| held.known(&question.place(), now))?;
        if let Some(known) = &known
            && let Some(token) = self.at_hand(question, &known.found, share)?
        {
            return Ok(token);
        }
        question.wait_in(&self.waiting)?;
        if let Some(known) = known.filter(|known| known.is_fresh) {
            match self.token_of(question, known.found, share).await {
                // It is gone all the same: the App may have been installed anew, with another number.
                Err(refusal) if refusal.code == Code::NotInstalled && question.looks_up() => {}
                answer => return answer,
            }
        }
        let found = self.find(question, share).await?;
        self.token_of(question, found, share).await
    }

    /// A token that was minted before, if it is good for this question. One that will not be for long is renewed meanwhile.
    fn at_hand(
        self: &Arc<Self>,
        question: &Arc<Question>,
        found: &Found,
        share: ShareKey,
    ) -> Result<Option<Token>, Refusal> {
        let id = question.scope_at(found).id();
        match self.held(|held, now| held.tokens.lookup(&id, question.min_ttl, now))? {
            Lookup::Good(token) => Ok(Some(token)),
            Lookup::Aging(token) => {
                if question.wait_in(&self.waiting).is_ok() {
                    self.minting.start(id, share, |waiters| Arc::clone(self).renew(Arc::clone(question), waiters));
                }
                Ok(Some(token))
            }
            Lookup::Missing => Ok(None),
        }
    }

    /// A token of this installation: one at hand, else a new one.
    async fn token_of(
        self: &Arc<Self>,
        question: &Arc<Question>,
        found: Found,
        share: ShareKey,
    ) -> Result<Token, Refusal> {
        if let Some(token) = self.at_hand(question, &found, share)? {
            return Ok(token);
        }
        let id = question.scope_at(&found).id();
        let mint = |waiters| Arc::clone(self).mint(Arc::clone(question), found, waiters);
        let token = self.minting.join(id, share, mint).await?;
        if token.life.lasts(question.min_ttl, (self.clock)()) { Ok(token) } else { Err(short_lived(question)) }
    }

    async fn renew(self: Arc<Self>, question: Arc<Question>, waiters: Waiters) -> Result<Token, Refusal> {
        let known = self.held(|held, now| held.known(&question.place(), now))?;
        let found = match known {
            Some(known) if known.is_fresh => known.found,
            _ => self.find(&question, waiters.first()).await?,
        };
        self.mint(question, found, waiters).await
    }

    /// Looks up the installation that is meant.
    async fn find(self: &Arc<Self>, question: &Arc<Question>, share: ShareKey) -> Result<Found, Refusal> {
        let (agent, question, place) = (Arc::clone(self), Arc::clone(question), question.place());
        let flight = |waiters| async move {
            let (key, place) = (&question.key, question.place());
            let answer = agent.look_up(key, &question.target, waiters).await;
            agent.still_held(key)?;
            agent.held(|held, now| match &answer {
                Ok(found) => held.remember(place, found.clone(), now),
                // GitHub could not say; what was known may still be right.
                Err(refusal) if is_passing(refusal.code) => {}
                Err(_) => held.forget_place(&place),
            })?;
            answer
        };
        self.finding.join(place, share, flight).await
    }

    async fn look_up(&self, key: &HeldKey, target: &Target, waiters: Waiters) -> Result<Found, Refusal> {
        let app = Signing::of(key, waiters);
        let answer = match target {
            Target::Id(id) => self.github.installation(&app, *id).await,
            Target::Repo(repo) => self.github.repo_installation(&app, repo).await,
            Target::Owner(owner) => self.github.owner_installation(&app, owner).await,
            Target::Sole => {
                let all = self.github.installations(&app).await.map_err(|error| refuse(&error, key, Asked::App))?;
                return the_sole_one(key, all);
            }
        };
        let installation = answer.map_err(|error| refuse(&error, key, Asked::Token(target)))?;
        if installation.suspended {
            return Err(refuse(&GitHubError::Suspended, key, Asked::Token(target)));
        }
        Ok(Found { id: installation.id, account: installation.account })
    }

    async fn mint(self: Arc<Self>, question: Arc<Question>, found: Found, waiters: Waiters) -> Result<Token, Refusal> {
        let (key, scope) = (&question.key, question.scope_at(&found));
        let refused = |error: &GitHubError| refuse(error, key, Asked::Token(&question.target));
        let (repositories, permissions) = (scope.repositories, scope.permissions);
        let origin = || Origin { name: key.name.clone(), key: Arc::clone(&key.fingerprint), installation: found.id };
        let begin = || self.unclaimed.begin(origin());
        let discard = self.discard_with(key, origin(), waiters.first());
        let app = Signing::of(key, waiters);
        let asking = self.github.mint(&app, found.id, repositories, permissions, &begin, &discard).await;
        // If anything below fails, the token is dropped unclaimed, and thus revoked.
        let granted = match asking {
            Ok(granted) => granted,
            Err(error) => {
                if error == GitHubError::NotFound {
                    self.held(|held, _| held.forget_installation(&key.fingerprint, found.id))?;
                }
                return Err(refused(&error));
            }
        };
        if let Err(error) = check_scope(&scope, &found, &granted) {
            if error == OTHER_REPOSITORIES {
                // The account may have been renamed since it was looked up.
                self.held(|held, _| held.forget_installation(&key.fingerprint, found.id))?;
            }
            return Err(refused(&error));
        }
        let answer = Ok(Answer::Token(TokenAnswer {
            token: granted.token.expose().into(),
            expires_at: clock::rfc3339(granted.expires),
            host: key.host.clone(),
            installation_id: found.id,
            account: found.account,
            permissions: granted.permissions,
            repositories: granted.repositories,
            warning: question.warning.clone(),
        }));
        let line = Arc::new(Secret::from(written(&answer).into_owned()));
        let token = Token { line, key: Arc::clone(&key.fingerprint), life: granted.life };
        self.held(|held, _| {
            // The key may have been removed meanwhile, and with it all that was had with it.
            let still = held.keyring.holds(key);
            if still {
                held.tokens.keep(scope.id(), &token);
                granted.token.claim();
                self.key_added.notify_one();
            }
            still.then_some(token).ok_or_else(gone)
        })?
    }

    /// Revokes, with the share of the peer that asked for it, a token that nobody got: its key was removed or locked away while
    /// GitHub was asked, everybody who asked has left, the agent ends, or the token is not the one asked for.
    fn discard_with(self: &Arc<Self>, key: &Arc<HeldKey>, origin: Origin, share: ShareKey) -> Discard {
        // The token may be dropped on the thread of its API.
        let (agent, key, clients) = (Arc::clone(self), Arc::clone(key), Handle::current());
        Arc::new(move |token, entry| {
            let (agent, key, origin) = (Arc::clone(&agent), Arc::clone(&key), origin.clone());
            clients.spawn(agent.discard(key, origin, share, token, entry));
        })
    }

    async fn discard(
        self: Arc<Self>,
        key: Arc<HeldKey>,
        origin: Origin,
        share: ShareKey,
        token: Secret<str>,
        entry: Entry,
    ) {
        let holder = Holder { key: &key, token: &token, waiters: share.into() };
        let revoked = timeout(DISCARD_DEADLINE, self.github.revoke(&holder)).await;
        if let Err(error) = revoked.unwrap_or(Err(GitHubError::Timeout)) {
            let why = refuse(&error, &key, Asked::App).error;
            let hash = STANDARD.encode(Sha256::digest(token.expose()));
            drop(token);
            self.report_alive(&origin, Some(hash), &why).await;
        }
        drop(entry);
    }

    /// Waits a moment for the tokens that GitHub was asked for to arrive and be revoked; reports those that were not.
    pub async fn end_mints(self: &Arc<Self>) {
        let left = self.unclaimed.settle(END_OF_MINTS).await;
        let report = async {
            for origin in &left {
                self.report_alive(origin, None, "GitHub did not answer before the agent ended").await;
            }
            self.debug_log.flush().await;
        };
        let _ = timeout(REPORT_DEADLINE, report).await;
    }

    /// Reports a token that may be alive and that nobody has: on standard error, and in the audit log.
    async fn report_alive(&self, origin: &Origin, hash: Option<String>, why: &str) {
        let Origin { name, installation, .. } = origin;
        self.debug_log.write(format!(
            "apptoken-agent: warning: a token of key {name} for installation {installation} was not handed out and \
             could not be revoked; it expires within an hour: {why}"
        ));
        if let Some(audit) = &self.rules.audit {
            // Nobody is left whose request could be refused.
            let _ = audit.not_revoked(&origin.key, *installation, hash, why, (self.clock)().unix).await;
        }
    }

    /// All installations of the chosen key's App.
    pub(super) async fn installations(&self, key: &HeldKey, share: ShareKey) -> Result<Vec<Installation>, Refusal> {
        let all = self.github.installations(&Signing::of(key, share)).await;
        all.map_err(|error| refuse(&error, key, Asked::App))
    }
}

/// Whoever holds a token that is to be revoked.
struct Holder<'a> {
    key: &'a HeldKey,
    token: &'a Secret<str>,
    waiters: Waiters,
}

impl Caller for Holder<'_> {
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
        Box::pin(async { Ok(self.token.expose().into()) })
    }
}

/// A token must be good for what was asked, and for no more: what GitHub says it granted is held against the question.
fn check_scope(scope: &Scope<'_>, found: &Found, granted: &Granted) -> Result<(), GitHubError> {
    if let Some(asked) = scope.permissions {
        if granted.permissions.is_empty() {
            return Err(GitHubError::Unreadable("a token without a word on what it may do"));
        }
        if !covers(&granted.permissions, asked) {
            return Err(GitHubError::PermissionNotGranted);
        }
        if !within(&granted.permissions, asked) {
            return Err(GitHubError::Unreadable("a token that may do more than was asked for"));
        }
    }
    let Some(repositories) = &granted.repositories else {
        let unsaid = GitHubError::Unreadable("a token without a word on its repositories");
        return if scope.repositories.is_empty() { Ok(()) } else { Err(unsaid) };
    };
    if repositories.len() < scope.repositories.len() {
        return Err(GitHubError::RepositoryNotGranted);
    }
    // An account whose name is none of a user or an organization has no repositories.
    let owner = found.account.parse::<Owner>().ok();
    for full in repositories {
        let repo = full.parse::<Repo>().ok();
        let fits = |repo: Repo| {
            owner.as_ref().is_none_or(|owner| *owner == repo.owner)
                && (scope.repositories.is_empty() || scope.repositories.binary_search(&repo.name).is_ok())
        };
        if !repo.is_some_and(fits) {
            return Err(OTHER_REPOSITORIES);
        }
    }
    Ok(())
}

fn the_sole_one(key: &HeldKey, mut all: Vec<Installation>) -> Result<Found, Refusal> {
    if all.len() > 1 {
        let choices = all.iter().take(MAX_CHOICES);
        return Err(Refusal::new(
            Code::ChooseInstallation,
            format!("App {} is installed on {} accounts", key.app_id, all.len()),
        )
        .hint("choose one with `--owner`, `--repo` or `--installation-id`")
        .choices(choices.map(|one| Choice::installation(one.id, one.account.clone())).collect()));
    }
    match all.pop() {
        Some(sole) if sole.suspended => Err(refuse(&GitHubError::Suspended, key, Asked::Token(&Target::Id(sole.id)))),
        Some(sole) => Ok(Found { id: sole.id, account: sole.account }),
        None => Err(Refusal::new(Code::NotInstalled, format!("App {} is not installed anywhere", key.app_id))
            .hint(install_hint(key))),
    }
}

fn short_lived(question: &Question) -> Refusal {
    Refusal::new(
        Code::GithubUnavailable,
        format!(
            "{} granted a token that lives less than the {} seconds asked for",
            question.key.api_url, question.min_ttl
        ),
    )
    .hint("ask for less with `--min-ttl`, and compare this machine's clock with GitHub's")
}

/// Whether a refusal says nothing about what was asked.
fn is_passing(code: Code) -> bool {
    matches!(code, Code::GithubUnavailable | Code::RateLimited | Code::Timeout)
}

const OTHER_REPOSITORIES: GitHubError = GitHubError::Unreadable("a token for other repositories than asked for");
/// How long the revocation of a token may take that nobody got.
const DISCARD_DEADLINE: Duration = Duration::from_secs(10);
/// How long the agent waits at its end for tokens to arrive and be revoked. With the second in which it answers, it ends
/// before `apptoken-agent -k` gives up.
const END_OF_MINTS: Duration = Duration::from_secs(2);
/// How long the report about those that are left may take.
const REPORT_DEADLINE: Duration = Duration::from_secs(1);
/// Choices listed in a refusal.
const MAX_CHOICES: usize = 100;
