//! A key can be checked before it is kept anywhere: whether it would do, whose it is, and where its App is installed.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::support::encrypting::wire;
use crate::support::github::{App, Fault, Installation};
use crate::support::{APP_ID, HOST, INSTALLATION_ID, KEY, NOWHERE, OTHER_KEY, SLUG, World};

#[test]
fn a_key_without_an_app_is_judged_and_github_is_not_asked() {
    let w = World::with_agent();
    let answer = w.request(&json!({"action": "checkKey", "key": wire(KEY), "host": HOST, "apiUrl": w.github.url()}));
    assert!(answer["fingerprint"].as_str().is_some_and(|text| text.starts_with("SHA256:")), "{answer}");
    assert_eq!(answer, json!({"ok": true, "fingerprint": answer["fingerprint"], "bits": 2048}));
    assert!(w.github.journal().is_empty());
}

#[test]
fn a_key_with_its_app_is_told_with_all_installations() {
    let w = World::with_agent();
    w.github.install(APP_ID, Installation::new(1002, "acme").suspended());
    let answer = w.request(&w.check(KEY));
    assert_eq!(answer["slug"], SLUG, "{answer}");
    let told = |field: &str| {
        let installations = answer["installations"].as_array().expect("a list");
        installations.iter().map(|one| one[field].clone()).collect::<Vec<_>>()
    };
    assert_eq!(told("id"), [json!(INSTALLATION_ID), json!(1002)]);
    assert_eq!(told("account"), ["octo", "acme"]);
    assert_eq!(told("suspended"), [false, true]);
}

#[test]
fn a_key_that_was_checked_is_not_held() {
    let w = World::with_agent();
    assert_eq!(w.request(&w.check(KEY))["ok"], true);
    assert_eq!(w.request(&json!({"action": "listKeys"}))["keys"], json!([]));
    assert_eq!(w.request(&json!({"action": "getToken"}))["code"], "no_key");
}

#[test]
fn a_key_that_is_held_already_is_checked_all_the_same() {
    let w = World::with_key();
    let before = w.request(&json!({"action": "listKeys"}));
    assert_eq!(w.request(&w.check(KEY))["slug"], SLUG);
    assert_eq!(w.request(&json!({"action": "listKeys"})), before);
    assert!(w.request(&json!({"action": "getToken"}))["token"].is_string());
}

#[test]
fn a_key_that_is_not_the_apps_is_refused() {
    let w = World::with_agent();
    let answer = w.request(&w.check(OTHER_KEY));
    assert_eq!(answer["code"], "app_mismatch", "{answer}");
    let mut unknown = w.check(KEY);
    unknown["appId"] = json!(424_242);
    assert_eq!(w.request(&unknown)["code"], "app_mismatch");
}

#[test]
fn what_github_cannot_say_is_a_refusal_and_no_warning() {
    let w = World::with_agent();
    let mut nowhere = w.check(KEY);
    nowhere["apiUrl"] = json!(NOWHERE);
    let answer = w.request(&nowhere);
    assert_eq!(answer["code"], "github_unavailable", "{answer}");
    // Whose key it is was said, but not where the App is installed.
    w.github.always("GET /app/installations", Fault::Html(404));
    let answer = w.request(&w.check(KEY));
    assert_eq!(answer["code"], "github_unavailable", "{answer}");
}

#[test]
fn an_api_that_anyone_could_read_along_with_is_refused_before_it_is_asked() {
    let w = World::with_agent();
    let mut request = w.check(KEY);
    request["apiUrl"] = json!("http://github.example");
    let answer = w.request(&request);
    assert_eq!(answer["code"], "bad_request", "{answer}");
}

#[test]
fn what_is_no_key_is_refused_with_the_reason() {
    let w = World::with_agent();
    for (key, reason) in [("", "damaged"), ("MIIB", "damaged"), (&*"A".repeat(30_000), "16 KiB")] {
        let answer = w.request(&json!({"action": "checkKey", "key": key, "appId": APP_ID}));
        assert_eq!(answer["code"], "bad_key", "{answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(reason)), "{answer}");
    }
}

#[test]
fn a_key_whose_parts_do_not_belong_together_is_refused_without_github_as_well() {
    let w = World::with_agent();
    let mut torn = BASE64_STANDARD.decode(wire(KEY)).expect("base64");
    *torn.last_mut().expect("a key has bytes") ^= 1;
    for more in [json!({}), json!({"appId": APP_ID, "apiUrl": w.github.url()})] {
        let mut request = json!({"action": "checkKey", "key": BASE64_STANDARD.encode(&torn)});
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let answer = w.request(&request);
        assert_eq!(answer["code"], "bad_key", "{answer}");
    }
    assert!(w.github.journal().is_empty());
}

#[test]
fn a_slug_that_is_no_name_is_not_shown() {
    let w = World::with_agent();
    w.github.add_app(App::new(777, "x\u{1b}[31m").key_pem(OTHER_KEY));
    let mut request = w.check(OTHER_KEY);
    request["appId"] = json!(777);
    let answer = w.request(&request);
    assert_eq!((&answer["ok"], &answer["slug"]), (&json!(true), &Value::Null), "{answer}");
}

impl World {
    /// `checkKey` for the App of this world.
    fn check(&self, pem: &str) -> Value {
        let url = self.github.url();
        json!({"action": "checkKey", "key": wire(pem), "appId": APP_ID, "host": HOST, "apiUrl": url})
    }
}
