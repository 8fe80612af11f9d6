//! `gh`: the real one in our place, with a token for the account that its own arguments are about.

mod addresses;
mod aliases;
mod arguments;

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{AccessFlags, access};

use super::error::{CliError, Exit};
use super::exec::{become_it, give};
use super::gitconfig::{self, Site};
use super::scope::{Scope, parse, variable};
use super::{token, verification};
use crate::env;
use crate::ids::Host;

use self::addresses::{Named, address};
use self::aliases::Aliases;
use self::arguments::{Arguments, no_repository};

/// Becomes gh.
pub(super) fn gh(mut scope: Scope, args: &[OsString]) -> Result<Infallible, CliError> {
    let arguments = Arguments::read(args, &Aliases::load());
    let own = arguments.repository()?;
    let variables = variable(env::GH_REPO)?
        .map(|(name, text)| Named::parse(&text).ok_or_else(|| no_repository(name)))
        .transpose()?;
    if scope.host.is_none() {
        scope.host = variable(env::GH_HOST)?.map(parse).transpose()?;
    }
    let mut hosts = arguments.hosts()?;
    // gh may use the variable although its arguments name a repository, as in `issue transfer`.
    hosts.extend([&own, &variables].into_iter().flatten().filter_map(|named| named.host.clone()));
    for host in hosts {
        if scope.host.get_or_insert_with(|| host.clone()) != &host {
            // gh would go there with a token of the other.
            return Err(
                another_host(&host).or_hint("leave out `--host`, APPTOKEN_HOST, GH_HOST and GH_REPO, or correct them")
            );
        }
    }
    if let Some(named) = own.or(variables)
        && !scope.chooses_installation()
    {
        scope.owner = Some(named.repo.owner);
    }
    let mut command = real_gh()?;
    let answer = token::get(&scope)?;
    judge(&arguments, &answer.host)?;
    command.args(args);
    give(&mut command, &answer);
    for name in [env::GITHUB_API_URL, env::GITHUB_SERVER_URL] {
        let leads_there = |url: String| {
            url.starts_with("https://") && address(&url).is_some_and(|(host, _)| host == answer.host.to_string())
        };
        if !std::env::var(name).is_ok_and(leads_there) {
            command.env_remove(name);
        }
    }
    let site = Site::secure(answer.host);
    gitconfig::configure(&mut command, &verification::settings(&site, &[]))?;
    Err(become_it(command).explain("install it from https://cli.github.com, or name another with APPTOKEN_GH"))
}

/// Refuses a command line with which gh could send the token of `host` to another host.
fn judge(arguments: &Arguments, host: &Host) -> Result<(), CliError> {
    // gh sends a token for an Enterprise Server to every host that is none of github.com's kind, and in a codespace one for
    // github.com as well. Otherwise it sends it to hosts of that kind only.
    let everywhere = !host.is_github_kind() || is_set(env::CODESPACES);
    let gets_it = |other: &Host| other != host && (everywhere || other.is_github_kind());
    let mut possible = arguments.possible_hosts();
    if arguments.asks_all_hosts() {
        possible.extend(aliases::hosts());
    }
    for name in possible {
        match name.parse() {
            Ok(other) if gets_it(&other) => return Err(another_host(&other).or_hint(RUN)),
            Err(_) if everywhere => {
                return Err(CliError::new("gh is to go to a host whose name cannot be read").hint(RUN));
            }
            _ => {}
        }
    }
    if arguments.goes_in_the_clear() {
        return Err(CliError::new("gh would send the token without encryption").hint("write the address with https"));
    }
    if everywhere && arguments.is_unknown() {
        return Err(CliError::new(format!(
            "this is an alias, an extension or a command of gh that could send the token of {host} to another host"
        ))
        .hint(RUN));
    }
    Ok(())
}

fn another_host(host: &Host) -> CliError {
    CliError::new("gh is to go to another host than the token is for").hint(format!("it is to go to {host}"))
}

/// Returns true if gh takes the variable for true.
fn is_set(name: &'static str) -> bool {
    std::env::var(name).is_ok_and(|value| !["", "0", "f", "false"].contains(&value.to_ascii_lowercase().as_str()))
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

/// Runs of `apptoken gh` within each other: an extension of gh may run it, and what that runs.
const MAX_DEPTH: usize = 5;
/// What to do about a command line that is refused although it is meant so.
const RUN: &str = "`apptoken run -- gh …` gives gh the token without looking at its arguments";
