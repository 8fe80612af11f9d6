//! A proxy for https is used as curl uses it; it learns where to connect, and nothing else.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::agent::wait_for_agent_at;
use crate::support::github::GitHub;
use crate::support::proxy::Proxy;
use crate::support::run::Run;
use crate::support::tls::{Authority, Front};
use crate::support::{AGENT, APP_ID, APPTOKEN, HOST, NO_OPTIONS, World, install_our_app};

/// No name server knows it.
const NAME: &str = "api.proxied.test";
const API: &str = "https://api.proxied.test";

#[test]
fn https_goes_through_the_proxy_which_alone_must_know_the_name() {
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let Way { mut w, proxy, front: _front } = Way::to(NAME, GitHub::start());
        w.env(variable, proxy.url());
        w.start_agent(NO_OPTIONS);
        add(&w, &["--api-url", API]).stderr_contains("Identity added").ok();
        assert_eq!(w.apptoken(["token"]).line(), w.github.tokens()[0].value, "{variable}");
        assert_eq!(proxy.targets(), [format!("{NAME}:443")], "{variable}");
    }
}

#[test]
fn the_proxy_sees_neither_a_jwt_nor_a_token() {
    let Way { mut w, proxy, front: _front } = Way::to(NAME, GitHub::start());
    w.env("HTTPS_PROXY", proxy.url());
    w.start_agent(NO_OPTIONS);
    add(&w, &["--api-url", API]).stderr_contains("Identity added").ok();
    let token = w.apptoken(["token"]).line().to_lowercase();
    assert_eq!(proxy.heard().len(), w.github.journal().len(), "there was a tunnel for each request");
    for heard in proxy.heard() {
        assert_eq!(heard.head, format!("CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n"));
        let tunnelled = String::from_utf8_lossy(&heard.tunnelled).to_lowercase();
        // The control: a handshake says in the clear whom it is for.
        assert!(tunnelled.contains(NAME));
        for secret in ["authorization", "bearer", "installations", &token] {
            assert!(!tunnelled.contains(secret), "`{secret}` can be read on the way");
        }
    }
}

#[test]
fn each_kind_of_host_is_asked_where_its_api_is() {
    for (host, api, github) in [
        ("github.com", "api.github.com:443", GitHub::start()),
        ("acme.ghe.com", "api.acme.ghe.com:443", GitHub::start()),
        ("ghe.test", "ghe.test:443", GitHub::start_enterprise("3.19.1")),
        ("ghe.test:8443", "ghe.test:8443", GitHub::start_enterprise("3.19.1")),
    ] {
        let name = api.split(':').next().expect("a name comes first");
        let Way { mut w, proxy, front: _front } = Way::to(name, github);
        w.env("HTTPS_PROXY", proxy.url());
        w.start_agent(NO_OPTIONS);
        add(&w, &["--host", host]).stderr_contains(format!("on {host})")).ok();
        let token = w.apptoken(["--host", host, "token"]).line();
        // An Enterprise Server answers below /api/v3 only.
        assert_eq!(token, w.github.tokens()[0].value, "{host}");
        assert_eq!(proxy.targets(), [api], "{host}");
    }
}

#[test]
fn no_proxy_excludes_a_host() {
    for (variable, value, excluded) in [
        ("NO_PROXY", "localhost", true),
        ("no_proxy", "example.test, localhost", true),
        ("NO_PROXY", "*", true),
        ("NO_PROXY", "example.test,host", false),
    ] {
        let Way { mut w, proxy, front } = Way::to("localhost", GitHub::start());
        w.env("HTTPS_PROXY", proxy.url());
        w.env(variable, value);
        w.start_agent(NO_OPTIONS);
        add(&w, &["--api-url", &front.url()]).stderr_contains("Identity added").ok();
        w.apptoken(["token"]).line();
        assert_eq!(proxy.accepted() == 0, excluded, "{variable}={value}");
    }
}

#[test]
fn plain_http_to_this_machine_goes_through_no_proxy() {
    let mut w = World::new();
    let proxy = Proxy::answering("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        w.env(variable, proxy.url());
    }
    w.start_agent(NO_OPTIONS);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.apptoken(["token"]).line();
    assert_eq!(proxy.accepted(), 0);
}

#[test]
fn a_proxy_that_does_not_lead_there_is_what_the_refusal_is_about() {
    for (answer, why) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants a user name and a password"),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<h1>No</h1>\n", "does not lead there"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "does not lead there"),
        ("", "hung up"),
    ] {
        let proxy = Proxy::answering(answer);
        assert_refused_because_of(&proxy.url(), why);
        assert_eq!(proxy.accepted() == 1, why.contains("password"), "only what may pass is tried again: {why}");
    }
    assert_refused_because_of("http://127.0.0.1:1", "fails: Connection refused");
}

#[test]
fn a_proxy_that_cannot_be_understood_is_not_passed_by() {
    for variable in ["HTTPS_PROXY", "all_proxy"] {
        let Way { mut w, front, .. } = Way::to("localhost", GitHub::start());
        w.env(variable, "http://[secret");
        w.start_agent(NO_OPTIONS);
        let add = add(&w, &["--api-url", &front.url()]);
        add.stderr_contains(format!("{variable} is no address of a proxy")).stderr_contains("Identity added").ok();
        let refusal = w.apptoken(["token"]).everything();
        assert!(refusal.contains(variable) && !refusal.contains("secret"), "{refusal}");
        assert!(w.github.journal().is_empty());
    }
}

#[track_caller]
fn assert_refused_because_of(proxy: &str, why: &str) {
    let mut w = World::new();
    w.env("HTTPS_PROXY", proxy);
    w.start_agent(NO_OPTIONS);
    add(&w, &["--offline", "--host", HOST, "--api-url", API]).stderr_contains("Identity added").ok();
    let answer = w.request(&json!({"action": "getToken"}));
    assert_eq!(answer["code"], "github_unavailable", "{answer}");
    let (error, hint) = (answer["error"].to_string(), answer["hint"].to_string());
    assert!(error.contains(&format!("{API} cannot be reached: the proxy {why}")), "{answer}");
    assert!(hint.contains("HTTPS_PROXY"), "{answer}");
}

#[test]
fn the_proxys_password_is_told_to_the_proxy_and_to_nobody_else() {
    const USER: &str = "octo%40acme";
    const PASSWORD: &str = "sesame%21open";
    let told = BASE64_STANDARD.encode("octo@acme:sesame!open");
    let leads = Way::to(NAME, GitHub::start());
    let refuses = Proxy::answering("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    for (proxy, status) in [(&leads.proxy, 0), (&refuses, 1)] {
        let mut w = World::new();
        w.env("SSL_CERT_FILE", leads.w.path("home/ca.pem"));
        w.env("HTTPS_PROXY", format!("http://{USER}:{PASSWORD}@{}", proxy.authority()));
        let socket = w.path("here");
        let agent = w.command(AGENT).arg("-d").arg("-a").arg(&socket).args(["--audit-log", "audit"]).start();
        wait_for_agent_at(&socket);
        w.env("APPTOKEN_AUTH_SOCK", &socket);

        let mut said = add(&w, &["--api-url", API]).everything();
        for args in
            [&["token"][..], &["token", "--json"], &["installations"], &["list", "--json"], &["status", "--json"]]
        {
            said += &w.apptoken(args).everything();
        }
        let token = w.request(&json!({"action": "getToken"}));
        assert_eq!(token["ok"], status == 0, "{token}");
        said += &token.to_string();
        said += &std::fs::read_to_string(w.path("home/audit")).expect("what was asked was written down");
        agent.signal(Signal::SIGTERM);
        said += &agent.finish().everything();

        assert!(said.contains("debug:"), "the log was read: {said}");
        for secret in [PASSWORD, "sesame!open", &told, "octo%40acme", "octo@acme"] {
            assert!(!said.contains(secret), "{secret} is shown in:\n{said}");
        }
        assert!(!proxy.heard().is_empty());
        for heard in proxy.heard() {
            assert!(heard.head.contains(&format!("\r\nProxy-Authorization: Basic {told}\r\n")), "{}", heard.head);
        }
    }
    assert!(!leads.w.github.journal().is_empty());
}

/// A world whose agent is not started yet, and the way to its GitHub that only a proxy knows.
struct Way {
    w: World,
    /// What the proxy leads to.
    front: Front,
    proxy: Proxy,
}

impl Way {
    /// To `github`, which is known as `name`.
    fn to(name: &str, github: GitHub) -> Self {
        install_our_app(&github);
        let ca = Authority::new("ours");
        let front = Front::start(ca.issue(&[name]), &github);
        let proxy = Proxy::to(front.address());
        let mut w = World::new();
        w.github = github;
        let file = w.file("ca.pem", ca.pem());
        w.env("SSL_CERT_FILE", file);
        Self { w, front, proxy }
    }
}

/// `apptoken add` for the App of every world.
#[track_caller]
fn add(w: &World, options: &[&str]) -> Run {
    w.command(APPTOKEN).args(["add", "key.pem", "--app-id", &APP_ID.to_string()]).args(options).run()
}
