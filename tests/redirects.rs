//! Redirects are followed where GitHub uses them, on its own host; no other server learns that there was a question.

use serde_json::{Value, json};

use crate::support::github::{Auth, Fault, GitHub};
use crate::support::tls::{Authority, Front};
use crate::support::{APP_ID, APPTOKEN, INSTALLATION_ID, NO_OPTIONS, World, install_our_app};

const LOOK_UP: &str = "GET /users/octo/installation";
const MINT: &str = "POST /app/installations/*/access_tokens";

#[test]
fn a_repository_is_found_by_the_name_that_it_had() {
    let w = World::with_key();
    w.github.rename_repository("octo", "hello", "greetings");
    // The way there is found; a token for a name of old is another question, which GitHub answers with no.
    w.apptoken(["token", "--repo", "octo/hello"]).fails(1, ["not part of the installation"]);
    assert_eq!(w.github.count("GET /repos/octo/hello/installation"), 1);
    assert_eq!(w.github.count("GET /repositories/*/installation"), 1);
    assert_eq!(w.github.mints(), 1);
}

#[test]
fn a_question_is_asked_again_where_it_is_redirected_on_the_same_host() {
    for status in [301, 302, 307, 308] {
        let w = World::with_key();
        w.github.next_on(LOOK_UP, Fault::Redirect(status, format!("{}/orgs/octo/installation", w.github.url())));
        w.github
            .next_on("GET /orgs/octo/installation", Fault::Redirect(status, "/users/octo/installation?2".to_owned()));
        w.apptoken(["token", "--owner", "octo"]).line();
        assert_eq!(w.github.count(LOOK_UP), 2, "{status}");
        let all_signed = w.github.journal().iter().all(|request| matches!(request.authorization, Auth::Jwt { .. }));
        assert!(all_signed, "{status}: {:?}", w.github.journal());
    }
}

#[test]
fn a_mint_keeps_its_method_and_its_narrowing_when_it_is_redirected() {
    for status in [307, 308] {
        let w = World::with_key();
        let again = format!("{}/app/installations/1001/access_tokens?again", w.github.url());
        w.github.next_on(MINT, Fault::Redirect(status, again));
        w.apptoken(["token", "--owner", "octo", "--permissions", "contents=read"]).line();
        let journal = w.github.journal();
        let [first, second] = &journal.iter().filter(|request| request.is(MINT)).collect::<Vec<_>>()[..] else {
            panic!("{status}: two questions for a token, not {journal:?}");
        };
        assert_eq!((first.status, second.status), (Some(status), Some(201)));
        assert_eq!(second.query, "again");
        assert_eq!(second.body, Some(json!({"permissions": {"contents": "read"}})), "{status}");
        assert_eq!(second.body, first.body);
    }
}

/// After these a POST would go on as a GET, and whatever that finds says nothing about the token that was asked for.
#[test]
fn a_mint_does_not_become_another_question() {
    for status in [301, 302, 303] {
        let w = World::with_key();
        w.github.next_on(MINT, Fault::Redirect(status, "/app/installations/1001".to_owned()));
        w.apptoken(["token"]).fails(1, ["redirects"]);
        assert_eq!(w.github.count("GET /app/installations/1001"), 0, "{status}");
    }
}

#[test]
fn another_server_gets_no_request() {
    let elsewhere = GitHub::start();
    install_our_app(&elsewhere);
    for status in [301, 302, 303, 307, 308] {
        let w = World::with_key();
        // Another port, and another name of the same server.
        let others = [elsewhere.url(), w.github.url().replace("127.0.0.1", "localhost")];
        for (other, owner) in others.iter().zip(["octo", "octo-again"]) {
            let path = format!("/users/{owner}/installation");
            w.github.next_on(&format!("GET {path}"), Fault::Redirect(status, format!("{other}{path}")));
            assert_not_followed(&w, &json!({"action": "getToken", "owner": owner}));
            assert_eq!(w.github.count(&format!("GET {path}")), 1, "{status} to {other}");
        }
        for (other, level) in others.iter().zip(["read", "write"]) {
            let path = "/app/installations/1001/access_tokens";
            w.github.next_on(MINT, Fault::Redirect(status, format!("{other}{path}")));
            let permissions = json!({"contents": level});
            assert_not_followed(
                &w,
                &json!({"action": "getToken", "installationId": INSTALLATION_ID, "permissions": permissions}),
            );
        }
        assert_eq!(w.github.count("* /app/installations/1001/access_tokens"), 2, "{status}: {:?}", w.github.journal());
    }
    assert!(elsewhere.journal().is_empty(), "{:?}", elsewhere.journal());
}

#[test]
fn what_is_asked_over_tls_is_not_asked_again_without() {
    let (mut w, ca, elsewhere) = (World::new(), Authority::new("ours"), GitHub::start());
    install_our_app(&elsewhere);
    let front = Front::start(ca.issue(&["localhost"]), &w.github);
    let file = w.file("ca.pem", ca.pem());
    w.env("SSL_CERT_FILE", file);
    w.start_agent(NO_OPTIONS);
    let add = w.command(APPTOKEN).args(["add", "key.pem", "--app-id", &APP_ID.to_string()]);
    add.args(["--api-url", &front.url()]).run().stderr_contains("Identity added").ok();
    for (to, owner) in [(front.url().replace("https", "http"), "octo"), (elsewhere.url(), "octo-again")] {
        let path = format!("/users/{owner}/installation");
        w.github.next_on(&format!("GET {path}"), Fault::Redirect(307, to + &path));
        assert_not_followed(&w, &json!({"action": "getToken", "owner": owner}));
        assert_eq!(w.github.count(&format!("GET {path}")), 1);
    }
    assert!(elsewhere.journal().is_empty(), "{:?}", elsewhere.journal());
}

/// The answer says that GitHub did not answer itself.
#[track_caller]
fn assert_not_followed(w: &World, question: &Value) {
    let answer = w.request(question);
    assert_eq!(answer["code"], "github_unavailable", "{answer}");
}

#[test]
fn redirects_that_do_not_end_are_given_up() {
    let w = World::with_key();
    w.github.always(LOOK_UP, Fault::Redirect(302, "/users/octo/installation".to_owned()));
    w.apptoken(["token", "--owner", "octo"]).fails(1, ["redirects"]);
    assert!((2..=10).contains(&w.github.count(LOOK_UP)), "{}", w.github.count(LOOK_UP));
}
