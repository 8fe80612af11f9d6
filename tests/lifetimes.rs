//! A key with a lifetime is held that long: not shorter, and not longer.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, HOST, NO_OPTIONS, SLUG, World};

#[test]
fn adding_a_key_again_replaces_it_and_does_not_lift_its_lifetime() {
    let w = World::with_key();
    w.add_key(["-t", "1h"]).stderr_contains("Lifetime set to 1h").ok();
    assert!(w.apptoken(["list"]).line().ends_with(" left)"));
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    assert!(w.apptoken(["list"]).line().ends_with(" left)"), "only who says so changes it");
    w.add_key(["-t", "2d"]).stderr_contains("Lifetime set to 2d").ok();
    assert!(w.apptoken(["list"]).line().contains(", 1d23h"));
}

#[test]
fn a_lifetime_is_announced_and_listed() {
    let w = World::with_agent();
    let added = format!("Identity added: {SLUG} (App {APP_ID} on {HOST})\nLifetime set to 1h30m\n");
    w.add_key(["-t", "1h30m"]).stderr(added).ok();
    let line = w.apptoken(["list"]).line();
    let (_, left) = line.rsplit_once(", ").expect("the time left stands last");
    assert!(left == "1h30m left)" || (left.starts_with("1h29m") && left.ends_with("s left)")), "{line}");
}

#[test]
fn a_key_is_forgotten_when_its_lifetime_ends_and_not_before() {
    let w = World::with_agent();
    let added_after = Instant::now();
    w.add_key(["--offline", "-t", "2s"]).stderr_contains("Lifetime set to 2s").ok();
    let added_before = Instant::now();
    wait_until("the key is forgotten", DEADLINE, || {
        w.request(&json!({"action": "listKeys"}))["keys"].as_array().is_some_and(Vec::is_empty)
    });
    assert!(added_after.elapsed() >= Duration::from_secs(2), "too early");
    // A second is promised; a machine that is busy with other tests may take one more to tell us.
    assert!(added_before.elapsed() < Duration::from_secs(4), "too late");
    w.apptoken(["token"]).fails(1, ["key"]);
}

#[test]
fn the_agents_own_lifetime_is_the_default_of_its_keys() {
    let mut w = World::new();
    w.start_agent(["-t", "45m"]);
    w.add_key(NO_OPTIONS).stderr_contains("Lifetime set to 45m").ok();
    w.add_key(["-t", "10m"]).stderr_contains("Lifetime set to 10m").ok();
}

#[test]
fn a_lifetime_that_is_none_is_a_usage_error() {
    let w = World::with_agent();
    for life in ["soon", "-1", "1y", "", "99999999999999999999"] {
        w.add_key([&format!("-t{life}")]).stderr_contains("apptoken").exit(64);
    }
    w.apptoken(["list"]).stdout_contains("no identities").exit(1);
}
