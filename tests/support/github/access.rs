//! What an installation token may do now, and the budget that using it costs.

use std::collections::BTreeSet;

use super::answer::Answer;
use super::clock;
use super::installation::{RateLimit, Repository, Selection};
use super::permissions::{Level, Permissions, allows, intersection};
use super::request::Request;
use super::world::World;

/// The standing of a request that carries a live installation token.
#[derive(Debug)]
pub struct Access {
    /// The token itself.
    pub(super) token: String,
    pub(super) app: u64,
    pub(super) installation: u64,
    pub(super) permissions: Permissions,
    pub(super) repositories: BTreeSet<u64>,
    /// Whether the token or its installation is limited to some repositories.
    pub(super) selection: Selection,
}

impl Access {
    /// Works out who asks: `None` without a credential, a refusal with a bad one.
    ///
    /// A token carries what was granted when it was minted, less what the installation has lost since.
    pub(super) fn of(world: &mut World, request: &Request) -> Result<Option<Self>, Answer> {
        let Some(credential) = request.credential() else { return Ok(None) };
        let token = world.token_mut(&credential.value).ok_or_else(Answer::bad_credentials)?;
        if token.lag > 0 {
            token.lag -= 1;
            return Err(Answer::bad_credentials());
        }
        let token = world.token(&credential.value).expect("it was there a moment ago");
        if !world.is_live(token) {
            return Err(Answer::bad_credentials());
        }
        let installation = &world.installations[&token.issued.installation];
        if installation.suspended_at.is_some() {
            return Err(suspended());
        }
        let reach = world.reach(installation);
        Ok(Some(Self {
            token: credential.value,
            app: token.issued.app,
            installation: installation.id,
            permissions: intersection(&token.issued.permissions, &installation.permissions),
            selection: if token.narrowed_to.is_some() { Selection::Selected } else { installation.selection },
            repositories: match &token.narrowed_to {
                Some(ids) => &reach & ids,
                None => reach,
            },
        }))
    }

    /// Tells whether the token sees this repository at all.
    pub(super) fn sees(&self, repository: &Repository) -> bool {
        self.repositories.contains(&repository.id)
    }

    /// Tells whether the token has this permission.
    pub(super) fn may(&self, name: &str, level: Level) -> bool {
        allows(&self.permissions, name, level)
    }
}

/// For git's routes, which judge a credential as the API does and answer in their own way.
impl World {
    /// Tells how far a request's credential reaches in a repository: `Ok(None)` if it may not even know that the
    /// repository is there. A request without a credential, or with a bad one, is refused.
    pub fn standing(
        &mut self,
        request: &Request,
        (owner, repo): (&str, &str),
        permission: &str,
    ) -> Result<Option<Level>, Answer> {
        let access = Access::of(self, request)?.ok_or_else(|| Answer::requires_authentication(""))?;
        let visible = self.repository(owner, repo).is_some_and(|repository| access.sees(repository));
        Ok(access.permissions.get(permission).copied().filter(|_| visible))
    }
}

/// 403 for a suspended installation, to its tokens as to those who would mint one.
pub(super) fn suspended() -> Answer {
    Answer::refusal(
        403,
        "This installation has been suspended",
        "/apps/apps#create-an-installation-access-token-for-an-app",
    )
}

/// Charges a request to the budget of who asks, and says in the answer's headers what is left of it.
///
/// See <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
pub(super) fn charge(
    world: &mut World,
    access: Option<&Access>,
    work: impl FnOnce(&mut World) -> Result<Answer, Answer>,
) -> Answer {
    if !world.edition.limits_rates() {
        return work(world).unwrap_or_else(|refusal| refusal);
    }
    let now = world.now();
    let budget = budget(world, access);
    budget.turn(now);
    if budget.remaining() == 0 {
        let budget = *budget;
        let whose =
            access.map_or_else(|| "127.0.0.1".to_owned(), |access| format!("installation ID {}", access.installation));
        return limit_headers(limit_exceeded(&whose, now), &budget);
    }
    budget.used += 1;
    let answer = work(world).unwrap_or_else(|refusal| refusal);
    limit_headers(answer, self::budget(world, access))
}

/// The budget of who asks; an installation that the request itself removed leaves the anonymous one.
pub(super) fn budget<'a>(world: &'a mut World, access: Option<&Access>) -> &'a mut RateLimit {
    let named = access.and_then(|access| world.installations.get_mut(&access.installation));
    named.map_or(&mut world.anonymous, |installation| &mut installation.rate)
}

/// Adds the five headers that tell a budget.
pub(super) fn limit_headers(answer: Answer, budget: &RateLimit) -> Answer {
    answer
        .header("x-ratelimit-limit", budget.limit.to_string())
        .header("x-ratelimit-remaining", budget.remaining().to_string())
        .header("x-ratelimit-used", budget.used.to_string())
        .header("x-ratelimit-reset", budget.reset.to_string())
        .header("x-ratelimit-resource", "core")
}

/// The answer once the primary limit is used up.
pub(super) fn limit_exceeded(whose: &str, now: i64) -> Answer {
    Answer::refusal(
        403,
        &format!(
            "API rate limit exceeded for {whose}. If you reach out to GitHub Support for help, please include the \
             request ID {REQUEST_ID} and timestamp {}.",
            clock::sentence(now)
        ),
        "/overview/rate-limits-for-the-rest-api",
    )
}

/// Where a sentence names a request ID, one that looks the part.
pub(super) const REQUEST_ID: &str = "7CC3:2EBE3A:F54FF5:FC5235:6896AEA8";
