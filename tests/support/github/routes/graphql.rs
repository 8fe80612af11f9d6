//! GraphQL, as far as `gh auth status` and `gh pr list` go.

use serde_json::{Value, json};

use super::super::access::Access;
use super::super::answer::Answer;
use super::super::permissions::Level;
use super::super::request::Request;
use super::super::world::World;
use super::Outcome;

/// Answers by the field that a query names. It is no parser, and refuses what it does not know.
pub(super) fn query(world: &mut World, request: &Request, access: Option<&Access>) -> Outcome {
    let access = access.ok_or_else(|| {
        Answer::refusal(
            401,
            "This endpoint requires you to be authenticated.",
            "/graphql/guides/forming-calls-with-graphql",
        )
    })?;
    let body: Value =
        serde_json::from_slice(&request.body).map_err(|_| Answer::refusal(400, "Problems parsing JSON", "/graphql"))?;
    let query = body["query"].as_str().unwrap_or_default();
    let answer = if query.contains("pullRequests") {
        pull_requests(world, access, &body["variables"])
    } else if query.contains("viewer") {
        json!({"data": {"viewer": {"login": format!("{}[bot]", world.apps[&access.app].slug)}}})
    } else {
        json!({"errors": [{"type": "NOT_SIMULATED", "message": "this simulator knows viewer and pullRequests only"}]})
    };
    Ok(Answer::json(200, answer))
}

/// An empty list, or the two errors that GraphQL tells with status 200.
fn pull_requests(world: &World, access: &Access, variables: &Value) -> Value {
    let (owner, name) =
        (variables["owner"].as_str().unwrap_or_default(), variables["repo"].as_str().unwrap_or_default());
    if !world.repository(owner, name).is_some_and(|repository| access.sees(repository)) {
        return json!({
            "data": {"repository": null},
            "errors": [{
                "type": "NOT_FOUND",
                "path": ["repository"],
                "message": format!("Could not resolve to a Repository with the name '{owner}/{name}'."),
            }],
        });
    }
    if !access.may("pull_requests", Level::Read) {
        return json!({
            "data": {"repository": {"pullRequests": null}},
            "errors": [{
                "type": "FORBIDDEN",
                "path": ["repository", "pullRequests"],
                "message": "Resource not accessible by integration",
            }],
        });
    }
    json!({"data": {"repository": {"pullRequests": {
        "totalCount": 0,
        "nodes": [],
        "pageInfo": {"hasNextPage": false, "endCursor": ""},
    }}}})
}
