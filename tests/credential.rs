//! `apptoken credential` is git's credential helper: it answers for the hosts of held keys, and nobody else is told anything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::command::Invocation;
use crate::support::github::{Installation, TokenFormat};
use crate::support::{APP_ID, APPTOKEN, HOST, INSTALLATION_ID, OTHER_KEY, SLUG, World};

const HELLO: &str = "protocol=https\nhost=github.localhost\npath=octo/hello.git\n";

#[test]
fn a_git_that_takes_it_gets_a_header_that_no_helper_is_to_store() {
    let w = World::with_key();
    let answer =
        w.get(&format!("capability[]=authtype\ncapability[]=state\n{HELLO}wwwauth[]=Basic realm=\"GitHub\"\n"));
    let token = &w.github.tokens()[0].value;
    let credential = w.shell("sh", &format!("printf x-access-token:{token} | base64 -w0")).text();
    let [capability, authtype, value, ephemeral, expiry] = &answer.lines().collect::<Vec<_>>()[..] else {
        panic!("{answer}")
    };
    assert_eq!([*capability, *authtype, *ephemeral], ["capability[]=authtype", "authtype=Basic", "ephemeral=1"]);
    assert_eq!(*value, format!("credential={credential}"));
    assert!(expiry.starts_with("password_expiry_utc="), "{answer}");
}

#[test]
fn an_older_git_gets_name_password_and_expiry() {
    let w = World::with_key();
    for format in [TokenFormat::Classic, TokenFormat::Stateless, TokenFormat::Long(2000)] {
        w.github.token_format(format);
        let answer = w.get(HELLO);
        let token = w.github.tokens().pop().expect("a token was minted");
        let expires = token.expires;
        assert_eq!(
            answer,
            format!("username=x-access-token\npassword={}\npassword_expiry_utc={expires}\n", token.value)
        );
        w.request(&json!({"action": "dropToken", "token": token.value}));
    }
}

#[test]
fn by_a_clock_for_which_the_token_is_over_no_expiry_is_told() {
    let w = World::with_key();
    w.github.skew(-2 * 3600);
    let answer = w.get(HELLO);
    let expires = w.github.tokens()[0].expires;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(u64::try_from(expires).expect("after 1970") < now);
    assert!(answer.contains("password=") && !answer.contains("expiry"), "{answer}");
}

#[test]
fn hosts_without_a_key_are_left_to_others_and_no_token_is_asked_for() {
    let w = World::with_key();
    for (protocol, host) in [
        ("https", "github.com"),
        ("https", "github.localhost.evil.example"),
        ("https", "evil.example/github.localhost"),
        ("https", "github.localhost:8443"),
        ("https", "github.localhost\r"),
        ("https", ""),
        ("ssh", HOST),
        ("", HOST),
    ] {
        assert_eq!(w.get(&format!("protocol={protocol}\nhost={host}\npath=octo/hello\n")), "", "{protocol} {host}");
    }
    assert_eq!(w.get("protocol=https\npath=octo/hello\n"), "");
    assert_eq!(w.get(""), "");
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn plain_http_is_for_a_key_whose_api_and_host_are_this_machine() {
    let w = World::with_key();
    assert!(w.get("protocol=http\nhost=github.localhost\n").contains("password="));
    let add = w.command(APPTOKEN).args(["add", "key.pem", "--app-id", "123456", "--host", "ghes.test"]);
    add.args(["--api-url", &w.github.url()]).run().stderr_contains("on ghes.test").ok();
    let mints = w.github.mints();
    assert_eq!(w.get("protocol=http\nhost=ghes.test\npath=octo/hello\n"), "");
    assert_eq!(w.github.mints(), mints);
    assert!(w.get("protocol=https\nhost=ghes.test\npath=octo/hello\n").contains("password="));
}

#[test]
fn the_owner_in_the_path_chooses_the_installation_and_narrows_nothing() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").all(&["web"]));
    for path in ["acme/web.git", "acme/web", "/acme/web.git/info/lfs", "Acme/other", "acme"] {
        assert!(w.get(&format!("protocol=https\nhost={HOST}\npath={path}\n")).contains("password="), "{path}");
    }
    assert!(w.get(HELLO).contains("password="));
    let tokens: Vec<_> = w.github.tokens().into_iter().map(|token| (token.installation, token.repositories)).collect();
    assert_eq!(tokens, [(2, None), (INSTALLATION_ID, None)]);
}

#[test]
fn without_a_path_the_remotes_of_the_directory_choose() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").all(&["web"]));
    let script = "git init -q clone; cd clone; git remote add origin git@github.localhost:octo/hello.git
        git remote add zz https://gitlab.example/x/y; git remote add upstream https://github.localhost/acme/web";
    w.shell("sh", script).ok();
    let ask = w.helper("get", "protocol=https\nhost=github.localhost\n");
    ask.current_dir(w.path("home/clone")).run().stdout_contains("password=").ok();
    assert_eq!(w.github.tokens()[0].installation, 2, "upstream comes before origin");

    let ask = w.helper("get", "protocol=https\nhost=github.localhost\n").run();
    ask.stdout("quit=1\n").stderr_contains("acme").stderr_contains("octo").stderr_contains("hint: ").ok();
}

#[test]
fn a_remote_on_a_host_of_another_key_chooses_nothing() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").all(&["web"]));
    w.file("other.pem", OTHER_KEY);
    let add = w.command(APPTOKEN).args(["add", "other.pem", "--offline", "--app-id", "7", "--host", "ghes.test"]);
    add.args(["--api-url", &w.github.url()]).run().stderr_contains("Identity added").ok();
    w.shell("sh", "git init -q clone; cd clone; git remote add origin https://ghes.test/acme/web").ok();
    let token = |app: &str| w.command(APPTOKEN).args(["--app", app, "token"]).current_dir(w.path("home/clone")).run();
    token(SLUG).fails(1, ["acme", "octo"]);
    w.shell("sh", "cd clone; git remote add mine https://github.localhost/octo/hello").ok();
    token(SLUG).stdout_contains("ghs_").ok();
    assert_eq!(w.github.tokens().len(), 1);
}

#[test]
fn the_remote_of_a_partial_clone_chooses_as_well() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").all(&["web"]));
    let script = "git init -q clone; cd clone; git remote add origin https://github.localhost/acme/web
        git config remote.origin.promisor true; git config remote.origin.partialclonefilter blob:none";
    w.shell("sh", script).ok();
    w.command(APPTOKEN).arg("token").current_dir(w.path("home/clone")).run().stdout_contains("ghs_").ok();
    assert_eq!(w.github.tokens()[0].installation, 2);
}

#[test]
fn an_option_outdoes_the_path() {
    let w = World::with_key();
    w.github.install(APP_ID, Installation::new(2, "acme").all(&["web"]));
    let run = |options: &[&str]| {
        let run = w.command(APPTOKEN).args(options).args(["credential", "get"]).stdin(HELLO).run();
        run.stdout_contains("password=").ok();
        w.github.tokens().pop().expect("a token was minted")
    };
    assert_eq!(run(&["--owner", "acme"]).installation, 2);
    assert_eq!(run(&["--installation-id", "2", "--permissions", "contents=read"]).installation, 2);
    assert_eq!(run(&["--repo", "octo/hello"]).repositories, Some(vec!["hello".to_owned()]));
    let other = w.command(APPTOKEN).args(["--host", "github.com", "credential", "get"]).stdin(HELLO);
    other.run().stdout("").ok();
}

#[test]
fn a_name_in_the_address_makes_no_difference() {
    let w = World::with_key();
    assert!(w.get(&format!("{HELLO}username=someone\n")).starts_with("username=x-access-token\n"));
}

#[test]
fn when_no_token_can_be_had_git_is_told_to_stop_and_the_person_why() {
    let w = World::with_key();
    let missing = w.helper("get", "protocol=https\nhost=github.localhost\npath=nobody/x\n").run();
    missing.stdout("quit=1\n").stderr_contains("not installed").stderr_contains("hint: ").ok();
    w.github.suspend(INSTALLATION_ID);
    w.helper("get", HELLO).run().stdout("quit=1\n").stderr_contains("suspended").ok();
}

#[test]
fn a_locked_or_missing_agent_stops_git_only_where_the_host_was_given() {
    let mut w = World::with_key();
    w.file("passphrase", "hunter2\n");
    w.shell("sh", "apptoken lock --passphrase-fd 3 3<passphrase").stderr_contains("locked").ok();
    let given = |w: &World| w.command(APPTOKEN).args(["--host", HOST, "credential", "get"]).stdin(HELLO).run();
    given(&w).stdout("quit=1\n").stderr_contains("apptoken: the agent is locked\nhint: ").ok();
    w.helper("get", HELLO).run().stdout("").stderr_contains("locked").ok();
    w.agent(["-k"]).stdout_contains("unset").ok();
    w.env_remove("APPTOKEN_AUTH_SOCK");
    given(&w).stdout("quit=1\n").stderr_contains("no agent").ok();
    w.helper("get", HELLO).run().stdout("").stderr_contains("no agent").ok();
    w.helper("erase", format!("{HELLO}password=x\n")).run().ok();
    w.helper("store", format!("{HELLO}password=x\n")).run().ok();
    w.env_remove("APPTOKEN_AGENT_PID");
}

#[test]
fn on_a_configured_site_of_plain_http_as_well() {
    let w = World::with_git();
    w.file("passphrase", "hunter2\n");
    w.shell("sh", "apptoken lock --passphrase-fd 3 3<passphrase").stderr_contains("locked").ok();
    let host = w.git_host();
    let ask = format!("protocol=http\nhost={host}\npath=octo/hello.git\n");
    let given = w.command(APPTOKEN).args(["--host", &host, "credential", "get"]).stdin(ask);
    given.run().stdout("quit=1\n").stderr_contains("apptoken: the agent is locked\nhint: ").ok();
    let ask = "protocol=http\nhost=ghes.test\npath=octo/hello.git\n";
    let given = w.command(APPTOKEN).args(["--host", "ghes.test", "credential", "get"]).stdin(ask);
    given.run().stdout("").stderr_contains("locked").ok();
}

#[test]
fn options_that_cannot_be_read_stop_git_where_the_host_is_ours() {
    let w = World::with_key();
    let ask = |options: &[&str], text: &str| w.command(APPTOKEN).args(options).args(["credential", "get"]).stdin(text);
    let elsewhere = "protocol=https\nhost=gitlab.example\npath=x/y\n";
    for options in [&["--min-ttl", "soon"][..], &["--host", HOST, "--owner", "no body"]] {
        let run = ask(options, HELLO).run();
        run.stdout("quit=1\n").stderr_contains("cannot be used").stderr_contains("hint: ").ok();
        ask(options, elsewhere).run().stdout("").ok();
    }
    let run = ask(&[], HELLO).env("APPTOKEN_PERMISSIONS", "").run();
    run.stdout("quit=1\n").stderr_contains("APPTOKEN_PERMISSIONS").ok();
    ask(&[], elsewhere).env("APPTOKEN_PERMISSIONS", "").run().stdout("").ok();
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn asked_before_any_server_did_it_has_git_try_as_nobody_where_there_is_no_token() {
    let w = World::with_key();
    let early = "capability[]=authtype\ncapability[]=state\nwwwauth[]=Basic\n";
    let theirs = "protocol=https\nhost=github.localhost\npath=nobody/x\n";
    let ask = |text: &str| w.command(APPTOKEN).args(["--host", HOST, "credential", "get"]).stdin(text).run();
    let answer = ask(&format!("{early}{theirs}"));
    let nobody = "capability[]=authtype\ncapability[]=state\nauthtype=\ncredential=\nephemeral=1\n\
        state[]=apptoken.as-nobody=1\ncontinue=1\n";
    answer.stdout(nobody).stderr("").ok();
    for second in [
        format!("{early}{theirs}state[]=apptoken.as-nobody=1\n"),
        format!("{early}{theirs}wwwauth[]=Basic realm=\"GitHub\"\n"),
        format!("capability[]=authtype\nwwwauth[]=Basic\n{theirs}"),
        theirs.to_owned(),
    ] {
        ask(&second).stdout("quit=1\n").stderr_contains("not installed").ok();
    }
    ask(&format!("{early}{HELLO}")).stdout_contains("credential=").ok();
    // Whose own setting it is that git asks early, other helpers may know.
    w.helper("get", format!("{early}{theirs}")).run().stdout("quit=1\n").stderr_contains("not installed").ok();
}

#[test]
fn a_token_without_contents_is_handed_out_with_a_warning() {
    let w = World::with_key();
    w.github.set_permissions(INSTALLATION_ID, &[("metadata", "read")]);
    let get = w.helper("get", HELLO).run();
    get.stdout_contains("password=").stderr_contains("apptoken: warning: ").stderr_contains("contents").ok();
}

#[test]
fn what_git_erases_is_not_handed_out_again() {
    let w = World::with_key();
    let old = w.get(HELLO);
    w.helper("erase", format!("{HELLO}{old}")).run().ok();
    assert_ne!(w.get(HELLO), old);
    let new = w.get(&format!("capability[]=authtype\n{HELLO}"));
    w.helper("erase", format!("{HELLO}{new}")).run().ok();
    w.get(HELLO);
    assert_eq!(w.github.mints(), 3);
}

#[test]
fn only_the_token_that_was_refused_is_erased_and_only_for_its_host() {
    let w = World::with_key();
    let old = w.get(HELLO);
    for text in [
        format!("{HELLO}password=ghs_other\n"),
        format!("{HELLO}credential=!!!\n"),
        HELLO.to_owned(),
        format!("protocol=https\nhost=github.com\n{old}"),
    ] {
        w.helper("erase", text).run().ok();
    }
    assert_eq!(w.get(HELLO), old);
}

#[test]
fn storing_and_words_of_the_future_are_passed_over() {
    let w = World::with_key();
    let token = w.get(HELLO);
    w.helper("store", format!("{HELLO}{token}")).run().ok();
    for word in ["capability", "list", ""] {
        w.helper(word, HELLO).run().ok();
    }
    w.command(APPTOKEN).arg("credential").run().fails(64, ["OPERATION is missing"]);
    assert!(w.get(&format!("brand=new\nodd[]=\n[]=\n=\nno equals sign\nquit=0\n{HELLO}")).contains("password="));
}

#[test]
fn what_comes_after_the_empty_line_does_not_count_and_need_not_come() {
    let w = World::with_key();
    assert!(w.get(&format!("{HELLO}\nhost=evil.example\n")).contains("password="));
    let script = format!("(printf '{}\n'; exec sleep 60) | apptoken credential get", HELLO.replace('\n', "\\n"));
    w.command("sh").args(["-c", &script]).start().expect_stdout("password=");
}

#[test]
fn a_message_that_is_not_gits_gets_no_token() {
    let w = World::with_key();
    let long = format!("path={}\n", "x".repeat(70_000));
    assert!(w.get(&format!("{long}{HELLO}")).contains("password="), "one long line is git's own");
    w.helper("get", format!("{}{HELLO}", long.repeat(16))).run().fails(1, ["too long"]);
    w.helper("get", format!("{HELLO}path=\0\n")).run().fails(1, ["NUL"]);
    w.assert_agent_is_well();
}

#[test]
fn a_token_that_would_end_too_soon_is_not_handed_out() {
    let w = World::with_key();
    w.github.token_lifetime(Duration::from_mins(4));
    w.helper("get", HELLO).run().stdout("quit=1\n").stderr_contains("--min-ttl").ok();
    let less = w.command(APPTOKEN).args(["--min-ttl", "3m", "credential", "get"]).stdin(HELLO);
    less.run().stdout_contains("password=").ok();
}

impl World {
    /// What `apptoken credential get` answers.
    #[track_caller]
    fn get(&self, text: &str) -> String {
        self.helper("get", text).run().text()
    }

    fn helper(&self, operation: &str, text: impl Into<Vec<u8>>) -> Invocation {
        self.command(APPTOKEN).args(["credential", operation]).stdin(text)
    }
}
