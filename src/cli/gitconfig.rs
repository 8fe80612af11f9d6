//! What git is told, whether by `git` for one command or by `setup-git` for good: whom to ask for a host's credentials.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::args::ScopeArgs;
use super::error::CliError;
use super::json::{list, word};
use super::scope::{Scope, variable, wrong};
use crate::client::{Agent, CallError};
use crate::env::{GIT_CONFIG_COUNT, GIT_CONFIG_KEY, GIT_CONFIG_VALUE, GIT_SSL_NO_VERIFY};
use crate::ids::Host;
use crate::protocol::{KeyChoice, Request};
use crate::shell::Dialect;

/// A host whose repositories a key opens.
pub(super) struct Site {
    pub(super) host: Host,
    /// Whether it speaks plain http: its key's API does, and it is this machine.
    pub(super) plain: bool,
}

/// One line of git's configuration: a name and a value.
pub(super) type Setting = (String, Vec<u8>);

impl Site {
    /// The host, when nothing is known of its key.
    pub(super) fn secure(host: Host) -> Self {
        Self { host, plain: false }
    }

    fn of_key(key: &Value) -> Option<Self> {
        let host: Host = key["host"].as_str()?.parse().ok()?;
        let plain = key["apiUrl"].as_str().is_some_and(|url| url.starts_with("http://")) && host.is_this_machine();
        Some(Self { host, plain })
    }

    /// Whether a token of this host's keys may go there.
    pub(super) fn serves(&self, protocol: &str, host: &Host) -> bool {
        self.host == *host && (protocol == "https" || self.plain && protocol == "http")
    }

    /// What the addresses of its repositories begin with, up to the slash: `https://github.com`.
    pub(super) fn base(&self) -> String {
        format!("{}://{}", if self.plain { "http" } else { "https" }, self.host)
    }

    /// Makes this program the only one that git asks for this host, with the options of this command line.
    pub(super) fn settings(&self, options: &ScopeArgs) -> Result<[Setting; 4], CliError> {
        let name = format!("credential.{}", self.base());
        Ok([
            // An empty one forgets those that stand before it: no other helper is asked, or given the token to store.
            (format!("{name}.helper"), Vec::new()),
            (format!("{name}.helper"), self.helper(options)?),
            // Else git does not tell whose repository it is, and each owner has an installation of its own.
            (format!("{name}.useHttpPath"), b"true".to_vec()),
            // Else the person's own login in ~/.netrc is sent first, and is good enough. An older git does not know this.
            (format!("http.{}.proactiveAuth", self.base()), b"basic".to_vec()),
        ])
    }

    fn helper(&self, options: &ScopeArgs) -> Result<Vec<u8>, CliError> {
        let program = this_program()?;
        let mut line = b"!".to_vec();
        line.extend(Dialect::Bourne.quote(program.as_os_str().as_bytes()));
        let host = self.host.to_string();
        let others = options.written().into_iter().filter(|(flag, _)| *flag != "--host");
        for (flag, value) in others.chain([("--host", host.as_str())]) {
            line.extend(format!(" {flag}=").into_bytes());
            line.extend(Dialect::Bourne.quote(value.as_bytes()));
        }
        line.extend(b" credential");
        Ok(line)
    }
}

/// Gives git these settings in its environment, after those that are there already. There `GIT_SSL_NO_VERIFY` is removed: it
/// wins over every setting.
pub(super) fn configure(git: &mut Command, settings: &[Setting]) -> Result<(), CliError> {
    let before = match variable(GIT_CONFIG_COUNT)? {
        Some((name, count)) => count.parse::<usize>().map_err(|_| wrong(name, "it is not a number"))?,
        None => 0,
    };
    for (number, (name, value)) in (before..).zip(settings) {
        git.env(format!("{GIT_CONFIG_KEY}{number}"), name);
        git.env(format!("{GIT_CONFIG_VALUE}{number}"), OsStr::from_bytes(value));
    }
    git.env(GIT_CONFIG_COUNT, (before + settings.len()).to_string()).env_remove(GIT_SSL_NO_VERIFY);
    Ok(())
}

/// This program, by the name that stays: an upgrade of a versioned installation leaves the link in PATH, and takes away
/// the file that it led to.
fn this_program() -> Result<PathBuf, CliError> {
    let file = env::current_exe().map_err(|error| {
        CliError::new(format!("this program does not find itself: {error}")).hint("install it again")
    })?;
    let called = PathBuf::from(env::args_os().next().unwrap_or_default());
    let path = env::var_os("PATH").unwrap_or_default();
    let listed = env::split_paths(&path).filter_map(|place| Some(place.join(called.file_name()?)));
    let here = env::current_dir().map(|here| here.join(&called));
    let mut same =
        listed.chain(here).filter(|name| name.is_absolute() && fs::canonicalize(name).is_ok_and(|real| real == file));
    Ok(same.next().unwrap_or(file))
}

/// The hosts that the agent holds keys for.
pub(super) fn held(agent: &mut Agent) -> Result<Vec<Site>, CallError> {
    Ok(sites(list(&agent.call(&Request::ListKeys)?, "keys").iter()))
}

/// The same, of the keys that `scope` chooses from: one at least.
pub(super) fn chosen(agent: &mut Agent, scope: &Scope) -> Result<Vec<Site>, CallError> {
    let answer = agent.call(&Request::ListKeys)?;
    let on_host = |key: &&Value| scope.host.as_ref().is_none_or(|host| word(key, "host") == host.to_string());
    let named = |key: &&Value| {
        let is = |name: &str| ["name", "fingerprint", "appId", "slug"].iter().any(|field| word(key, field) == name);
        scope.app.as_deref().is_none_or(is)
    };
    let keys: Vec<&Value> = list(&answer, "keys").iter().filter(on_host).collect();
    let mut sites = sites(keys.iter().copied().filter(named));
    if sites.is_empty() {
        // The agent knows more names than it lists, and refuses in its own words.
        let choice = KeyChoice { app: scope.app.clone(), host: scope.host.clone(), ..KeyChoice::default() };
        agent.call(&Request::Installations(choice))?;
        sites = self::sites(keys.into_iter());
    }
    Ok(sites)
}

/// The hosts of keys as the agent lists them, each once.
pub(super) fn sites<'a>(keys: impl Iterator<Item = &'a Value>) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for site in keys.filter_map(Site::of_key) {
        match sites.iter_mut().find(|other| other.host == site.host) {
            Some(other) => other.plain |= site.plain,
            None => sites.push(site),
        }
    }
    sites
}
