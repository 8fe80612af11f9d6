//! One command of the demo: shown, run, its output shown, and judged.

use std::fmt;
use std::process::{Command, Stdio};

use crate::setting::Setting;

/// A command, and how it is to end.
#[must_use = "nothing is run before prints()"]
pub(crate) struct Step<'a> {
    setting: &'a Setting,
    command: &'a str,
    /// Run after the command by the same shell, and not shown.
    afterwards: Option<&'a str>,
    status: i32,
    proxy: bool,
}

/// Why the demo ends early.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl<'a> Step<'a> {
    pub(crate) fn new(setting: &'a Setting, command: &'a str) -> Self {
        Self { setting, command, afterwards: None, status: 0, proxy: false }
    }

    /// Has the same shell run this as well if the command succeeds, behind the scenes.
    pub(crate) fn and_then(self, afterwards: &'a str) -> Self {
        Self { afterwards: Some(afterwards), ..self }
    }

    /// Sets the exit status that the command must have, if not 0.
    pub(crate) fn exits(self, status: i32) -> Self {
        Self { status, ..self }
    }

    /// Sends the command's plain http through the simulated GitHub, whatever the host: gh knows no other way there.
    pub(crate) fn through_proxy(self) -> Self {
        Self { proxy: true, ..self }
    }

    /// Shows and runs the command, which must print `expected` among other things.
    pub(crate) fn prints(self, expected: &str) -> Result<(), Failure> {
        println!("$ {}", self.command);
        let output = self.shell().output().map_err(|error| Failure::new(format!("cannot run sh: {error}")))?;
        let text = [output.stdout, output.stderr].concat();
        let shown = self.setting.without_tokens(&String::from_utf8_lossy(&text));
        print!("{shown}");

        let status = output.status.code();
        if status != Some(0) {
            println!("({})", output.status);
        }
        if status != Some(self.status) {
            return Err(Failure::new(format!("`{}` should have had exit status {}", self.command, self.status)));
        }
        if !shown.contains(expected) {
            return Err(Failure::new(format!("`{}` should have printed `{expected}`", self.command)));
        }
        Ok(())
    }

    fn shell(&self) -> Command {
        let script = match self.afterwards {
            Some(afterwards) => format!("{} && {afterwards}", self.command),
            None => self.command.to_owned(),
        };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).stdin(Stdio::null());
        shell.current_dir(self.setting.home()).env_clear().envs(self.setting.environment());
        if self.proxy {
            shell.env("HTTP_PROXY", self.setting.api_url());
        }
        shell
    }
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
