//! The real gh takes the simulator for GitHub.

use std::env;
use std::io::{self, Write as _};
use std::process::{Command, Output};

use super::client::token;
use super::{ACME, github};
use crate::support::github::{GitHub, TokenFormat};

/// Runs gh with a token, through the simulator as its proxy; `None` where there is no gh.
///
/// `github.localhost` is the host that gh itself speaks plain http to, which is why a proxy may answer for it.
fn gh(github: &GitHub, token: &str, args: &[&str]) -> Option<Output> {
    let home = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new("gh")
        .args(args)
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", home.path())
        .env("GH_CONFIG_DIR", home.path())
        .env("GH_HOST", "github.localhost")
        .env("GH_TOKEN", token)
        .env("GH_NO_UPDATE_NOTIFIER", "1")
        .env("GH_PROMPT_DISABLED", "1")
        .env("HTTP_PROXY", github.url())
        .output();
    match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound && env::var_os("CI").is_none_or(|ci| ci != "true") => {
            // To the terminal itself, past what the test harness captures.
            let _ = writeln!(io::stderr(), "skipped: gh is not installed");
            None
        }
        output => Some(output.expect("gh runs")),
    }
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn gh_reads_its_rate_limit_with_either_format_of_token() {
    let github = github();
    for format in [TokenFormat::Classic, TokenFormat::Stateless] {
        github.token_format(format);
        let token = token(&github, ACME);
        let Some(output) = gh(&github, &token, &["api", "rate_limit", "--jq", ".resources.core.limit"]) else { return };
        assert_eq!(said(&output), "5000\n");
    }
    let user_agent = github.journal().pop().expect("a request").user_agent;
    assert!(user_agent.starts_with("GitHub CLI"), "{user_agent}");
}

#[test]
fn gh_sees_an_installations_repositories_and_is_no_user() {
    let github = github();
    let token = token(&github, ACME);
    let args = ["api", "installation/repositories", "--paginate", "--jq", ".repositories[].full_name"];
    let Some(output) = gh(&github, &token, &args) else { return };
    assert_eq!(said(&output), "acme-inc/web\nacme-inc/api\n");
    let output = gh(&github, &token, &["api", "user"]).expect("gh was there before");
    assert!(!output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("Resource not accessible by integration (HTTP 403)"), "{stderr}");
}

#[test]
fn gh_lists_no_pull_requests() {
    let github = github();
    let token = token(&github, ACME);
    let Some(output) = gh(&github, &token, &["pr", "list", "-R", "acme-inc/web", "--json", "number"]) else { return };
    assert_eq!(said(&output), "[]\n");
    let output = gh(&github, &token, &["pr", "list", "-R", "acme-inc/infra"]).expect("gh was there before");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("Could not resolve to a Repository with the name 'acme-inc/infra'."), "{stderr}");
}

#[test]
fn gh_knows_itself_by_the_name_of_the_bot() {
    let github = github();
    let token = token(&github, ACME);
    let Some(output) = gh(&github, &token, &["auth", "status", "--hostname", "github.localhost"]) else { return };
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let all = String::from_utf8_lossy(&all);
    assert!(output.status.success() && all.contains("acme-deployer[bot]"), "{all}");
}
