//! A question for a token, understood: with which key, for which installation, how narrow.

use std::sync::Arc;

use super::keyring::HeldKey;
use super::permissions::judge;
use super::state::{Found, Place, Target};
use super::tokens::Scope;
use crate::ids::{Permissions, RepoName};
use crate::protocol::{Code, Refusal, TokenRequest};

/// A question, understood.
pub(super) struct Question {
    /// The key whose App is asked for.
    pub(super) key: Arc<HeldKey>,
    /// How the installation was chosen.
    pub(super) target: Target,
    repositories: Vec<RepoName>,
    permissions: Option<Permissions>,
    /// Seconds that the token must still live.
    pub(super) min_ttl: i64,
    /// What the one who asks should be told beside the token.
    pub(super) warning: Option<String>,
}

impl Question {
    /// Makes sense of what was asked of the key that was chosen.
    pub(super) fn read(asked: TokenRequest, key: Arc<HeldKey>) -> Result<Self, Refusal> {
        let min_ttl = asked.min_ttl.unwrap_or(DEFAULT_MIN_TTL);
        if min_ttl > MAX_MIN_TTL {
            return Err(Refusal::new(
                Code::BadRequest,
                format!("no token can be promised to live {min_ttl} seconds more"),
            )
            .hint(format!("GitHub grants an hour; ask for at most {MAX_MIN_TTL} seconds")));
        }
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
        let warning = asked.permissions.as_ref().map(judge).transpose()?.flatten();
        Ok(Self { key, target, repositories, permissions: asked.permissions, min_ttl, warning })
    }

    /// Which look-up answers it.
    pub(super) fn place(&self) -> Place {
        Place { key: Arc::clone(&self.key.fingerprint), number: self.key.number, target: self.target.clone() }
    }

    /// Whether the installation is found by anything else than its number.
    pub(super) fn looks_up(&self) -> bool {
        !matches!(self.target, Target::Id(_))
    }

    /// What a token for it is good for, at the installation that was found.
    pub(super) fn scope_at(&self, found: &Found) -> Scope<'_> {
        Scope {
            key: &self.key.fingerprint,
            number: self.key.number,
            host: &self.key.host,
            installation: found.id,
            repositories: &self.repositories,
            permissions: self.permissions.as_ref(),
        }
    }

    /// What a person is told who is asked to confirm; every part has been parsed, so none can break a line.
    pub(super) fn shown(&self) -> String {
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

/// Life, in seconds, that a token has at least when it is handed out and nothing else was asked.
const DEFAULT_MIN_TTL: u64 = 5 * 60;
/// The most that can be asked: GitHub's hour, less a minute for the way and for clocks that differ.
const MAX_MIN_TTL: u64 = 59 * 60;
/// Repositories that GitHub narrows a token to at the most.
const MAX_REPOSITORIES: usize = 500;
/// Repositories, and characters of permissions, shown in a question.
const MAX_SHOWN: usize = 5;
const MAX_PERMISSIONS_SHOWN: usize = 200;
