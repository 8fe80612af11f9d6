//! Which token is wanted: by the command line, else by the environment.

use std::env::VarError;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::args::ScopeArgs;
use super::error::{CliError, Exit};
use crate::env;
use crate::ids::{Host, InstallationId, Malformed, Owner, Permissions, Repo};
use crate::lifetime;
use crate::protocol::TokenRequest;

/// What chooses and narrows a token.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) app: Option<String>,
    pub(super) host: Option<Host>,
    pub(super) owner: Option<Owner>,
    pub(super) repo: Option<Repo>,
    pub(super) installation_id: Option<InstallationId>,
    pub(super) permissions: Option<Permissions>,
    pub(super) min_ttl: Option<Duration>,
    /// Whether no agent is to be started, and no stored key loaded, for it.
    pub(super) no_start: bool,
}

impl Scope {
    /// Whether it says which installation is meant.
    pub(super) fn chooses_installation(&self) -> bool {
        self.owner.is_some() || self.repo.is_some() || self.installation_id.is_some()
    }

    /// All of it, as the agent is asked.
    pub(super) fn request(self) -> TokenRequest {
        TokenRequest {
            app: self.app,
            host: self.host,
            owner: self.owner,
            repo: self.repo,
            installation_id: self.installation_id,
            permissions: self.permissions,
            min_ttl: self.min_ttl.map(|life| life.as_secs()),
            ..TokenRequest::default()
        }
    }

    /// Reads the options, nearest to the verb first; what they leave open, the environment may say.
    pub(super) fn read(options: ScopeArgs) -> Result<Self, CliError> {
        // One choice of an installation overrules all of the environment's: its owner must not stand against a repository
        // on the command line.
        let chosen = options.owner.is_some() || options.repo.is_some() || options.installation_id.is_some();
        let place = |option: Option<String>, flag, variable| {
            if chosen { Ok(option.map(|text| (flag, text))) } else { either(option, flag, variable) }
        };
        for (narrows, name) in [(options.repo.is_none(), env::REPO), (options.permissions.is_none(), env::PERMISSIONS)]
        {
            if narrows && std::env::var_os(name).is_some_and(|text| text.is_empty()) {
                return Err(wrong(
                    name,
                    "it is empty, and the token would be as wide as can be; unset it to want that",
                ));
            }
        }
        // What narrows a token is not dropped in silence by what only chooses.
        if chosen
            && options.repo.is_none()
            && let Some((_, repo)) = variable(env::REPO)?
        {
            let repo: Repo = parse((env::REPO, repo))?;
            if options.owner.as_deref().is_none_or(|owner| owner.parse() != Ok(repo.owner)) {
                return Err(wrong(
                    env::REPO,
                    "it narrows to a repository of another installation, perhaps, than the one chosen",
                ));
            }
        }
        Ok(Self {
            app: either(options.app, "--app", env::APP)?.map(|(_, text)| text),
            host: either(options.host, "--host", env::HOST)?.map(parse).transpose()?,
            owner: place(options.owner, "--owner", env::OWNER)?.map(parse).transpose()?,
            repo: either(options.repo, "--repo", env::REPO)?.map(parse).transpose()?,
            installation_id: place(options.installation_id, "--installation-id", env::INSTALLATION_ID)?
                .map(parse)
                .transpose()?,
            permissions: either(options.permissions, "--permissions", env::PERMISSIONS)?.map(parse).transpose()?,
            min_ttl: either(options.min_ttl, "--min-ttl", env::MIN_TTL)?.map(parse_lifetime).transpose()?,
            no_start: options.no_start,
        })
    }
}

impl ScopeArgs {
    /// Those that were given, as flags and values.
    pub(super) fn written(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("--app", &self.app),
            ("--host", &self.host),
            ("--owner", &self.owner),
            ("--repo", &self.repo),
            ("--installation-id", &self.installation_id),
            ("--permissions", &self.permissions),
            ("--min-ttl", &self.min_ttl),
        ];
        all.into_iter().filter_map(|(flag, value)| Some((flag, value.as_deref()?))).collect()
    }
}

/// A text, and the option or variable that it comes from.
pub(super) type Named = (&'static str, String);

/// What an option says, else what a variable does.
pub(super) fn either(
    option: Option<String>,
    flag: &'static str,
    name: &'static str,
) -> Result<Option<Named>, CliError> {
    match option {
        Some(text) => Ok(Some((flag, text))),
        None => variable(name),
    }
}

/// The value of an environment variable; one that is empty counts as unset.
pub(super) fn variable(name: &'static str) -> Result<Option<Named>, CliError> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some((name, text))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(wrong(name, "it is not UTF-8")),
    }
}

/// Makes of a text what it stands for.
pub(super) fn parse<T: FromStr<Err = Malformed>>((name, text): Named) -> Result<T, CliError> {
    text.parse().map_err(|why| wrong(name, why))
}

/// The same for a span of time.
pub(super) fn parse_lifetime((name, text): Named) -> Result<Duration, CliError> {
    lifetime::parse(&text).map_err(|why| wrong(name, why))
}

/// A value that cannot be used; it is not repeated.
pub(super) fn wrong(name: &str, why: impl Display) -> CliError {
    CliError::new(format!("the value of {name} cannot be used: {why}"))
        .hint(format!("correct {name}"))
        .exit(Exit::Usage)
}
