//! How a command ends when it does not end well: what failed, what to do, and the exit status.

use std::fmt;
use std::process::ExitCode;

use crate::client::{CallError, Refused};
use crate::output::say;
use crate::usage::EX_USAGE;

/// A command's failure, ready to be told.
#[derive(Debug)]
pub(super) struct CliError {
    what: Option<String>,
    hint: Option<String>,
    choices: Vec<String>,
    exit: Exit,
}

/// Exit statuses. They are stable; the first three are ssh-add's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exit {
    /// Refused, or failed.
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
        Self { what: Some(what.to_string()), hint: None, choices: Vec::new(), exit: Exit::Refused }
    }

    /// A failure with exit status 1 that needs no more words.
    pub(super) fn told() -> Self {
        Self { what: None, hint: None, choices: Vec::new(), exit: Exit::Refused }
    }

    /// Adds what to do next.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds another thing to do next.
    #[must_use]
    pub(super) fn or_hint(mut self, other: &str) -> Self {
        self.hint = Some(self.hint.map_or_else(|| other.to_owned(), |hint| format!("{hint}; {other}")));
        self
    }

    /// Changes the exit status.
    #[must_use]
    pub(super) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Puts what it was about in front, such as a file's name.
    #[must_use]
    pub(super) fn about(mut self, subject: impl fmt::Display) -> Self {
        self.what = self.what.map(|what| format!("{subject}: {what}"));
        self
    }

    /// Tells it on standard error; returns the exit status.
    pub(super) fn report(&self) -> ExitCode {
        if let Some(what) = &self.what {
            say(format_args!("apptoken: {what}"));
        }
        for choice in &self.choices {
            say(format_args!("  {choice}"));
        }
        if let Some(hint) = &self.hint {
            say(format_args!("hint: {hint}"));
        }
        ExitCode::from(match self.exit {
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
            CallError::NoAgent(_) => Self::new(error).hint("start one: eval \"$(apptoken-agent)\"").exit(Exit::NoAgent),
            CallError::Refused(refusal) => refusal.into(),
            CallError::Broken(what) => Self::new(what).hint("see whether the agent still runs: apptoken status"),
        }
    }
}

impl From<Refused> for CliError {
    fn from(refusal: Refused) -> Self {
        Self { what: Some(refusal.error), hint: refusal.hint, choices: refusal.choices, exit: Exit::Refused }
    }
}
