//! GitHub about itself: root, meta, versions and rate limits.

use serde_json::{Value, json};

use super::super::access::{Access, budget, limit_headers};
use super::super::answer::Answer;
use super::super::pipeline::API_VERSIONS;
use super::super::request::Request;
use super::super::world::World;
use super::Outcome;

/// Tells the budget without charging it.
pub(super) fn rate_limit(world: &mut World, request: &Request) -> Outcome {
    let access = Access::of(world, request)?;
    if !world.edition.limits_rates() {
        return Err(Answer::refusal(404, "Rate limiting is not enabled.", "/rate-limit/rate-limit"));
    }
    let now = world.now();
    let budget = budget(world, access.as_ref());
    budget.turn(now);
    let show = |limit: u64, used: u64| json!({"limit": limit, "used": used, "remaining": limit.saturating_sub(used), "reset": budget.reset});
    let core = show(budget.limit, budget.used);
    let mut body = json!({"resources": {
        "core": core,
        "search": show(30, 0),
        "graphql": show(budget.limit, 0),
        "integration_manifest": show(5000, 0),
        "code_search": show(10, 0),
    }});
    // The newer version dropped the duplicate.
    if request.header("x-github-api-version") != "2026-03-10" {
        body["rate"] = core;
    }
    Ok(limit_headers(Answer::json(200, body), budget))
}

/// The first page of GitHub's table of contents, which `gh auth status` asks for.
pub(super) fn root(world: &World, request: &Request) -> Answer {
    let api = world.api(request);
    Answer::json(
        200,
        json!({
            "current_user_url": format!("{api}/user"),
            "rate_limit_url": format!("{api}/rate_limit"),
            "repository_url": format!("{api}/repos/{{owner}}/{{repo}}"),
            "user_url": format!("{api}/users/{{user}}"),
        }),
    )
}

pub(super) fn meta(world: &World) -> Answer {
    let mut body = json!({"verifiable_password_authentication": false});
    if let Some(version) = world.edition.version() {
        body["installed_version"] = version.into();
    }
    Answer::json(200, body)
}

pub(super) fn versions() -> Answer {
    Answer::json(200, API_VERSIONS.iter().copied().map(Value::from).collect())
}
