//! Lists come in pages, with GitHub's `Link` header.

use serde_json::Value;

use super::client::{Response, call, token};
use super::{ACME, APP, github};
use crate::support::github::{App, GitHub, Installation};

/// A GitHub with 35 installations of one App.
fn crowded() -> GitHub {
    let github = github();
    for number in 1..=34 {
        github.install(APP, Installation::new(number, &format!("org-{number}")));
    }
    github
}

fn ids(answer: &Response) -> Vec<u64> {
    let list = answer.json();
    list.as_array().expect("a list").iter().filter_map(|item| item["id"].as_u64()).collect()
}

fn list(github: &GitHub, query: &str) -> Response {
    call(&format!("GET /app/installations{query}")).signed().to(github).is(200)
}

#[test]
fn a_page_has_thirty_entries_unless_asked_otherwise() {
    let github = crowded();
    assert_eq!(ids(&list(&github, "")).len(), 30);
    assert_eq!(ids(&list(&github, "?page=2")), [31, 32, 33, 34, ACME]);
    assert_eq!(ids(&list(&github, "?per_page=100")).len(), 35);
}

#[test]
fn per_page_is_kept_between_one_and_a_hundred() {
    let github = crowded();
    for number in 100..180 {
        github.install(APP, Installation::new(number, &format!("org-{number}")));
    }
    assert_eq!(ids(&list(&github, "?per_page=0")).len(), 1);
    assert_eq!(ids(&list(&github, "?per_page=1000")).len(), 100);
    assert_eq!(ids(&list(&github, "?per_page=many")).len(), 30);
}

#[test]
fn links_come_in_githubs_order() {
    let github = crowded();
    let url = format!("{}/app/installations?per_page=10&page=", github.url());
    let link = |page: u32| list(&github, &format!("?per_page=10&page={page}")).header("link").to_owned();
    assert_eq!(link(1), format!("<{url}2>; rel=\"next\", <{url}4>; rel=\"last\""));
    assert_eq!(
        link(2),
        format!("<{url}1>; rel=\"prev\", <{url}3>; rel=\"next\", <{url}4>; rel=\"last\", <{url}1>; rel=\"first\"")
    );
    assert_eq!(link(4), format!("<{url}3>; rel=\"prev\", <{url}1>; rel=\"first\""));
}

#[test]
fn a_list_of_one_page_has_no_links() {
    assert_eq!(list(&github(), "").header("link"), "");
}

#[test]
fn following_next_meets_every_entry_once() {
    let github = crowded();
    let (mut met, mut target) = (Vec::new(), "/app/installations?per_page=8".to_owned());
    loop {
        let answer = call(&format!("GET {target}")).signed().to(&github);
        met.extend(ids(&answer));
        let link = answer.header("link");
        let Some(next) = link.split(", ").find_map(|link| link.strip_suffix("; rel=\"next\"")) else { break };
        target = next.trim_matches(['<', '>']).replace(&github.url(), "");
    }
    assert_eq!(met, (1..=34).chain([ACME]).collect::<Vec<_>>());
}

#[test]
fn an_app_sees_its_own_installations_and_the_suspended_ones_too() {
    let github = github();
    github.add_app(App::new(7, "other"));
    github.install(7, Installation::new(70, "acme-inc"));
    github.install(APP, Installation::new(71, "frozen").user().suspended());
    let installations = list(&github, "").json();
    assert_eq!(ids(&list(&github, "")), [71, ACME]);
    assert_eq!(installations[0]["target_type"], "User");
    assert_eq!(installations[0]["html_url"], "https://github.com/settings/installations/71");
    assert!(installations[0]["suspended_at"].is_string());
    assert_eq!(installations[1]["suspended_at"], Value::Null);
}

#[test]
fn since_leaves_out_what_has_not_changed() {
    let github = github();
    assert_eq!(ids(&list(&github, "?since=2020-01-01T00:00:00Z")), [ACME]);
    assert_eq!(ids(&list(&github, "?since=2999-01-01T00%3A00%3A00Z")).len(), 0);
}

#[test]
fn repositories_are_wrapped_with_their_count() {
    let github = github();
    let token = token(&github, ACME);
    let answer = call("GET /installation/repositories?per_page=1").bearer(&token).to(&github).is(200);
    let body = answer.json();
    assert_eq!((&body["total_count"], &body["repository_selection"]), (&2.into(), &"selected".into()));
    assert_eq!(body["repositories"][0]["full_name"], "acme-inc/web");
    assert!(answer.header("link").contains("/installation/repositories?per_page=1&page=2>; rel=\"next\""));
}
