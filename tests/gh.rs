//! `apptoken gh …` is gh, as the App's bot: the real one, in our place, with a token for its key's host only.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::github::{App, Auth, GitHub, Installation};
use crate::support::{APP_ID, APPTOKEN, HOST, INSTALLATION_ID, KEY, SLUG, World, need};

#[test]
fn the_real_gh_reaches_github_with_a_token_of_the_app() {
    if !need("gh") {
        return;
    }
    let w = World::with_key().with_gh();
    let limits = w.apptoken(["gh", "api", "rate_limit"]).json();
    assert!(limits["resources"]["core"]["limit"].is_u64(), "{limits}");

    let journal = w.github.journal();
    let request = journal.iter().find(|request| request.is("GET /rate_limit")).expect("gh asked our GitHub");
    let Auth::Token { app, installation, .. } = request.authorization else { panic!("{request:?}") };
    assert_eq!((app, installation), (APP_ID, INSTALLATION_ID));
    assert!(request.user_agent.contains("GitHub CLI"), "{request:?}");
}

#[test]
fn gh_can_be_used_again_and_again_with_one_token() {
    if !need("gh") {
        return;
    }
    let w = World::with_key().with_gh();
    for _ in 0..3 {
        w.apptoken(["gh", "api", "rate_limit", "--silent"]).ok();
    }
    assert_eq!(w.github.mints(), 1);
    assert_eq!(w.github.count("GET /rate_limit"), 3);
}

#[test]
fn ghs_own_failure_is_passed_on_in_its_own_words() {
    if !need("gh") {
        return;
    }
    let w = World::with_key().with_gh();
    w.apptoken(["gh", "api", "repos/octo/no-such-repo", "--silent"])
        .stderr_contains("gh: Not Found (HTTP 404)")
        .exit(1);
    w.apptoken(["gh", "no-such-command"]).stderr_contains("unknown command").exit(1);
    w.apptoken(["gh", "--version"]).stdout_contains("gh version").ok();
}

#[test]
fn gh_takes_our_place_and_no_process_of_ours_stays_behind() {
    let w = World::with_key();
    let gh = w.script("gh", r#"echo "pid $$ parent $PPID"; exec sleep 60"#);
    let running = w.command(APPTOKEN).args(["gh", "pr", "list"]).env("APPTOKEN_GH", gh).start();
    running.expect_stdout(&format!("pid {} parent {}\n", running.pid(), std::process::id()));
}

#[test]
fn everything_after_gh_is_ghs() {
    let w = World::with_key();
    let args = ["--help", "-R", "octo/hello", "--repo=x", "--app", "a b", "", "--", "-q", "*"];
    assert_eq!(w.with_fake_gh(r#"printf '<%s>\n' "$@""#, &args), args.map(|arg| format!("<{arg}>\n")).concat());
}

#[test]
fn a_stale_token_in_the_environment_is_replaced() {
    let mut w = World::with_key();
    for name in ["GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"] {
        w.env(name, "ghs_stale");
    }
    let environment = w.with_fake_gh("env", &["api"]);
    assert!(!environment.contains("ghs_stale"), "{environment}");
    let token = &w.github.tokens()[0].value;
    for line in [format!("GH_TOKEN={token}\n"), format!("GITHUB_TOKEN={token}\n"), format!("GH_HOST={HOST}\n")] {
        assert!(environment.contains(&line), "{line}{environment}");
    }
}

#[test]
fn for_an_enterprise_server_the_token_is_in_the_variables_that_gh_reads_for_one() {
    let ghes = GitHub::start_enterprise("3.19.1");
    ghes.add_app(App::new(APP_ID, SLUG).key_pem(KEY));
    ghes.install(APP_ID, Installation::new(3, "platform"));
    let mut w = World::with_agent();
    let add = w.command(APPTOKEN).args(["add", "key.pem", "--app-id", "123456", "--host", "ghes.test"]);
    add.args(["--api-url", &ghes.api_url()]).run().stderr_contains("on ghes.test").ok();
    w.env("GH_TOKEN", "ghs_stale");
    let environment = w.with_fake_gh("env", &["api"]);
    let token = &ghes.tokens()[0].value;
    for line in ["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"].map(|name| format!("\n{name}={token}\n")) {
        assert!(format!("\n{environment}").contains(&line), "{line}{environment}");
    }
    assert!(environment.contains("GH_HOST=ghes.test\n"), "{environment}");
    assert!(!environment.contains("ghs_stale"), "{environment}");
    assert!(!format!("\n{environment}").contains(&format!("\nGH_TOKEN={token}")), "not where gh reads github.com's");
}

#[test]
fn a_token_never_goes_to_another_host_than_its_keys() {
    let w = World::with_key();
    let gh = w.script("gh", "touch ran");
    w.command(APPTOKEN).args(["gh", "api"]).env("APPTOKEN_GH", gh).env("GH_HOST", "ghes.test").run().fails(1, ["host"]);
    assert!(!w.path("home/ran").exists(), "gh was not run");
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn without_a_choice_among_installations_gh_is_not_run() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    let gh = w.script("gh", "touch ran");
    w.command(APPTOKEN).args(["gh", "api", "user"]).env("APPTOKEN_GH", gh).run().fails(1, ["octo", "acme"]);
    assert!(!w.path("home/ran").exists());
}

#[test]
fn without_a_key_gh_is_not_run() {
    let w = World::with_agent();
    let gh = w.script("gh", "touch ran");
    w.command(APPTOKEN).args(["gh", "api", "user"]).env("APPTOKEN_GH", gh).run().fails(1, ["apptoken add"]);
    assert!(!w.path("home/ran").exists());
}

#[test]
fn a_missing_gh_is_exit_code_127_and_a_hint_where_to_get_it() {
    let w = World::with_key();
    w.command(APPTOKEN).args(["gh", "api"]).env("PATH", w.path("tmp")).run().fails(127, ["gh", "cli.github.com"]);
    let named = w.command(APPTOKEN).args(["gh", "api"]).env("APPTOKEN_GH", "/no/such/gh").run();
    named.fails(127, ["/no/such/gh"]);
    let plain_file = w.file("gh", "");
    w.command(APPTOKEN).args(["gh", "api"]).env("APPTOKEN_GH", &plain_file).run().fails(126, []);
}

#[test]
fn apptoken_gh_is_split_as_a_shell_would() {
    let w = World::with_key();
    let run = w.command(APPTOKEN).args(["gh", "last"]).env("APPTOKEN_GH", "printf '<%s>' 'a b' \"c\"");
    run.run().stdout("<a b><c><last>").ok();
    let wrong = w.command(APPTOKEN).args(["gh", "last"]).env("APPTOKEN_GH", "gh 'unfinished");
    wrong.run().fails(64, ["APPTOKEN_GH"]);
}

#[test]
fn status_signal_and_input_are_ghs_own() {
    let w = World::with_key();
    let gh = |body| w.command(APPTOKEN).args(["gh", "x"]).env("APPTOKEN_GH", w.script("gh", body));
    gh("exit 4").run().exit(4);
    gh("kill -TERM $$").run().ended_by(Signal::SIGTERM);
    gh("cat").stdin("typed").run().stdout("typed").ok();
}

impl World {
    /// Runs `apptoken gh ARGS…` with a script in the place of gh, and returns what that printed.
    #[track_caller]
    fn with_fake_gh(&self, body: &str, args: &[&str]) -> String {
        let gh: &Path = &self.script("gh", body);
        self.command(APPTOKEN).arg("gh").args(args).env("APPTOKEN_GH", gh).run().text()
    }
}
