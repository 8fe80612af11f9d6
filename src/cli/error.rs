//! How a command ends when it does not end well: what failed, what to do, and the exit status.

use std::fmt;
use std::process::ExitCode;

use crate::client::{CallError, Refused};
#[cfg(feature = "agent")]
use crate::config::ConfigError;
use crate::output::say;
use crate::paths;
use crate::usage::EX_USAGE;

/// A command's failure, ready to be told. Boxed: it is passed on at a hundred places, each of which would move all of it.
#[derive(Debug)]
pub(super) struct CliError(Box<Words>);

#[derive(Debug, Default)]
struct Words {
    what: Option<String>,
    hint: Option<String>,
    choices: Vec<String>,
    exit: Exit,
}

/// Exit statuses. They are stable; the first three are ssh-add's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Exit {
    /// Refused, or failed.
    #[default]
    Refused,
    /// No agent can be reached.
    NoAgent,
    /// A wrong command line.
    Usage,
    /// A command to run is there and cannot be run.
    CannotRun,
    /// A command to run is not there.
    NotFound,
}

impl CliError {
    /// A failure with exit status 1.
    pub(super) fn new(what: impl fmt::Display) -> Self {
        Self(Box::new(Words { what: Some(what.to_string()), ..Words::default() }))
    }

    /// A failure with exit status 1 that needs no more words.
    pub(super) fn told() -> Self {
        Self(Box::default())
    }

    /// Adds what to do next.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds another thing to do next.
    #[must_use]
    pub(super) fn or_hint(mut self, other: &str) -> Self {
        self.0.hint = Some(self.0.hint.take().map_or_else(|| other.to_owned(), |hint| format!("{hint}; {other}")));
        self
    }

    /// Changes the exit status.
    #[must_use]
    pub(super) fn exit(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }

    /// Puts what it was about in front, such as a file's name.
    #[must_use]
    pub(super) fn about(mut self, subject: impl fmt::Display) -> Self {
        if let Some(what) = &mut self.0.what {
            *what = format!("{subject}: {what}");
        }
        self
    }

    /// What failed, and what to do next.
    #[cfg(feature = "agent")]
    pub(super) fn words(&self) -> (&str, &str) {
        (self.0.what.as_deref().unwrap_or_default(), self.0.hint.as_deref().unwrap_or_default())
    }

    /// Tells it on standard error; returns the exit status.
    pub(super) fn report(&self) -> ExitCode {
        let Words { what, hint, choices, exit } = &*self.0;
        if let Some(what) = what {
            say(format_args!("apptoken: {what}"));
        }
        for choice in choices {
            say(format_args!("  {choice}"));
        }
        if let Some(hint) = hint {
            say(format_args!("hint: {hint}"));
        }
        ExitCode::from(match exit {
            Exit::Refused => 1,
            Exit::NoAgent => 2,
            Exit::Usage => EX_USAGE,
            Exit::CannotRun => 126,
            Exit::NotFound => 127,
        })
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoAgent(_) => Self::new(error).hint(start()).exit(Exit::NoAgent),
            CallError::Unavailable { ref hint, .. } => Self::new(&error).hint(hint).exit(Exit::NoAgent),
            CallError::Refused(refusal) => (*refusal).into(),
            CallError::Broken(what) => Self::new(what).hint("see whether the agent still runs: apptoken status"),
        }
    }
}

#[cfg(feature = "agent")]
impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::new(&error).hint(error.hint())
    }
}

impl From<Refused> for CliError {
    fn from(refusal: Refused) -> Self {
        let Refused { error, hint, choices, .. } = refusal;
        Self(Box::new(Words { what: Some(error), hint, choices, exit: Exit::Refused }))
    }
}

/// What to do without an agent.
pub(super) fn start() -> &'static str {
    if paths::has_stored_keys() {
        "start one, with the stored keys: apptoken daemon start"
    } else {
        "start one: eval \"$(apptoken-agent)\""
    }
}
