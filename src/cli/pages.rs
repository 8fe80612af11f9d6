//! `help`, `man` and `completions`: what is printed as it is.
//!
//! Manuals and completions are made from the command line's definition by the tests, which would cost this program more than
//! the texts themselves. Topics are sections of README.

use super::args::{self, Verb};
use super::error::{CliError, Exit};

/// Tells about one topic or command, or about all.
pub(super) fn help(about: Option<&str>) -> Result<(), CliError> {
    let Some(name) = about else {
        return super::print_data(args::help(None).as_bytes());
    };
    if let Some((_, text)) = TOPICS.iter().find(|(topic, _)| *topic == name) {
        return super::print_data(text);
    }
    match Verb::named(name.as_ref()) {
        Some(verb) => super::print_data(args::help(Some(verb)).as_bytes()),
        None => Err(CliError::new("there is no such command or topic")
            .hint("see them all: apptoken help")
            .exit(Exit::Usage)),
    }
}

/// Prints the manual of a program, in roff.
pub(super) fn man(program: Option<&str>) -> Result<(), CliError> {
    super::print_data(match program {
        None | Some("apptoken") => include_bytes!("man/apptoken.1"),
        Some("apptoken-agent") => include_bytes!("man/apptoken-agent.1"),
        Some(_) => {
            return Err(CliError::new("there is no manual of that name")
                .hint("there are `apptoken` and `apptoken-agent`")
                .exit(Exit::Usage));
        }
    })
}

/// Prints what makes a shell complete the words of both programs.
pub(super) fn completions(shell: &str) -> Result<(), CliError> {
    super::print_data(
        match shell {
            "bash" => concat!(
                include_str!("../../completions/apptoken.bash"),
                include_str!("../../completions/apptoken-agent.bash")
            ),
            "zsh" => {
                concat!(include_str!("../../completions/_apptoken"), include_str!("../../completions/_apptoken-agent"))
            }
            "fish" => concat!(
                include_str!("../../completions/apptoken.fish"),
                include_str!("../../completions/apptoken-agent.fish")
            ),
            _ => {
                return Err(CliError::new("there are no completions for that shell")
                    .hint("there are those for bash, zsh and fish")
                    .exit(Exit::Usage));
            }
        }
        .as_bytes(),
    )
}

/// The topics of `help`.
const TOPICS: [(&str, &[u8]); 4] =
    [("protocol", &PROTOCOL), ("environment", &ENVIRONMENT), ("exit-codes", &EXIT_CODES), ("security", &SECURITY)];

// Copies, made while compiling, so that the rest of README is not in the program.
static PROTOCOL: [u8; length("\n## The socket\n")] = section("\n## The socket\n");
static ENVIRONMENT: [u8; length("\n## Environment\n")] = section("\n## Environment\n");
static EXIT_CODES: [u8; length("\n## Exit status\n")] = section("\n## Exit status\n");
static SECURITY: [u8; length("\n## What it protects, and what not\n")] =
    section("\n## What it protects, and what not\n");

const README: &[u8] = include_bytes!("../../README.md");

/// How long the text under a heading is.
const fn length(heading: &str) -> usize {
    find(b"\n## ", start(heading)) + 1 - start(heading)
}

/// The text under a heading.
const fn section<const LENGTH: usize>(heading: &str) -> [u8; LENGTH] {
    let (mut text, mut at, start) = ([0; LENGTH], 0, start(heading));
    while at < LENGTH {
        text[at] = README[start + at];
        at += 1;
    }
    text
}

const fn start(heading: &str) -> usize {
    find(heading.as_bytes(), 0) + heading.len() + 1
}

/// Where `what` stands in README; if it does not, this is not compiled.
const fn find(what: &[u8], from: usize) -> usize {
    let (mut at, mut same) = (from, 0);
    while same < what.len() {
        if README[at + same] == what[same] {
            same += 1;
        } else {
            (at, same) = (at + 1, 0);
        }
    }
    at
}
