//! The questions of a wizard, at the terminal.

use crate::cli::error::CliError;
use crate::cli::prompt::{self, MAX_TRIES, no_terminal};

/// Asks what must be answered, be it with nothing: `None`.
pub(super) fn line(question: &str) -> Result<Option<String>, CliError> {
    let typed = prompt::line(question).map_err(no_terminal)?;
    let answer = typed.ok_or_else(|| CliError::new("there was no answer").hint("nothing was changed"))?;
    Ok((!answer.is_empty()).then_some(answer))
}

/// Asks for a yes; all else is a no.
pub(super) fn yes(question: &str) -> bool {
    prompt::ask(&format!("{question} [y/N]"))
        .is_some_and(|answer| ["y", "yes"].contains(&&*answer.to_ascii_lowercase()))
}

/// Asks again after a mistake, three times in all. What is no mistake of the person's ends it.
pub(super) fn until_right<T>(mut ask: impl FnMut() -> Result<Result<T, CliError>, CliError>) -> Result<T, CliError> {
    for _ in 1..MAX_TRIES {
        match ask()? {
            Ok(right) => return Ok(right),
            Err(mistake) => drop(mistake.report()),
        }
    }
    ask()?
}
