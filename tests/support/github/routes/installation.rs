//! What a token may do with itself.

use serde_json::json;

use super::super::access::Access;
use super::super::answer::Answer;
use super::super::page::{Page, linked};
use super::super::render;
use super::super::request::Request;
use super::super::world::World;
use super::Outcome;

/// Takes effect at once: a second revocation is refused like any other use of a dead token.
pub(super) fn revoke_access_token(world: &mut World, _: &Request, access: Option<&Access>) -> Outcome {
    let access = access
        .ok_or_else(|| Answer::requires_authentication("/apps/installations#revoke-an-installation-access-token"))?;
    world.token_mut(&access.token).expect("access comes from a token on record").issued.revoked = true;
    Ok(Answer::empty(204))
}

pub(super) fn list_repositories(world: &mut World, request: &Request, access: Option<&Access>) -> Outcome {
    let access = access.ok_or_else(|| {
        Answer::requires_authentication("/apps/installations#list-repositories-accessible-to-the-app-installation")
    })?;
    let api = world.api(request);
    let visible: Vec<_> = world
        .repositories
        .iter()
        .filter(|repository| access.sees(repository))
        .map(|repository| render::repository(repository, &api))
        .collect();
    let total = visible.len();
    let Page { items, link } = Page::of(visible, request, &format!("{api}/installation/repositories"));
    let body = json!({
        "total_count": total,
        "repository_selection": access.selection.word(),
        "repositories": items,
    });
    Ok(linked(Answer::json(200, body), link))
}
