//! Each fault, as a client meets it.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Response, call, mint, token};
use super::{ACME, github};
use crate::support::github::{Fault, GitHub};

const MINT: &str = "POST /app/installations/*/access_tokens";

/// Asks for `/app` while this fault waits for it.
fn app_under(github: &GitHub, fault: Fault) -> Response {
    github.next(fault);
    call("GET /app").signed().to(github)
}

#[test]
fn faults_are_met_once_each_in_the_order_queued() {
    let github = github();
    github.next_on(MINT, Fault::Status(500));
    github.next_on("GET /app", Fault::Status(502));
    github.next_on(MINT, Fault::Pass);
    github.next(Fault::Status(503));
    assert_eq!([0; 4].map(|_| mint(&github, ACME, "").status), [500, 201, 503, 201]);
    call("GET /app").signed().to(&github).is(502);
    call("GET /app").signed().to(&github).is(200);
}

#[test]
fn a_standing_fault_is_met_until_cleared_and_gives_way_to_queued_ones() {
    let github = github();
    github.always("/app/**", Fault::Status(500));
    github.next_on("/app/installations", Fault::Pass);
    let statuses = || [0; 3].map(|_| call("GET /app/installations").signed().to(&github).status);
    assert_eq!(statuses(), [200, 500, 500]);
    call("GET /app").signed().to(&github).is(200);
    github.clear_faults();
    assert_eq!(statuses(), [200, 200, 200]);
}

#[test]
fn faults_at_random_are_met_one_time_in_ten_and_the_seed_decides_when() {
    let statuses = |seed| {
        let github = github();
        github.at_random("GET /app", 10, &[Fault::Status(500), Fault::Status(502)], seed);
        let statuses = [0; 200].map(|_| call("GET /app").signed().to(&github).status);
        let failed = statuses.iter().filter(|&&status| status != 200).count();
        assert_eq!(github.random_faults(), (failed, 200));
        assert!((10..=30).contains(&failed), "{failed} of 200");
        assert!([500, 502].iter().all(|status| statuses.contains(status)), "{statuses:?}");
        statuses
    };
    assert_eq!(statuses(1), statuses(1));
    assert_ne!(statuses(1), statuses(2));
}

#[test]
fn a_status_comes_with_githubs_error_object_or_a_page() {
    let github = github();
    app_under(&github, Fault::Status(503)).refused(503, "Server Error");
    let page = app_under(&github, Fault::Html(502)).is(502);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.text().starts_with("<!DOCTYPE html>"));
}

#[test]
fn an_answer_can_be_given_word_for_word() {
    let headers = vec![("X-Own".to_owned(), "yes".to_owned())];
    let answer = app_under(&github(), Fault::Verbatim { status: 200, headers, body: r#"{"id":1,"id":2}"#.to_owned() });
    assert_eq!((answer.status, answer.header("x-own"), answer.text().as_str()), (200, "yes", r#"{"id":1,"id":2}"#));
}

#[test]
fn limits_tell_when_to_come_back_each_in_its_way() {
    let github = github();
    let answer = app_under(&github, Fault::RetryAfter { status: 429, seconds: 2 }).is(429);
    assert_eq!(answer.header("retry-after"), "2");
    let answer = app_under(&github, Fault::RetryAfterDate { status: 503, seconds: 2 }).is(503);
    assert!(answer.header("retry-after").ends_with(" GMT"));

    let answer = app_under(&github, Fault::RateLimited { status: 429, reset_in: 60 }).is(429);
    assert_eq!((answer.header("x-ratelimit-remaining"), answer.header("retry-after")), ("0", ""));
    assert_eq!(answer.json()["status"], "429");
    assert!(answer.text().contains("API rate limit exceeded"));

    let answer = app_under(&github, Fault::SecondaryLimit { status: 403, retry_after: Some(60) }).is(403);
    assert_ne!(answer.header("x-ratelimit-remaining"), "0");
    assert_eq!(answer.header("retry-after"), "60");
    let answer = app_under(&github, Fault::SecondaryLimit { status: 403, retry_after: None }).is(403);
    assert_eq!(answer.header("retry-after"), "");
    assert!(answer.text().contains("You have exceeded a secondary rate limit."));
}

#[test]
fn a_redirect_leads_where_it_is_told() {
    let answer = app_under(&github(), Fault::Redirect(307, "http://elsewhere.example/app".to_owned()));
    assert_eq!((answer.status, answer.header("location")), (307, "http://elsewhere.example/app"));
}

#[test]
fn any_version_can_be_unsupported() {
    let refusal = app_under(&github(), Fault::UnsupportedVersion).refused(400, "Bad Request");
    assert!(refusal["errors"].is_string());
}

#[test]
fn a_hang_is_noted_and_never_answered() {
    let github = github();
    github.next(Fault::Hang);
    let mut stream = call("GET /app").signed().send(&github).expect("a connection");
    let journal = github.wait_for(|journal| journal.iter().any(|entry| entry.is("GET /app")));
    assert_eq!(journal[0].status, None);
    // Others are served meanwhile; the hung one learns of the end only when GitHub is gone.
    call("GET /app").signed().to(&github).is(200);
    drop(github);
    assert_eq!(stream.read(&mut [0; 1]).expect("an orderly end"), 0);
}

#[test]
fn a_connection_closes_in_good_order_without_an_answer() {
    let github = github();
    github.next(Fault::CloseBeforeReply);
    let error = call("GET /app").signed().try_to(&github).expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(github.journal()[0].status, None);
}

#[test]
fn a_connection_is_reset() {
    let github = github();
    github.next(Fault::Reset);
    let error = call("GET /app").signed().try_to(&github).expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_truncated_body_is_half_of_what_was_announced_and_the_work_is_done() {
    let github = github();
    github.next_on(MINT, Fault::Truncate);
    let answer = mint(&github, ACME, "").is(201);
    let announced: usize = answer.header("content-length").parse().expect("a length");
    assert_eq!(answer.body.len(), announced / 2);
    assert_eq!(github.tokens().len(), 1);
}

#[test]
fn a_body_can_be_empty_or_huge() {
    let github = github();
    let answer = app_under(&github, Fault::EmptyBody).is(200);
    assert_eq!((answer.text().as_str(), answer.header("content-type")), ("", "application/json; charset=utf-8"));
    let answer = app_under(&github, Fault::HugeBody(300_000)).is(200);
    assert_eq!(answer.header("content-length"), "");
    assert!(answer.body.len() >= 300_000, "{} bytes", answer.body.len());
}

#[test]
fn a_slow_body_comes_byte_by_byte_and_whole() {
    let github = github();
    let pause = Duration::from_millis(1);
    let started = Instant::now();
    let answer = app_under(&github, Fault::SlowBody(pause)).is(200);
    assert_eq!(answer.json()["slug"], "acme-deployer");
    assert!(started.elapsed() >= pause * u32::try_from(answer.body.len()).expect("a short body"));
}

#[test]
fn an_answer_can_be_late_once_or_always() {
    let github = github();
    let late = Duration::from_millis(60);
    let took = || {
        let started = Instant::now();
        call("GET /app").signed().to(&github).is(200);
        started.elapsed()
    };
    github.next(Fault::Delay(late));
    assert!(took() >= late);
    github.delay(late);
    assert!(took() >= late);
    github.next(Fault::Delay(late));
    assert!(took() >= late * 2);
}

#[test]
fn the_right_answer_can_be_dressed_wrongly() {
    let github = github();
    assert_eq!(app_under(&github, Fault::NoDate).is(200).header("date"), "");
    let answer = app_under(&github, Fault::Deprecated).is(200);
    assert!(!answer.header("deprecation").is_empty() && !answer.header("sunset").is_empty());
    assert_eq!(app_under(&github, Fault::WrongContentType).is(200).header("content-type"), "text/plain");
    assert_eq!(
        app_under(&github, Fault::Link("<http://x/>; rel=\"next\"".to_owned())).header("link"),
        "<http://x/>; rel=\"next\""
    );
    let answer = app_under(&github, Fault::ExtraFields).is(200).json();
    assert!(answer["x_unheard_of"].is_object() && answer["slug"] == "acme-deployer");
}

#[test]
fn a_mint_can_be_told_wrongly() {
    let github = github();
    let mint_under = |fault| {
        github.next_on(MINT, fault);
        mint(&github, ACME, "").is(201).json()
    };
    let minted = mint_under(Fault::MissingPermissions);
    assert_eq!((minted.get("permissions"), minted.get("repository_selection")), (None, None::<&Value>));
    assert!(minted["token"].is_string());
    assert_eq!(mint_under(Fault::NarrowerPermissions)["permissions"], json!({"metadata": "read"}));
}

#[test]
fn a_new_token_is_unknown_for_a_while_when_replication_lags() {
    let github = github();
    github.next_on(MINT, Fault::LagAfterMint(2));
    let fresh = token(&github, ACME);
    let other = token(&github, ACME);
    let use_of = |token: &str| call("GET /installation/repositories").bearer(token).to(&github).status;
    assert_eq!([0; 4].map(|_| use_of(&fresh)), [401, 401, 200, 200]);
    assert_eq!(use_of(&other), 200);
}
