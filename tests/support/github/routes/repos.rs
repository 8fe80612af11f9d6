//! Repositories, as far as a client needs them to see what its token is worth.

use serde_json::json;

use super::super::access::Access;
use super::super::answer::Answer;
use super::super::installation::Repository;
use super::super::permissions::Level;
use super::super::render;
use super::super::request::Request;
use super::super::world::World;
use super::Outcome;
use super::apps::moved_permanently;

pub(super) fn get(world: &mut World, request: &Request, access: Option<&Access>, owner: &str, repo: &str) -> Outcome {
    let page = "/repos/repos#get-a-repository";
    let found = visible(world, request, access, owner, repo, page).and_then(|repository| {
        permitted(access, "metadata", page)?;
        Ok(Answer::json(200, render::repository(repository, &world.api(request))))
    });
    accepted(found, "metadata=read")
}

/// The smallest endpoint that needs a permission of its own. There are never any pull requests.
pub(super) fn list_pulls(
    world: &mut World,
    request: &Request,
    access: Option<&Access>,
    owner: &str,
    repo: &str,
) -> Outcome {
    let page = "/pulls/pulls#list-pull-requests";
    let found = visible(world, request, access, owner, repo, page).and_then(|_| {
        permitted(access, "pull_requests", page)?;
        Ok(Answer::json(200, json!([])))
    });
    accepted(found, "pull_requests=read")
}

/// Finds a repository that the caller can see; all are private, so to others they are not there.
fn visible<'a>(
    world: &'a World,
    request: &Request,
    access: Option<&Access>,
    owner: &str,
    repo: &str,
    page: &str,
) -> Result<&'a Repository, Answer> {
    let sees = |repository: &&Repository| access.is_some_and(|access| access.sees(repository));
    if let Some(repository) = world.repository(owner, repo).filter(sees) {
        return Ok(repository);
    }
    let moved = world.renamed_repository(owner, repo).filter(sees).ok_or_else(|| Answer::not_found(page))?;
    let path = world.edition.api_path(&request.path).unwrap_or_default();
    let rest = path.splitn(5, '/').nth(4).map_or_else(String::new, |rest| format!("/{rest}"));
    Err(moved_permanently(&format!("{}/repos/{}{rest}", world.api(request), moved.full_name())))
}

fn permitted(access: Option<&Access>, permission: &str, page: &str) -> Result<(), Answer> {
    let may = access.is_some_and(|access| access.may(permission, Level::Read));
    may.then_some(()).ok_or_else(|| Answer::not_accessible(page))
}

/// Names the permission that would do, on success and refusal alike.
fn accepted(outcome: Outcome, permissions: &str) -> Outcome {
    let name = |answer: Answer| answer.header("X-Accepted-GitHub-Permissions", permissions);
    outcome.map(name).map_err(name)
}
