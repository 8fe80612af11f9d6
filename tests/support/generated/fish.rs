//! For fish.

use clap::{Arg, Command};

use super::words::{Words, words_of};
use super::{MADE, function, grouped, options, positional, summary, takes_value, valued, verbs};

/// The file for one program.
pub(super) fn completions(program: &Command) -> String {
    let valued: Vec<_> = valued(program).into_iter().map(|(option, _)| option).collect();
    let mut lines: Vec<String> = verbs(program)
        .map(|verb| format!("@FN@_add '\"\"' -a {} -d {}", verb.get_name(), quoted(&summary(verb.get_about()))))
        .collect();
    let commands = || [program].into_iter().chain(verbs(program));
    let is_ours = |command: &&Command| words_taken(command, program) != Some(Words::ProgramOfThatName);
    let each = commands().filter(is_ours).flat_map(|command| {
        options(command).map(move |option| (option_line(option, command, program), name_of(command, program)))
    });
    lines.extend(grouped(each).into_iter().map(|(line, at)| format!("@FN@_add '{}' {line}", at.join(" "))));
    for command in commands().filter(|command| !command.has_subcommands()) {
        if let Some(words) = words_taken(command, program).as_ref().and_then(offered) {
            lines.push(format!("@FN@_add '{}' {words}", name_of(command, program)));
        }
    }
    lines.push("complete -c @NAME@ -n @FN@_begun -xa '(@FN@_other)'".to_owned());
    TEMPLATE
        .replace("@VALUED@", &valued.join(" "))
        .replace("@BEGINS@", &begins(program))
        .replace("@LINES@", &lines.join("\n"))
        .replace("@NAME@", program.get_name())
        .replace("@MADE@", MADE)
        .replace("@FN@", &format!("_{}", function(program)))
}

fn words_taken(command: &Command, program: &Command) -> Option<Words> {
    positional(command).map(|arg| words_of(arg, command, program))
}

/// What a word that is no option begins, while the line is read.
fn begins(program: &Command) -> String {
    if !program.has_subcommands() {
        return "set -g @FN@_rest $words[$i..]\n                return".to_owned();
    }
    let with = |wanted: Words| -> Vec<&str> {
        verbs(program)
            .filter(|verb| words_taken(verb, program).as_ref() == Some(&wanted))
            .map(Command::get_name)
            .collect()
    };
    format!(
        "if contains -- \"$@FN@_verb\" {}; or contains -- $word {}\n                    set -g @FN@_rest $words[$i..]\n                    \
         return\n                end\n                set -q @FN@_verb[1]; or set -g @FN@_verb $word",
        with(Words::Program).join(" "),
        with(Words::ProgramOfThatName).join(" ")
    )
}

fn name_of(command: &Command, program: &Command) -> String {
    if command.get_name() == program.get_name() { "\"\"".to_owned() } else { command.get_name().to_owned() }
}

fn option_line(option: &Arg, command: &Command, program: &Command) -> String {
    let short = option.get_short().map(|short| format!("-s {short} ")).unwrap_or_default();
    let long = option.get_long().map(|long| format!("-l {long} ")).unwrap_or_default();
    let value = match takes_value(option).then(|| words_of(option, command, program)) {
        None => String::new(),
        Some(words) => offered(&words).map_or("-x ".to_owned(), |words| format!("{words} ").replace("-F", "-rF")),
    };
    format!("{short}{long}{value}-d {}", quoted(&summary(option.get_help())))
}

fn offered(words: &Words) -> Option<String> {
    match words {
        Words::Nothing | Words::ProgramOfThatName => None,
        Words::Files => Some("-F".to_owned()),
        Words::Known(kind) => Some(format!("-xa '(command apptoken words {kind} 2>/dev/null)'")),
        Words::KnownOrFiles(kind) => Some(format!("-Fa '(command apptoken words {kind} 2>/dev/null)'")),
        Words::These(words) => Some(format!("-xa '{}'", words.join(" "))),
        Words::Program => Some("-xa '(@FN@_other)'".to_owned()),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

const TEMPLATE: &str = r#"# @NAME@ in fish. @MADE@
# What stands before the cursor: the command of ours, and from where on another program completes.
function @FN@_read
    set -g @FN@_verb
    set -g @FN@_rest
    set -l words (commandline -opc)
    set -l value
    for i in (seq 2 (count $words))
        set -l word $words[$i]
        if set -q value[1]
            set -e value[1]
            continue
        end
        switch $word
            case @VALUED@
                set value $word
            case '-*'
            case '*'
                @BEGINS@
        end
    end
end
function @FN@_at
    @FN@_read
    not set -q @FN@_rest[1]; and contains -- "$@FN@_verb" $argv
end
function @FN@_begun
    @FN@_read
    set -q @FN@_rest[1]
end
function @FN@_other
    @FN@_read
    complete --do-complete="$(string join ' ' -- (string escape -- $@FN@_rest) (commandline -ct))"
end
# A completion after one of these commands; after "" is before any.
function @FN@_add
    complete -c @NAME@ -n "@FN@_at $argv[1]" $argv[2..]
end
complete -c @NAME@ -f
@LINES@
"#;
