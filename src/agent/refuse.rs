//! What GitHub's refusals mean for the person who asked, and what to do about them.
//!
//! | GitHub answers | we say | code |
//! |---|---|---|
//! | 401 `A JSON web token could not be decoded` | the key is not one of this App's | `app_mismatch` |
//! | 401 `Integration must generate a public key` | the App has no key | `app_mismatch` |
//! | 401 about `'Issued at'` or `'Expiration time'`, twice | the clocks differ | `clock_skew` |
//! | 401 `'Issuer' claim…`, 404 `Integration not found` | there is no such App | `app_mismatch` |
//! | 404 `Not Found` | the App is not installed there, or there is no such thing | `not_installed` |
//! | 403 `This installation has been suspended` | it is suspended | `suspended` |
//! | 422 `The permissions requested…` | a permission is not granted | `not_granted` |
//! | 422 `There is at least one repository…` | a repository is not part of the installation | `not_granted` |
//! | 403 or 429 with a limit | wait | `rate_limited` |
//! | any other status, or no JSON | GitHub cannot be used now | `github_unavailable` |
//! | no connection | the network's own reason | `github_unavailable` |
//! | nothing in time | it took too long | `timeout` |

use super::keyring::HeldKey;
use super::reply::{DEADLINE, GitHubError};
use super::state::Target;
use crate::protocol::{Code, Refusal};

/// What was asked of GitHub when it refused.
#[derive(Clone, Copy)]
pub enum Asked<'a> {
    /// Who the App is, or where it is installed.
    App,
    /// The installation for a target, or a token for it.
    Token(&'a Target),
}

/// Puts a refusal of GitHub's into words.
pub fn refuse(error: &GitHubError, key: &HeldKey, asked: Asked<'_>) -> Refusal {
    let (app, host) = (&key.app_id, &key.host);
    match error {
        GitHubError::CannotSign => Refusal::new(Code::BadKey, "this private key cannot sign: its parts do not belong together")
            .hint("download a new one under \"Private keys\" on the App's settings page"),
        GitHubError::KeyGone => Refusal::new(Code::NoKey, "the key was removed, or locked away, meanwhile")
            .hint("see `apptoken list`"),
        GitHubError::WrongKey => Refusal::new(Code::AppMismatch, format!("{host} does not know this key for App {app}"))
            .hint(format!("compare {} with the keys on that App's settings page, and `--app-id` with the App", key.fingerprint)),
        GitHubError::AppHasNoKey => Refusal::new(Code::AppMismatch, format!("App {app} has no private key at all"))
            .hint("generate one under \"Private keys\" on the App's settings page; a new one takes some seconds to be known"),
        GitHubError::NoSuchApp => Refusal::new(Code::AppMismatch, format!("{host} knows no App {app}"))
            .hint("give the number shown as \"App ID\" on the App's settings page; an installation ID is another number"),
        GitHubError::ClockSkew(ahead) => Refusal::new(Code::ClockSkew, skew(host, *ahead))
            .hint("set the clock: timedatectl set-ntp true"),
        GitHubError::NotFound => not_found(key, asked),
        GitHubError::Suspended => Refusal::new(Code::Suspended, format!("the installation{} is suspended", on(asked)))
            .hint("an owner of the account can unsuspend it under Settings, GitHub Apps"),
        GitHubError::PermissionNotGranted => {
            Refusal::new(Code::NotGranted, format!("the installation{} does not have all the permissions asked for", on(asked)))
                .hint("see what it has under the account's Settings, GitHub Apps; new permissions of the App must be accepted there")
        }
        GitHubError::RepositoryNotGranted => {
            Refusal::new(Code::NotGranted, format!("a repository asked for is not part of the installation{}", on(asked)))
                .hint("check its name, or select it under the account's Settings, GitHub Apps")
        }
        GitHubError::RateLimited(seconds) => {
            let wait = seconds.unwrap_or(UNSAID_WAIT);
            let mut refusal = Refusal::new(Code::RateLimited, format!("{host} limits the rate of requests"))
                .hint(format!("try again in {wait} seconds"));
            refusal.retry_after = Some(wait);
            refusal
        }
        GitHubError::Timeout => Refusal::new(Code::Timeout, format!("{host} did not answer within {} seconds", DEADLINE.as_secs()))
            .hint("try again; see https://www.githubstatus.com/ if it stays so"),
        GitHubError::Unreachable(reason) => {
            Refusal::new(Code::GithubUnavailable, format!("{} cannot be reached: {reason}", key.api_url))
                .hint("check the network and HTTPS_PROXY as they were when the agent started")
        }
        GitHubError::Status(status) => {
            Refusal::new(Code::GithubUnavailable, format!("{} answered with status {status}", key.api_url))
                .hint("try again; see https://www.githubstatus.com/ if it stays so")
        }
        GitHubError::Unreadable(what) => Refusal::new(Code::GithubUnavailable, format!("{} answered with {what}", key.api_url))
            .hint("check that the address is that of a GitHub REST API, and that no proxy answers in its place"),
    }
}

fn not_found(key: &HeldKey, asked: Asked<'_>) -> Refusal {
    let what = match asked {
        Asked::App => {
            return Refusal::new(Code::GithubUnavailable, format!("{} is no GitHub REST API", key.api_url))
                .hint("give its base with `--api-url`; a GitHub Enterprise Server's ends in /api/v3");
        }
        Asked::Token(Target::Repo(repo)) => {
            format!("App {} is not installed on `{repo}`, or there is no such repository", key.app_id)
        }
        Asked::Token(Target::Owner(owner)) => {
            format!("App {} is not installed on `{owner}`, or there is no such account", key.app_id)
        }
        Asked::Token(Target::Id(id)) => format!("App {} has no installation {id}", key.app_id),
        Asked::Token(Target::Sole) => format!("App {} is not installed there any more", key.app_id),
    };
    Refusal::new(Code::NotInstalled, what).hint(install_hint(key))
}

/// Where to install an App.
pub fn install_hint(key: &HeldKey) -> String {
    let place = match key.app.as_ref().and_then(|app| app.slug.as_deref()) {
        Some(slug) if key.host.is_github_kind() => {
            format!("at https://{}/apps/{slug}/installations/new", key.host)
        }
        Some(slug) => format!("at https://{}/github-apps/{slug}/installations/new", key.host),
        None => "from its settings page".to_owned(),
    };
    format!("install it {place}, or see `apptoken installations`")
}

fn on(asked: Asked<'_>) -> String {
    match asked {
        Asked::Token(Target::Repo(repo)) => format!(" for `{repo}`"),
        Asked::Token(Target::Owner(owner)) => format!(" on `{owner}`"),
        Asked::Token(Target::Id(id)) => format!(" {id}"),
        Asked::App | Asked::Token(Target::Sole) => String::new(),
    }
}

fn skew(host: &crate::ids::Host, ahead: Option<i64>) -> String {
    match ahead {
        Some(seconds) if seconds < 0 => format!("this machine's clock is {} seconds ahead of {host}'s", -seconds),
        Some(seconds) => format!("this machine's clock is {seconds} seconds behind {host}'s"),
        None => format!("this machine's clock and {host}'s differ"),
    }
}

/// Seconds to wait when GitHub limits and does not say for how long, as its documentation asks.
const UNSAID_WAIT: u64 = 60;
