//! What a wrong command line gets: in both programs the same status, and clap's words in our form.

/// The exit status of a wrong command line, sysexits' `EX_USAGE`; clap's own 2 would say that there is no agent.
pub const EX_USAGE: u8 = 64;

/// Prints clap's help and version to stdout, anything else to stderr; returns the exit status.
#[cfg(feature = "agent")]
pub fn report(program: &str, error: &clap::Error) -> std::process::ExitCode {
    use std::process::ExitCode;

    use clap::error::ErrorKind;

    use crate::output::{print, say};

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
