//! Over TLS the agent speaks only to a server that proves who it is, to the CA certificates of this machine.

use std::fs;
use std::future::pending;

use serde_json::json;

use crate::support::github::{GitHub, TokenFormat};
use crate::support::listener::Listener;
use crate::support::memory::Needles;
use crate::support::run::Run;
use crate::support::tls::{Authority, Front, Identity};
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, APPTOKEN, HOST, NO_OPTIONS, SLUG, World, install_our_app, need_root};

#[test]
fn a_token_comes_over_tls_from_a_server_that_a_ca_in_ssl_cert_file_vouches_for() {
    let ca = Authority::new("ours");
    let w = trusting(&ca);
    let front = Front::start(ca.issue(&["localhost"]), &w.github);
    add(&w, &["--host", &front.host(), "--api-url", &front.url()])
        .stderr(format!("Identity added: {SLUG} (App {APP_ID} on {})\n", front.host()))
        .ok();
    let token = w.apptoken(["token"]).line();
    assert_eq!(token, w.github.tokens()[0].value);
}

#[test]
fn a_relative_path_of_ca_certificates_means_where_the_agent_was_started() {
    let ca = Authority::new("ours");
    let mut w = World::new();
    w.file("ca.pem", ca.pem());
    w.env("SSL_CERT_FILE", "ca.pem");
    w.start_agent(NO_OPTIONS);
    let front = Front::start(ca.issue(&["localhost"]), &w.github);
    add(&w, &["--api-url", &front.url()]).stderr_contains("Identity added").ok();
    w.apptoken(["token"]).line();
}

#[test]
fn a_directory_of_ca_certificates_will_do_as_well() {
    let ca = Authority::new("ours");
    let mut w = World::new();
    fs::create_dir(w.path("home/ca")).expect("the home directory is writable");
    w.file("ca/ours.pem", ca.pem());
    w.env("SSL_CERT_DIR", w.path("home/ca"));
    w.start_agent(NO_OPTIONS);
    let front = Front::start(ca.issue(&["localhost"]), &w.github);
    add(&w, &["--api-url", &front.url()]).stderr_contains("Identity added").ok();
    w.apptoken(["token"]).line();
}

#[test]
fn of_an_enterprise_server_only_the_host_must_be_said() {
    let ca = Authority::new("ours");
    let w = trusting(&ca);
    let ghes = GitHub::start_enterprise("3.19.1");
    install_our_app(&ghes);
    let front = Front::start(ca.issue(&["localhost"]), &ghes);
    add(&w, &["--host", &front.host()]).stderr_contains("Identity added").ok();
    assert_eq!(w.apptoken(["token"]).line(), ghes.tokens()[0].value);
    assert_eq!(ghes.count("GET /app"), 1);
    assert!(w.github.journal().is_empty());
}

/// As on an Enterprise Server that nobody has given another one.
#[test]
fn a_certificate_that_vouches_for_itself_is_trusted_once_it_is_among_the_cas() {
    let mut w = World::new();
    let (identity, pem) = Identity::self_signed(&["localhost"]);
    let front = Front::start(identity, &w.github);
    let file = w.file("ca.pem", pem);
    w.env("SSL_CERT_FILE", file);
    w.start_agent(NO_OPTIONS);
    add(&w, &["--api-url", &front.url()]).stderr_contains("Identity added").ok();
    w.apptoken(["token"]).line();
}

/// The same front with the right certificate is the first test's.
#[test]
fn a_server_that_cannot_prove_who_it_is_hears_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let name = &["localhost"][..];
    let w = trusting(&ours);
    for (identity, why) in [
        (theirs.issue(name), "was issued by nobody that this machine trusts"),
        // Whoever calls himself as our CA does is not that for it.
        (Authority::new("ours").issue(name), "was issued by nobody that this machine trusts"),
        (Identity::self_signed(name).0, "was issued by nobody that this machine trusts"),
        (ours.identity(), "is a CA's own"),
        (ours.issue(&["github.example", "127.0.0.1"]), "is for another host"),
        (ours.issue_expired(name), "has expired"),
        (ours.issue_early(name), "is not valid yet"),
    ] {
        let front = Front::start(identity, &w.github);
        add(&w, &["--host", HOST, "--api-url", &front.url()])
            .stderr_contains("could not be checked")
            .stderr_contains(format!("its TLS certificate {why}"))
            .ok();
        w.apptoken(["token"]).fails(1, [&*front.url(), "its TLS certificate", why, "SSL_CERT_FILE"]);
        assert_eq!(front.accepted(), 2, "what will not pass is tried once: {why}");
        assert_eq!(w.request(&json!({"action": "getToken"}))["code"], "github_unavailable", "{why}");
        assert!(w.github.journal().is_empty(), "{why}: {:?}", w.github.journal());
        w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    }
}

#[test]
fn without_any_ca_certificate_it_says_where_they_are_looked_for() {
    let mut w = World::new();
    for (file, contents) in [("empty.pem", ""), ("garbage.pem", "no certificate\n"), ("missing.pem", "")] {
        let path = w.file(file, contents);
        if file == "missing.pem" {
            fs::remove_file(&path).expect("it was there");
        }
        w.env("SSL_CERT_FILE", path);
        w.start_agent(["--new"]);
        offline(&w, "https://localhost:1");
        w.apptoken(["token"]).fails(1, ["CA certificate", "SSL_CERT_FILE"]);
        assert_eq!(w.request(&json!({"action": "getToken"}))["code"], "github_unavailable", "{file}");
        w.assert_agent_is_well();
    }
}

#[test]
fn a_server_that_does_not_speak_tls_is_named_as_such() {
    let w = trusting(&Authority::new("ours"));
    offline(&w, &w.github.url().replace("http://127.0.0.1", "https://localhost"));
    w.apptoken(["token"]).fails(1, ["does not speak TLS"]);
    assert!(w.github.journal().is_empty());
}

/// [`World::apptoken`] is what fails if it takes longer than [`DEADLINE`].
#[test]
fn a_server_that_never_shakes_hands_is_given_up_and_nobody_else_waits() {
    let w = trusting(&Authority::new("ours"));
    let silent = Listener::start(|stream| async move {
        let _stream = stream;
        pending::<()>().await;
    });
    offline(&w, &format!("https://localhost:{}", silent.address().port()));
    let mut asking = w.connect();
    asking.send(json!({"action": "getToken"}).to_string());
    wait_until("it is connected", DEADLINE, || silent.accepted() > 0);
    w.assert_agent_is_well();
    let answer = asking.answer();
    assert_eq!(answer["code"], "timeout", "{answer}");
}

/// The tests of memory speak plain http to GitHub, and nobody else does.
#[test]
fn a_token_that_came_over_tls_leaves_nothing_once_it_is_forgotten() {
    if !need_root() {
        return;
    }
    let ca = Authority::new("ours");
    let w = trusting(&ca);
    w.github.token_format(TokenFormat::Stateless);
    let front = Front::start(ca.issue(&["localhost"]), &w.github);
    add(&w, &["--api-url", &front.url()]).stderr_contains("Identity added").ok();
    let answer = w.request(&json!({"action": "getToken"}));
    let token = Needles::new().and("token", answer["token"].as_str().expect("a token is a string"));
    token.assert_found_in(w.pid(), "token");
    w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    token.assert_absent_from(w.pid());
}

#[test]
fn plain_http_is_for_this_machine_alone_and_the_refusal_says_why() {
    let w = World::with_agent();
    for url in ["http://ghe.example", "http://192.0.2.1:8080/api/v3", "http://localhost.example"] {
        for offline in [&[][..], &["--offline"]] {
            let run = add(&w, &[&["--host", "ghe.example", "--api-url", url][..], offline].concat());
            run.fails(1, ["https", "plain http can be read"]);
        }
    }
    w.apptoken(["list"]).stdout("The agent has no identities.\n").exit(1);
}

/// A world with an agent that trusts this CA, and no other.
fn trusting(ca: &Authority) -> World {
    let mut w = World::new();
    let file = w.file("ca.pem", ca.pem());
    w.env("SSL_CERT_FILE", file);
    w.start_agent(NO_OPTIONS);
    w
}

/// `apptoken add` for the App of every world.
#[track_caller]
fn add(w: &World, options: &[&str]) -> Run {
    w.command(APPTOKEN).args(["add", "key.pem", "--app-id", &APP_ID.to_string()]).args(options).run()
}

/// Adds the key for an API that is not asked.
#[track_caller]
fn offline(w: &World, api_url: &str) {
    add(w, &["--offline", "--host", HOST, "--api-url", api_url]).stderr_contains("Identity added").ok();
}
