//! From a question to a token: which key, which installation, is one at hand, else mint; each step asked once however many ask.

use std::sync::Arc;

use super::github::Granted;
use super::handler::{Agent, gone};
use super::keyring::HeldKey;
use super::peer::Peer;
use super::refuse::{Asked, install_hint, refuse};
use super::reply::GitHubError;
use super::signing::Signing;
use super::state::{Found, Place, Target};
use super::tokens::{Lookup, Scope, Token, covers, within};
use crate::ids::{Permissions, Repo, RepoName};
use crate::protocol::{Answer, Choice, Code, Installation, Refusal, TokenAnswer, TokenRequest, written};
use crate::secret::Secret;

/// A question, understood.
struct Question {
    key: Arc<HeldKey>,
    target: Target,
    repositories: Vec<RepoName>,
    permissions: Option<Permissions>,
    min_ttl: i64,
}

impl Agent {
    /// Answers with a token that has the asked life left and the asked scope or less.
    pub(super) async fn token(self: &Arc<Self>, asked: TokenRequest, peer: Peer) -> Result<Answer, Refusal> {
        let question = self.understand(asked);
        let answer = match &question {
            Ok(question) => self.answer(question, peer).await,
            Err(refusal) => Err(refusal.clone()),
        };
        if let Some(audit) = &self.rules.audit {
            let asked = question.as_ref().ok().map(|question| (&*question.key.fingerprint, question.scope()));
            // What cannot be written down does not happen.
            audit.write(peer, asked, answer.as_ref().map(|token| token.line.expose()), (self.clock)().unix).map_err(
                |error| {
                    Refusal::new(Code::Internal, format!("the audit log cannot be written: {error}"))
                        .hint("make room for it")
                },
            )?;
        }
        answer.map(|token| Answer::Written(Arc::clone(&token.line)))
    }

    async fn answer(self: &Arc<Self>, question: &Question, peer: Peer) -> Result<Arc<Token>, Refusal> {
        self.confirm(&question.key, || question.scope(), peer).await?;
        let known = self.held(|held, _| held.places.get(&question.place()).cloned())?;
        let token = match known {
            Some(found) => match self.token_of(question, &found).await {
                // What was looked up earlier is gone: the App may have been installed anew, with another number.
                Err(refusal) if refusal.code == Code::NotInstalled && !matches!(question.target, Target::Id(_)) => {
                    self.token_of(question, &self.find(question).await?).await
                }
                answer => answer,
            },
            None => self.token_of(question, &self.find(question).await?).await,
        }?;
        // Much can have happened while GitHub was asked.
        self.still_held(&question.key)?;
        Ok(token)
    }

    fn understand(&self, asked: TokenRequest) -> Result<Question, Refusal> {
        let min_ttl = asked.min_ttl.unwrap_or(DEFAULT_MIN_TTL);
        if min_ttl > MAX_MIN_TTL {
            return Err(Refusal::new(
                Code::BadRequest,
                format!("no token can be promised to live {min_ttl} seconds more"),
            )
            .hint(format!("GitHub grants an hour; ask for at most {MAX_MIN_TTL} seconds")));
        }
        let key = self.choose(asked.app.as_deref(), asked.host.as_ref())?;
        let mut repositories = asked.repositories.unwrap_or_default();
        repositories.extend(asked.repo.as_ref().map(|repo| repo.name.clone()));
        repositories.sort_unstable();
        repositories.dedup();
        if repositories.len() > MAX_REPOSITORIES {
            return Err(Refusal::new(Code::BadRequest, "too many repositories")
                .hint(format!("GitHub narrows a token to at most {MAX_REPOSITORIES}")));
        }
        let target = match (asked.installation_id, asked.repo, asked.owner) {
            (_, Some(repo), Some(owner)) if repo.owner != owner => {
                return Err(Refusal::new(
                    Code::BadRequest,
                    "the repository belongs to another owner than the one given",
                )
                .hint("leave the owner out: the repository says it"));
            }
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err(Refusal::new(
                    Code::BadRequest,
                    "an installation was chosen twice, by its number and by its account",
                )
                .hint("leave one of the two out; `repositories` narrows within an installation"));
            }
            (Some(id), ..) => Target::Id(id),
            (None, Some(repo), _) => Target::Repo(repo),
            (None, None, Some(owner)) => Target::Owner(owner),
            (None, None, None) => key.installation.map_or(Target::Sole, Target::Id),
        };
        let min_ttl = i64::try_from(min_ttl).expect("no more than an hour");
        Ok(Question { key, target, repositories, permissions: asked.permissions, min_ttl })
    }

    /// Looks up the installation that is meant.
    async fn find(self: &Arc<Self>, question: &Question) -> Result<Found, Refusal> {
        let (agent, key, place) = (Arc::clone(self), Arc::clone(&question.key), question.place());
        let flight = async move {
            let found = agent.look_up(&key, &place.target).await?;
            agent.still_held(&key)?;
            agent.held(|held, _| held.remember(place, found.clone()))?;
            Ok(found)
        };
        self.finding.join(question.place(), flight).await.unwrap_or_else(|| Err(fault()))
    }

    async fn look_up(&self, key: &HeldKey, target: &Target) -> Result<Found, Refusal> {
        let app = Signing::of(key);
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

    /// A token of this installation: one at hand, else a new one.
    async fn token_of(self: &Arc<Self>, question: &Question, found: &Found) -> Result<Arc<Token>, Refusal> {
        let scope = Scope {
            key: Arc::clone(&question.key.fingerprint),
            host: question.key.host.clone(),
            installation: found.id,
            repositories: question.repositories.clone(),
            permissions: question.permissions.clone(),
        };
        let id = scope.id();
        let mint = || Arc::clone(self).mint(question.key.clone(), question.target.clone(), scope, found.clone());
        match self.held(|held, now| held.tokens.lookup(&id, question.min_ttl, now))? {
            Lookup::Good(token) => Ok(token),
            Lookup::Aging(token) => {
                self.minting.start(id, mint());
                Ok(token)
            }
            Lookup::Missing => {
                let token = self.minting.join(id, mint()).await.unwrap_or_else(|| Err(fault()))?;
                if token.lives(question.min_ttl, (self.clock)()) { Ok(token) } else { Err(short_lived(question)) }
            }
        }
    }

    async fn mint(
        self: Arc<Self>,
        key: Arc<HeldKey>,
        target: Target,
        scope: Scope,
        found: Found,
    ) -> Result<Arc<Token>, Refusal> {
        let (app, permissions) = (Signing::of(&key), scope.permissions.as_ref());
        let granted = match self.github.mint(&app, scope.installation, &scope.repositories, permissions).await {
            Ok(granted) => granted,
            Err(error) => {
                if error == GitHubError::NotFound {
                    self.held(|held, _| held.forget_installation(&key.fingerprint, scope.installation))?;
                }
                return Err(refuse(&error, &key, Asked::Token(&target)));
            }
        };
        check_scope(&scope, &target, &granted).map_err(|error| refuse(&error, &key, Asked::Token(&target)))?;
        let answer = Ok(Answer::Token(TokenAnswer {
            token: granted.token,
            expires_at: super::clock::rfc3339(granted.expires),
            host: key.host.clone(),
            installation_id: found.id,
            account: found.account,
            permissions: granted.permissions,
            repositories: granted.repositories,
        }));
        let line = Arc::new(Secret::from(written(&answer).into_owned()));
        let (key, minted) = (Arc::clone(&key.fingerprint), (self.clock)());
        let token = Arc::new(Token { line, key, expires: granted.expires_here, minted });
        self.held(|held, now| {
            // The key may have been removed meanwhile, and with it all that was had with it.
            let still = held.keyring.get(&scope.key).is_some();
            if still {
                held.tokens.expire(now);
                held.tokens.keep(scope.id(), Arc::clone(&token));
            }
            still.then_some(token).ok_or_else(gone)
        })?
    }

    /// All installations of the chosen key's App.
    pub(super) async fn installations(&self, key: &HeldKey) -> Result<Vec<Installation>, Refusal> {
        let all = self.github.installations(&Signing::of(key)).await;
        all.map_err(|error| refuse(&error, key, Asked::App))
    }
}

impl Question {
    fn place(&self) -> Place {
        Place { key: Arc::clone(&self.key.fingerprint), target: self.target.clone() }
    }

    /// What a person is told who is asked to confirm; every part has been parsed, so none can break a line.
    fn scope(&self) -> String {
        let target = match &self.target {
            Target::Id(id) => format!("a token of installation {id}"),
            Target::Repo(repo) => format!("a token for {repo}"),
            Target::Owner(owner) => format!("a token for {owner}"),
            Target::Sole => "a token".to_owned(),
        };
        let shown: Vec<_> = self.repositories.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
        let more = self.repositories.len() - shown.len();
        let repositories = match (shown.is_empty(), more) {
            (true, _) => "all repositories".to_owned(),
            (false, 0) => format!("only {}", shown.join(", ")),
            (false, more) => format!("only {} and {more} more", shown.join(", ")),
        };
        let permissions = self.permissions.as_ref().map_or_else(|| "all permissions".to_owned(), ToString::to_string);
        format!("{target}, {repositories}, {permissions:.MAX_PERMISSIONS_SHOWN$}")
    }
}

/// A token must be good for what was asked, and for no more: what GitHub says it granted is held against the question.
fn check_scope(scope: &Scope, target: &Target, granted: &Granted) -> Result<(), GitHubError> {
    if let Some(asked) = &scope.permissions {
        // GitHub need not say what it granted.
        if !granted.permissions.is_empty() && !covers(&granted.permissions, asked) {
            return Err(GitHubError::PermissionNotGranted);
        }
        if !within(&granted.permissions, asked) {
            return Err(GitHubError::Unreadable("a token that may do more than was asked for"));
        }
    }
    let Some(repositories) = &granted.repositories else { return Ok(()) };
    let fits = |full: &String| {
        full.parse::<Repo>().is_ok_and(|repo| {
            let owned = !matches!(target, Target::Repo(asked) if asked.owner != repo.owner);
            owned && (scope.repositories.is_empty() || scope.repositories.contains(&repo.name))
        })
    };
    if repositories.iter().all(fits) {
        Ok(())
    } else {
        Err(GitHubError::Unreadable("a token for other repositories than asked for"))
    }
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

fn fault() -> Refusal {
    Refusal::new(Code::Internal, "the agent failed at this request").hint("try again, and report it if it stays so")
}

/// Life, in seconds, that a token has at least when it is handed out and nothing else was asked.
const DEFAULT_MIN_TTL: u64 = 5 * 60;
/// The most that can be asked: GitHub's hour, less a minute for the way and for clocks that differ.
const MAX_MIN_TTL: u64 = 59 * 60;
/// Repositories that GitHub narrows a token to at the most.
const MAX_REPOSITORIES: usize = 500;
/// Repositories, and characters of permissions, shown in a question.
const MAX_SHOWN: usize = 5;
const MAX_PERMISSIONS_SHOWN: usize = 200;
/// Choices listed in a refusal.
const MAX_CHOICES: usize = 100;
