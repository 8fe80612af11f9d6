//! Each way in which GitHub refuses an App's JWT.

use serde_json::{Value, json};

use super::client::{Response, call, claims, jwt, jwt_with_header, now, token};
use super::{ACME, APP, PEM, STRANGERS_PEM, github, populated};
use crate::support::github::{App, GitHub, generate_key_pem};

const UNDECODABLE: &str = "A JSON web token could not be decoded";
const NOT_AN_INTEGER: &str = "'Issuer' claim ('iss') must be an Integer";
const NOT_ISSUED: &str =
    "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued";
const EXPIRED: &str = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which \
                       the assertion expires";
const TOO_FAR: &str = "'Expiration time' claim ('exp') is too far in the future";

/// Asks for `/app` with these changes to careful claims; `null` takes one away.
fn ask_with(github: &GitHub, changes: &Value) -> Response {
    call("GET /app").bearer(&jwt(PEM, &merged(changes))).to(github)
}

fn merged(changes: &Value) -> Value {
    let mut claims = claims();
    let object = claims.as_object_mut().expect("claims are an object");
    for (name, value) in changes.as_object().expect("changes are an object").clone() {
        object.insert(name, value);
    }
    object.retain(|_, value| !value.is_null());
    claims
}

#[test]
fn an_app_is_known_by_its_number_bare_or_quoted_and_by_its_client_id() {
    let github = github();
    for iss in [json!(APP), json!(APP.to_string()), json!("Iv23liABCDEFGHIJKLMN")] {
        let app = ask_with(&github, &json!({"iss": iss})).is(200).json();
        assert_eq!((&app["id"], &app["slug"]), (&json!(APP), &json!("acme-deployer")), "{iss}");
    }
}

#[test]
fn a_jwt_signed_by_a_strangers_key_cannot_be_decoded() {
    let answer = call("GET /app").bearer(&jwt(STRANGERS_PEM, &claims())).to(&github());
    let body = answer.refused(401, UNDECODABLE);
    assert_eq!(body["documentation_url"], "https://docs.github.com/rest");
    assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("x-ratelimit")), "{:?}", answer.headers);
}

#[test]
fn what_is_no_jwt_cannot_be_decoded() {
    let github = github();
    let installation_token = token(&github, ACME);
    for credential in ["", "a.b.c", "ghs_16C7e42F292c6912E7710c838347Ae178B4a", &installation_token] {
        call("GET /app").bearer(credential).to(&github).refused(401, UNDECODABLE);
    }
    call("GET /app").to(&github).refused(401, UNDECODABLE);
}

#[test]
fn a_jwt_under_the_token_scheme_cannot_be_decoded_and_the_schemes_case_does_not_matter() {
    let github = github();
    let jwt = jwt(PEM, &claims());
    call("GET /app").header("Authorization", &format!("token {jwt}")).to(&github).refused(401, UNDECODABLE);
    call("GET /app").header("Authorization", &format!("bEARER {jwt}")).to(&github).is(200);
}

#[test]
fn only_rs256_will_do() {
    for alg in ["none", "HS256", "RS512"] {
        let jwt = jwt_with_header(PEM, &json!({"alg": alg, "typ": "JWT"}), &claims());
        call("GET /app").bearer(&jwt).to(&github()).refused(401, UNDECODABLE);
    }
}

#[test]
fn a_tampered_payload_cannot_be_decoded() {
    let github = github();
    github.add_app(App::new(7, "other").key_pem(STRANGERS_PEM));
    let (theirs, ours) = (jwt(STRANGERS_PEM, &merged(&json!({"iss": 7}))), jwt(PEM, &claims()));
    let theirs: Vec<_> = theirs.split('.').collect();
    let ours: Vec<_> = ours.split('.').collect();
    let spliced = [theirs[0], theirs[1], ours[2]].join(".");
    call("GET /app").bearer(&spliced).to(&github).refused(401, UNDECODABLE);
}

#[test]
fn an_issuer_that_is_missing_unknown_or_no_number_has_a_sentence_each() {
    let github = github();
    ask_with(&github, &json!({"iss": null})).refused(401, "Missing 'issuer' claim ('iss') in assertion");
    ask_with(&github, &json!({"iss": ACME})).refused(404, "Integration not found");
    ask_with(&github, &json!({"iss": ACME.to_string()})).refused(404, "Integration not found");
    for iss in [json!("Iv1.unknown"), json!("123456\n"), json!("$APP_ID"), json!(1.5), json!(-1), json!([APP])] {
        ask_with(&github, &json!({"iss": iss})).refused(401, NOT_AN_INTEGER);
    }
}

#[test]
fn a_strict_issuer_is_not_in_quotes() {
    let github = github();
    github.strict_issuer();
    ask_with(&github, &json!({"iss": APP.to_string()})).refused(401, NOT_AN_INTEGER);
    ask_with(&github, &json!({"iss": APP})).is(200);
    ask_with(&github, &json!({"iss": "Iv23liABCDEFGHIJKLMN"})).is(200);
}

#[test]
fn an_enterprise_server_before_3_14_knows_no_client_ids() {
    for (version, status) in [("3.13.2", 401), ("3.14.0", 200)] {
        let github = populated(GitHub::start_enterprise(version));
        let jwt = jwt(PEM, &merged(&json!({"iss": "Iv23liABCDEFGHIJKLMN"})));
        call("GET /api/v3/app").bearer(&jwt).to(&github).is(status);
    }
}

#[test]
fn an_app_without_a_key_is_told_to_make_one() {
    let github = github();
    github.remove_key(APP, PEM);
    ask_with(&github, &json!({})).refused(401, "Integration must generate a public key");
}

#[test]
fn any_of_an_apps_keys_will_do_until_it_is_removed() {
    let github = github();
    github.add_key(APP, STRANGERS_PEM);
    github.add_key(APP, &generate_key_pem());
    let strangers = || call("GET /app").bearer(&jwt(STRANGERS_PEM, &claims()));
    strangers().to(&github).is(200);
    github.remove_key(APP, STRANGERS_PEM);
    strangers().to(&github).refused(401, UNDECODABLE);
    ask_with(&github, &json!({})).is(200);
}

#[test]
fn iat_must_be_a_whole_second_that_has_passed() {
    let github = github();
    for iat in [json!(now() + 30), json!(0.5), json!("1700000000")] {
        ask_with(&github, &json!({"iat": iat})).refused(401, NOT_ISSUED);
    }
    ask_with(&github, &json!({"iat": now()})).is(200);
}

#[test]
fn exp_must_be_a_number_in_the_future() {
    let github = github();
    for exp in [json!(now() - 1), json!("soon")] {
        ask_with(&github, &json!({"exp": exp})).refused(401, EXPIRED);
    }
}

#[test]
fn exp_is_at_most_ten_minutes_after_githubs_now_whatever_iat_says() {
    let github = github();
    // A second or two may pass between here and there, but not half a minute.
    ask_with(&github, &json!({"iat": now() - 600, "exp": now() + 630})).refused(401, TOO_FAR);
    ask_with(&github, &json!({"iat": now() - 600, "exp": now() + 600})).is(200);
}

#[test]
fn a_claim_left_out_makes_a_jwt_undecodable() {
    let github = github();
    for claim in ["iat", "exp"] {
        ask_with(&github, &json!({claim: null})).refused(401, UNDECODABLE);
    }
}

#[test]
fn a_skewed_clock_finds_fault_with_honest_times_and_tells_its_own() {
    let github = github();
    github.skew(-90);
    ask_with(&github, &json!({})).refused(401, NOT_ISSUED);
    github.skew(-30);
    ask_with(&github, &json!({"exp": now() + 599})).refused(401, TOO_FAR);
    github.skew(1_000_000);
    let answer = ask_with(&github, &json!({}));
    answer.refused(401, EXPIRED);
    assert_ne!(answer.header("date"), "");
    assert_ne!(answer.header("date")[..16], ask_date(&github, 0)[..16], "eleven days ahead is another date");
}

fn ask_date(github: &GitHub, skew: i64) -> String {
    github.skew(skew);
    ask_with(github, &json!({})).header("date").to_owned()
}

#[test]
fn the_issuer_is_looked_at_before_the_signature_and_the_signature_before_the_times() {
    let github = github();
    let strangers = |changes: &Value| call("GET /app").bearer(&jwt(STRANGERS_PEM, &merged(changes))).to(&github);
    strangers(&json!({"iss": "Iv1.unknown", "exp": 0})).refused(401, NOT_AN_INTEGER);
    strangers(&json!({"exp": 0})).refused(401, UNDECODABLE);
    ask_with(&github, &json!({"iat": now() + 60, "exp": 0})).refused(401, NOT_ISSUED);
}

#[test]
fn a_jwt_is_a_bad_credential_anywhere_else() {
    for target in ["GET /installation/repositories", "GET /repos/acme-inc/web", "GET /rate_limit", "GET /user"] {
        call(target).signed().to(&github()).refused(401, "Bad credentials");
    }
}
