//! git sends a token only to a server whose certificate it has verified, whatever its settings say.
//!
//! A proxy leads git to a server that has the right name, and a certificate that nobody vouches for.

use crate::support::command::Invocation;
use crate::support::github::{Auth, Entry};
use crate::support::proxy::Proxy;
use crate::support::tls::{Front, Identity};
use crate::support::{APP_ID, APPTOKEN, World, need};

/// The host of the key.
const OURS: &str = "git.test";
const REPOSITORY: &str = "https://git.test/octo/hello.git";

/// How verification is turned off.
#[derive(Debug)]
enum Off {
    /// In git's global configuration.
    Setting(&'static str),
    /// In a file that it includes.
    Included(&'static str),
    /// By a variable.
    Variables(&'static [(&'static str, &'static str)]),
    /// On the command line.
    Option(&'static str),
}

const WAYS: [Off; 11] = [
    Off::Setting("http.sslVerify"),
    Off::Setting("http.https://git.test.sslVerify"),
    Off::Setting("http.https://git.test:443/.sslVerify"),
    Off::Setting("http.https://*.test/octo.sslVerify"),
    Off::Setting("http.https://git.test/octo.sslVerify"),
    Off::Setting("http.https://GIT.test/octo/hello.git.sslverify"),
    Off::Included("http.https://git.test/octo.sslVerify"),
    Off::Variables(&[("GIT_SSL_NO_VERIFY", "")]),
    Off::Variables(&[
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "http.https://git.test/octo.sslVerify"),
        ("GIT_CONFIG_VALUE_0", "no"),
    ]),
    Off::Option("http.sslVerify=false"),
    Off::Option("http.https://git.test/octo.sslVerify=0"),
];

#[test]
fn git_gives_no_token_to_a_server_it_did_not_verify() {
    if !need("git") {
        return;
    }
    for off in &WAYS {
        let site = Site::new();
        site.turn_off(off);
        // The control: plain git, which asks the agent because it was set up to.
        site.w.apptoken(["setup-git", "--host", OURS]).stderr_contains(OURS).ok();
        off.in_command(site.w.command("git"))
            .args(["ls-remote", REPOSITORY])
            .run()
            .stdout_contains("refs/heads/main")
            .ok();
        assert_eq!(site.tokens_sent(), 1, "{off:?}");
        site.w.apptoken(["setup-git", "--undo"]).stderr_contains(OURS).ok();

        let run = off.in_command(site.w.command(APPTOKEN).arg("git")).args(["ls-remote", REPOSITORY]).run();
        let refused = matches!(off, Off::Option(option) if option.contains(OURS));
        if refused {
            run.fails(1, ["git is told not to verify the certificate of git.test", "http.sslCAInfo"]);
        } else {
            run.stderr_contains("certificate").said_of(128);
        }
        assert_eq!(site.tokens_sent(), 1, "{off:?}");
    }
}

#[test]
fn a_clone_that_turns_verification_off_for_itself_gets_no_token() {
    if !need("git") {
        return;
    }
    let site = Site::new();
    let option = "http.https://git.test/octo.sslVerify=false";
    let clone = |command: Invocation| command.args(["clone", "-q", "-c", option, REPOSITORY]).run();
    clone(site.w.command(APPTOKEN).arg("git")).stderr_contains("certificate").said_of(128);
    assert_eq!(site.tokens_sent(), 0);

    site.w.apptoken(["setup-git", "--host", OURS]).stderr_contains(OURS).ok();
    clone(site.w.command("git")).ok();
    assert!(site.tokens_sent() > 0);
}

#[test]
fn a_server_that_the_user_trusts_gets_the_token_all_the_same() {
    if !need("git") {
        return;
    }
    let site = Site::new();
    site.turn_off(&Off::Setting("http.sslVerify"));
    site.turn_off(&Off::Setting("http.https://git.test/octo.sslVerify"));
    let ca = site.w.file("ca.pem", &site.certificate);
    site.w.plain_git(&["config", "--global", "http.sslCAInfo", ca.to_str().expect("UTF-8")]).ok();
    site.w.git(&["ls-remote", REPOSITORY]).stdout_contains("refs/heads/main").ok();
    assert_eq!(site.tokens_sent(), 1);
}

#[test]
fn the_git_that_gh_runs_verifies_too() {
    if !need("git") {
        return;
    }
    let site = Site::new();
    site.turn_off(&Off::Setting("http.sslVerify"));
    let script = "git config --bool --get-urlmatch http.sslVerify https://git.test/; echo ${GIT_SSL_NO_VERIFY-unset}";
    let run = |command: Invocation| command.env("GIT_SSL_NO_VERIFY", "1").run();
    run(site.w.command("sh").args(["-c", script])).stdout("false\n1\n").ok();
    let gh = site.w.script("gh", script);
    run(site.w.command(APPTOKEN).args(["gh", "repo", "clone", "octo/hello"]).env("APPTOKEN_GH", gh))
        .stdout("true\nunset\n")
        .ok();
}

#[test]
fn doctor_warns_of_a_plain_git_that_does_not_verify() {
    if !need("git") {
        return;
    }
    for off in WAYS.iter().filter(|off| !matches!(off, Off::Option(_))) {
        let site = Site::new();
        let doctor = || off.in_command(site.w.command(APPTOKEN).arg("doctor")).run();
        site.turn_off(off);
        doctor().stdout_contains("ok    helper: git asks nobody about https://git.test").everything();
        site.w.apptoken(["setup-git", "--host", OURS]).stderr_contains(OURS).ok();
        doctor().stdout_contains("warn  helper: git sends apptoken's token to https://git.test without").everything();
    }
    let site = Site::new();
    site.w.apptoken(["setup-git", "--host", OURS]).stderr_contains(OURS).ok();
    site.turn_off(&Off::Setting("http.https://elsewhere.test.sslVerify"));
    site.w.apptoken(["doctor"]).stdout_contains("ok    helper: git asks apptoken about https://git.test").everything();
}

impl Off {
    /// Turns verification off for one command, if that is the way.
    fn in_command(&self, command: Invocation) -> Invocation {
        match self {
            Self::Variables(variables) => command.envs(variables.iter().copied()),
            Self::Option(option) => command.args(["-c", option]),
            Self::Setting(_) | Self::Included(_) => command,
        }
    }
}

/// A world whose agent holds a key for [`OURS`], which only a server that nobody vouches for answers for.
struct Site {
    w: World,
    certificate: String,
    _front: Front,
    _proxy: Proxy,
}

impl Site {
    #[track_caller]
    fn new() -> Self {
        let mut w = World::with_agent();
        w.serve_git();
        let add = w.command(APPTOKEN).args(["add", "key.pem", "--app-id", &APP_ID.to_string(), "--host", OURS]);
        add.args(["--api-url", &w.github.url()]).run().stderr_contains(OURS).ok();
        let (identity, certificate) = Identity::self_signed(&[OURS]);
        let front = Front::start(identity, &w.github);
        let proxy = Proxy::to(front.address());
        w.env("HTTPS_PROXY", proxy.url());
        w.env("GIT_TERMINAL_PROMPT", "0");
        Self { w, certificate, _front: front, _proxy: proxy }
    }

    /// Turns verification off in git's configuration, if that is the way.
    #[track_caller]
    fn turn_off(&self, off: &Off) {
        match off {
            Off::Setting(name) => self.w.plain_git(&["config", "--global", name, "false"]).ok(),
            Off::Included(name) => {
                self.w.plain_git(&["config", "--file", "included", name, "off"]).ok();
                self.w.plain_git(&["config", "--global", "include.path", "included"]).ok();
            }
            Off::Variables(_) | Off::Option(_) => {}
        }
    }

    /// How many of git's requests came with a token.
    fn tokens_sent(&self) -> usize {
        let with_token =
            |entry: &&Entry| entry.path.contains("/info/refs") && matches!(entry.authorization, Auth::Token { .. });
        self.w.github.journal().iter().filter(with_token).count()
    }
}
