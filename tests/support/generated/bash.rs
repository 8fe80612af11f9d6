//! For bash, with or without its package of completions. No word is handed to `compgen -W`, which would evaluate it.

use clap::Command;

use super::words::{Words, words_of};
use super::{MADE, asks_the_agent, function, grouped, options, positional, spellings, valued, verbs};

/// The file for one program.
pub(super) fn completions(program: &Command) -> String {
    TEMPLATE
        .replace("@NAME@", program.get_name())
        .replace("@MADE@", MADE)
        .replace(
            "@VALUED@",
            &branches(valued(program).into_iter().map(|(option, words)| (wanted(&words), format!("*:{option}")))),
        )
        .replace("@BEGINS@", &first_words(program))
        .replace("@OPTIONS@", &branches(by_verb(program, offered_options)))
        .replace("@WORDS@", &branches(by_verb(program, offered_words)))
        .replace("@KNOWN@", if asks_the_agent(program) { KNOWN } else { "" })
        .replace("@FN@", &function(program))
}

/// What words that are no options begin, while the line is read.
fn first_words(program: &Command) -> String {
    let begin = |command: &Command| match positional(command).map(|arg| words_of(arg, command, program)) {
        Some(Words::Program) => Some(format!("{}:*", name_of(command, program))),
        Some(Words::ProgramOfThatName) => Some(format!(":{}", command.get_name())),
        _ => None,
    };
    let others: Vec<_> = [program].into_iter().chain(verbs(program)).filter_map(begin).collect();
    let ours = if verbs(program).next().is_some() { "        :*) verb=$word ;;\n" } else { "" };
    format!("        {}) @FN@_other \"$i\"; return ;;\n{ours}", others.join(" | "))
}

fn by_verb(program: &Command, what: impl Fn(&Command, &Command) -> String) -> Vec<(String, String)> {
    let commands = [program].into_iter().chain(verbs(program));
    commands.map(|command| (what(command, program), name_of(command, program))).collect()
}

/// The name of a command; that of the program itself is empty.
fn name_of(command: &Command, program: &Command) -> String {
    if command.get_name() == program.get_name() { "''".to_owned() } else { command.get_name().to_owned() }
}

/// The branches of a `case`: what is done, and the patterns that lead there.
fn branches(done: impl IntoIterator<Item = (String, String)>) -> String {
    let groups = grouped(done).into_iter().filter(|(what, _)| !what.is_empty());
    groups.map(|(what, patterns)| format!("        {}) {what} ;;\n", patterns.join(" | "))).collect::<Vec<_>>().concat()
}

fn wanted(words: &Words) -> String {
    format!("want='{}'", completed(words).trim_start_matches("@FN@_"))
}

fn completed(words: &Words) -> String {
    match words {
        Words::Nothing => "@FN@_offer".to_owned(),
        Words::Files => "@FN@_files".to_owned(),
        Words::Known(kind) => format!("@FN@_known {kind}"),
        Words::KnownOrFiles(kind) => format!("@FN@_known {kind}; @FN@_files"),
        Words::These(words) => format!("@FN@_offer {}", words.join(" ")),
        Words::Program => "@FN@_other \"$COMP_CWORD\"".to_owned(),
        Words::ProgramOfThatName => String::new(),
    }
}

fn offered_options(command: &Command, program: &Command) -> String {
    match positional(command).map(|arg| words_of(arg, command, program)) {
        Some(Words::ProgramOfThatName) => String::new(),
        _ => format!("@FN@_offer {}", options(command).flat_map(spellings).collect::<Vec<_>>().join(" ")),
    }
}

fn offered_words(command: &Command, program: &Command) -> String {
    let names: Vec<_> = verbs(command).map(Command::get_name).collect();
    match positional(command).map(|arg| words_of(arg, command, program)) {
        _ if !names.is_empty() => format!("@FN@_offer {}", names.join(" ")),
        None | Some(Words::Nothing) => String::new(),
        Some(words) => completed(&words),
    }
}

const TEMPLATE: &str = r#"# @NAME@ in bash. @MADE@
@FN@() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb='' want='' word i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        # Where readline splits words of ours.
        [[ $word == = ]] && continue
        [[ $word == : ]] && { ((i++)); continue; }
        [[ $want ]] && { want=''; continue; }
        case $verb:$word in
@VALUED@        *:-*) ;;
@BEGINS@        esac
    done
    [[ $cur == = ]] && cur=''
    if [[ $want ]]; then
        # shellcheck disable=SC2086 # a function and its arguments
        @FN@_$want
    elif [[ $cur == -* ]]; then
        case $verb in
@OPTIONS@        esac
    else
        case $verb in
@WORDS@        esac
    fi
}
@FN@_offer() {
    local word
    for word; do [[ $word == "$cur"* ]] && COMPREPLY+=("$word"); done
}
@KNOWN@@FN@_files() {
    local word
    compopt -o filenames 2>/dev/null
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
}
@FN@_other() {
    local word
    for word in _comp_command_offset _command_offset; do
        declare -F $word >/dev/null && { $word "$1"; return; }
    done
    (($1 < COMP_CWORD)) && { @FN@_files; return; }
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -c -- "$cur")
}
complete -F @FN@ @NAME@
"#;

const KNOWN: &str = r#"@FN@_known() {
    local word
    while IFS= read -r word; do @FN@_offer "$word"; done < <(command apptoken words "$1" 2>/dev/null)
}
"#;
