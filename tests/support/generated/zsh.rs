//! For zsh: to be found by `compinit` in a directory of `fpath`, or to be evaluated after it.

use clap::{Arg, Command};

use super::words::{Words, words_of};
use super::{MADE, asks_the_agent, function, grouped, options, positional, spellings, summary, takes_value, verbs};

/// The file for one program.
pub(super) fn completions(program: &Command) -> String {
    // Those for the token stand before a command, and after one.
    let own: Vec<_> = own_options(program).map(|option| spec(option, program, program)).collect();
    let body = if program.has_subcommands() {
        VERBS.replace("@NAMES@", &names(program)).replace("@BRANCHES@", &branches(program, &own))
    } else {
        format!("_arguments -s -S $help $version $own {} && ret=0", words_taken(program, program))
    };
    TEMPLATE
        .replace("@OWN@", &own.join("\n    "))
        .replace("@BODY@", &body)
        .replace("@NAME@", program.get_name())
        .replace("@MADE@", MADE)
        .replace("@FN@", &format!("_{}", program.get_name()))
        .replace("@KNOWN@", if asks_the_agent(program) { KNOWN } else { "" })
        .replace("@HELPER@", &function(program))
}

/// `'add:Load a key'`, a line each.
fn names(program: &Command) -> String {
    let each = verbs(program).map(|verb| format!("'{}:{}'", verb.get_name(), escaped(&summary(verb.get_about()))));
    each.collect::<Vec<_>>().join("\n      ")
}

fn branches(program: &Command, own: &[String]) -> String {
    let each = grouped(verbs(program).map(|verb| (what_follows(verb, program, own), verb.get_name()))).into_iter();
    each.map(|(action, verbs)| format!("    {}) {action} && ret=0 ;;\n", verbs.join("|"))).collect::<Vec<_>>().concat()
}

/// What completes the words after a command.
fn what_follows(verb: &Command, program: &Command, own: &[String]) -> String {
    if positional(verb).is_some_and(|arg| words_of(arg, verb, program) == Words::ProgramOfThatName) {
        return "_normal".to_owned();
    }
    let mut specs: Vec<_> = own_options(verb).map(|option| spec(option, verb, program)).collect();
    if own.iter().all(|spec| specs.contains(spec)) {
        specs.retain(|spec| !own.contains(spec));
        specs.insert(0, "$own".to_owned());
    }
    specs.extend(Some(words_taken(verb, program)).filter(|words| !words.is_empty()));
    format!("_arguments -s -S $help {}", specs.join(" \\\n      "))
}

fn own_options(command: &Command) -> impl Iterator<Item = &Arg> {
    options(command).filter(|option| !matches!(option.get_long(), Some("help" | "version")))
}

/// An option for `_arguments`.
fn spec(option: &Arg, command: &Command, program: &Command) -> String {
    let spellings = spellings(option);
    let help = escaped(&summary(option.get_help()));
    let value = if takes_value(option) {
        let name = option.get_value_names().expect("it takes one")[0].as_str();
        format!(":{name}:{}", action(&words_of(option, command, program)))
    } else {
        String::new()
    };
    let again = matches!(option.get_action(), clap::ArgAction::Append);
    let equals = |spelling: &str| if takes_value(option) && spelling.starts_with("--") { "=" } else { "" };
    match &spellings[..] {
        [one] => {
            let star = if again { "*" } else { "" };
            format!("'{star}{one}{}[{help}]{value}'", equals(one))
        }
        several => format!("'({})'{{{}}}'[{help}]{value}'", several.join(" "), several.join(",")),
    }
}

/// What stands where no option does, for `_arguments`.
fn words_taken(command: &Command, program: &Command) -> String {
    let Some(arg) = positional(command) else { return String::new() };
    let name = arg.get_value_names().expect("it takes one")[0].replace('|', " or ");
    match words_of(arg, command, program) {
        Words::Program => "'(-):COMMAND: _command_names -e' '*::ARG: _normal'".to_owned(),
        words => {
            let many = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
            let place = if many { "*" } else { "1" };
            let name = if name.len() > 40 { "what" } else { &name };
            format!("'{place}:{name}:{}'", action(&words))
        }
    }
}

fn action(words: &Words) -> String {
    match words {
        Words::Nothing | Words::Program | Words::ProgramOfThatName => String::new(),
        Words::Files => "_files".to_owned(),
        Words::Known(kind) => format!(" @HELPER@_known {kind}"),
        Words::KnownOrFiles(kind) => format!("{{@HELPER@_known {kind}; _files}}"),
        Words::These(words) => format!("({})", words.join(" ")),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\'', "'\\''").replace(':', "\\:").replace('[', "\\[").replace(']', "\\]")
}

const TEMPLATE: &str = r#"#compdef @NAME@
# @NAME@ in zsh. @MADE@
@FN@() {
  local curcontext=$curcontext state line ret=1
  local -A opt_args
  local -a verbs own help=('(- *)'{-h,--help}'[Print help]') version=('(- *)'{-V,--version}'[Print version]')
  own=(
    @OWN@
  )
  @BODY@
  return ret
}
@KNOWN@if [[ $funcstack[1] == @FN@ ]]; then
  @FN@ "$@"
elif (( $+functions[compdef] )); then
  compdef @FN@ @NAME@
fi
"#;

const VERBS: &str = r"_arguments -C -s -S $help $version $own '1: :->verb' '*:: :->rest' && ret=0
  case $state in
  verb)
    verbs=(
      @NAMES@
    )
    _describe -t commands command verbs && ret=0 ;;
  rest)
    curcontext=${curcontext%:*}-$words[1]:
    case $words[1] in
@BRANCHES@    esac ;;
  esac";

const KNOWN: &str = r#"@HELPER@_known() {
  local -a known=(${(f)"$(command apptoken words $1 2>/dev/null)"})
  compadd -a known
}
"#;
