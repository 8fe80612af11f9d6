//! `apptoken gh …` is gh, as the App's bot: the real one, in our place, with a token for its key's host only.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;

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
    let args = ["--help", "-R", "octo/hello", "--repo=octo/tools", "--app", "a b", "", "--", "-q", "*"];
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

#[test]
fn the_repository_that_gh_is_told_chooses_the_installation() {
    let mut w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    for args in [
        &["pr", "list", "-R", "acme/web"][..],
        &["pr", "list", "--repo", "acme/web"],
        &["pr", "list", "--repo=acme/web"],
        &["pr", "list", "-Racme/web"],
        &["api", "repos/acme/web/pulls"],
        &["api", "/repos/acme/web"],
        &["repo", "clone", "acme/web"],
        &["pr", "view", &format!("https://{HOST}/acme/web/pull/7")],
    ] {
        assert_eq!(w.installation_of(&w.with_fake_gh("echo $GH_TOKEN", args)), 2, "{args:?}");
    }
    let elsewhere = w.with_fake_gh("echo $GH_TOKEN", &["issue", "list", "-R", "octo/hello"]);
    assert_eq!(w.installation_of(&elsewhere), INSTALLATION_ID);

    w.env("GH_REPO", "acme/web");
    assert_eq!(w.installation_of(&w.with_fake_gh("echo $GH_TOKEN", &["pr", "list"])), 2);
    assert_eq!(w.installation_of(&w.with_fake_gh("echo $GH_TOKEN", &["-R", "octo/hello"])), INSTALLATION_ID);
    w.env("APPTOKEN_OWNER", "octo");
    assert_eq!(w.installation_of(&w.with_fake_gh("echo $GH_TOKEN", &["pr", "list"])), INSTALLATION_ID, "said outright");
}

#[test]
fn the_remotes_of_the_current_directory_choose_the_installation_when_nothing_else_does() {
    if !need("git") {
        return;
    }
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    w.shell("sh", &format!("git init -q && git remote add origin git@{HOST}:acme/web.git")).ok();
    assert_eq!(w.installation_of(&w.with_fake_gh("echo $GH_TOKEN", &["pr", "list"])), 2);
    assert_eq!(w.installation_of(&w.with_fake_gh("echo $GH_TOKEN", &["pr", "list", "-R", "octo/hello"])), 1001);
    for verb in [&["token"][..], &["run", "--", "sh", "-c", "echo $GH_TOKEN"]] {
        assert_eq!(w.installation_of(&w.apptoken(verb).line()), 2, "{verb:?}");
    }
    assert_eq!(w.apptoken(["token", "--json"]).json()["repositories"], json!(null), "it chooses, and does not narrow");
    w.shell("sh", "git remote set-url origin https://elsewhere.example/acme/web.git").ok();
    w.apptoken(["token"]).fails(1, ["octo", "acme"]);
}

#[test]
fn git_is_not_asked_when_there_is_nothing_to_choose() {
    let w = World::with_key();
    std::fs::create_dir(w.path("home/bin")).expect("a new directory");
    w.script("bin/git", "touch \"$HOME/asked\"");
    let path = format!("{}:/usr/bin:/bin", w.path("home/bin").display());
    w.command(APPTOKEN).arg("token").env("PATH", &path).run().line();
    assert!(!w.path("home/asked").exists());
    // The control: it is this git that would be asked.
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["web"]));
    w.command(APPTOKEN).args(["token", "--permissions", "contents=read"]).env("PATH", &path).run().line();
    w.apptoken(["remove", "--all"]).stderr_contains("removed").ok();
    w.add_key(crate::support::NO_OPTIONS).stderr_contains("Identity added").ok();
    w.command(APPTOKEN).arg("token").env("PATH", &path).run().fails(1, ["octo", "acme"]);
    assert!(w.path("home/asked").exists());
}

#[test]
fn a_token_never_goes_to_the_host_of_a_repository_elsewhere() {
    let w = World::with_key();
    let gh = w.script("gh", "touch ran");
    let run = |name: &str, value: &str, args: &[&str]| {
        w.command(APPTOKEN).arg("gh").args(args).env("APPTOKEN_GH", &gh).env(name, value).run()
    };
    run("GH_REPO", "ghes.test/octo/hello", &["pr", "list"]).fails(1, ["host"]);
    run("X", "", &["pr", "list", "-R", "ghes.test/octo/hello"]).fails(1, ["host"]);
    run("GH_HOST", HOST, &["pr", "list", "-R", "acme.ghe.com/octo/hello"]).fails(1, ["another host"]);
    run("GH_HOST", HOST, &["api", "--hostname", "acme.ghe.com", "user"]).fails(1, ["another host"]);
    run("APPTOKEN_HOST", HOST, &["api", "--hostname=acme.ghe.com", "repos/octo/hello"]).fails(1, ["another host"]);
    run("X", "", &["auth", "status", "--hostname", "acme.ghe.com"]).fails(1, ["no key"]);
    for evil in ["git@evil.example:o/r", "ssh://git@evil.example/o/r"] {
        run("GH_REPO", evil, &["pr", "list"]).fails(1, ["no key"]);
        run("APPTOKEN_HOST", HOST, &["pr", "list", "-R", evil]).fails(1, ["another host"]);
        run("APPTOKEN_HOST", HOST, &["repo", "clone", evil]).fails(1, ["another host"]);
    }
    for evil in ["http://evil.example/o/r/pull/1", "https://api.evil.ghe.com/x"] {
        run("APPTOKEN_HOST", HOST, &["api", evil]).fails(1, ["another host"]);
        run("APPTOKEN_HOST", HOST, &["pr", "view", evil]).fails(1, ["another host"]);
    }
    run("X", "", &["pr", "list", "-R", "no repository"]).fails(64, ["--repo", "OWNER/REPO"]);
    run("GH_REPO", "no repository", &["pr", "list"]).fails(64, ["GH_REPO"]);
    assert!(!w.path("home/ran").exists(), "gh was not run");
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn a_wrapper_that_is_called_gh_finds_the_real_one_behind_it() {
    let w = World::with_key();
    for (directory, body) in [("wrapper", r#"exec apptoken gh "$@""#), ("real", r#"echo "the real one: $*""#)] {
        std::fs::create_dir(w.path("home").join(directory)).expect("a new directory");
        w.script(&format!("{directory}/gh"), body);
    }
    let ours = Path::new(APPTOKEN).parent().expect("a program is in a directory").to_owned();
    let path = |directories: &[&str]| {
        let directories = directories.iter().map(|name| w.path("home").join(name));
        std::env::join_paths(directories.chain([ours.clone(), "/bin".into()])).expect("no colons")
    };
    let run = |directories: &[&str], program: &str, args: &[&str]| {
        w.command(program).args(args).env("PATH", path(directories)).run()
    };
    run(&["wrapper", "real"], APPTOKEN, &["gh", "pr", "list"]).stdout("the real one: pr list\n").ok();
    let wrapper = w.path("home/wrapper/gh");
    let wrapper = wrapper.to_str().expect("a path of ours is text");
    run(&["wrapper", "real"], wrapper, &["pr", "list"]).stdout("the real one: pr list\n").ok();
    // /bin may have a gh of its own, hence a wrapper that is named outright.
    let endless = w.command(APPTOKEN).args(["gh", "pr"]).env("APPTOKEN_GH", wrapper).run();
    endless.fails(1, ["runs `apptoken gh` again", "APPTOKEN_GH="]);
}

impl World {
    /// Runs `apptoken gh ARGS…` with a script in the place of gh, and returns what that printed.
    #[track_caller]
    fn with_fake_gh(&self, body: &str, args: &[&str]) -> String {
        let gh: &Path = &self.script("gh", body);
        self.command(APPTOKEN).arg("gh").args(args).env("APPTOKEN_GH", gh).run().text()
    }

    /// The installation that a token acts for.
    #[track_caller]
    fn installation_of(&self, token: &str) -> u64 {
        let issued = self.github.tokens();
        issued.iter().find(|issued| issued.value == token.trim_end()).expect("GitHub knows the token").installation
    }
}
