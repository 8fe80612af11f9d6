//! What every reply has, what is noted of every request, and the order of checks.

use serde_json::json;

use super::client::{basic, call, claims, jwt, mint, token};
use super::{ACME, APP, PEM, github};
use crate::support::github::{Answer, Auth, Fault};

#[test]
fn every_reply_has_githubs_headers() {
    let github = github();
    for call in [call("GET /app").signed(), call("GET /app"), call("GET /nowhere"), call("GET /rate_limit")] {
        let answer = call.to(&github);
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
        assert_eq!(answer.header("x-github-media-type"), "github.v3; format=json");
        assert_eq!(answer.header("x-github-api-version-selected"), "2022-11-28");
        assert!(answer.header("date").ends_with(" GMT"), "{answer:?}");
        assert_eq!(answer.header("x-github-request-id").split(':').count(), 5, "{answer:?}");
    }
}

#[test]
fn a_client_without_a_name_is_turned_away_at_the_edge_before_any_fault() {
    let github = github();
    github.next(Fault::Status(502));
    let answer = call("GET /app").signed().header("User-Agent", "").to(&github).is(403);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert!(answer.text().contains("Please make sure your request has a User-Agent header"));
    call("GET /app").signed().to(&github).is(502);
}

#[test]
fn an_api_version_is_echoed_or_refused_before_anything_else_is_looked_at() {
    let github = github();
    let ask = |version: &str| call("GET /nowhere").header("X-GitHub-Api-Version", version).to(&github);
    assert_eq!(ask("2026-03-10").is(404).header("x-github-api-version-selected"), "2026-03-10");
    let refusal = ask("1999-01-01").refused(400, "Bad Request");
    assert!(refusal["errors"].as_str().is_some_and(|errors| errors.contains("\"1999-01-01\"")), "{refusal}");
    github.next(Fault::Status(503));
    ask("1999-01-01").is(503);
}

#[test]
fn a_wrong_method_or_a_trailing_slash_is_not_found() {
    for line in ["POST /app", "GET /app/", "PUT /installation/token", "GET /app/installations/1/access_tokens"] {
        call(line).signed().to(&github()).refused(404, "Not Found");
    }
}

#[test]
fn a_proxied_request_is_answered_and_its_host_believed() {
    let github = github();
    let ask = call("GET http://api.github.localhost/orgs/acme-inc/installation").header("Host", "api.github.localhost");
    let found = ask.signed().to(&github).is(200).json();
    assert_eq!(found["repositories_url"], "http://api.github.localhost/installation/repositories");
    assert_eq!(github.journal()[0].path, "/orgs/acme-inc/installation");
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let github = github();
    let token = token(&github, ACME);
    let first = call("GET /installation/repositories").bearer(&token).to(&github).is(200);
    let again = call("GET /installation/repositories").bearer(&token).header("If-None-Match", first.header("etag"));
    let again = again.to(&github).is(304);
    assert_eq!((again.text().as_str(), again.header("etag")), ("", first.header("etag")));
}

#[test]
fn the_journal_tells_who_asked_what_in_order() {
    let github = github();
    let value = mint(&github, ACME, r#"{"permissions":{"contents":"read"}}"#).json()["token"].clone();
    call("GET /installation/repositories?page=1").bearer(value.as_str().expect("a token")).to(&github);
    call("GET /meta").header("Authorization", "token ghp_stray").to(&github);
    call("GET /meta").to(&github);

    let journal = github.journal();
    let told: Vec<_> = journal.iter().map(|entry| (entry.path.as_str(), entry.status)).collect();
    assert_eq!(
        told,
        [
            ("/app/installations/30614487/access_tokens", Some(201)),
            ("/installation/repositories", Some(200)),
            ("/meta", Some(401)),
            ("/meta", Some(200)),
        ]
    );
    assert_eq!(journal[0].body, Some(json!({"permissions": {"contents": "read"}})));
    assert_eq!((journal[1].query.as_str(), journal[1].user_agent.as_str()), ("page=1", "simulator-test"));
    assert!(matches!(&journal[0].authorization, Auth::Jwt { iss, .. } if iss == "123456"));
    assert!(matches!(&journal[1].authorization, Auth::Token { app: APP, installation: ACME, .. }));
    assert!(matches!(&journal[2].authorization, Auth::Unknown { scheme, .. } if scheme == "token"));
    assert_eq!(journal[3].authorization, Auth::Anonymous);
    assert_eq!((github.count("GET /meta"), github.count("* /**"), github.mints()), (2, 4, 1));
}

#[test]
fn the_journal_holds_no_secret() {
    let github = github();
    let jwt = jwt(PEM, &claims());
    call("GET /app").bearer(&jwt).to(&github);
    let token = token(&github, ACME);
    call("GET /installation/repositories").bearer(&token).to(&github);
    github.revoke(&token);
    call("GET /installation/repositories").bearer(&token).to(&github);
    let journal = format!("{:?}", github.journal());
    assert!(journal.contains("sha256"));
    for part in jwt.split('.').chain([&token[4..]]) {
        assert!(!journal.contains(part), "{journal}");
    }
}

#[test]
fn gits_routes_are_answered_by_whom_a_test_names() {
    let github = github();
    let refs = || call("GET /acme-inc/web.git/info/refs?service=git-upload-pack");
    refs().to(&github).is(404);
    github.serve_git(|world, request| match world.standing(request, ("acme-inc", "web"), "contents") {
        Ok(level) => Answer::raw(200, "text/plain", format!("{} {} {level:?}", request.path, request.query)),
        Err(refusal) => refusal,
    });
    refs().to(&github).refused(401, "Requires authentication");
    let token = token(&github, ACME);
    let answer = refs().header("Authorization", &basic("x-access-token", &token)).to(&github).is(200);
    assert_eq!(answer.text(), "/acme-inc/web.git/info/refs service=git-upload-pack Some(Write)");
    github.deselect_repository(ACME, "web");
    assert!(refs().bearer(&token).to(&github).text().ends_with(" None"));
    call("GET /repos/acme-inc/web").to(&github).is(404);
}
