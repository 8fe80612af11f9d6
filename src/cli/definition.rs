//! The table of commands as clap has it, from which manuals and completions are made by the tests. No program contains this.

use clap::{Arg, ArgAction};

use super::args::{ABOUT, Kind, MORE, Verb, Word};
use super::verbs::{SCOPE, VERBS};

/// The command line of `apptoken`.
pub fn command() -> clap::Command {
    clap::Command::new("apptoken")
        .about(ABOUT)
        .after_help(MORE)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .args(SCOPE.iter().map(arg))
        .subcommands(VERBS.iter().map(subcommand))
}

fn subcommand(verb: &'static Verb) -> clap::Command {
    let passes_on = verb.words().any(|word| matches!(word.kind, Kind::Rest(_)));
    let command = clap::Command::new(verb.name).about(verb.help).hide(verb.is_hidden());
    command.disable_help_flag(passes_on).args(verb.words().map(arg))
}

fn arg(word: &'static Word) -> Arg {
    let arg = Arg::new(word.name).help(word.help);
    let option = |arg: Arg| match word.letter {
        Some(letter) => arg.short(letter),
        None => arg.long(word.name),
    };
    let several = |arg: Arg, name| arg.value_name(name).num_args(1..).action(ArgAction::Append);
    match word.kind {
        Kind::Flag => option(arg).action(ArgAction::SetTrue),
        Kind::Value(name) => option(arg).value_name(name),
        Kind::Scope(name) => option(arg).value_name(name).help_heading("Which token"),
        Kind::Values(name) => option(arg).value_name(name).action(ArgAction::Append),
        Kind::Operand(name) => arg.value_name(name).required(true),
        Kind::Optional(name) | Kind::File(name) => arg.value_name(name),
        Kind::Files(name) => several(arg, name),
        Kind::OperandsUnless(name, flag) => several(arg, name).required_unless_present(flag).conflicts_with(flag),
        Kind::Rest(name) => several(arg, name).trailing_var_arg(true).allow_hyphen_values(true),
        Kind::Command(name) => several(arg, name).trailing_var_arg(true).allow_hyphen_values(true).required(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_one_that_clap_takes() {
        command().debug_assert();
    }
}
