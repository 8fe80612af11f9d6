//! What completes a value.

use clap::{Arg, Command};

use super::verbs;

/// What completes a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Words {
    /// Nobody can know.
    Nothing,
    /// Files.
    Files,
    /// Names that the agent knows: `apptoken words KIND`.
    Known(&'static str),
    /// The same, and files.
    KnownOrFiles(&'static str),
    /// These.
    These(Vec<String>),
    /// Another program's completion, from its name on.
    Program,
    /// The same, for the program that the command is named for.
    ProgramOfThatName,
}

/// What completes a value of `arg`, by how the help calls it.
pub(super) fn words_of(arg: &Arg, command: &Command, program: &Command) -> Words {
    let possible = arg.get_possible_values();
    if !possible.is_empty() && arg.get_action().takes_values() {
        return Words::These(possible.iter().map(|value| value.get_name().to_owned()).collect());
    }
    let name = arg.get_value_names().map_or("", |names| names[0].as_str());
    match name {
        "KEY" if arg.is_positional() => Words::KnownOrFiles("keys"),
        "KEY" => Words::Known("keys"),
        "HOST" => Words::Known("hosts"),
        "OWNER" => Words::Known("owners"),
        "OWNER/NAME" => Words::Known("repos"),
        "FILE" | "PATH" => Words::Files,
        "COMMAND" => Words::Program,
        "ARG" => Words::ProgramOfThatName,
        "OPERATION" => Words::These(["get", "store", "erase"].map(str::to_owned).to_vec()),
        "ID" | "LIFE" | "LIST" | "N" | "NAME" | "TOKEN" | "URL" => Words::Nothing,
        name if name.contains('|') => {
            Words::These(name.split('|').flat_map(|word| alternatives(word, program)).collect())
        }
        name => panic!("say in {} what completes {name} of `{}`", file!(), command.get_name()),
    }
}

/// One of several that the help names: a word, or any command.
fn alternatives(word: &str, program: &Command) -> Vec<String> {
    match word {
        "COMMAND" => verbs(program).map(|verb| verb.get_name().to_owned()).collect(),
        word => vec![word.to_owned()],
    }
}
