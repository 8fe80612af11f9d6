//! `apptoken git …` is git, as the App's bot: every repository by https, each owner's with a token of its own, and no token
//! anywhere but between git and GitHub.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;

use crate::support::github::{App, Auth, Fault, Installation};
use crate::support::pty::Key;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APP_ID, APPTOKEN, INSTALLATION_ID, NO_OPTIONS, OTHER_KEY, World};

#[test]
fn clone_fetch_and_push_need_one_token() {
    let w = World::with_git();
    w.clone_hello();
    w.git_in("hello", &["fetch", "-q"]).run().ok();
    w.git_in("hello", &["commit", "-q", "--allow-empty", "-m", "second"]).run().ok();
    w.git_in("hello", &["push", "-q"]).run().ok();
    let local = w.git_in("hello", &["rev-parse", "HEAD"]).run().line();
    let remote = w.git_in("hello", &["ls-remote", "origin", "main"]).run().line();
    assert_eq!(remote, format!("{local}\trefs/heads/main"));
    assert_eq!(w.github.mints(), 1);
}

#[test]
fn the_address_of_a_repository_needs_no_git_at_its_end() {
    let w = World::with_git();
    w.git(&["clone", "-q", &format!("{}/octo/hello", w.github.url())]).ok();
    assert_eq!(fs::read_to_string(w.path("home/hello/greeting")).expect("it was cloned"), "hello\n");
}

#[test]
fn submodules_of_several_owners_each_get_a_token_of_their_owners_installation() {
    let w = World::with_git();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["lib", "deep"]));
    w.repository("acme/deep", "echo deep >file");
    w.repository("acme/lib", &w.with_submodule("acme/deep", "git@127.0.0.1:acme/deep.git"));
    w.repository("octo/tools", &w.with_submodule("acme/lib", &w.git_url("acme/lib")));

    w.git(&["clone", "-q", "--recurse-submodules", &w.git_url("octo/tools")]).ok();
    let deep = w.path("home/tools/sub/sub/file");
    assert_eq!(fs::read_to_string(deep).expect("all were cloned"), "deep\n");
    for request in w.github.journal() {
        if let Auth::Token { installation, .. } = request.authorization {
            let owner = if installation == INSTALLATION_ID { "/octo/" } else { "/acme/" };
            assert!(request.path.starts_with(owner), "{request:?}");
        }
    }
    assert_eq!(w.github.tokens().len(), 2);
    assert!(!w.ssh_was_run());
}

#[test]
fn worktrees_share_the_way_to_the_remote() {
    let w = World::with_git();
    w.clone_hello();
    w.git_in("hello", &["worktree", "add", "-q", "-b", "topic", "../topic"]).run().ok();
    w.git_in("topic", &["commit", "-q", "--allow-empty", "-m", "on topic"]).run().ok();
    w.git_in("topic", &["push", "-q", "origin", "topic"]).run().ok();
    w.git_in("hello", &["ls-remote", "--exit-code", "origin", "topic"]).run().stdout_contains("refs/heads/topic").ok();
}

#[test]
fn every_form_of_ssh_address_goes_by_https() {
    let w = World::with_git();
    for address in [
        "git@127.0.0.1:octo/hello.git",
        "git@127.0.0.1:octo/hello",
        "git@127.0.0.1:/octo/hello",
        "127.0.0.1:octo/hello",
        "ssh://git@127.0.0.1/octo/hello.git",
        "ssh://127.0.0.1/octo/hello.git",
        "ssh://git@127.0.0.1:22/octo/hello.git",
        "git+ssh://git@127.0.0.1/octo/hello.git",
        "ssh+git://git@127.0.0.1/octo/hello.git",
    ] {
        w.git(&["ls-remote", "--exit-code", address, "main"]).stdout_contains("refs/heads/main").stderr("").ok();
        assert!(!w.ssh_was_run(), "{address}");
    }
}

#[test]
fn an_address_with_a_login_of_its_own_is_warned_of_and_not_repeated() {
    let w = World::with_git();
    w.clone_hello();
    let hint = format!("hint: the address that asks apptoken is {}/octo/hello\n", w.github.url());
    let address = w.git_url("octo/hello").replace("//", "//me:personal@");
    let run = w.git(&["ls-remote", &address]);
    let words =
        run.stderr_contains("apptoken: warning: an address on the command line").stderr_contains(&hint).text_of(128);
    assert_eq!(words, "");
    for address in [address.as_str(), "org-123@127.0.0.1:octo/hello.git"] {
        w.git_in("hello", &["remote", "set-url", "origin", address]).run().stderr_contains("").ok();
        let run = w.git_in("hello", &["status", "-s"]).run();
        run.stderr(format!(
            "apptoken: warning: remote origin brings a login of its own, and git will use that\n{hint}"
        ))
        .ok();
    }
}

#[test]
fn settings_that_would_lead_past_the_agent_do_not() {
    let w = World::with_git();
    w.clone_hello();
    let (host, url) = (w.git_host(), w.github.url());
    let whole = format!("{url}/");
    let mut settings = vec![
        ("url.git@127.0.0.1:.insteadOf".to_owned(), whole.clone()),
        ("url.git@127.0.0.1:.pushInsteadOf".to_owned(), whole.clone()),
        ("url.ssh://git@127.0.0.1/.insteadOf".to_owned(), "http://".to_owned()),
        ("url.ssh://git@127.0.0.1/.pushInsteadOf".to_owned(), "http://".to_owned()),
        ("url.git@127.0.0.1:octo/.insteadOf".to_owned(), format!("{url}/octo/")),
        ("url.git@work-alias:.insteadOf".to_owned(), whole.clone()),
        (format!("url.http://someone:stale@{host}/.insteadOf"), whole.clone()),
        ("http.extraHeader".to_owned(), "AUTHORIZATION: basic c3RhbGU=".to_owned()),
    ];
    settings.extend(
        [url.clone(), whole, format!("{url}/octo/")]
            .map(|place| (format!("http.{place}.extraHeader"), "Authorization: basic c3RhbGU=".to_owned())),
    );
    for (name, value) in settings {
        w.plain_git(&["config", "--global", &name, &value]).ok();
        w.git_in("hello", &["commit", "-q", "--allow-empty", "-m", "more"]).run().ok();
        w.git_in("hello", &["push", "-q"]).run().ok();
        w.git_in("hello", &["fetch", "-q"]).run().ok();
        w.plain_git(&["config", "--global", "--unset", &name]).ok();
    }
    assert!(!w.ssh_was_run());
}

#[test]
fn short_names_of_ones_own_lead_to_the_agent_as_well() {
    let w = World::with_git();
    w.plain_git(&["config", "--global", "url.git@127.0.0.1:.insteadOf", "gh:"]).ok();
    w.git(&["clone", "-q", "gh:octo/hello"]).ok();
    assert!(!w.ssh_was_run());
}

#[test]
fn settings_that_stand_where_git_is_told_to_look_count() {
    let w = World::with_git();
    w.clone_hello();
    let rule = ["url.git@127.0.0.1:.insteadOf", &format!("{}/", w.github.url())];
    w.git_in("hello", &["config", rule[0], rule[1]]).run().ok();
    w.git(&["-C", "hello", "fetch", "-q"]).ok();
    w.git(&["--git-dir", "hello/.git", "fetch", "-q"]).ok();
    w.git(&["--git-dir=hello/.git", "--no-pager", "fetch", "-q"]).ok();
    w.git(&["-c", &rule.join("="), "ls-remote", "-q", &w.git_url("octo/hello")]).stdout_contains("main").ok();
    assert!(!w.ssh_was_run());
}

#[test]
fn a_mirror_of_ones_own_choice_stays_one() {
    let w = World::with_git();
    let mirror = w.path("git").to_string_lossy().into_owned();
    w.plain_git(&["config", "--global", &format!("url.file://{mirror}/.insteadOf"), "https://mirrored.example/"]).ok();
    w.git(&["clone", "-q", "https://mirrored.example/octo/hello.git"]).ok();
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn a_push_that_is_not_granted_fails_in_githubs_words() {
    let w = World::with_git();
    w.github.set_permissions(INSTALLATION_ID, &[("contents", "read"), ("metadata", "read")]);
    w.clone_hello();
    w.git_in("hello", &["commit", "-q", "--allow-empty", "-m", "second"]).run().ok();
    let push = w.git_in("hello", &["push", "-q"]).run();
    push.stderr_contains("remote: Write access to repository not granted.").stderr_contains("403").exit(128);
}

#[test]
fn a_repository_that_the_token_does_not_see_is_not_found_in_githubs_words() {
    let w = World::with_git();
    w.repository("octo/secret", "echo secret >file");
    let clone = w.git(&["clone", "-q", &w.git_url("octo/secret")]);
    clone.stderr_contains("remote: Repository not found.").exit(128);
}

#[test]
fn where_the_app_is_not_installed_git_stops_and_says_so() {
    let w = World::with_git();
    w.repository("stranger/private", "echo hidden >file");
    let clone = w.git(&["clone", "-q", &w.git_url("stranger/private")]);
    clone.stderr_contains("apptoken: ").stderr_contains("not installed").stderr_contains("hint: ").exit(128);
}

#[test]
fn public_repositories_of_others_need_no_token() {
    let w = World::with_git();
    w.repository("stranger/public", "echo open >file");
    w.publish("stranger/public");
    w.git(&["clone", "-q", &w.git_url("stranger/public")]).ok();
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn a_login_in_netrc_is_never_used() {
    for setup in [false, true] {
        let w = World::with_git();
        if !w.asks_early() {
            return;
        }
        w.file(".netrc", "machine 127.0.0.1 login me password personal\n");
        w.repository("octo/open", "echo open >file");
        w.publish("octo/open");
        w.repository("stranger/open", "echo open >file");
        w.publish("stranger/open");
        w.repository("stranger/private", "echo hidden >file");
        let git = |args: &[&str]| {
            if setup { w.plain_git(args) } else { w.git(args) }
        };
        if setup {
            w.apptoken(["setup-git"]).stderr_contains("git now asks").ok();
        }
        git(&["clone", "-q", &w.git_url("octo/hello")]).ok();
        git(&["-C", "hello", "commit", "-q", "--allow-empty", "-m", "second"]).ok();
        git(&["-C", "hello", "push", "-q"]).ok();
        git(&["clone", "-q", &w.git_url("octo/open")]).ok();
        git(&["clone", "-q", &w.git_url("stranger/open"), "theirs"]).ok();
        let refused = git(&["clone", "-q", &w.git_url("stranger/private")]);
        refused.stderr_contains("not installed").stderr_contains("hint: ").exit(128);
        assert_eq!(w.github.mints(), 1);
        for request in w.github.journal().into_iter().filter(|request| request.path.contains(".git/")) {
            match request.authorization {
                Auth::Token { .. } => assert!(request.path.starts_with("/octo/"), "{request:?}"),
                Auth::Anonymous => assert!(request.path.starts_with("/stranger/"), "{request:?}"),
                _ => panic!("{request:?}"),
            }
        }
    }
}

#[test]
fn what_everybody_may_read_is_had_without_an_agent_or_a_password() {
    let mut w = World::with_git();
    if !w.asks_early() {
        return;
    }
    w.publish("octo/hello");
    w.apptoken(["setup-git"]).stderr_contains("git now asks").ok();
    w.file("passphrase", "hunter2\n");
    w.shell("sh", "apptoken lock --passphrase-fd 3 3<passphrase").stderr_contains("").ok();
    w.plain_git(&["clone", "-q", &w.git_url("octo/hello")]).ok();
    w.plain_git(&["-C", "hello", "commit", "-q", "--allow-empty", "-m", "second"]).ok();
    let push = |w: &World| w.plain_git(&["-C", "hello", "push", "-q"]);
    push(&w).stderr_contains("apptoken: the agent is locked\nhint: ").exit(128);
    w.agent(["-k"]).stdout_contains("unset").ok();
    w.env_remove("APPTOKEN_AUTH_SOCK");
    w.plain_git(&["-C", "hello", "fetch", "-q"]).ok();
    push(&w).stderr_contains("no agent").exit(128);
    w.env_remove("APPTOKEN_AGENT_PID");
}

#[test]
fn a_token_that_was_revoked_meanwhile_is_replaced_after_the_command_that_finds_out() {
    let w = World::with_git();
    w.clone_hello();
    w.github.revoke(&w.github.tokens()[0].value);
    // Git's own rule: it asks once in a command, and tells the helper that what it got was refused.
    w.git_in("hello", &["fetch", "-q"]).run().stderr_contains("Invalid username or token").exit(128);
    w.git_in("hello", &["fetch", "-q"]).run().ok();
    assert_eq!(w.github.mints(), 2);
}

#[test]
fn no_other_helper_is_asked_or_given_the_token_to_store() {
    let w = World::with_git();
    let store = format!("store --file {}", w.path("home/stored").display());
    w.plain_git(&["config", "--global", "credential.helper", &store]).ok();
    w.plain_git(&["config", "--global", &format!("credential.{}.helper", w.github.url()), "!touch asked #"]).ok();
    w.clone_hello();
    w.git_in("hello", &["config", "credential.helper", &store]).run().ok();
    w.git_in("hello", &["fetch", "-q"]).run().ok();

    // As a git without the newer protocol does it: fill, use, approve.
    let ask = format!("protocol=http\nhost={}\npath=octo/hello.git\n\n", w.git_host());
    let filled = w.git_in("hello", &["credential", "fill"]).stdin(ask).run().text();
    assert!(filled.contains(&format!("password={}", w.github.tokens()[0].value)), "{filled}");
    w.git_in("hello", &["credential", "approve"]).stdin(filled).run().ok();
    assert!(!w.path("home/stored").exists() && !w.path("home/asked").exists());
}

#[test]
fn neither_arguments_nor_environment_nor_files_ever_hold_the_token() {
    let w = World::with_git();
    w.clone_hello();
    w.request(&json!({"action": "dropToken", "token": w.github.tokens()[0].value}));
    // The answer is slow when git uses its token; from an older git, the one before as well.
    w.github.always("GET /octo/hello.git/info/refs", Fault::Delay(Duration::from_millis(500)));
    let before = w.github.journal().len();
    let fetch = w.git_in("hello", &["fetch", "-q"]).start();
    let mut seen = BTreeSet::new();
    let token = || w.github.tokens().get(1).map(|token| token.value.clone());
    wait_until("git uses its token", DEADLINE, || {
        let tree = family_of(fetch.pid());
        seen.extend(
            tree.iter()
                .flat_map(|pid| ["cmdline", "environ"].map(|file| format!("/proc/{pid}/{file}")))
                .filter_map(|file| fs::read(file).ok()),
        );
        let since = w.github.journal().split_off(before);
        since.iter().any(|request| matches!(request.authorization, Auth::Token { .. })) && token().is_some()
    });
    let tree = family_of(fetch.pid());
    let now: Vec<_> = tree.iter().map(|pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).collect();
    assert!(now.iter().any(|line| String::from_utf8_lossy(line).contains("remote-http")), "git is at it: {now:?}");
    fetch.finish().ok();

    let token = token().expect("a second token was minted");
    let holds = |bytes: &[u8]| bytes.windows(token.len()).any(|window| window == token.as_bytes());
    assert!(seen.len() > 4 && !seen.iter().any(|bytes| holds(bytes)));
    assert_eq!(w.files_with(&token), Vec::<PathBuf>::new());
}

#[test]
fn a_job_that_outlives_its_tokens_does_not_notice() {
    let w = World::with_git();
    w.clone_hello();
    w.github.token_lifetime(Duration::from_secs(5));
    let job = "alias.job=!while test -e going; do git fetch -q || exit 1; done";
    w.file("hello/going", "");
    let options = ["--min-ttl", "2s", "git", "-c", job, "job"];
    w.request(&json!({"action": "dropToken", "token": w.github.tokens()[0].value}));
    let running = w.command(APPTOKEN).args(options).current_dir(w.path("home/hello")).start();
    for life in 1..=3 {
        wait_until("a new token is had", DEADLINE, || {
            w.github
                .tokens()
                .last()
                .is_some_and(|token| w.github.is_live(&token.value) && w.github.tokens().len() > life)
        });
        let token = w.github.tokens().last().expect("it was just there").value.clone();
        wait_until("it has expired", DEADLINE, || !w.github.is_live(&token));
    }
    fs::remove_file(w.path("home/hello/going")).expect("it is there");
    running.finish().ok();
}

#[test]
fn settings_that_the_environment_already_held_are_kept() {
    let w = World::with_git();
    let own = w.command(APPTOKEN).args(["git", "config", "own.setting"]);
    let own = own.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "own.setting");
    own.env("GIT_CONFIG_VALUE_0", "kept").run().stdout("kept\n").ok();
    let bad = w.command(APPTOKEN).args(["git", "config", "own.setting"]).env("GIT_CONFIG_COUNT", "many");
    bad.run().fails(64, ["GIT_CONFIG_COUNT"]);
}

#[test]
fn any_path_of_this_program_is_safe_from_the_shell() {
    let w = World::with_git();
    for name in ["a b", "it's", "$(touch ran)`touch ran`", "quo\"te\\", "new\nline", "; touch ran #"] {
        let directory = w.path("home").join(name);
        fs::create_dir(&directory).expect("a new directory");
        let program = directory.join("apptoken");
        w.command("cp").arg(APPTOKEN).arg(&program).run().ok();
        let refs = w.command(&program).args(["git", "ls-remote", &w.git_url("octo/hello"), "main"]).run();
        refs.stdout_contains("refs/heads/main").ok();
        assert!(!w.path("home/ran").exists(), "{name}");
    }
}

#[test]
fn options_before_the_verb_and_aliases_are_gits() {
    let w = World::with_git();
    w.plain_git(&["config", "--global", "alias.get", "fetch -q"]).ok();
    w.clone_hello();
    w.git(&["-C", "hello", "-c", "fetch.prune=true", "get"]).ok();
    w.git(&["--version"]).stdout_contains("git version").ok();
    w.git(&["-C", "hello", "-c", "own.setting=--app", "config", "own.setting"]).stdout("--app\n").ok();
}

#[test]
fn the_options_that_choose_the_token_reach_the_helper() {
    let w = World::with_git();
    w.github.install(APP_ID, Installation::new(2, "acme").repositories(&["lib"]));
    let refs = |options: &[&str]| {
        let run = w.command(APPTOKEN).args(options).args(["git", "ls-remote", "-q", &w.git_url("octo/hello"), "main"]);
        run.run().stdout_contains("main").ok();
        w.github.tokens().pop().expect("a token was minted")
    };
    assert_eq!(refs(&["--repo", "octo/hello"]).repositories, Some(vec!["hello".to_owned()]));
    assert!(!refs(&["--permissions", "contents=read"]).permissions.contains_key("pull_requests"));
    assert_eq!(refs(&["--installation-id", "1001", "--app", "acme-deployer"]).installation, INSTALLATION_ID);
    let other = w.command(APPTOKEN).args(["--owner", "acme", "git", "ls-remote", &w.git_url("octo/hello")]).run();
    other.stderr_contains("Repository not found").exit(128);
    assert_eq!(w.github.tokens().pop().expect("a token was minted").installation, 2);
}

#[test]
fn of_several_apps_on_a_host_the_named_one_is_asked() {
    let w = World::with_git();
    w.github.add_app(App::new(777, "reader").key_pem(OTHER_KEY));
    w.github.install(
        777,
        Installation::new(3, "octo").user().repositories(&["hello"]).permissions(&[("contents", "read")]),
    );
    w.file("other.pem", OTHER_KEY);
    let add = w.command(APPTOKEN).args(["add", "other.pem", "--app-id", "777", "--host", &w.git_host()]);
    add.args(["--api-url", &w.github.url()]).run().stderr_contains("Identity added").ok();
    let url = w.git_url("octo/hello");
    w.git(&["ls-remote", &url]).stderr_contains("acme-deployer").stderr_contains("reader").exit(128);
    w.command(APPTOKEN).args(["--app", "reader", "git", "ls-remote", &url]).run().stdout_contains("main").ok();
    assert_eq!(w.github.tokens()[0].app, 777);
    w.command(APPTOKEN).args(["--app", "nobody", "git", "ls-remote", &url]).run().fails(1, []);
}

#[test]
fn without_an_agent_a_key_or_the_passphrase_git_is_not_run() {
    let mut w = World::new();
    let bin = w.path("home/bin");
    fs::create_dir(&bin).expect("a new directory");
    w.script("bin/git", "touch \"$HOME/ran\"");
    let run = |w: &World| w.command(APPTOKEN).args(["git", "status"]).env("PATH", &bin).run();
    run(&w).fails(2, ["no agent"]);
    w.start_agent(NO_OPTIONS);
    run(&w).fails(1, ["apptoken add"]);
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    w.command(APPTOKEN).args(["--host", "ghes.test", "git", "status"]).env("PATH", &bin).run().fails(1, ["host"]);
    w.file("passphrase", "hunter2\n");
    w.shell("sh", "apptoken lock --passphrase-fd 3 3<passphrase").stderr_contains("").ok();
    run(&w).fails(1, ["locked", "apptoken unlock"]);
    assert!(!w.path("home/ran").exists());
}

#[test]
fn a_git_that_is_missing_is_exit_code_127_and_one_that_cannot_run_126() {
    let w = World::with_git();
    w.command(APPTOKEN).args(["git", "status"]).env("PATH", w.path("tmp")).run().fails(127, ["git"]);
    fs::create_dir(w.path("home/bin")).expect("a new directory");
    w.file("bin/git", "");
    w.command(APPTOKEN).args(["git", "status"]).env("PATH", w.path("home/bin")).run().fails(126, ["git"]);
}

#[test]
fn status_signal_input_and_process_are_gits_own() {
    let w = World::with_git();
    w.clone_hello();
    w.git_in("hello", &["rev-parse", "--verify", "-q", "no-such"]).run().exit(1);
    w.git_in("hello", &["diff", "--quiet", "--no-index", "greeting", "/dev/null"]).run().exit(1);
    w.git(&["-c", "alias.end=!kill -TERM $PPID", "end"]).ended_by(Signal::SIGTERM);
    w.git(&["hash-object", "--stdin"]).stdout("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n").ok();
    let bin = w.path("home/bin");
    fs::create_dir(&bin).expect("a new directory");
    w.script("bin/git", r#"case $1 in config) ;; *) echo "pid $$"; exec sleep 60;; esac"#);
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let running = w.command(APPTOKEN).args(["git", "status"]).env("PATH", path).start();
    running.expect_stdout(&format!("pid {}\n", running.pid()));
}

#[test]
fn ctrl_c_ends_it_as_it_ends_git() {
    let w = World::with_git();
    w.clone_hello();
    let mut terminal = w.git_in("hello", &["-c", "alias.wait=!echo waiting; exec sleep 60", "wait"]).on_terminal();
    terminal.expect("waiting");
    terminal.press(Key::CtrlC);
    let status = terminal.wait();
    let mut terminal = w.command("git").args(["-c", "alias.wait=!echo waiting; exec sleep 60", "wait"]).on_terminal();
    terminal.expect("waiting");
    terminal.press(Key::CtrlC);
    assert_eq!(status, terminal.wait());
    assert!(!status.success());
}

impl World {
    /// Whether this git can ask for credentials before a server does; if not, what depends on it is skipped.
    #[expect(clippy::print_stderr, reason = "whoever reads the test's output should see why it did nothing")]
    fn asks_early(&self) -> bool {
        let version = self.plain_git(&["--version"]).text();
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
        let early = (numbers.next(), numbers.next()) >= (Some(2), Some(46));
        if !early {
            eprintln!("skipped: {version}");
        }
        early
    }

    /// The script of a repository with another one as its submodule `sub`, found at `url`.
    fn with_submodule(&self, repository: &str, url: &str) -> String {
        let bare = self.path("git").join(format!("{repository}.git"));
        let commit = self.command("git").arg("-C").arg(bare).args(["rev-parse", "main"]).run().line();
        format!(
            "git config -f .gitmodules submodule.sub.path sub; git config -f .gitmodules submodule.sub.url {url}\n\
             mkdir sub; git update-index --add --cacheinfo 160000,{commit},sub"
        )
    }
}

/// A process and all that descend from it.
fn family_of(pid: Pid) -> Vec<i32> {
    let mut family = vec![pid.as_raw()];
    let mut next = 0;
    while next < family.len() {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", family[next])).unwrap_or_default();
        family.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        next += 1;
    }
    family
}
