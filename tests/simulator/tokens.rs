//! What installation tokens open, and until when.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Response, basic, call, mint, token};
use super::{ACME, APP, PEM, github, populated};
use crate::support::github::GitHub;

const NOT_ACCESSIBLE: &str = "Resource not accessible by integration";

fn get(github: &GitHub, path: &str, token: &str) -> Response {
    call(&format!("GET {path}")).bearer(token).to(github)
}

#[test]
fn a_token_opens_its_repositories_under_any_scheme() {
    let github = github();
    let token = token(&github, ACME);
    for authorization in [format!("Bearer {token}"), format!("token {token}"), basic("x-access-token", &token)] {
        let answer = call("GET /repos/acme-inc/web").header("Authorization", &authorization).to(&github).is(200);
        assert_eq!(answer.json()["full_name"], "acme-inc/web");
        assert_eq!(answer.header("x-accepted-github-permissions"), "metadata=read");
    }
}

#[test]
fn what_a_token_does_not_reach_is_not_there() {
    let github = github();
    let narrow = mint(&github, ACME, r#"{"repositories":["api"]}"#).json();
    let narrow = narrow["token"].as_str().expect("a token");
    for repo in ["acme-inc/web", "acme-inc/infra", "acme-inc/nothing", "octo/hello"] {
        get(&github, &format!("/repos/{repo}"), narrow).refused(404, "Not Found");
    }
    get(&github, "/repos/acme-inc/api", narrow).is(200);
    call("GET /repos/acme-inc/api").to(&github).refused(404, "Not Found");
    assert_eq!(get(&github, "/installation/repositories", narrow).json()["total_count"], 1);
}

#[test]
fn a_permission_that_is_missing_is_named() {
    let github = github();
    let narrow = mint(&github, ACME, r#"{"permissions":{"contents":"read"}}"#).json();
    let answer = get(&github, "/repos/acme-inc/web/pulls", narrow["token"].as_str().expect("a token"));
    answer.refused(403, NOT_ACCESSIBLE);
    assert_eq!(answer.header("x-accepted-github-permissions"), "pull_requests=read");
    let wide = token(&github, ACME);
    assert_eq!(get(&github, "/repos/acme-inc/web/pulls", &wide).is(200).json(), json!([]));
}

#[test]
fn a_token_loses_what_its_installation_loses_and_gains_nothing() {
    let github = github();
    let token = token(&github, ACME);
    github.set_permissions(ACME, &[("metadata", "read"), ("issues", "write")]);
    get(&github, "/repos/acme-inc/web/pulls", &token).refused(403, NOT_ACCESSIBLE);
    github.deselect_repository(ACME, "web");
    get(&github, "/repos/acme-inc/web", &token).refused(404, "Not Found");
    github.remove_repository("acme-inc", "api");
    get(&github, "/repos/acme-inc/api", &token).refused(404, "Not Found");
}

#[test]
fn a_renamed_repository_redirects_with_the_rest_of_its_path() {
    let github = github();
    let token = token(&github, ACME);
    github.rename_repository("acme-inc", "web", "site");
    let answer = get(&github, "/repos/acme-inc/web/pulls", &token);
    answer.refused(301, "Moved Permanently");
    assert_eq!(answer.header("location"), format!("{}/repos/acme-inc/site/pulls", github.url()));
}

#[test]
fn a_revoked_token_is_dead_at_once() {
    let github = github();
    let (first, second) = (token(&github, ACME), token(&github, ACME));
    call("DELETE /installation/token").bearer(&first).to(&github).is(204);
    call("DELETE /installation/token").bearer(&first).to(&github).refused(401, "Bad credentials");
    get(&github, "/installation/repositories", &first).refused(401, "Bad credentials");
    assert!(!github.is_live(&first) && github.is_live(&second));
    github.revoke(&second);
    get(&github, "/installation/repositories", &second).refused(401, "Bad credentials");
}

#[test]
fn an_expired_token_is_a_bad_credential() {
    let github = github();
    github.token_lifetime(Duration::from_mins(1));
    let token = token(&github, ACME);
    github.skew(61);
    get(&github, "/installation/repositories", &token).refused(401, "Bad credentials");
}

#[test]
fn a_token_outlives_the_key_but_not_the_app() {
    let github = github();
    let token = token(&github, ACME);
    github.remove_key(APP, PEM);
    get(&github, "/installation/repositories", &token).is(200);
    github.remove_app(APP);
    get(&github, "/installation/repositories", &token).refused(401, "Bad credentials");
}

#[test]
fn who_asks_namelessly_where_a_name_is_needed_is_told_so() {
    for line in ["DELETE /installation/token", "GET /installation/repositories", "GET /user"] {
        call(line).to(&github()).refused(401, "Requires authentication");
    }
    get(&github(), "/rate_limit", "ghs_nobody").refused(401, "Bad credentials");
}

#[test]
fn an_app_is_no_user_but_has_a_bot() {
    let github = github();
    let token = token(&github, ACME);
    get(&github, "/user", &token).refused(403, NOT_ACCESSIBLE);
    for login in ["acme-deployer[bot]", "acme-deployer%5Bbot%5D"] {
        let bot = get(&github, &format!("/users/{login}"), &token).is(200).json();
        assert_eq!((&bot["login"], &bot["type"]), (&json!("acme-deployer[bot]"), &json!("Bot")));
        assert!(bot["id"].is_u64());
    }
    get(&github, "/users/nobody[bot]", &token).refused(404, "Not Found");
}

#[test]
fn graphql_knows_the_bot_and_no_pull_requests() {
    let github = github();
    let ask = |token: &str, query: &str| {
        let body = json!({"query": query, "variables": {"owner": "acme-inc", "repo": "web"}});
        call("POST /graphql").bearer(token).body(body.to_string()).to(&github).is(200).json()
    };
    let wide = token(&github, ACME);
    let viewer = ask(&wide, "query{viewer{login}}");
    assert_eq!(viewer["data"]["viewer"]["login"], "acme-deployer[bot]");
    let list = "query{repository{pullRequests{totalCount}}}";
    assert_eq!(ask(&wide, list)["data"]["repository"]["pullRequests"]["totalCount"], 0);
    let narrow = mint(&github, ACME, r#"{"permissions":{"contents":"read"}}"#).json();
    let refused = ask(narrow["token"].as_str().expect("a token"), list);
    assert_eq!(refused["errors"][0]["message"], NOT_ACCESSIBLE);
}

#[test]
fn the_budget_is_the_installations_and_looking_at_it_is_free() {
    let github = github();
    // Longer than the hour of a budget, so that the tokens see the next one.
    github.token_lifetime(Duration::from_hours(2));
    let (first, second) = (token(&github, ACME), token(&github, ACME));
    github.rate_limit(ACME, 2);
    let remaining = |token: &str| get(&github, "/rate_limit", token).json()["resources"]["core"]["remaining"].clone();
    assert_eq!(remaining(&first), 2);
    let answer = get(&github, "/repos/acme-inc/web", &first).is(200);
    assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-used")), ("2", "1"));
    get(&github, "/repos/acme-inc/web", &second).is(200);
    assert_eq!((remaining(&first), remaining(&second)), (json!(0), json!(0)));

    let limited = get(&github, "/repos/acme-inc/web", &first).is(403);
    let message = limited.json()["message"].as_str().map(str::to_owned).unwrap_or_default();
    assert!(message.starts_with("API rate limit exceeded for installation ID 30614487."), "{message}");
    assert_eq!((limited.header("x-ratelimit-remaining"), limited.header("retry-after")), ("0", ""));
    mint(&github, ACME, "").is(201);
    github.skew(3601);
    get(&github, "/repos/acme-inc/web", &first).is(200);
}

#[test]
fn the_newer_api_version_tells_the_rate_once() {
    let github = github();
    let rate = |version: &str| {
        call("GET /rate_limit").header("X-GitHub-Api-Version", version).to(&github).json()["rate"].clone()
    };
    assert_eq!(rate("2022-11-28")["limit"], 60);
    assert_eq!(rate("2026-03-10"), Value::Null);
}

#[test]
fn an_enterprise_server_limits_nobody() {
    let github = populated(GitHub::start_enterprise("3.19.1"));
    let answer = call("GET /api/v3/versions").to(&github).is(200);
    assert_eq!(answer.header("x-ratelimit-limit"), "");
    assert_eq!(call("GET /api/v3/meta").to(&github).json()["installed_version"], "3.19.1");
}
