//! `apptoken setup-git` makes plain git ask the agent, and `--undo` leaves git's configuration as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APPTOKEN, INSTALLATION_ID, World};

/// A configuration as people have them: older helpers, includes, comments, odd formatting.
const LIVED_IN: &str = "# mine\n[include]\n\tpath = other.conf ; kept\n[credential]\n\thelper =\n\thelper = store --file stored\n\
    [user]\nname=Octo # no blanks\n\temail = \"o c t o\"@example.invalid\n\n[alias] l = log \\\n  --oneline\n[Include]\npath=third.conf\n\
    [credential \"https://github.com\"]\n\thelper = \"!f() { test \\\"$1\\\" = get; }; f\"\n[credential]\n\thelper = store --file stored\n";

#[test]
fn plain_git_clones_fetches_and_pushes_after_it() {
    let w = World::with_git();
    w.setup();
    w.plain_git(&["clone", "-q", &w.git_url("octo/hello")]).ok();
    w.plain_git(&["-C", "hello", "commit", "-q", "--allow-empty", "-m", "second"]).ok();
    w.plain_git(&["-C", "hello", "push", "-q"]).ok();
    w.plain_git(&["-C", "hello", "fetch", "-q"]).ok();
    assert_eq!(w.github.mints(), 1);
}

#[test]
fn undone_nothing_of_it_is_left() {
    for before in [Some(LIVED_IN), Some("[user]\n\tname = Octo"), Some(""), None] {
        let w = World::with_git();
        w.file("other.conf", "[core]\n\tpager = cat\n");
        w.file("third.conf", "[pull]\n\trebase = true\n");
        before.map(|text| w.file(".gitconfig", text));
        let listed = w.listed();
        w.setup();
        assert_ne!(w.listed(), listed);
        let undone = format!("git no longer asks apptoken about {}\n", w.git_host());
        w.apptoken(["setup-git", "--undo"]).stderr(undone).ok();
        assert_eq!(w.listed(), listed);
        assert_eq!(
            fs::read_to_string(w.path("home/.gitconfig")).ok().as_deref().map(str::trim_end),
            before.map(str::trim_end)
        );
        assert!(!w.path("config/apptoken").exists());
        w.apptoken(["setup-git", "--undo"]).ok();
    }
}

#[test]
fn a_configuration_that_was_made_for_several_hosts_goes_with_the_last() {
    for hosts in [["github.com", "ghes.test"], ["ghes.test", "github.com"]] {
        let w = World::new();
        for host in ["github.com", "ghes.test", "github.com"] {
            w.apptoken(["setup-git", "--host", host]).stderr_contains(host).ok();
        }
        for host in hosts {
            assert!(w.path("home/.gitconfig").exists());
            w.apptoken(["setup-git", "--undo", "--host", host]).stderr_contains(host).ok();
        }
        assert!(!w.path("home/.gitconfig").exists() && !w.path("config/apptoken").exists());
    }
}

#[test]
fn killed_at_any_of_its_steps_it_can_be_taken_back_and_done_again() {
    let steps = ["--get-all", "--replace-all", "--rename-section"];
    for step in steps {
        for again in [false, true] {
            let w = World::new();
            w.file(".gitconfig", LIVED_IN);
            let listed = w.listed();
            fs::create_dir(w.path("home/bin")).expect("a new directory");
            w.script(
                "bin/git",
                &format!("case $* in *{step}*) kill -KILL $PPID; exit 1; esac\nPATH=${{PATH#*:}}; exec git \"$@\""),
            );
            let path = w.shell("sh", r#"printf %s "$HOME/bin:$PATH""#).text();
            let killed = w.command(APPTOKEN).args(["setup-git", "--host", "github.com"]).env("PATH", path).run();
            killed.ended_by(Signal::SIGKILL);
            w.file("../config/apptoken/git/.apptoken-draft-1", "half");
            if again {
                w.apptoken(["setup-git", "--host", "github.com"]).stderr_contains("git now asks").ok();
                let helpers = w.listed().matches("apptoken --host=github.com credential").count();
                assert_eq!(helpers, 1, "after {step}");
            }
            w.apptoken(["setup-git", "--undo"]).stderr_contains("no longer").ok();
            assert_eq!(w.listed(), listed, "after {step}");
            assert!(!w.path("config/apptoken").exists(), "after {step}");
        }
    }
}

#[test]
fn an_upgrade_of_a_versioned_installation_changes_nothing() {
    let w = World::with_git();
    for version in ["1", "2"] {
        fs::create_dir_all(w.path("home/versions").join(version)).expect("a new directory");
        w.command("cp").arg(APPTOKEN).arg(w.path("home/versions").join(version).join("apptoken")).run().ok();
    }
    fs::create_dir(w.path("home/bin")).expect("a new directory");
    w.shell("sh", "ln -s ../versions/1/apptoken bin/apptoken").ok();
    for call in ["apptoken", "$HOME/bin/apptoken", "bin/apptoken"] {
        w.shell("sh", "ln -sfn ../versions/1/apptoken bin/apptoken").ok();
        w.shell("sh", &format!("PATH=$HOME/bin:$PATH {call} setup-git")).stderr_contains("git now asks").ok();
        w.shell("sh", "ln -sfn ../versions/2/apptoken bin/apptoken; mv versions/1 gone").ok();
        w.plain_git(&["ls-remote", &w.git_url("octo/hello"), "main"]).stdout_contains("refs/heads/main").ok();
        w.shell("sh", "mv gone versions/1").ok();
    }
}

#[test]
fn done_twice_it_is_done_once() {
    let w = World::with_git();
    w.file(".gitconfig", LIVED_IN);
    w.setup();
    let once = fs::read(w.path("home/.gitconfig")).expect("it is there");
    w.setup();
    assert_eq!(fs::read(w.path("home/.gitconfig")).expect("it is there"), once);
}

#[test]
fn no_other_helper_is_asked_or_given_the_token_to_store() {
    let w = World::with_git();
    w.file(".gitconfig", LIVED_IN.replace("stored", &w.path("home/stored").to_string_lossy()));
    w.setup();
    w.plain_git(&["clone", "-q", &w.git_url("octo/hello")]).ok();
    // As a git without the newer protocol does it: fill, use, approve.
    let ask = format!("protocol=http\nhost={}\npath=octo/hello.git\n\n", w.git_host());
    let filled = w.command("git").args(["credential", "fill"]).stdin(ask).run().text();
    assert!(filled.contains(&format!("password={}", w.github.tokens()[0].value)), "{filled}");
    w.command("git").args(["credential", "approve"]).stdin(filled).run().ok();
    assert_eq!(w.files_with(&w.github.tokens()[0].value), Vec::<std::path::PathBuf>::new());
}

#[test]
fn ones_own_ssh_stays_ones_own() {
    let w = World::with_git();
    w.setup();
    w.plain_git(&["ls-remote", "git@127.0.0.1:octo/hello.git"]).stderr_contains("Could not read").exit(128);
    assert!(w.ssh_was_run());
    assert_eq!(w.github.mints(), 0);
}

#[test]
fn what_is_written_is_for_nobody_else_to_read_and_holds_no_token() {
    let w = World::with_git();
    w.setup();
    let file = w.path("config/apptoken/git").join(format!("{}.conf", w.git_host()));
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!((mode(&file), mode(&w.path("config/apptoken/git"))), (0o600, 0o700));
    assert_eq!(fs::read_dir(w.path("config/apptoken/git")).expect("it is there").count(), 1, "no draft is left");
    assert!(!fs::read_to_string(&file).expect("text").contains("ghs_"));
}

#[test]
fn without_an_agent_the_host_must_be_named() {
    let w = World::new();
    w.apptoken(["setup-git"]).fails(2, ["no agent", "--host"]);
    w.apptoken(["setup-git", "--host", "github.com"]).stderr("git now asks apptoken about https://github.com\n").ok();
    let listed = w.listed();
    assert!(listed.contains("credential.https://github.com.helper=\n"), "{listed}");
    assert!(listed.contains("credential.https://github.com.usehttppath=true"), "{listed}");
    w.apptoken(["setup-git", "--host", "ghes.test"]).stderr_contains("ghes.test").ok();
    w.apptoken(["setup-git", "--undo", "--host", "github.com"]).stderr_contains("github.com").ok();
    let listed = w.listed();
    assert!(!listed.contains("github.com") && listed.contains("ghes.test"), "{listed}");
}

#[test]
fn the_options_that_choose_the_token_are_written_down() {
    let w = World::with_git();
    let host = w.git_host();
    w.command(APPTOKEN)
        .args(["--permissions", "contents=read", "--installation-id", "1001", "setup-git"])
        .run()
        .stderr_contains(&host)
        .ok();
    w.plain_git(&["ls-remote", &w.git_url("octo/hello")]).stdout_contains("main").ok();
    let token = w.github.tokens().pop().expect("a token was minted");
    assert!(token.installation == INSTALLATION_ID && !token.permissions.contains_key("pull_requests"));
}

#[test]
fn any_path_is_safe_from_the_shell_and_from_gits_own_syntax() {
    for name in ["it's a", "$(touch ran)", "quo\"te\\ # ;", "new\nline"] {
        let mut w = World::with_git();
        let directory = w.path("home").join(name);
        fs::create_dir(&directory).expect("a new directory");
        let program = directory.join("apptoken");
        w.command("cp").arg(APPTOKEN).arg(&program).run().ok();
        w.env("XDG_CONFIG_HOME", directory.join("config"));
        for _ in 0..2 {
            w.command(&program).arg("setup-git").run().stderr_contains("git now asks").ok();
        }
        w.plain_git(&["ls-remote", &w.git_url("octo/hello"), "main"]).stdout_contains("refs/heads/main").ok();
        assert!(!w.path("home/ran").exists(), "{name}");
        let included = fs::read_to_string(w.path("home/.gitconfig")).expect("it is there").matches("path = ").count();
        assert_eq!(included, 1, "{name}");
        w.command(&program).args(["setup-git", "--undo"]).run().stderr_contains("no longer").ok();
        assert!(!w.path("home/.gitconfig").exists(), "{name}");
    }
}

#[test]
fn a_configuration_that_cannot_be_changed_is_named() {
    let w = World::with_git();
    w.file(".gitconfig", "[broken\n");
    w.apptoken(["setup-git"]).fails(1, ["git", "config"]);
    w.command(APPTOKEN).arg("setup-git").env("PATH", w.path("tmp")).run().fails(127, ["git"]);
}

#[test]
fn a_job_that_outlives_its_tokens_does_not_notice() {
    let w = World::with_git();
    w.github.token_lifetime(Duration::from_secs(5));
    w.command(APPTOKEN).args(["--min-ttl", "2s", "setup-git"]).run().stderr_contains("git now asks").ok();
    w.plain_git(&["clone", "-q", &w.git_url("octo/hello")]).ok();
    w.file("hello/going", "");
    let job = w.command("sh").args(["-c", "while test -e going; do git fetch -q || exit 1; done"]);
    let running = job.current_dir(w.path("home/hello")).start();
    for _ in 0..3 {
        wait_until("a token that lives is had", DEADLINE, || {
            w.github.tokens().last().is_some_and(|token| w.github.is_live(&token.value))
        });
        let token = w.github.tokens().last().expect("it was just there").value.clone();
        wait_until("it has expired", DEADLINE, || !w.github.is_live(&token));
    }
    fs::remove_file(w.path("home/hello/going")).expect("it is there");
    running.finish().ok();
}

impl World {
    #[track_caller]
    fn setup(&self) {
        let done = format!("git now asks apptoken about {}\n", self.github.url());
        self.apptoken(["setup-git"]).stderr(done).ok();
    }

    /// All that git reads, and where.
    #[track_caller]
    fn listed(&self) -> String {
        let list = self.command("git").args(["config", "--list", "--show-origin"]).run();
        // Without any configuration at all that fails, in silence or not.
        list.everything()
    }
}
