//! Minting: what may be asked, and what comes of it.

use serde_json::{Value, json};

use super::client::{call, mint, now};
use super::{ACME, APP, github};
use crate::support::github::{Expiry, GitHub, Installation, TokenFormat};

const NOT_GRANTED: &str = "The permissions requested are not granted to this installation.";
const NO_REPOSITORY: &str =
    "There is at least one repository that does not exist or is not accessible to the parent installation.";

#[track_caller]
fn minted(github: &GitHub, body: &Value) -> Value {
    mint(github, ACME, body.to_string()).is(201).json()
}

#[test]
fn asking_nothing_is_granted_everything() {
    let github = github();
    let everything = json!({"contents": "write", "metadata": "read", "pull_requests": "write"});
    // An empty list asks nothing, too: it does not narrow.
    for body in ["", "{}", r#"{"repositories":[]}"#, r#"{"repository_ids":[],"permissions":{}}"#] {
        let minted = mint(&github, ACME, body).is(201).json();
        assert_eq!(minted["permissions"], everything, "{body}");
        assert_eq!(minted["repository_selection"], "selected", "{body}");
        assert_eq!(minted.get("repositories"), None, "{body}");
    }
}

#[test]
fn a_token_is_narrowed_to_the_repositories_asked() {
    let github = github();
    let body = minted(&github, &json!({"repositories": ["API"], "permissions": {"contents": "read"}}));
    assert_eq!(body["repositories"][0]["full_name"], "acme-inc/api");
    assert_eq!(body["repositories"].as_array().map(Vec::len), Some(1));
    // `metadata` comes along unasked.
    assert_eq!(body["permissions"], json!({"contents": "read", "metadata": "read"}));
    assert_eq!(github.tokens()[0].repositories, Some(vec!["api".to_owned()]));

    let id = &body["repositories"][0]["id"];
    let by_id = minted(&github, &json!({"repository_ids": [id]}));
    assert_eq!(by_id["repositories"], body["repositories"]);
}

#[test]
fn an_installation_on_everything_narrows_as_well() {
    let github = github();
    github.install(APP, Installation::new(8, "octo").user().all(&["hello", "Hello.World"]));
    let all = mint(&github, 8, "").is(201).json();
    assert_eq!((&all["repository_selection"], all.get("repositories")), (&json!("all"), None));
    let one = mint(&github, 8, r#"{"repositories":["Hello.World"]}"#).is(201).json();
    assert_eq!(one["repository_selection"], "selected");
}

#[test]
fn a_repository_out_of_reach_is_refused_whatever_the_reason() {
    let github = github();
    github.install(APP, Installation::new(8, "octo").user().all(&["hello"]));
    for name in ["infra", "nothing", "hello", "acme-inc/web"] {
        mint(&github, ACME, json!({"repositories": ["web", name]}).to_string()).refused(422, NO_REPOSITORY);
    }
    mint(&github, ACME, r#"{"repository_ids":[1]}"#).refused(422, NO_REPOSITORY);
    github.deselect_repository(ACME, "web");
    mint(&github, ACME, r#"{"repositories":["web"]}"#).refused(422, NO_REPOSITORY);
}

#[test]
fn more_than_was_granted_and_what_nobody_knows_is_refused() {
    let github = github();
    for permissions in [
        json!({"contents": "admin"}),
        json!({"metadata": "write"}),
        json!({"issues": "read"}),
        json!({"pull-requests": "read"}),
        json!({"contents": "read", "teleport": "write"}),
    ] {
        mint(&github, ACME, json!({"permissions": permissions}).to_string()).refused(422, NOT_GRANTED);
    }
    assert_eq!(github.tokens().len(), 0);
}

#[test]
fn a_body_that_is_no_json_object_is_a_bad_request() {
    let github = github();
    mint(&github, ACME, "{").refused(400, "Problems parsing JSON");
    mint(&github, ACME, r#"{"permissions":"text"}"#).refused(400, "Problems parsing JSON");
    mint(&github, ACME, "[]").refused(400, "Body should be a JSON object");
}

#[test]
fn a_body_of_wrong_types_is_unprocessable() {
    let github = github();
    for (body, reason) in [
        (r#"{"repositories":"web"}"#, "For 'properties/repositories', \"web\" is not an array."),
        (r#"{"repositories":null}"#, "For 'properties/repositories', nil is not an array."),
        (r#"{"repositories":[1]}"#, "For 'items', 1 is not a string."),
        (r#"{"repository_ids":["web"]}"#, "For 'items', \"web\" is not an integer."),
        (r#"{"permissions":{"contents":true}}"#, "For 'properties/contents', true is not a string."),
        (
            r#"{"permissions":{"contents":"all"}}"#,
            "For 'properties/contents', \"all\" is not one of read, write, admin.",
        ),
    ] {
        mint(&github, ACME, body).refused(422, &format!("Invalid request.\n\n{reason}"));
    }
}

#[test]
fn five_hundred_repositories_can_be_listed_and_no_more() {
    let github = github();
    let names: Vec<_> = (0..501).map(|number| format!("r{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    github.install(APP, Installation::new(8, "big").all(&names));
    let ask = |count: usize| mint(&github, 8, json!({"repositories": names[..count]}).to_string());
    assert_eq!(ask(500).is(201).json()["repositories"].as_array().map(Vec::len), Some(500));
    ask(501).is(422);
}

#[test]
fn only_the_installations_own_app_mints() {
    let github = github();
    github.install(APP, Installation::new(8, "octo").user());
    mint(&github, 9, "").refused(404, "Not Found");
    mint(&github, 8, "").is(201);
    call(&format!("POST /app/installations/{ACME}/access_tokens")).to(&github).is(401);
}

#[test]
fn every_token_is_another_and_minting_one_leaves_the_last_alive() {
    let github = github();
    let (first, second) = (minted(&github, &json!({})), minted(&github, &json!({})));
    assert_ne!(first["token"], second["token"]);
    assert_eq!((github.mints(), github.tokens().len()), (2, 2));
    assert!(github.tokens().iter().all(|token| github.is_live(&token.value)));
}

#[test]
fn tokens_come_in_the_format_chosen_for_all_or_for_one() {
    let github = github();
    let length = |github: &GitHub| minted(github, &json!({}))["token"].as_str().map(str::len);
    assert_eq!(length(&github), Some(40));
    github.token_format(TokenFormat::Stateless);
    assert_eq!(length(&github), Some(520));
    github.token_format(TokenFormat::Long(2000));
    assert_eq!(length(&github), Some(2000));

    let chosen = |word: &str| {
        let ask = call(&format!("POST /app/installations/{ACME}/access_tokens"));
        let minted = ask.signed().header("X-GitHub-Stateless-S2S-Token", word).to(&github).is(201).json();
        minted["token"].as_str().map(str::len)
    };
    assert_eq!(["enabled", "disabled", "maybe"].map(chosen), [Some(520), Some(40), Some(2000)]);
}

#[test]
fn a_token_lives_an_hour_by_githubs_clock() {
    let github = github();
    github.skew(100);
    minted(&github, &json!({}));
    let token = github.tokens().remove(0);
    assert_eq!(token.expires - token.issued, 3600);
    assert!((token.issued - now() - 100).abs() <= 10, "issued by the skewed clock");
    github.skew(100 + 3600 - 10);
    assert!(github.is_live(&token.value));
    github.skew(100 + 3600);
    assert!(!github.is_live(&token.value));
}

#[test]
fn a_stopped_clock_ends_a_token_when_it_is_set_to_the_hour_and_not_before() {
    let github = github();
    let start = now();
    github.stop_clock(start);
    minted(&github, &json!({}));
    let token = github.tokens().remove(0);
    assert_eq!((token.issued, token.expires), (start, start + 3600));
    github.stop_clock(start + 3599);
    assert!(github.is_live(&token.value));
    github.stop_clock(start + 3600);
    assert!(!github.is_live(&token.value));
}

#[test]
fn expiry_can_be_told_in_every_wrong_way() {
    let github = github();
    let told = |expiry| {
        github.expires_at(expiry);
        minted(&github, &json!({}))["expires_at"].as_str().map(str::to_owned)
    };
    let is_form = |told: Option<String>, length: usize, end: &str| {
        told.is_some_and(|told| told.len() == length && told.ends_with(end))
    };
    assert!(is_form(told(Expiry::Truthful), 20, "Z"));
    assert!(is_form(told(Expiry::WithMillis), 24, ".000Z"));
    assert!(is_form(told(Expiry::WithOffset), 25, "+02:00"));
    assert!(is_form(told(Expiry::Past), 20, "Z"));
    assert_eq!(told(Expiry::Missing), None);
}
