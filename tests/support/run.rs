//! How a command ended, and what the end must look like.
//!
//! Strict by default: whatever a test does not ask for must not be there. `run.ok()` fails when anything stands on
//! stdout or stderr; a test that expects text there says which.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::sys::signal::Signal;
use serde_json::Value;

/// How a command ended. The methods that return `Self` say what was expected; the others end the assertion.
#[must_use = "say how it must have ended, with ok(), exit(), fails(), text(), line() or json()"]
pub(crate) struct Run {
    what: String,
    stdout: String,
    stderr: String,
    status: ExitStatus,
    stdout_expected: bool,
    stderr_expected: bool,
}

impl Run {
    pub(super) fn new(what: &str, stdout: String, stderr: String, status: ExitStatus) -> Self {
        Self { what: what.to_owned(), stdout, stderr, status, stdout_expected: false, stderr_expected: false }
    }

    /// Stdout must be exactly `expected`.
    #[track_caller]
    pub(crate) fn stdout(mut self, expected: impl AsRef<str>) -> Self {
        let expected = expected.as_ref();
        self.check(self.stdout == expected, &format!("stdout should be {expected:?}"));
        self.stdout_expected = true;
        self
    }

    /// Stdout must contain `text`.
    #[track_caller]
    pub(crate) fn stdout_contains(mut self, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        self.check(self.stdout.contains(text), &format!("stdout should contain {text:?}"));
        self.stdout_expected = true;
        self
    }

    /// Stderr must be exactly `expected`.
    #[track_caller]
    pub(crate) fn stderr(mut self, expected: impl AsRef<str>) -> Self {
        let expected = expected.as_ref();
        self.check(self.stderr == expected, &format!("stderr should be {expected:?}"));
        self.stderr_expected = true;
        self
    }

    /// Stderr must contain `text`, in any case.
    #[track_caller]
    pub(crate) fn stderr_contains(mut self, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        let there = self.stderr.to_lowercase().contains(&text.to_lowercase());
        self.check(there, &format!("stderr should contain {text:?}"));
        self.stderr_expected = true;
        self
    }

    /// It must have ended with exit code 0.
    #[track_caller]
    pub(crate) fn ok(self) {
        self.exit(0);
    }

    /// It must have ended with exit code `code`.
    #[track_caller]
    pub(crate) fn exit(self, code: i32) {
        self.check_end(code);
        self.check_stdout();
    }

    /// It must have been ended by `signal`.
    #[track_caller]
    pub(crate) fn ended_by(self, signal: Signal) {
        self.check(self.status.signal() == Some(signal as i32), &format!("should be ended by {signal}"));
        self.check_stderr();
        self.check_stdout();
    }

    /// It must have failed with `code`, and said in one line what is wrong and in one line what to do next, with nothing
    /// but an indented list of choices between; together the lines hold each of `words`, in any case.
    #[track_caller]
    pub(crate) fn fails<const N: usize>(mut self, code: i32, words: [&str; N]) {
        let lines: Vec<&str> = self.stderr.lines().collect();
        let [what, choices @ .., hint] = &lines[..] else { self.fail("stderr should be what failed, and a hint") };
        self.check(what.starts_with("apptoken: ") || what.starts_with("apptoken-agent: "), "line 1 should name us");
        self.check(choices.iter().all(|choice| choice.starts_with("  ")), "only choices should stand between");
        self.check(hint.starts_with("hint: "), "the last line should be a hint");
        let said = self.stderr.to_lowercase();
        for word in words {
            self.check(said.contains(&word.to_lowercase()), &format!("stderr should contain {word:?}"));
        }
        self.stderr_expected = true;
        self.exit(code);
    }

    /// It must have succeeded; returns its stdout.
    #[track_caller]
    pub(crate) fn text(self) -> String {
        self.text_of(0)
    }

    /// It must have ended with exit code `code`; returns its stdout.
    #[track_caller]
    pub(crate) fn text_of(self, code: i32) -> String {
        self.check_end(code);
        self.stdout
    }

    /// It must have ended with exit code `code`, and printed nothing; returns what it said on stderr.
    #[track_caller]
    pub(crate) fn said_of(self, code: i32) -> String {
        if self.status.code() != Some(code) || !self.stdout.is_empty() {
            self.fail(&format!("it should have ended with {code}, and printed nothing"));
        }
        self.stderr
    }

    /// It must have succeeded and printed one line; returns that without its newline.
    #[track_caller]
    pub(crate) fn line(self) -> String {
        self.check_end(0);
        match self.stdout.strip_suffix('\n') {
            Some(line) if !line.is_empty() && !line.contains('\n') => line.to_owned(),
            _ => self.fail("stdout should be one line"),
        }
    }

    /// It must have succeeded and printed one JSON value; returns that.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        self.check_end(0);
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => self.fail(&format!("stdout should be JSON ({error})")),
        }
    }

    /// Everything it printed, for tests that look for what must not be there.
    pub(crate) fn everything(self) -> String {
        self.stdout + &self.stderr
    }

    #[track_caller]
    fn check_end(&self, code: i32) {
        self.check(self.status.code() == Some(code), &format!("should exit with {code}"));
        self.check_stderr();
    }

    #[track_caller]
    fn check_stderr(&self) {
        let as_expected = self.stderr_expected || self.stderr.is_empty();
        self.check(as_expected, "stderr should be empty");
    }

    #[track_caller]
    fn check_stdout(&self) {
        let as_expected = self.stdout_expected || self.stdout.is_empty();
        self.check(as_expected, "stdout should be empty");
    }

    #[track_caller]
    fn check(&self, holds: bool, expectation: &str) {
        if !holds {
            self.fail(expectation);
        }
    }

    #[track_caller]
    fn fail(&self, expectation: &str) -> ! {
        let Self { what, stdout, stderr, status, .. } = self;
        panic!("`{what}`: {expectation}\n--- {status}\n--- stdout\n{stdout}--- stderr\n{stderr}---");
    }
}
