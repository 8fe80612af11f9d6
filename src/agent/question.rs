//! A question for a token, understood: with which key, for which installation, how narrow.

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::keyring::HeldKey;
use super::permissions::judge;
use super::state::{Found, Place, Target};
use super::tokens::Scope;
use crate::ids::{MAX_REPOSITORIES, Permissions, RepoName};
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
    /// Its part of the memory for requests that wait, once it waits.
    room: OnceLock<Option<OwnedSemaphorePermit>>,
}

/// The memory for requests that wait for GitHub, or for the user.
///
/// Most hold a few hundred bytes; but one that names 500 repositories and 100 permissions holds 60 KB, and thousands can wait
/// at once. So the large ones together have a limit, beyond which they are refused.
#[derive(Clone)]
pub(super) struct WaitingMemory(Arc<Semaphore>);

impl WaitingMemory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WAITING)))
    }

    /// Takes room for a request of this size, until the permit is dropped. A small one needs none.
    pub(super) fn take(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        let Some(bytes) = u32::try_from(bytes).ok().filter(|bytes| *bytes > SMALL) else { return Ok(None) };
        Arc::clone(&self.0).try_acquire_many_owned(bytes).map(Some).map_err(|_| {
            Refusal::new(Code::Busy, "too many large requests wait for GitHub")
                .hint("try again in a moment, or ask for fewer repositories and permissions")
        })
    }
}

/// Bytes that names of repositories and permissions hold, with what it takes to keep them.
pub(super) fn size(repositories: &[RepoName], permissions: Option<&Permissions>) -> usize {
    let names = repositories.iter().map(RepoName::len);
    let permissions = permissions.into_iter().flat_map(Permissions::iter).map(|(name, _)| name.len());
    names.chain(permissions).map(|length| length + NAME_OVERHEAD).sum()
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
        // The list was made for what was read, and it is kept.
        repositories.shrink_to_fit();
        let permissions = asked.permissions;
        Ok(Self { key, target, repositories, permissions, min_ttl, warning, room: OnceLock::new() })
    }

    /// Takes the room that it needs to wait, unless it has it.
    pub(super) fn wait_in(&self, memory: &WaitingMemory) -> Result<(), Refusal> {
        if self.room.get().is_none() {
            let _ = self.room.set(memory.take(size(&self.repositories, self.permissions.as_ref()))?);
        }
        Ok(())
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

/// Bytes that all large requests that wait hold together.
const MAX_WAITING: usize = 16 * 1024 * 1024;
/// Bytes up to which a request is small. As many as there are connections hold no more than the large ones.
const SMALL: u32 = 4 * 1024;
/// Bytes that one name takes beside its letters: its place in the list, and what the allocator adds.
const NAME_OVERHEAD: usize = 48;
/// Life, in seconds, that a token has at least when it is handed out and nothing else was asked.
const DEFAULT_MIN_TTL: u64 = 5 * 60;
/// The most that can be asked: GitHub's hour, less a minute for the way and for clocks that differ.
const MAX_MIN_TTL: u64 = 59 * 60;
/// Repositories, and characters of permissions, shown in a question.
const MAX_SHOWN: usize = 5;
const MAX_PERMISSIONS_SHOWN: usize = 200;
