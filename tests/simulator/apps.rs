//! Finding, suspending and removing installations.

use serde_json::json;

use super::client::{call, mint, token};
use super::{ACME, APP, github, populated};
use crate::support::github::{App, GitHub, Installation};

const SUSPENDED: &str = "This installation has been suspended";

#[test]
fn an_app_tells_who_it_is() {
    let app = call("GET /app").signed().to(&github()).is(200).json();
    assert_eq!(app["client_id"], "Iv23liABCDEFGHIJKLMN");
    assert_eq!(app["installations_count"], 1);
    assert_eq!(app["permissions"], json!({"contents": "write", "metadata": "read", "pull_requests": "write"}));
    assert_eq!(app["html_url"], "https://github.com/apps/acme-deployer");
}

#[test]
fn an_installation_is_found_by_repository_organization_or_user() {
    let github = github();
    for target in [
        "app/installations/30614487",
        "repos/acme-inc/web/installation",
        "repos/ACME-INC/Api/installation",
        "orgs/acme-inc/installation",
        "users/acme-inc/installation",
    ] {
        let found = call(&format!("GET /{target}")).signed().to(&github).is(200).json();
        assert_eq!((&found["id"], &found["app_id"]), (&json!(ACME), &json!(APP)), "{target}");
        assert_eq!(found["access_tokens_url"], format!("{}/app/installations/{ACME}/access_tokens", github.url()));
        assert_eq!(found["account"]["login"], "acme-inc");
    }
}

#[test]
fn what_is_not_there_and_what_is_not_ours_is_not_found() {
    let github = github();
    github.add_app(App::new(7, "other"));
    github.install(7, Installation::new(70, "octo").user().all(&["hello"]));
    for target in [
        "app/installations/1",
        "app/installations/70",
        "app/installations/seven",
        "repos/acme-inc/infra/installation",
        "repos/acme-inc/nothing/installation",
        "repos/octo/hello/installation",
        "orgs/noinst/installation",
        "orgs/octo/installation",
        "users/octo/installation",
        "enterprises/acme/installation",
    ] {
        call(&format!("GET /{target}")).signed().to(&github).refused(404, "Not Found");
    }
}

#[test]
fn an_organization_is_a_user_but_a_user_is_no_organization() {
    let github = github();
    github.install(APP, Installation::new(8, "octo").user());
    call("GET /users/octo/installation").signed().to(&github).is(200);
    call("GET /orgs/octo/installation").signed().to(&github).refused(404, "Not Found");
}

#[test]
fn a_renamed_repository_has_moved_permanently() {
    let github = github();
    github.rename_repository("acme-inc", "web", "site");
    let answer = call("GET /repos/acme-inc/web/installation").signed().to(&github);
    let body = answer.refused(301, "Moved Permanently");
    assert_eq!(body["url"], answer.header("location"));
    let target = answer.header("location").replace(&github.url(), "");
    let found = call(&format!("GET {target}")).signed().to(&github).is(200).json();
    assert_eq!(found["id"], ACME);
    call("GET /repos/acme-inc/site/installation").signed().to(&github).is(200);
}

#[test]
fn a_suspended_installation_mints_nothing_and_its_tokens_rest() {
    let github = github();
    let token = token(&github, ACME);
    let suspended = format!("/app/installations/{ACME}/suspended");
    call(&format!("PUT {suspended}")).signed().to(&github).is(204);
    mint(&github, ACME, "").refused(403, SUSPENDED);
    call("GET /installation/repositories").bearer(&token).to(&github).refused(403, SUSPENDED);
    call(&format!("DELETE {suspended}")).signed().to(&github).is(204);
    mint(&github, ACME, "").is(201);
    call("GET /installation/repositories").bearer(&token).to(&github).is(200);
}

#[test]
fn uninstalling_ends_an_installation_and_its_tokens() {
    let github = github();
    let token = token(&github, ACME);
    call(&format!("DELETE /app/installations/{ACME}")).signed().to(&github).is(204);
    mint(&github, ACME, "").refused(404, "Not Found");
    call("GET /installation/repositories").bearer(&token).to(&github).refused(401, "Bad credentials");
    assert!(!github.is_live(&token));
}

#[test]
fn the_newer_api_version_accepts_an_uninstallation_instead() {
    let github = github();
    let delete = call(&format!("DELETE /app/installations/{ACME}")).header("X-GitHub-Api-Version", "2026-03-10");
    delete.signed().to(&github).is(202);
}

#[test]
fn an_enterprise_server_answers_below_its_prefix_and_names_itself() {
    let github = populated(GitHub::start_enterprise("3.19.1"));
    let answer = call("GET /api/v3/orgs/acme-inc/installation").signed().to(&github).is(200);
    assert_eq!(answer.header("x-github-enterprise-version"), "3.19.1");
    assert_eq!(answer.json()["repositories_url"], format!("{}/installation/repositories", github.api_url()));
    let refusal = call("GET /api/v3/orgs/none/installation").signed().to(&github).refused(404, "Not Found");
    let page = refusal["documentation_url"].as_str().expect("a page");
    assert!(page.starts_with("https://docs.github.com/enterprise-server@3.19/rest/apps/apps#"), "{page}");
    call("GET /orgs/acme-inc/installation").signed().to(&github).refused(404, "Not Found");
    call("GET /api/v3/rate_limit").to(&github).refused(404, "Rate limiting is not enabled.");
    assert_eq!(github.count("GET /orgs/*/installation"), 3);
}
