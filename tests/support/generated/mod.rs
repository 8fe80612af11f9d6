//! Completions and manuals, made from the command lines' definitions.

mod bash;
mod fish;
mod man;
mod words;
mod zsh;

use std::fs;
use std::path::Path;

use apptoken::env;
use clap::Command;

use words::{Words, words_of};

/// Every file that is made and committed, and what should be in it.
pub(crate) fn files() -> Vec<(&'static str, String)> {
    let (client, agent) = (&built(apptoken::cli::command()), &built(apptoken::agent::args::command()));
    vec![
        ("completions/apptoken.bash", bash::completions(client)),
        ("completions/_apptoken", zsh::completions(client)),
        ("completions/apptoken.fish", fish::completions(client)),
        ("completions/apptoken-agent.bash", bash::completions(agent)),
        ("completions/_apptoken-agent", zsh::completions(agent)),
        ("completions/apptoken-agent.fish", fish::completions(agent)),
        ("src/cli/man/apptoken.1", man::client(client)),
        ("src/cli/man/apptoken-agent.1", man::agent(agent)),
        ("README.md", readme(&committed("README.md"))),
    ]
}

/// A file of the repository.
pub(crate) fn committed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a file of the repository.
pub(crate) fn commit(name: &str, text: &str) {
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), text).expect("the repository is writable");
}

/// A section of README, without its heading.
pub(crate) fn section<'a>(readme: &'a str, heading: &str) -> &'a str {
    let (_, rest) = readme.split_once(&format!("\n## {heading}\n\n")).unwrap_or_else(|| panic!("no section {heading}"));
    &rest[..=rest.find("\n## ").expect("it is not the last")]
}

/// README with the variables of `src/env.rs`.
fn readme(readme: &str) -> String {
    let rows = env::MANUAL.map(|(name, _, meaning)| format!("| `{name}` | {meaning} |\n")).concat();
    let ours =
        format!("| variable | means |\n|---|---|\n{rows}\nOne that is set and empty counts as unset, {EXCEPT}.\n");
    readme.replace(section(readme, "Environment"), &ours)
}

const EXCEPT: &str =
    "but\n`APPTOKEN_REPO` and `APPTOKEN_PERMISSIONS`, which would narrow a token: empty, they are an error";

fn built(mut command: Command) -> Command {
    command.build();
    command
}

/// The commands of a program that a person is told of.
fn verbs(program: &Command) -> impl Iterator<Item = &Command> {
    program.get_subcommands().filter(|verb| !verb.is_hide_set())
}

/// The options that a person is told of, of a program or a command.
fn options(command: &Command) -> impl Iterator<Item = &clap::Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set())
}

/// Where a command takes a word that is no option.
fn positional(command: &Command) -> Option<&clap::Arg> {
    command.get_positionals().next()
}

/// An option as it is written: `-t`, `--json`.
fn spellings(option: &clap::Arg) -> Vec<String> {
    let (short, long) = (option.get_short(), option.get_long());
    short.map(|short| format!("-{short}")).into_iter().chain(long.map(|long| format!("--{long}"))).collect()
}

fn takes_value(option: &clap::Arg) -> bool {
    option.get_action().takes_values()
}

/// What an option or command is for, without its variable, its default, and what clap adds.
fn summary(help: Option<&clap::builder::StyledStr>) -> String {
    let help = help.expect("all is documented").to_string();
    let end = [" [", " (see more"].into_iter().filter_map(|mark| help.find(mark)).min();
    help[..end.unwrap_or(help.len())].to_owned()
}

/// Every option of a program and its commands that takes a value, spelled each way, and what completes the value.
fn valued(program: &Command) -> Vec<(String, Words)> {
    let mut all: Vec<(String, Words)> = Vec::new();
    for command in [program].into_iter().chain(verbs(program)) {
        for option in options(command).filter(|option| takes_value(option)) {
            for spelling in spellings(option) {
                let words = words_of(option, command, program);
                match all.iter().find(|(other, _)| *other == spelling) {
                    None => all.push((spelling, words)),
                    Some((_, other)) => assert_eq!(*other, words, "{spelling} means one thing in all commands"),
                }
            }
        }
    }
    // A flag in one command must not take a value in another: where the command line is read, the command is not known.
    for command in [program].into_iter().chain(verbs(program)) {
        for flag in options(command).filter(|option| !takes_value(option)).flat_map(spellings) {
            assert!(!all.iter().any(|(valued, _)| *valued == flag), "{flag} takes a value in one command only");
        }
    }
    all
}

/// Whether any name that the agent knows is a value.
fn asks_the_agent(program: &Command) -> bool {
    valued(program).iter().any(|(_, words)| matches!(words, Words::Known(_)))
}

/// Groups equal things, in the order in which they came.
fn grouped<T: PartialEq, U>(pairs: impl IntoIterator<Item = (T, U)>) -> Vec<(T, Vec<U>)> {
    let mut groups: Vec<(T, Vec<U>)> = Vec::new();
    for (key, value) in pairs {
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, values)) => values.push(value),
            None => groups.push((key, vec![value])),
        }
    }
    groups
}

/// The name of a function of a program: `_apptoken_agent`.
fn function(program: &Command) -> String {
    format!("_{}", program.get_name().replace('-', "_"))
}

const MADE: &str = "Made by tests/completions.rs";
