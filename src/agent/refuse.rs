//! What GitHub's refusals mean for the person who asked, and what to do about them.
//!
//! On the left what GitHub answers to one who asks for a token of the App's sole installation; on the right our sentence,
//! where `…` stands for names and numbers, and its code. A test walks this table.
//!
//! | GitHub answers | we say | code |
//! |---|---|---|
//! | 401 `A JSON web token could not be decoded`, to a key it knew | … does not know this key of App … any more: it was deleted there | `app_mismatch` |
//! | 401 `A JSON web token could not be decoded`, to a new key | … does not know this key for App … | `app_mismatch` |
//! | 401 `Integration must generate a public key` | App … has no private key at all | `app_mismatch` |
//! | 401 `'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued`, twice | this machine's clock … | `clock_skew` |
//! | 401 `'Expiration time' claim ('exp') is too far in the future`, twice | this machine's clock … | `clock_skew` |
//! | 401 `'Issuer' claim ('iss') must be an Integer` | … knows no App … | `app_mismatch` |
//! | 404 `Integration not found` | … knows no App … | `app_mismatch` |
//! | 404 `Not Found` | App … is not installed there any more | `not_installed` |
//! | 403 `This installation has been suspended` | the installation is suspended | `suspended` |
//! | 403 `Although you appear to have the correct authorization credentials, the organization has an IP allow list enabled` | … forbids it to App … | `denied` |
//! | 422 `The permissions requested are not granted to this installation.` | the installation does not have all the permissions asked for | `not_granted` |
//! | 422 `There is at least one repository that does not exist or is not accessible to the parent installation.` | a repository asked for is not part of the installation | `not_granted` |
//! | 422 `Invalid request.` | … does not narrow a token in that way | `not_granted` |
//! | 403 `You have exceeded a secondary rate limit.` | … limits the rate of requests | `rate_limited` |
//! | 429 `API rate limit exceeded for installation ID 1.` | … limits the rate of requests | `rate_limited` |
//! | 400 `Problems parsing JSON` | … answered with status 400 | `github_unavailable` |
//! | 410 `Gone` | … does not speak the version of the API that this program does | `github_unavailable` |
//! | 502 `Server Error`, each time | … answered with status 502 | `github_unavailable` |
//! | a redirect to another host | … redirects to another address, which is not followed | `github_unavailable` |
//! | a page for people with status 404 | … answered with something that is not the API's JSON | `github_unavailable` |
//! | a page for people with status 200 | … answered with something that is not the API's JSON | `github_unavailable` |
//! | no end of white space | … answered with an answer that is too large | `github_unavailable` |
//! | no connection | … cannot be reached: … | `github_unavailable` |
//! | nothing in time | … did not answer in time | `timeout` |

use super::api::UNSAID_PAUSE;
use super::keyring::HeldKey;
use super::reply::GitHubError;
use super::state::Target;
use crate::ids::Host;
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
        // It was known once: GitHub told this App's names to it.
        GitHubError::WrongKey if key.app.is_some() => {
            Refusal::new(Code::AppMismatch, format!("{host} does not know this key of App {app} any more: it was deleted there"))
                .hint(format!("generate another under \"Private keys\" on the App's settings page, add it, and `apptoken remove {}`", key.name))
        }
        GitHubError::WrongKey => Refusal::new(Code::AppMismatch, format!("{host} does not know this key for App {app}"))
            .hint(format!("compare {} with the keys on that App's settings page, and `--app-id` with the App", key.fingerprint)),
        GitHubError::AppHasNoKey => Refusal::new(Code::AppMismatch, format!("App {app} has no private key at all"))
            .hint("generate one under \"Private keys\" on the App's settings page; a new one takes some seconds to be known"),
        GitHubError::NoSuchApp => Refusal::new(Code::AppMismatch, format!("{host} knows no App {app}"))
            .hint("give the number shown as \"App ID\" on the App's settings page; an installation ID is another number"),
        GitHubError::ClockSkew(ahead) => Refusal::new(Code::ClockSkew, skew(host, *ahead))
            .hint("set the clock: timedatectl set-ntp true"),
        GitHubError::ClockTooFar(ahead) => Refusal::new(
            Code::ClockSkew,
            format!("{}, and the agent makes up for a day at most", skew(host, Some(*ahead))),
        )
        .hint("set the clock: timedatectl set-ntp true"),
        GitHubError::OtherInstallation(told) => Refusal::new(
            Code::GithubUnavailable,
            format!("{} answered for installation {told}, which is not the one asked about", key.api_url),
        )
        .hint(MIXED_UP),
        GitHubError::OtherAccount => other_account(key, asked),
        GitHubError::OtherApp => Refusal::new(
            Code::AppMismatch,
            format!("{} answered for another App than App {app}", key.api_url),
        )
        .hint(MIXED_UP),
        GitHubError::LongLived(seconds) => Refusal::new(
            Code::GithubUnavailable,
            format!("{} granted a token that lives {seconds} seconds, and GitHub's live an hour", key.api_url),
        )
        .hint(MIXED_UP),
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
        GitHubError::Forbidden => Refusal::new(Code::Denied, format!("{host} forbids it to App {app}"))
            .hint("the account may have a list of IP addresses that are allowed, or its enterprise a policy: ask its owner"),
        GitHubError::NotNarrowed => Refusal::new(Code::NotGranted, format!("{host} does not narrow a token in that way"))
            .hint("ask for fewer repositories or fewer permissions"),
        GitHubError::RateLimited(seconds) => {
            let wait = seconds.unwrap_or(UNSAID_PAUSE);
            let mut refusal = Refusal::new(Code::RateLimited, format!("{host} limits the rate of requests"))
                .hint(format!("try again in {wait} seconds"));
            refusal.retry_after = Some(wait);
            refusal
        }
        GitHubError::Timeout => Refusal::new(Code::Timeout, format!("{} did not answer in time", key.api_url))
            .hint("try again; see https://www.githubstatus.com/ if it stays so"),
        GitHubError::Unreachable(reason) | GitHubError::Barred(reason) => {
            Refusal::new(Code::GithubUnavailable, format!("{} cannot be reached: {}", key.api_url, reason.text))
                .hint(reason.hint)
        }
        GitHubError::Redirected => {
            Refusal::new(Code::GithubUnavailable, format!("{} redirects to another address, which is not followed", key.api_url))
                .hint("add the key again with the new address as `--api-url`, if you trust it")
        }
        GitHubError::VersionGone => Refusal::new(
            Code::GithubUnavailable,
            format!("{} does not speak the version of the API that this program does", key.api_url),
        )
        .hint("look for a newer apptoken"),
        GitHubError::Unavailable(status, seconds) => {
            let mut refusal =
                Refusal::new(Code::GithubUnavailable, format!("{} answered with status {status}", key.api_url))
                    .hint(format!("try again in {seconds} seconds"));
            refusal.retry_after = Some(*seconds);
            refusal
        }
        GitHubError::Status(status) => {
            Refusal::new(Code::GithubUnavailable, format!("{} answered with status {status}", key.api_url))
                .hint("try again; see https://www.githubstatus.com/ if it stays so")
        }
        GitHubError::Unreadable(what) => Refusal::new(Code::GithubUnavailable, format!("{} answered with {what}", key.api_url))
            .hint(MIXED_UP),
    }
}

const MIXED_UP: &str = "check that the address is that of a GitHub REST API, and that no proxy answers in its place";

fn other_account(key: &HeldKey, asked: Asked<'_>) -> Refusal {
    let account = match asked {
        Asked::Token(Target::Repo(repo)) => format!("`{}`", repo.owner),
        Asked::Token(Target::Owner(owner)) => format!("`{owner}`"),
        Asked::App | Asked::Token(Target::Id(_) | Target::Sole) => "that of the installation".to_owned(),
    };
    Refusal::new(Code::GithubUnavailable, format!("{} answered for another account than {account}", key.api_url))
        .hint("if the account or the repository was renamed or moved, ask for it by its present name")
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

/// What to do about an App that is not installed.
pub fn install_hint(key: &HeldKey) -> String {
    let place = match key.app.as_ref().and_then(|app| app.slug.as_deref()) {
        Some(slug) => format!("at {}", install_page(&key.host, slug)),
        None => "from its settings page".to_owned(),
    };
    format!("install it {place}, or see `apptoken installations`")
}

/// Where a person installs an App of this slug.
pub fn install_page(host: &Host, slug: &str) -> String {
    let apps = if host.is_github_kind() { "apps" } else { "github-apps" };
    format!("https://{host}/{apps}/{slug}/installations/new")
}

fn on(asked: Asked<'_>) -> String {
    match asked {
        Asked::Token(Target::Repo(repo)) => format!(" for `{repo}`"),
        Asked::Token(Target::Owner(owner)) => format!(" on `{owner}`"),
        Asked::Token(Target::Id(id)) => format!(" {id}"),
        Asked::App | Asked::Token(Target::Sole) => String::new(),
    }
}

fn skew(host: &Host, ahead: Option<i64>) -> String {
    match ahead {
        Some(seconds) if seconds < 0 => format!("this machine's clock is {} seconds ahead of {host}'s", -seconds),
        Some(seconds) => format!("this machine's clock is {seconds} seconds behind {host}'s"),
        None => format!("this machine's clock and {host}'s differ"),
    }
}
