//! Whatever GitHub or the wire does, who asks for a token gets one, or a sentence that says why not; in time, and at the cost
//! of few requests.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::github::{App, Expiry, Fault, GitHub, Installation};
use crate::support::process::{peak, resident, tell};
use crate::support::together::at_once;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, INSTALLATION_ID, KEY, OTHER_KEY, World, in_an_hour};

const MINT: &str = "POST /app/installations/*/access_tokens";
const LOOK_UP: &str = "GET /app/installations";

#[test]
fn what_passes_is_tried_again_and_nobody_notices() {
    let passing = [
        Fault::Status(500),
        Fault::Status(502),
        Fault::Status(503),
        Fault::Status(504),
        Fault::Html(502),
        Fault::Html(503),
        Fault::RetryAfter { status: 503, seconds: 1 },
        Fault::CloseBeforeReply,
        Fault::Reset,
        Fault::Truncate,
    ];
    let at_the_mint = passing.clone().map(|fault| once(fault).requests(2));
    let at_the_look_up = passing.map(|fault| once_at(LOOK_UP, fault).requests(2));
    hold(at_the_mint.into_iter().chain(at_the_look_up));
}

#[test]
fn what_does_not_pass_is_given_up_soon() {
    let lasting = [
        (Fault::Status(500), "status 500"),
        (Fault::Html(502), "status 502"),
        (Fault::RetryAfter { status: 503, seconds: 1 }, "status 503"),
        (Fault::CloseBeforeReply, "cannot be reached"),
        (Fault::Reset, "cannot be reached"),
        (Fault::Truncate, "cannot be reached"),
    ];
    let at_the_mint = lasting.clone().map(|(fault, words)| always(fault).refused("github_unavailable", words));
    let at_the_look_up = lasting.map(|(fault, words)| always_at(LOOK_UP, fault).refused("github_unavailable", words));
    hold(at_the_mint.into_iter().chain(at_the_look_up).map(|case| case.requests(4)));
}

#[test]
fn what_hangs_is_given_up_within_half_a_minute() {
    let (one_try, two_tries) = (Duration::from_secs(10), Duration::from_secs(20));
    let half_a_minute = Duration::from_secs(30);
    hold([
        once(Fault::Hang).requests(2).takes(one_try..=two_tries),
        once_at(LOOK_UP, Fault::Hang).requests(2).takes(one_try..=two_tries),
        once(Fault::Delay(Duration::from_secs(12))).requests(2).takes(one_try..=two_tries),
        once(Fault::SlowBody(Duration::from_millis(200))).requests(2).takes(one_try..=two_tries),
        always(Fault::Hang)
            .refused("timeout", "did not answer")
            .requests_within(2..=4)
            .takes(two_tries..=half_a_minute),
        always(Fault::SlowBody(Duration::from_millis(200)))
            .refused("timeout", "did not answer")
            .requests_within(2..=4)
            .takes(two_tries..=half_a_minute),
        always_at(LOOK_UP, Fault::Hang)
            .refused("timeout", "did not answer")
            .requests_within(2..=4)
            .takes(two_tries..=half_a_minute),
    ]);
}

#[test]
fn what_is_permanent_is_asked_once() {
    let unreadable = "something that is not the API's JSON";
    hold([
        once(Fault::EmptyBody).refused("github_unavailable", unreadable),
        once_at(LOOK_UP, Fault::EmptyBody).refused("github_unavailable", unreadable),
        once(Fault::Html(200)).refused("github_unavailable", unreadable),
        once(Fault::Html(401)).refused("github_unavailable", unreadable),
        once(Fault::Html(403)).refused("github_unavailable", unreadable),
        once(Fault::Html(404)).refused("github_unavailable", unreadable),
        once_at(LOOK_UP, Fault::Html(404)).refused("github_unavailable", unreadable),
        once(Fault::Html(422)).refused("github_unavailable", unreadable),
        once(Fault::Status(418)).refused("github_unavailable", "status 418"),
        once(Fault::UnsupportedVersion).refused("github_unavailable", "newer apptoken"),
        once(Fault::Status(410)).refused("github_unavailable", "newer apptoken"),
        once(says(401, "A JSON web token could not be decoded")).refused("app_mismatch", "App 123456"),
        once(says(403, "This installation has been suspended")).refused("suspended", "suspended"),
        once(says(422, "The permissions requested are not granted to this installation."))
            .refused("not_granted", "permission"),
        always(says(404, "Not Found")).refused("not_installed", "not installed"),
    ]);
}

#[test]
fn what_is_only_odd_is_no_failure() {
    hold([
        once(Fault::Pass),
        once(Fault::Delay(Duration::from_millis(500))),
        once(Fault::SlowBody(Duration::from_millis(1))),
        once(Fault::NoDate),
        once(Fault::Deprecated),
        once(Fault::WrongContentType),
        once(Fault::ExtraFields),
        once_at(LOOK_UP, Fault::ExtraFields),
        once_at(LOOK_UP, Fault::WrongContentType),
        once(Fault::Link(to_nowhere())),
        once(Fault::LagAfterMint(3)),
        once(Fault::MissingPermissions),
        once(Fault::NarrowerPermissions),
    ]);
}

#[test]
fn a_token_that_may_do_less_than_was_asked_for_is_not_handed_out() {
    let may_less = || once(Fault::NarrowerPermissions);
    hold([
        may_less().asking(&json!({"permissions": {"contents": "read"}})).refused("not_granted", "permission"),
        may_less().asking(&json!({"permissions": {"metadata": "read"}})),
        // What it does not say, it did not grant.
        once(Fault::MissingPermissions)
            .asking(&json!({"permissions": {"contents": "read"}}))
            .refused("github_unavailable", "without a word"),
    ]);
}

#[test]
fn a_limit_is_waited_for_when_that_is_soon_over() {
    let waited = Duration::from_secs(1)..=Duration::from_secs(10);
    let limits = [
        Fault::RetryAfter { status: 429, seconds: 1 },
        Fault::RetryAfter { status: 403, seconds: 1 },
        Fault::RetryAfterDate { status: 429, seconds: 2 },
        Fault::RateLimited { status: 403, reset_in: 1 },
        Fault::RateLimited { status: 429, reset_in: 1 },
        Fault::SecondaryLimit { status: 403, retry_after: Some(1) },
        Fault::SecondaryLimit { status: 429, retry_after: Some(1) },
    ];
    let at_the_mint = limits.clone().map(|fault| once(fault).requests(2));
    let at_the_look_up = limits.map(|fault| once_at(LOOK_UP, fault).requests(2));
    let lasting =
        always(Fault::RetryAfter { status: 429, seconds: 1 }).refused("rate_limited", "limits").requests_within(2..=4);
    let cases = at_the_mint.into_iter().chain(at_the_look_up).chain([lasting]);
    hold(cases.map(|case| case.takes(waited.clone())));
}

#[test]
fn a_limit_that_lasts_is_told_at_once_with_the_seconds_it_lasts() {
    let hour = 3590..=3601;
    let limits = [
        (Fault::RetryAfter { status: 429, seconds: 3600 }, hour.clone()),
        (Fault::RetryAfter { status: 403, seconds: 3600 }, hour.clone()),
        (Fault::RetryAfterDate { status: 429, seconds: 3600 }, hour.clone()),
        (Fault::RateLimited { status: 403, reset_in: 3600 }, hour.clone()),
        (Fault::RateLimited { status: 429, reset_in: 3600 }, hour),
        (Fault::SecondaryLimit { status: 403, retry_after: Some(300) }, 290..=300),
        // GitHub's documentation asks for a minute when it does not say.
        (Fault::SecondaryLimit { status: 403, retry_after: None }, 55..=60),
        (Fault::SecondaryLimit { status: 429, retry_after: None }, 55..=60),
    ];
    hold(limits.map(|(fault, seconds)| always(fault).refused("rate_limited", "limits").retry_after(seconds)));
}

#[test]
fn a_wait_that_no_clock_reaches_is_one_that_lasts() {
    let ever = |status| always(Fault::RetryAfter { status, seconds: u64::MAX });
    hold([
        ever(503).refused("github_unavailable", "status 503").requests(1),
        ever(403).refused("rate_limited", "limits").retry_after(3590..=3601),
        ever(429).refused("rate_limited", "limits").retry_after(3590..=3601),
    ]);
}

#[test]
fn while_a_limit_lasts_its_app_asks_nothing_and_others_do() {
    let w = World::with_key();
    let kept = w.request(&token(&json!({})))["token"].clone();
    w.github.add_app(App::new(7, "other").key_pem(OTHER_KEY));
    w.github.install(7, Installation::new(70, "else").repositories(&["x"]));
    w.file("other.pem", OTHER_KEY);
    w.add_for("7", "other.pem").run().stderr_contains("Identity added").ok();

    w.github.next_on(MINT, Fault::RateLimited { status: 403, reset_in: 1800 });
    let first = w.request(&with_app(&json!({"repositories": ["hello"]}), APP_ID));
    assert_eq!(first["code"], "rate_limited", "{first}");
    let requests = w.github.journal().len();
    for scope in [json!({"repositories": ["tools"]}), json!({"repo": "octo/tools"}), json!({"owner": "nobody"})] {
        let answer = w.request(&with_app(&scope, APP_ID));
        assert_eq!(answer["code"], "rate_limited", "{answer}");
        assert!(answer["retryAfter"].as_u64() <= first["retryAfter"].as_u64(), "{answer} after {first}");
    }
    assert_eq!(w.github.journal().len(), requests, "nothing was asked");
    assert_eq!(w.request(&with_app(&json!({}), APP_ID))["token"], kept, "what is at hand is handed out");
    assert_eq!(w.request(&with_app(&json!({}), 7))["ok"], true);
}

#[test]
fn an_answer_has_a_bound_and_githubs_largest_is_within_it() {
    let room = 4 * 1024 * 1024;
    let too_large = "too large";
    hold([
        once(Fault::HugeBody(200 * 1024 * 1024)).refused("github_unavailable", too_large),
        once(Fault::HugeBody(room + 1)).refused("github_unavailable", too_large),
        once_at(LOOK_UP, Fault::HugeBody(room + 1)).refused("github_unavailable", too_large),
        // That much is read, and found to be no answer.
        once(Fault::HugeBody(room)).refused("github_unavailable", "not the API's JSON"),
        once(grants_in(room)).named("a token in 4 MiB"),
        once(grants_in(room + 1)).named("a token in 4 MiB and a byte").refused("github_unavailable", too_large),
        once(refuses_in(1024 * 1024)).named("a refusal in 1 MiB").refused("not_granted", "permission"),
        once(refuses_in(1024 * 1024 + 1))
            .named("a refusal in 1 MiB and a byte")
            .refused("github_unavailable", too_large),
    ]);
}

/// More about redirects is in `redirects.rs`.
#[test]
fn a_redirect_is_followed_on_the_same_host_alone_and_not_for_ever() {
    let stranger = GitHub::start();
    let mint = format!("/app/installations/{INSTALLATION_ID}/access_tokens");
    hold([
        once(Fault::Redirect(307, mint.clone())).requests(2),
        always(Fault::Redirect(307, mint.clone())).refused("github_unavailable", "redirect").requests_within(2..=10),
        always(Fault::Redirect(307, stranger.url() + &mint)).refused("github_unavailable", "redirect"),
    ]);
    assert!(stranger.journal().is_empty(), "another host was asked: {:?}", stranger.journal());
}

#[test]
fn pages_that_lead_nowhere_are_not_followed_for_ever() {
    let stranger = GitHub::start();
    let page = format!("{}/app/installations?per_page=100", stranger.url());
    let elsewhere = Fault::Link(format!("<{page}>; rel=\"next\""));
    hold([
        always_at(LOOK_UP, elsewhere),
        always_at(LOOK_UP, Fault::Link("<>; rel=\"next\"".to_owned())),
        always_at(LOOK_UP, Fault::Link("rel=\"next\", <".to_owned())),
        with("a page that leads to itself once", |w| w.github.next_on(LOOK_UP, to_itself(w)))
            .counting(LOOK_UP)
            .requests(2),
        with("a page that always leads to itself", |w| w.github.always(LOOK_UP, to_itself(w)))
            .counting(LOOK_UP)
            .requests_within(2..=100)
            .refused("github_unavailable", "does not end"),
    ]);
    assert!(stranger.journal().is_empty(), "another host was asked: {:?}", stranger.journal());
}

#[test]
fn a_token_is_believed_as_far_as_it_can_be_alive() {
    let five_minutes = Expiry::In(Duration::from_mins(5));
    let lives = |expiry: Expiry| with(format!("{expiry:?}"), move |w| w.github.expires_at(expiry));
    hold([
        lives(Expiry::Past).refused("github_unavailable", "lives less"),
        lives(Expiry::Past).asking(&json!({"minTtl": 0})).refused("github_unavailable", "lives less"),
        lives(five_minutes)
            .asking(&json!({"minTtl": 360}))
            .refused("github_unavailable", "lives less than the 360 seconds"),
        lives(five_minutes).asking(&json!({"minTtl": 240})),
        lives(Expiry::Missing).refused("github_unavailable", "not the API's JSON"),
        once(grants(&json!({"expires_at": "tomorrow"}))).named("tomorrow").refused("github_unavailable", "end"),
        once(grants(&json!({"expires_at": 1_795_357_800})))
            .named("a number")
            .refused("github_unavailable", "not the API's JSON"),
        once(grants(&json!({"token": null}))).named("no token").refused("github_unavailable", "not the API's JSON"),
    ]);
}

#[test]
fn every_way_to_write_an_end_is_handed_on_in_one() {
    at_once([Expiry::Truthful, Expiry::WithOffset, Expiry::WithMillis], |expiry| {
        let w = World::with_key();
        w.github.expires_at(expiry);
        let answer = w.request(&token(&json!({})));
        let end = answer["expiresAt"].as_str().unwrap_or_else(|| panic!("{expiry:?}: {answer}"));
        assert!(end.len() == "2026-11-22T14:30:00Z".len() && end.ends_with('Z'), "{expiry:?}: {end}");
        let end = OffsetDateTime::parse(end, &Rfc3339).expect("it is RFC 3339").unix_timestamp();
        assert_eq!(end, w.github.tokens()[0].expires, "{expiry:?}");
    });
}

#[test]
fn a_clock_that_differs_is_learnt_at_the_cost_of_one_request() {
    let refusals = |expected| {
        move |w: &World, skew| {
            served(w, &json!({}));
            served(w, &json!({"repositories": ["hello"]}));
            let journal = w.github.journal();
            let refused = journal.iter().filter(|entry| entry.status == Some(401)).count();
            assert_eq!(refused, expected, "{skew}: {journal:#?}");
        }
    };
    // GitHub takes a JWT that is some minutes old, and none from the future.
    for_each_skew([-30, 30, MINUTES], refusals(0));
    for_each_skew([-HOURS, -MINUTES, HOURS], refusals(1));
}

#[test]
fn a_clock_that_differs_and_is_not_told_is_named_as_the_reason() {
    for_each_skew([-HOURS, HOURS], |w, skew| {
        w.github.always("/**", Fault::NoDate);
        refused(w, &json!({}), "clock_skew", "clock");
        assert_eq!(w.github.count(LOOK_UP), 1, "{skew}");
    });
}

#[test]
fn a_clock_that_was_learnt_counts_when_an_answer_does_not_tell_it() {
    for_each_skew([-HOURS, HOURS], |w, skew| {
        w.github.always(MINT, Fault::NoDate);
        w.github.token_lifetime(Duration::from_mins(10));
        for _ in 0..2 {
            served(w, &json!({}));
        }
        assert_eq!(w.github.mints(), 1, "{skew}: it is kept");
        // It lives for ten minutes.
        refused(w, &json!({"minTtl": 1800}), "github_unavailable", "lives less");
    });
}

#[test]
fn an_app_that_was_deleted_is_named_as_such() {
    let w = with_token();
    w.github.remove_app(APP_ID);
    refused(&w, &json!({"repositories": ["hello"]}), "app_mismatch", "no App 123456");
}

#[test]
fn a_key_that_was_deleted_while_it_was_held_is_named_as_such() {
    let w = with_token();
    w.github.add_key(APP_ID, OTHER_KEY);
    w.github.remove_key(APP_ID, KEY);
    refused(&w, &json!({"repositories": ["hello"]}), "app_mismatch", "deleted");
    w.github.remove_key(APP_ID, OTHER_KEY);
    refused(&w, &json!({"repositories": ["tools"]}), "app_mismatch", "no private key");
}

#[test]
fn a_permission_that_was_taken_away_is_not_granted_any_more() {
    let w = with_token();
    w.github.set_permissions(INSTALLATION_ID, &[("contents", "read"), ("metadata", "read")]);
    refused(&w, &json!({"permissions": {"contents": "write"}}), "not_granted", "permission");
    served(&w, &json!({"permissions": {"contents": "read"}}));
}

#[test]
fn a_repository_that_was_removed_is_not_granted_any_more() {
    let w = with_token();
    served(&w, &json!({"repo": "octo/hello"}));
    served(&w, &json!({"repo": "octo/tools"}));
    w.github.remove_repository("octo", "hello");
    w.github.deselect_repository(INSTALLATION_ID, "tools");
    for name in ["octo/hello", "octo/tools"] {
        // The way there is known, and leads to the installation still.
        refused(&w, &json!({"repo": name, "permissions": {"contents": "read"}}), "not_granted", "repository");
    }
    let fresh = World::with_key();
    fresh.github.remove_repository("octo", "hello");
    fresh.github.deselect_repository(INSTALLATION_ID, "tools");
    for name in ["octo/hello", "octo/tools"] {
        refused(&fresh, &json!({"repo": name}), "not_installed", name);
    }
}

#[test]
fn a_repository_that_was_renamed_is_asked_for_by_its_new_name() {
    let w = World::with_key();
    w.github.rename_repository("octo", "hello", "world");
    // Its old name redirects to it, but narrows no token.
    refused(&w, &json!({"repo": "octo/hello"}), "not_granted", "repository");
    let answer = served(&w, &json!({"repo": "octo/world"}));
    assert_eq!(answer["repositories"], json!(["octo/world"]));
}

#[test]
fn a_suspension_is_named_and_its_end_noticed() {
    let w = with_token();
    w.github.suspend(INSTALLATION_ID);
    refused(&w, &json!({"repositories": ["hello"]}), "suspended", "suspended");
    refused(&w, &json!({"owner": "octo"}), "suspended", "octo");
    w.github.unsuspend(INSTALLATION_ID);
    served(&w, &json!({"repositories": ["tools"]}));
    wait_until("the suspension is forgotten", DEADLINE, || {
        w.request(&token(&json!({"repositories": ["hello"]})))["ok"] == true
    });
}

#[test]
fn an_installation_that_was_removed_is_noticed_at_the_next_mint() {
    let w = with_token();
    w.github.uninstall(INSTALLATION_ID);
    refused(&w, &json!({"repositories": ["hello"]}), "not_installed", "not installed");
    refused(&w, &json!({"owner": "octo"}), "not_installed", "octo");
    refused(&w, &json!({"installationId": INSTALLATION_ID}), "not_installed", "1001");
}

#[test]
fn an_installation_that_came_back_with_another_number_is_found() {
    let w = with_token();
    let mints = w.github.mints();
    w.github.uninstall(INSTALLATION_ID);
    w.github.install(APP_ID, Installation::new(2002, "octo").user().repositories(&["hello"]));
    let answer = served(&w, &json!({"repositories": ["hello"]}));
    assert_eq!(answer["installationId"], 2002);
    assert_eq!(w.github.mints(), mints + 2, "where it was, and where it is");
    assert_eq!(served(&w, &json!({}))["installationId"], 2002, "what was minted before is not handed out any more");
}

#[test]
fn a_second_installation_does_not_disturb_who_asked_before_it_came() {
    let w = with_token();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    assert_eq!(served(&w, &json!({"repositories": ["hello"]}))["account"], "octo");
    assert_eq!(served(&w, &json!({"owner": "acme"}))["account"], "acme");
    assert_eq!(served(&w, &json!({"repo": "acme/web"}))["installationId"], 2);
}

#[test]
fn nobody_waits_for_a_renewal_that_fails() {
    // How many requests each fault costs until the renewal has failed, or hangs.
    let faults = [(Fault::Status(502), 4), (Fault::Hang, 1), (says(404, "Not Found"), 1)];
    at_once(faults, |(fault, requests)| {
        let w = World::with_key();
        w.github.token_lifetime(Duration::from_secs(20));
        let question = token(&json!({"minTtl": 0}));
        let mut client = w.connect();
        let good = client.request(&question)["token"].clone();
        assert!(good.is_string(), "{fault:?}");
        w.github.always(MINT, fault.clone());

        let mut hand_out = || {
            let asked = Instant::now();
            let answer = client.request(&question);
            assert_eq!(answer["token"], good, "{fault:?}: {answer}");
            assert!(asked.elapsed() < Duration::from_secs(1), "{fault:?}: {:?}", asked.elapsed());
        };
        wait_until("its last quarter has begun, and the renewal failed", DEADLINE, || {
            hand_out();
            w.github.mints() > requests
        });
        for _ in 0..100 {
            hand_out();
        }
    });
}

#[test]
fn an_api_that_hangs_takes_few_requests_and_delays_no_other() {
    let w = World::with_key();
    let other = GitHub::start();
    other.add_app(App::new(7, "elsewhere").key_pem(OTHER_KEY));
    other.install(7, Installation::new(70, "else").user().repositories(&["x"]));
    w.file("other.pem", OTHER_KEY);
    let url = other.url();
    let add = ["add", "other.pem", "--app-id", "7", "--host", "ghe.example", "--api-url", &url];
    w.apptoken(add).stderr_contains("Identity added").ok();

    w.github.always(MINT, Fault::Hang);
    let mut waiting: Vec<_> = (0..20).map(|_| w.connect()).collect();
    for (client, scope) in waiting.iter_mut().zip(scopes()) {
        client.send(with_app(&scope, APP_ID).to_string());
    }
    w.github.wait_for(|journal| journal.iter().filter(|entry| entry.is(MINT)).count() == 5);
    let asked = Instant::now();
    let answer = w.request(&with_app(&json!({}), 7));
    assert_eq!(answer["ok"], true, "{answer}");
    assert!(asked.elapsed() < QUICK, "{:?}", asked.elapsed());
    assert_eq!(w.github.mints(), 5);
}

#[test]
fn no_failure_takes_much_memory() {
    let w = World::with_key();
    let stranger = GitHub::start();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]).permissions(MANY_PERMISSIONS));
    let mut scopes = scopes().map(|scope| merged(&scope, &json!({"action": "getToken", "installationId": 2})));
    let mut next = || scopes.next().expect("there are enough");

    w.request(&next());
    let before = resident(w.pid());

    // It stays so while the others happen.
    let mut hanging = w.connect();
    w.github.next_on(MINT, Fault::Hang);
    // For another installation, whose second try meets none of the faults.
    hanging.send(token(&json!({"installationId": INSTALLATION_ID})).to_string());
    w.github.wait_for(|journal| journal.iter().any(|entry| entry.is(MINT)));
    for fault in [
        Fault::Status(502),
        Fault::Status(418),
        grants_in(4 * 1024 * 1024),
        refuses_in(1024 * 1024 + 1),
        Fault::Html(404),
        Fault::HugeBody(200 * 1024 * 1024),
        Fault::Redirect(307, stranger.url()),
        Fault::UnsupportedVersion,
        Fault::CloseBeforeReply,
        Fault::Reset,
        Fault::Delay(Duration::from_millis(10)),
        Fault::Truncate,
        Fault::EmptyBody,
        Fault::SlowBody(Duration::from_millis(1)),
        Fault::NoDate,
        Fault::Deprecated,
        Fault::WrongContentType,
        Fault::ExtraFields,
        Fault::Link(to_nowhere()),
        Fault::MissingPermissions,
        Fault::NarrowerPermissions,
        Fault::LagAfterMint(1),
        Fault::RetryAfter { status: 429, seconds: 1 },
        Fault::RetryAfterDate { status: 403, seconds: 1 },
        Fault::RateLimited { status: 403, reset_in: 1 },
        Fault::SecondaryLimit { status: 403, retry_after: Some(1) },
    ] {
        let (name, mints) = (format!("{fault:?}"), w.github.mints());
        w.github.next_on(MINT_FOR_ACME, fault);
        let answer = w.request(&next());
        assert!(w.github.mints() > mints, "{name:.40} did not happen: {answer}");
    }
    for (fault, largest) in [(grants_in(4 * 1024 * 1024), true), (Fault::HugeBody(200 * 1024 * 1024), false)] {
        w.github.always(MINT_FOR_ACME, fault);
        let questions: Vec<_> = (0..20).map(|_| next()).collect();
        for answer in at_once(questions, |question| w.request(&question)) {
            // They take turns; on a busy machine the last may have waited too long.
            let too_large = answer["error"].as_str().is_some_and(|error| error.contains("too large"));
            assert!(too_large != largest || answer["code"] == "timeout", "{answer}");
        }
    }
    w.github.clear_faults();
    let answer = hanging.answer();
    assert_eq!(answer["ok"], true, "{answer}");
    w.assert_agent_is_well();
    let peak = peak(w.pid());
    tell(format_args!("the agent took {peak} bytes at its peak, and {before} before anything failed"));
    assert!(peak < 40_000_000, "the agent took {peak} bytes at its peak, and {before} before");
}

/// The list of faults above is of no use when it misses one.
#[test]
fn every_fault_that_there_is_happens_here() {
    let (_, variants) = include_str!("support/github/fault.rs").split_once("pub enum Fault {").expect("it is an enum");
    let (variants, _) = variants.split_once("\n}").expect("it ends");
    let names = variants.lines().filter_map(|line| line.strip_prefix("    ")?.split([' ', '(', ',']).next());
    let names: Vec<_> = names.filter(|name| name.starts_with(char::is_uppercase)).collect();
    assert!(names.contains(&"LagAfterMint"), "{names:?}");
    for name in names {
        assert!(include_str!("github_failures.rs").contains(&format!("Fault::{name}")), "nothing happens with {name}");
    }
}

/// One way to go wrong, and what must come of the next question for a token.
struct Case {
    what: String,
    go_wrong: Box<dyn Fn(&World) + Sync>,
    question: Value,
    outcome: Outcome,
    /// Which requests are counted, and how many there must be.
    counted: &'static str,
    requests: RangeInclusive<usize>,
    took: RangeInclusive<Duration>,
}

enum Outcome {
    Served,
    /// With this code, these words in its sentence or its hint, and perhaps seconds to wait.
    Refused(&'static str, &'static str, Option<RangeInclusive<u64>>),
}

/// The next mint meets this fault.
fn once(fault: Fault) -> Case {
    once_at(MINT, fault)
}

fn once_at(pattern: &'static str, fault: Fault) -> Case {
    let what = format!("{fault:?}, once at {pattern}");
    with(what, move |w| w.github.next_on(pattern, fault.clone())).counting(pattern)
}

/// Every mint meets this fault.
fn always(fault: Fault) -> Case {
    always_at(MINT, fault)
}

fn always_at(pattern: &'static str, fault: Fault) -> Case {
    let what = format!("{fault:?}, always at {pattern}");
    with(what, move |w| w.github.always(pattern, fault.clone())).counting(pattern)
}

/// Something else is wrong. Unless said otherwise it does not show: the token is served soon, for one mint.
fn with(what: impl Into<String>, go_wrong: impl Fn(&World) + Sync + 'static) -> Case {
    Case {
        what: what.into(),
        go_wrong: Box::new(go_wrong),
        question: token(&json!({})),
        outcome: Outcome::Served,
        counted: MINT,
        requests: 1..=1,
        took: Duration::ZERO..=QUICK,
    }
}

impl Case {
    fn named(mut self, what: &str) -> Self {
        what.clone_into(&mut self.what);
        self
    }

    fn asking(mut self, scope: &Value) -> Self {
        self.what = format!("{}, asking for {scope}", self.what);
        self.question = token(scope);
        self
    }

    fn refused(mut self, code: &'static str, words: &'static str) -> Self {
        self.outcome = Outcome::Refused(code, words, None);
        self
    }

    fn retry_after(mut self, seconds: RangeInclusive<u64>) -> Self {
        if let Outcome::Refused(.., retry_after) = &mut self.outcome {
            *retry_after = Some(seconds);
        }
        self
    }

    fn counting(mut self, pattern: &'static str) -> Self {
        self.counted = pattern;
        self
    }

    fn requests(self, count: usize) -> Self {
        self.requests_within(count..=count)
    }

    fn requests_within(mut self, counts: RangeInclusive<usize>) -> Self {
        self.requests = counts;
        self
    }

    fn takes(mut self, time: RangeInclusive<Duration>) -> Self {
        self.took = time;
        self
    }

    /// Asks, and tells what is not as it must be.
    fn complaints(&self, w: &World) -> Vec<String> {
        let asked = Instant::now();
        let answer = w.request(&self.question);
        let (took, requests) = (asked.elapsed(), w.github.count(self.counted));
        let checks = [
            (self.outcome.fits(&answer), format!("answered {answer}")),
            (self.requests.contains(&requests), format!("{requests} requests, not {:?}", self.requests)),
            (self.took.contains(&took), format!("took {took:?}, not {:?}", self.took)),
        ];
        let wrong = checks.into_iter().filter(|(right, _)| !right);
        wrong.map(|(_, complaint)| format!("{}: {complaint}", self.what)).collect()
    }
}

impl Outcome {
    fn fits(&self, answer: &Value) -> bool {
        match self {
            Self::Served => answer["ok"] == true && answer["token"].is_string(),
            Self::Refused(code, words, retry_after) => {
                let [error, hint] = ["error", "hint"].map(|part| answer[part].as_str().unwrap_or_default());
                let seconds = answer["retryAfter"].as_u64();
                answer["code"] == *code
                    && (error.contains(words) || hint.contains(words))
                    && !hint.is_empty()
                    && retry_after
                        .as_ref()
                        .is_none_or(|wanted| seconds.is_some_and(|seconds| wanted.contains(&seconds)))
            }
        }
    }
}

/// Lets every case happen, each in a world of its own and all at the same time.
#[track_caller]
fn hold(cases: impl IntoIterator<Item = Case>) {
    let cases: Vec<Case> = cases.into_iter().collect();
    let worlds = at_once(&cases, |case| {
        let w = World::with_key();
        (case.go_wrong)(&w);
        w
    });
    let complaints = at_once(cases.iter().zip(&worlds), |(case, w)| case.complaints(w)).concat();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Checks a world for each number of seconds that GitHub's clock is ahead of ours.
fn for_each_skew<const N: usize>(skews: [i64; N], check: impl Fn(&World, i64) + Sync) {
    at_once(skews, |skew| {
        let w = World::with_key();
        w.github.skew(skew);
        check(&w, skew);
    });
}

/// A world whose agent has a token, and knows where the App is installed.
fn with_token() -> World {
    let w = World::with_key();
    served(&w, &json!({}));
    w
}

#[track_caller]
fn served(w: &World, scope: &Value) -> Value {
    let answer = w.request(&token(scope));
    assert_eq!(answer["ok"], true, "{scope}: {answer}");
    answer
}

#[track_caller]
fn refused(w: &World, scope: &Value, code: &str, words: &str) {
    let answer = w.request(&token(scope));
    assert_eq!(answer["code"], code, "{scope}: {answer}");
    assert!(answer["error"].as_str().is_some_and(|error| error.contains(words)), "{scope}, {words}: {answer}");
}

/// A question for a token.
fn token(scope: &Value) -> Value {
    merged(scope, &json!({"action": "getToken"}))
}

fn with_app(scope: &Value, app: u64) -> Value {
    merged(&token(scope), &json!({"app": app.to_string()}))
}

fn merged(one: &Value, other: &Value) -> Value {
    let mut both = one.clone();
    both.as_object_mut().expect("an object").extend(other.as_object().expect("an object").clone());
    both
}

/// Scopes that need a token each.
fn scopes() -> impl Iterator<Item = Value> {
    let names = MANY_PERMISSIONS.iter().map(|(name, _)| name);
    let pairs = names
        .clone()
        .flat_map(move |one| names.clone().filter(move |other| *other > one).map(move |other| (one, other)));
    pairs.map(|(one, other)| json!({"permissions": {*one: "read", *other: "read"}}))
}

/// GitHub's error object, word for word.
fn says(status: u16, message: &str) -> Fault {
    Fault::Verbatim { status, headers: Vec::new(), body: json!({ "message": message }).to_string() }
}

/// A token, perhaps with other parts than it should have.
fn grants(parts: &Value) -> Fault {
    let body = json!({"token": "ghs_any", "expires_at": in_an_hour()});
    Fault::Verbatim { status: 201, headers: Vec::new(), body: merged(&body, parts).to_string() }
}

/// A token in an answer of this length.
fn grants_in(length: usize) -> Fault {
    padded(grants(&json!({})), length)
}

/// A refusal in an answer of this length.
fn refuses_in(length: usize) -> Fault {
    padded(says(422, "The permissions requested are not granted to this installation."), length)
}

fn padded(fault: Fault, length: usize) -> Fault {
    let Fault::Verbatim { status, headers, body } = fault else { panic!("only words can be made longer") };
    let blanks = " ".repeat(length - body.len());
    Fault::Verbatim { status, headers, body: body + &blanks }
}

/// A `Link` from the list of installations to that list.
fn to_itself(w: &World) -> Fault {
    Fault::Link(format!("<{}/app/installations?per_page=100>; rel=\"next\"", w.github.url()))
}

fn to_nowhere() -> String {
    "<nowhere>; rel=\"next\"".to_owned()
}

const MINT_FOR_ACME: &str = "POST /app/installations/2/access_tokens";
/// What is neither waited for nor tried for long: four tries with the pauses between take two seconds at the most.
const QUICK: Duration = Duration::from_secs(5);
/// How far GitHub's clock can be off, in seconds.
const MINUTES: i64 = 7 * 60;
const HOURS: i64 = 2 * 3600;
const MANY_PERMISSIONS: &[(&str, &str)] = &[
    ("actions", "read"),
    ("administration", "read"),
    ("checks", "read"),
    ("contents", "read"),
    ("deployments", "read"),
    ("environments", "read"),
    ("issues", "read"),
    ("packages", "read"),
    ("pages", "read"),
    ("pull_requests", "read"),
    ("secrets", "read"),
    ("statuses", "read"),
    ("security_events", "read"),
];
