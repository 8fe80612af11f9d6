//! The command line of `apptoken`; the doc comments are its help.
#![expect(clippy::doc_markdown, reason = "what is printed as help has no backticks")]

use std::env::VarError;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::error::{CliError, Exit};
use crate::env;
use crate::ids::{AppId, Host, InstallationId, Owner, Permissions, Repo};
use crate::lifetime;

/// Use GitHub as an App: the agent holds the key, commands get short-lived tokens
#[derive(Parser)]
#[command(
    name = "apptoken",
    version,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    max_term_width = 100
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) scope: Scope,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Which token. Each option has an environment variable for its default.
#[derive(Args, Default)]
#[command(next_help_heading = "Which token")]
pub(super) struct Scope {
    /// The key: its name, fingerprint, App ID, client ID or slug [env: APPTOKEN_APP]
    #[arg(long, value_name = "KEY")]
    pub(super) app: Option<String>,

    /// The host [env: APPTOKEN_HOST]
    #[arg(long)]
    pub(super) host: Option<Host>,

    /// The account whose installation to use [env: APPTOKEN_OWNER]
    #[arg(long)]
    pub(super) owner: Option<Owner>,

    /// The repository to use, and narrow the token to [env: APPTOKEN_REPO]
    #[arg(long, value_name = "OWNER/NAME")]
    pub(super) repo: Option<Repo>,

    /// The installation to use [env: APPTOKEN_INSTALLATION_ID]
    #[arg(long, value_name = "ID")]
    pub(super) installation_id: Option<InstallationId>,

    /// Narrow the token, such as contents=read,issues=write [env: APPTOKEN_PERMISSIONS]
    #[arg(long, value_name = "LIST")]
    pub(super) permissions: Option<Permissions>,

    /// How long the token must live at least, such as 30m [env: APPTOKEN_MIN_TTL]
    #[arg(long, value_name = "LIFE", value_parser = lifetime::parse)]
    pub(super) min_ttl: Option<Duration>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Load a key into the agent
    Add(Add),

    /// List the keys that the agent holds
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Remove keys from the agent
    Remove {
        /// Keys by name, fingerprint or file
        #[arg(value_name = "KEY", required_unless_present = "all", conflicts_with = "all")]
        keys: Vec<String>,
        /// Remove every key
        #[arg(long)]
        all: bool,
    },

    /// Lock the agent: encrypt every key under a passphrase
    Lock {
        #[command(flatten)]
        from: PassphraseFrom,
    },

    /// Unlock the agent
    Unlock {
        #[command(flatten)]
        from: PassphraseFrom,
    },

    /// Print an installation token
    Token {
        #[command(flatten)]
        scope: Scope,
        /// Print JSON: the token and what it is good for
        #[arg(long)]
        json: bool,
    },

    /// Run gh with a token
    #[command(disable_help_flag = true)]
    Gh {
        /// What to tell gh
        #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// Run a command with a token in GH_TOKEN and GITHUB_TOKEN
    Run {
        /// Another variable to put the token in; may be given several times
        #[arg(long = "env", value_name = "NAME")]
        variables: Vec<String>,
        /// The command
        #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },

    /// List where the App is installed
    Installations {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Show the agent, its keys and its cached tokens
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(super) struct PassphraseFrom {
    /// Read the passphrase from this open file descriptor, up to the end of the line
    #[arg(long = "passphrase-fd", value_name = "N")]
    pub(super) fd: Option<u32>,
}

#[derive(Args)]
pub(super) struct Add {
    /// Private keys as GitHub gives them, PEM; - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,

    /// The App's number, or its client ID [env: APPTOKEN_APP_ID]
    #[arg(long, value_name = "ID")]
    pub(super) app_id: Option<AppId>,

    /// Forget the key after this long: 90, 45m, 1h30m, 2d, 1w
    #[arg(short = 't', value_name = "LIFE", value_parser = lifetime::parse)]
    pub(super) lifetime: Option<Duration>,

    /// Have each use of the key confirmed
    #[arg(short = 'c')]
    pub(super) confirm: bool,

    /// What to call the key [default: the App's slug]
    #[arg(long)]
    pub(super) name: Option<String>,

    /// The host the App lives on [default: github.com]
    #[arg(long)]
    pub(super) host: Option<Host>,

    /// The REST API's base [default: the host's usual one; env: APPTOKEN_API_URL]
    #[arg(long, value_name = "URL")]
    pub(super) api_url: Option<String>,

    /// The installation to use when nothing else chooses one
    #[arg(long, value_name = "ID")]
    pub(super) installation_id: Option<InstallationId>,

    /// Do not check key and App against GitHub
    #[arg(long)]
    pub(super) offline: bool,
}

impl Scope {
    /// What the environment says.
    pub(super) fn from_env() -> Result<Self, CliError> {
        Ok(Self {
            app: variable(env::APP)?,
            host: variable(env::HOST)?,
            owner: variable(env::OWNER)?,
            repo: variable(env::REPO)?,
            installation_id: variable(env::INSTALLATION_ID)?,
            permissions: variable(env::PERMISSIONS)?,
            min_ttl: text(env::MIN_TTL)?
                .map(|life| lifetime::parse(&life))
                .transpose()
                .map_err(|why| malformed(env::MIN_TTL, why))?,
        })
    }

    /// These, and `other` where these say nothing. One choice of an installation overrules all of the other's: the default
    /// owner of the environment must not stand against a repository on the command line.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        let chosen = self.owner.is_some() || self.repo.is_some() || self.installation_id.is_some();
        let (owner, repo, installation_id) = if chosen {
            (self.owner, self.repo, self.installation_id)
        } else {
            (other.owner, other.repo, other.installation_id)
        };
        Self {
            app: self.app.or(other.app),
            host: self.host.or(other.host),
            owner,
            repo,
            installation_id,
            permissions: self.permissions.or(other.permissions),
            min_ttl: self.min_ttl.or(other.min_ttl),
        }
    }
}

/// The value of an environment variable; one that is empty counts as unset.
pub(super) fn variable<T: FromStr<Err: std::fmt::Display>>(name: &'static str) -> Result<Option<T>, CliError> {
    text(name)?.map(|text| text.parse()).transpose().map_err(|why| malformed(name, why))
}

fn text(name: &'static str) -> Result<Option<String>, CliError> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(malformed(name, "it is not UTF-8")),
    }
}

fn malformed(name: &str, why: impl std::fmt::Display) -> CliError {
    CliError::new(format!("{name} in the environment is not usable: {why}"))
        .hint(format!("correct it, or unset {name}"))
        .exit(Exit::Usage)
}
