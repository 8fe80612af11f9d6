//! Who the App is when it commits: its bot's name, and the number and address by which GitHub knows it.

use serde_json::json;

use crate::support::github::{App, Auth, GitHub, Installation};
use crate::support::{APP_ID, APPTOKEN, HOST, INSTALLATION_ID, NO_OPTIONS, OTHER_KEY, SLUG, World, need};

#[test]
fn whoami_tells_the_bots_name_number_and_address() {
    let w = World::with_key();
    let bot = w.apptoken(["whoami", "--json"]).json();
    let id = bot["id"].as_u64().expect("a number");
    assert_ne!(id, APP_ID, "the bot is a user, and has a number of its own");
    let address = format!("{id}+{SLUG}[bot]@users.noreply.{HOST}");
    let told = json!({"name": format!("{SLUG}[bot]"), "id": id, "email": address, "app_id": APP_ID, "slug": SLUG, "host": HOST});
    assert_eq!(bot, told);
    let line = format!("{SLUG}[bot] <{address}> (user {id}, App {APP_ID} on {HOST})");
    assert_eq!(w.apptoken(["whoami"]).line(), line);
}

#[test]
fn github_is_asked_once_with_a_token_that_may_do_next_to_nothing() {
    let w = World::with_key();
    w.apptoken(["whoami"]).line();
    let requests = w.github.journal().len();
    w.apptoken(["whoami"]).line();
    assert_eq!(w.github.journal().len(), requests);
    let [token] = &w.github.tokens()[..] else { panic!("one token was minted") };
    assert_eq!(format!("{:?}", token.permissions), r#"{"metadata": Read}"#);
    let journal = w.github.journal();
    let asked = journal.iter().find(|request| request.is("GET /users/*")).expect("it asked who the bot is");
    assert!(matches!(asked.authorization, Auth::Token { installation: INSTALLATION_ID, .. }), "{asked:?}");
}

#[test]
fn an_app_that_is_installed_nowhere_or_only_suspended_says_so() {
    let w = World::with_agent();
    w.github.add_app(App::new(777, "lonely").key_pem(OTHER_KEY));
    w.file("lonely.pem", OTHER_KEY);
    w.add_for("777", "lonely.pem").run().stderr_contains("Identity added").ok();
    w.apptoken(["whoami"]).fails(1, ["not installed"]);
    w.github.install(777, Installation::new(70, "else").repositories(&["x"]).permissions(&[("metadata", "read")]));
    w.github.suspend(70);
    w.apptoken(["whoami"]).fails(1, ["not installed"]);
    w.github.unsuspend(70);
    w.apptoken(["whoami"]).stdout_contains("lonely[bot]").ok();
}

#[test]
fn a_server_of_ones_own_has_addresses_of_its_own_without_the_port() {
    let w = World::with_agent();
    let server = GitHub::start_enterprise("3.19.1");
    server.add_app(App::new(7, "elsewhere").key_pem(OTHER_KEY));
    server.install(7, Installation::new(70, "else").repositories(&["x"]).permissions(&[("metadata", "read")]));
    w.file("other.pem", OTHER_KEY);
    let add = ["add", "other.pem", "--app-id", "7", "--host", "ghe.example:8443", "--api-url", &server.api_url()];
    w.apptoken(add).stderr_contains("Identity added").ok();
    let bot = w.apptoken(["whoami", "--json"]).json();
    assert!(bot["email"].as_str().is_some_and(|email| email.ends_with("+elsewhere[bot]@users.noreply.ghe.example")));
}

#[test]
fn a_commit_under_as_bot_is_the_bots() {
    if !need("git") {
        return;
    }
    let w = World::with_key();
    let email = w.apptoken(["whoami", "--json"]).json()["email"].as_str().expect("an address").to_owned();
    let script = "git init -q r && cd r && git commit -q --allow-empty -m x && git log --format='%an %ae %cn %ce'";
    let by_bot = w.apptoken(["run", "--as-bot", "--", "sh", "-c", script]).line();
    assert_eq!(by_bot, format!("{SLUG}[bot] {email} {SLUG}[bot] {email}"));
    let mine = w.command(APPTOKEN).args(["run", "--", "sh", "-c", "rm -r r; echo ${GIT_AUTHOR_NAME-nobody}"]);
    assert_eq!(mine.run().line(), "nobody");
}

#[test]
fn nobody_is_told_who_it_is_by_a_locked_or_an_empty_agent() {
    let w = World::with_agent();
    w.apptoken(["whoami"]).fails(1, ["no key"]);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    assert_eq!(w.request(&json!({"action": "lock", "passphrase": "x"}))["ok"], true);
    w.apptoken(["whoami"]).fails(1, ["locked"]);
}
