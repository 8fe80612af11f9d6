//! `gh`: the real one in our place, with a token for the account that its own arguments are about.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{AccessFlags, access};

use super::error::{CliError, Exit};
use super::exec::{become_it, give};
use super::scope::{Scope, parse, variable};
use super::token;
use crate::env;
use crate::ids::{Host, Repo};

/// Becomes gh.
pub(super) fn gh(mut scope: Scope, args: &[OsString]) -> Result<Infallible, CliError> {
    let named = match repo_in(args)? {
        None => {
            variable(env::GH_REPO)?.map(|(name, text)| Named::parse(&text).ok_or_else(|| no_repo(name))).transpose()?
        }
        named => named,
    };
    if scope.host.is_none() {
        scope.host = variable(env::GH_HOST)?.map(parse).transpose()?;
    }
    let mut hosts = hosts_in(args)?;
    hosts.extend(named.as_ref().and_then(|named| named.host.clone()));
    for host in hosts {
        if scope.host.get_or_insert_with(|| host.clone()) != &host {
            // gh would go there with a token of the other.
            return Err(CliError::new("gh is to go to another host than the token is for").hint(format!(
                "it is to go to {host}: leave out `--host`, APPTOKEN_HOST and GH_HOST, or correct them"
            )));
        }
    }
    if let Some(named) = named
        && !scope.chooses_installation()
    {
        scope.owner = Some(named.repo.owner);
    }
    let mut command = real_gh()?;
    let answer = token::get(&scope)?;
    command.args(args);
    give(&mut command, &answer);
    Err(become_it(command).explain("install it from https://cli.github.com, or name another with APPTOKEN_GH"))
}

/// The gh to run: the one that the environment names, else the first in `PATH`, else, when that turns out to be a wrapper
/// that runs `apptoken gh`, the next one.
pub(super) fn real_gh() -> Result<Command, CliError> {
    if let Some((_, words)) = variable(env::GH)? {
        let words = shell_words::split(&words).map_err(|_| {
            CliError::new(format!("{} has a quote without an end", env::GH))
                .hint("write it as for a shell")
                .exit(Exit::Usage)
        })?;
        let (program, first) = words
            .split_first()
            .ok_or_else(|| CliError::new(format!("{} names no program", env::GH)).exit(Exit::Usage))?;
        let mut command = deeper(Command::new(program))?;
        command.args(first);
        return Ok(command);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = std::env::split_paths(&path)
        .map(|directory| directory.join("gh"))
        .filter(|gh| gh.is_file() && access(gh, AccessFlags::X_OK).is_ok())
        .collect();
    let gh = all.get(depth()).or(all.last()).map_or(OsStr::new("gh"), |gh| gh.as_os_str());
    deeper(Command::new(gh))
}

/// How many `apptoken gh` led to this one.
fn depth() -> usize {
    std::env::var(env::GH_DEPTH).ok().and_then(|depth| depth.parse().ok()).unwrap_or_default()
}

/// Counts the runs of `apptoken gh` within each other, so that two programs that each take the other for gh come to an end.
fn deeper(mut command: Command) -> Result<Command, CliError> {
    if depth() >= MAX_DEPTH {
        return Err(CliError::new("what is run as gh runs `apptoken gh` again")
            .hint(format!("name the real one: {}=/usr/bin/gh", env::GH)));
    }
    command.env(env::GH_DEPTH, (depth() + 1).to_string());
    Ok(command)
}

/// A repository as gh's users write it.
#[derive(Debug, PartialEq)]
struct Named {
    host: Option<Host>,
    repo: Repo,
}

impl Named {
    /// Reads `[HOST/]OWNER/REPO`, or the address of anything in a repository.
    fn parse(text: &str) -> Option<Self> {
        let (host, path) = match address(text) {
            Some((host, path)) => (Some(host.parse().ok()?), path),
            None if text.split('/').count() == 3 => {
                let (host, path) = text.split_once('/')?;
                (Some(canonical(host).parse().ok()?), path)
            }
            None => (None, text),
        };
        let mut parts = path.trim_matches('/').split('/');
        let (owner, name) = (parts.next()?, parts.next()?);
        if host.is_none() && parts.next().is_some() {
            return None;
        }
        let name = name.strip_suffix(".git").unwrap_or(name);
        Some(Self { host, repo: Repo { owner: owner.parse().ok()?, name: name.parse().ok()? } })
    }

    /// Reads what `gh api` asks for: `repos/OWNER/REPO/…`, or the address of that.
    fn in_api_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next()?.trim_start_matches('/');
        let (owner, rest) = path.strip_prefix("repos/")?.split_once('/')?;
        let name = rest.split('/').next()?;
        Some(Self { host: None, repo: Repo { owner: owner.parse().ok()?, name: name.parse().ok()? } })
    }
}

/// The repository that gh's own arguments are about. What only looks like one costs nothing but another choice of the
/// installation, which `--owner` overrules.
fn repo_in(args: &[OsString]) -> Result<Option<Named>, CliError> {
    let words = words(args);
    let short = || words.iter().find_map(|word| word.strip_prefix("-R").filter(|repo| !repo.is_empty()));
    if let Some(repo) = option(&words, "--repo").or_else(|| option(&words, "-R")).or_else(short) {
        return Named::parse(repo.trim_start_matches('=')).map(Some).ok_or_else(|| no_repo("--repo"));
    }
    let mut plain = words.iter().filter(|word| !word.starts_with('-'));
    let (Some(verb), mut rest) = (plain.next(), plain) else { return Ok(None) };
    Ok(match *verb {
        "api" => rest.find_map(|word| Named::in_api_path(word)),
        "repo" => rest.skip(1).find_map(|word| Named::parse(word)),
        _ => rest.filter(|word| address(word).is_some()).find_map(|word| Named::parse(word)),
    })
}

fn no_repo(name: &str) -> CliError {
    CliError::new(format!("the value of {name} is no repository")).hint("write it [HOST/]OWNER/REPO").exit(Exit::Usage)
}

/// Every host that gh is told to go to: outright, or by an address that is no part of a text.
fn hosts_in(args: &[OsString]) -> Result<Vec<Host>, CliError> {
    let words = words(args);
    let addresses = words.iter().enumerate().filter(|(at, _)| *at == 0 || !TEXTS.contains(&words[at - 1]));
    let to = addresses.filter_map(|(_, word)| address(word).map(|(host, _)| host));
    let named = option(&words, "--hostname").map(canonical);
    let parse = |host: String| {
        host.parse().map_err(|_| CliError::new("gh is to go to a host whose name cannot be read").exit(Exit::Usage))
    };
    to.chain(named).map(parse).collect()
}

/// The host and the path of an address, as of the web, of ssh, or as ssh's `user@host:path`.
fn address(word: &str) -> Option<(String, &str)> {
    let (place, path) = match word.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') => {
            rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end))
        }
        _ => {
            let (place, path) = word.split_once(':')?;
            let login = place.contains('@') && !place.contains(['/', ' ']);
            (login.then_some(place)?, path)
        }
    };
    let (_, host) = place.rsplit_once('@').unwrap_or(("", place));
    Some((canonical(host), path))
}

/// The host whose token goes there: its API and its other names are the same to gh.
fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let bare = host.strip_prefix("www.").unwrap_or(&host);
    let api = bare.strip_prefix("api.").filter(|host| *host == "github.com" || host.ends_with(".ghe.com"));
    match api.unwrap_or(bare) {
        "ssh.github.com" | "gist.github.com" => "github.com".to_owned(),
        host => host.to_owned(),
    }
}

fn words(args: &[OsString]) -> Vec<&str> {
    args.iter().map_while(|arg| arg.to_str()).take_while(|word| *word != "--").collect()
}

/// The value of an option, written `NAME VALUE` or `NAME=VALUE`.
fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(name) {
        Some("") => words.get(at + 1).copied(),
        Some(value) => value.strip_prefix('='),
        None => None,
    })
}

/// Options of gh whose value is a text, in which an address is only mentioned.
const TEXTS: [&str; 18] = [
    "-b",
    "--body",
    "-t",
    "--title",
    "-n",
    "--notes",
    "-d",
    "--description",
    "-h",
    "--homepage",
    "-m",
    "--message",
    "-q",
    "--jq",
    "-c",
    "--comment",
    "--template",
    "--subject",
];
/// Runs of `apptoken gh` within each other: an extension of gh may run it, and what that runs.
const MAX_DEPTH: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Option<String> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        repo_in(&args).expect(line).map(|named| match named.host {
            Some(host) => format!("{host}/{}", named.repo),
            None => named.repo.to_string(),
        })
    }

    #[test]
    fn the_repository_is_found_where_gh_takes_it_from() {
        for (line, repo) in [
            ("pr list -R acme/web", "acme/web"),
            ("pr list --repo acme/web", "acme/web"),
            ("pr list --repo=Acme/Web", "acme/web"),
            ("pr list -Racme/web", "acme/web"),
            ("pr list -R ghe.example/acme/web", "ghe.example/acme/web"),
            ("-R acme/web pr list", "acme/web"),
            ("api repos/acme/web/pulls?state=all", "acme/web"),
            ("api /repos/acme/web", "acme/web"),
            ("api -X POST repos/acme/web/issues -f title=x", "acme/web"),
            ("repo view acme/web", "acme/web"),
            ("repo clone https://github.com/acme/web.git dir", "github.com/acme/web"),
            ("repo clone acme/web -- --depth 1", "acme/web"),
            ("pr view https://github.com/acme/web/pull/7", "github.com/acme/web"),
        ] {
            assert_eq!(found(line).as_deref(), Some(repo), "{line}");
        }
    }

    #[test]
    fn every_host_that_gh_would_go_to_is_seen() {
        let hosts = |line: &str| {
            let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let mut hosts: Vec<String> = hosts_in(&args).expect(line).iter().map(ToString::to_string).collect();
            hosts.extend(repo_in(&args).expect(line).and_then(|named| Some(named.host?.to_string())));
            hosts.dedup();
            hosts.join(" ")
        };
        for (line, seen) in [
            ("pr list -R git@evil.example:o/r", "evil.example"),
            ("pr list -R ssh://git@evil.example/o/r", "evil.example"),
            ("pr list -R evil.example/o/r", "evil.example"),
            ("pr view http://evil.example/o/r/pull/1", "evil.example"),
            ("pr view --comments https://evil.example/o/r/pull/1", "evil.example"),
            ("api https://evil.example/x", "evil.example"),
            ("api https://api.evil.ghe.com/x", "evil.ghe.com"),
            ("api https://api.github.com/repos/o/r", "github.com"),
            ("repo clone git@evil.example:o/r", "evil.example"),
            ("api --hostname evil.example user", "evil.example"),
            ("api user --hostname=API.github.com", "github.com"),
            ("pr create --body https://elsewhere.example/x", ""),
            ("api repos/o/r -f body=https://elsewhere.example/x", ""),
            ("pr list", ""),
        ] {
            assert_eq!(hosts(line), seen, "{line}");
        }
    }

    #[test]
    fn what_is_no_repository_chooses_nothing() {
        for line in [
            "",
            "api user",
            "api graphql -f query=x",
            "api repos/{owner}/{repo}/pulls",
            "pr list",
            "pr checkout 7",
            "issue create --title a/b",
            "pr list -- -R acme/web",
            "repo list acme",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
