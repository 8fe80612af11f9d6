//! The command line of `apptoken-agent`; the doc comments are its help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, ValueEnum};

use crate::lifetime;
use crate::shell::Dialect;

/// Hold GitHub App keys and hand out installation tokens.
///
/// Starts an agent in the background and prints what a shell must eval to use it: eval "$(apptoken-agent)"
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
#[command(name = "apptoken-agent", version, disable_help_subcommand = true, after_help = SECURITY)]
pub struct Args {
    /// Print for Bourne shells: sh, bash, dash, zsh
    #[arg(short = 's', conflicts_with_all = ["csh", "shell"])]
    pub bourne: bool,

    /// Print for C shells: csh, tcsh
    #[arg(short = 'c', conflicts_with = "shell")]
    pub csh: bool,

    /// Print for this shell [default: by $SHELL]
    #[arg(long, value_enum, value_name = "SHELL")]
    pub shell: Option<Shell>,

    /// Bind the socket here instead of in a new private directory
    #[arg(short = 'a', value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Forget keys after this long: the default, and the most that a client may ask for
    #[arg(short = 't', value_name = "LIFE", value_parser = lifetime::parse)]
    pub lifetime: Option<Duration>,

    /// Forget every key when nothing was asked for this long
    #[arg(long, value_name = "LIFE", value_parser = lifetime::parse)]
    pub idle: Option<Duration>,

    /// Append a line to this file for each token that is handed out or refused
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<PathBuf>,

    /// Start another agent even if one of ours is running
    #[arg(long)]
    pub new: bool,

    /// Leave out the echo line
    #[arg(short = 'q')]
    pub quiet: bool,

    /// Stay in the foreground
    #[arg(short = 'D', conflicts_with = "debug")]
    pub foreground: bool,

    /// Stay in the foreground and tell on stderr what is done
    #[arg(short = 'd')]
    pub debug: bool,

    /// End the agent that the environment names, and print what makes a shell forget it
    #[arg(short = 'k', conflicts_with_all = ["socket", "lifetime", "idle", "audit_log", "new", "foreground", "debug", "command"])]
    pub kill: bool,

    /// With -k: revoke the tokens that it handed out before
    #[arg(long, requires = "kill")]
    pub revoke: bool,

    /// Run this command with an agent of its own, which ends with it
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        conflicts_with_all = ["bourne", "csh", "shell", "quiet", "foreground", "debug"]
    )]
    pub command: Vec<OsString>,
}

/// A shell by name.
#[derive(Clone, Copy, ValueEnum)]
pub enum Shell {
    /// sh, bash, dash, zsh.
    Sh,
    /// csh, tcsh.
    Csh,
    /// fish.
    Fish,
}

/// The end of the help.
const SECURITY: &str = "\
Other programs of the same user cannot read keys out of the agent. They can ask it for tokens, lock it, and remove keys:
see `apptoken help security` for what is promised and what is not.";

/// The command line's definition, from which the tests make manuals and completions.
#[doc(hidden)]
pub fn command() -> clap::Command {
    Args::command()
}

impl Args {
    /// The dialect to print in.
    pub fn dialect(&self) -> Dialect {
        match (self.bourne, self.csh, self.shell) {
            (true, ..) | (_, _, Some(Shell::Sh)) => Dialect::Bourne,
            (_, true, _) | (_, _, Some(Shell::Csh)) => Dialect::Csh,
            (_, _, Some(Shell::Fish)) => Dialect::Fish,
            _ => Dialect::of_shell(&std::env::var_os(crate::env::SHELL).unwrap_or_default()),
        }
    }
}
