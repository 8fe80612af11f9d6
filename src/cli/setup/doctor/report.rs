//! What the checks found: a line each as they go, or all at the end as JSON.

use std::fmt::Arguments;

use serde_json::{Map, Value};

use crate::cli::error::{CliError, Exit};
use crate::cli::json::{shown, word};
use crate::cli::print_data;

/// What was found so far.
pub(super) struct Report {
    as_json: bool,
    checks: Vec<Value>,
    /// The first that failed, as it ends this program.
    first: Option<CliError>,
    /// Whether somebody still reads.
    printed: Result<(), CliError>,
}

impl Report {
    pub(super) fn new(as_json: bool) -> Self {
        Self { as_json, checks: Vec::new(), first: None, printed: Ok(()) }
    }

    /// All is well.
    pub(super) fn ok(&mut self, check: &str, says: Arguments<'_>) {
        self.tell(check, "ok", says, format_args!(""));
    }

    /// It works, and could be better.
    pub(super) fn warn(&mut self, check: &str, says: Arguments<'_>, hint: Arguments<'_>) {
        self.tell(check, "warn", says, hint);
    }

    /// It does not work.
    pub(super) fn fail(&mut self, check: &str, says: Arguments<'_>, hint: Arguments<'_>) {
        self.tell(check, "fail", says, hint);
    }

    /// The same, in words that were found elsewhere.
    pub(super) fn fail_as(&mut self, check: &str, error: &CliError) {
        let (says, hint) = error.words();
        self.fail(check, format_args!("{says}"), format_args!("{hint}"));
    }

    /// There is no agent; the exit status says so if nothing failed before.
    pub(super) fn no_agent(&mut self, check: &str, why: Arguments<'_>, hint: Arguments<'_>) {
        let is_first = self.first.is_none();
        self.fail(check, format_args!("no agent can be reached: {why}"), hint);
        self.first = self.first.take().map(|first| if is_first { first.exit(Exit::NoAgent) } else { first });
    }

    /// These cannot be looked at.
    pub(super) fn skip(&mut self, checks: &[&str], why: &str) {
        for check in checks {
            self.tell(check, "skip", format_args!("{why}"), format_args!(""));
        }
    }

    /// Takes down what was found, in the form in which the agent tells it: [`crate::protocol::Finding`].
    pub(super) fn take(&mut self, mut found: Value) {
        for name in ["says", "hint", "key"] {
            if let Some(Value::String(text)) = found.get_mut(name) {
                // Names that come from elsewhere must not move the cursor, or look like another line.
                text.retain(|letter| !letter.is_control());
            }
        }
        if found["state"] == "fail" && self.first.is_none() {
            self.first = Some(CliError::new(shown(&found, "says")).hint(word(&found, "hint")));
        }
        if self.as_json {
            self.checks.push(found);
        } else if self.printed.is_ok() {
            let mark = match found["state"].as_str() {
                Some("fail") => "FAIL",
                Some("skip") => "-",
                state => state.unwrap_or_default(),
            };
            let of = if found["key"].is_null() { "" } else { " of " };
            // What to do about a failure follows at the end.
            let (open, hint, close) = if mark == "warn" { (" (", "hint", ")") } else { ("", "", "") };
            let [check, key, says, hint] = ["check", "key", "says", hint].map(|name| shown(&found, name));
            let line = format!("{mark:<6}{check}{of}{key}: {says}{open}{hint}{close}\n");
            self.printed = print_data(line.as_bytes());
        }
    }

    /// Ends the program as the first failure has it.
    pub(super) fn end(self) -> Result<(), CliError> {
        if self.as_json {
            print_data(format!("{:#}\n", Value::Array(self.checks)).as_bytes())?;
        }
        self.printed?;
        self.first.map_or(Ok(()), Err)
    }

    fn tell(&mut self, check: &str, state: &str, says: Arguments<'_>, hint: Arguments<'_>) {
        let mut found = Map::new();
        let mut field = |name: &str, text: String| {
            if !text.is_empty() {
                found.insert(name.to_owned(), Value::String(text));
            }
        };
        field("check", check.to_owned());
        field("state", state.to_owned());
        field("says", says.to_string());
        field("hint", hint.to_string());
        self.take(Value::Object(found));
    }
}
