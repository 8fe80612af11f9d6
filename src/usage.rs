//! What a wrong command line gets, in both programs: clap's words in our form.

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::output::{print, say};

/// The exit status of a wrong command line, sysexits' `EX_USAGE`; clap's own 2 would say that there is no agent.
pub const EX_USAGE: u8 = 64;

/// Prints help and version to stdout, anything else to stderr; returns the exit status.
pub fn report(program: &str, error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Who closed the pipe has read enough.
            let _ = print(text.as_bytes());
            ExitCode::SUCCESS
        }
        _ => {
            let words = text.trim_end().strip_prefix("error: ").unwrap_or(text.trim_end());
            say(format_args!("{program}: {words}"));
            ExitCode::from(EX_USAGE)
        }
    }
}
