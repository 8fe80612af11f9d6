//! Manual pages, in roff's man macros.

use std::fmt::Write as _;

use apptoken::env::{self, Reader};
use clap::{Arg, Command};

use super::{MADE, committed, options, section, spellings, takes_value, verbs};

/// `apptoken(1)`.
pub(super) fn client(program: &Command) -> String {
    let mut page = beginning(program);
    page += ".SH SYNOPSIS\n.B apptoken\n.RI [ options \"] \" command\n.RI [ argument \" .\\|.\\|.]\n";
    page += ".SH DESCRIPTION\n";
    page += &roff(DESCRIPTION);
    page += ".SH OPTIONS\nBefore any command, and after\n.BR token :\n";
    page += &options(program).map(option).collect::<String>();
    page += ".SH COMMANDS\n";
    for verb in verbs(program) {
        page += &command(verb, program);
    }
    page += &ending(Reader::Client);
    page += &files(CLIENT_FILES);
    page + ".SH SEE ALSO\n.BR apptoken-agent (1),\n.BR gh (1),\n.BR git (1)\n"
}

/// `apptoken-agent(1)`.
pub(super) fn agent(program: &Command) -> String {
    let mut page = beginning(program);
    page += ".SH SYNOPSIS\n.B apptoken-agent\n.RI [ options ]\n.RI [ command\n.RI [ argument \" .\\|.\\|.]]\n.br\n\
             .B apptoken-agent \\-k\n.RB [ \\-\\-revoke ]\n";
    page += ".SH DESCRIPTION\n";
    page += &roff(AGENT_DESCRIPTION);
    page += ".SH OPTIONS\n";
    page += &options(program).map(option).collect::<String>();
    page += &ending(Reader::Agent);
    page += &files(AGENT_FILES);
    page + ".SH SEE ALSO\n.BR apptoken (1),\n.BR ssh-agent (1),\n.BR systemd.socket (5)\n"
}

fn beginning(program: &Command) -> String {
    let name = program.get_name();
    let about = program.get_about().expect("it is documented").to_string();
    let (title, name) = (name.to_uppercase(), roff_words(name));
    format!(
        ".\\\" {MADE}\n.TH {title} 1 \"\" \"apptoken {}\" \"User Commands\"\n.SH NAME\n{name} \\- {}\n",
        env!("CARGO_PKG_VERSION"),
        roff_words(&lower_first(&about))
    )
}

fn command(verb: &Command, program: &Command) -> String {
    let mut text = format!(".SS \"{} {}\"\n", program.get_name(), verb.get_name());
    let about = verb.get_long_about().or(verb.get_about()).expect("it is documented");
    let _ = writeln!(text, "{}.", roff_words(&about.to_string()));
    if verb.get_arguments().filter(|arg| !is_of(arg, program)).all(|arg| arg.get_long() == Some("help")) {
        return text;
    }
    for arg in verb.get_positionals() {
        let name = arg.get_value_names().expect("it takes one")[0].as_str();
        let many = if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { "\\ .\\|.\\|." } else { "" };
        let _ = write!(text, ".TP\n.IR {}{many}\n{}\n", roff_words(name), help(arg));
    }
    text + &options(verb).filter(|arg| !is_of(arg, program)).map(option).collect::<String>()
}

/// Whether a command has an option from the program.
fn is_of(arg: &Arg, program: &Command) -> bool {
    arg.get_id() == "help"
        || program.get_arguments().any(|own| own.get_id() == arg.get_id() && own.get_help() == arg.get_help())
}

fn option(option: &Arg) -> String {
    let names: Vec<_> = spellings(option).iter().map(|name| format!("\\fB{}\\fR", roff_words(name))).collect();
    let value = takes_value(option).then(|| option.get_value_names().expect("it takes one")[0].as_str());
    let value = value.map(|name| format!(" \\fI{}\\fR", roff_words(name))).unwrap_or_default();
    let possible: Vec<_> = option.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let possible =
        if possible.is_empty() || value.is_empty() { String::new() } else { format!(": {}", possible.join(", ")) };
    format!(".TP\n{}{value}\n{}{possible}\n", names.join(", "), help(option))
}

fn help(arg: &Arg) -> String {
    let help = arg.get_help().expect("all is documented").to_string();
    roff_words(help.trim_end_matches(" (see more with '--help')"))
}

/// ENVIRONMENT and EXIT STATUS.
fn ending(reader: Reader) -> String {
    let mut text = ".SH ENVIRONMENT\n".to_owned();
    for (name, _, meaning) in env::MANUAL.iter().filter(|(_, who, _)| [reader, Reader::Both].contains(who)) {
        let _ = write!(text, ".TP\n.B {name}\n{}\n", roff_words(meaning));
    }
    let readme = committed("README.md");
    text += ".SH EXIT STATUS\n";
    for row in section(&readme, "Exit status").lines().filter(|line| line.starts_with("| ")).skip(1) {
        let [status, meaning] = row.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not a status and its meaning: {row}")
        };
        let _ = write!(text, ".TP\n.B {status}\n{}\n", roff_words(meaning));
    }
    text
}

fn files(files: &[(&str, &str)]) -> String {
    let each = files.iter().map(|(path, what)| format!(".TP\n.I {}\n{}\n", roff_words(path), roff_words(what)));
    ".SH FILES\n".to_owned() + &each.collect::<String>()
}

/// Text in paragraphs.
fn roff(text: &str) -> String {
    text.split("\n\n").map(|paragraph| format!("{}\n", roff_words(paragraph))).collect::<Vec<_>>().join(".PP\n")
}

/// Words as roff takes them, one line; what stands between backticks is bold.
fn roff_words(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    let parts = text.split('`').enumerate();
    let words: String =
        parts.map(|(at, part)| if at % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() }).collect();
    if words.starts_with('.') { format!("\\&{words}") } else { words }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}

const DESCRIPTION: &str = "\
`apptoken` asks the agent that `APPTOKEN_AUTH_SOCK` names, or else the one that was started last, for installation tokens of a \
GitHub App. The agent holds the App's private key and never gives it out; a token lives an hour at most.

A token can be narrowed: `--repo` chooses the installation and narrows to that repository, `--permissions` narrows what may be \
done there, `--owner` only chooses. If the App is installed once, nothing need be chosen.

`apptoken help protocol` describes the socket, `apptoken help security` what is protected and what is not.";

const AGENT_DESCRIPTION: &str = "\
`apptoken-agent` holds the private keys of GitHub Apps in memory and hands out installation tokens to the programs of its user \
that find its socket. It starts in the background and prints the lines that tell a shell where it is; if an agent of the user \
is running, it prints that one's and starts none.

With a command it runs that with an agent of its own, which ends with it. `-D` keeps it in the foreground, for a service manager, \
which may hand it a listening socket.

A signal TERM or HUP ends it, USR1 makes it forget every key and token.

Other programs of the same user cannot read keys out of the agent. They can ask it for tokens, lock it, and remove keys: \
`apptoken help security` tells what is promised and what is not.";

const CLIENT_FILES: &[(&str, &str)] = &[(
    "$XDG_RUNTIME_DIR/apptoken/agent",
    "Where the agent that was started last listens; without a runtime directory, ~/.local/state/apptoken/agent",
)];

const AGENT_FILES: &[(&str, &str)] = &[
    (
        "$XDG_RUNTIME_DIR/apptoken-*/agent.PID",
        "The socket, in a directory that is private to the user; without a runtime directory, below $TMPDIR or /tmp",
    ),
    (
        "$XDG_RUNTIME_DIR/apptoken/agent",
        "Where the agent that is reused listens; without a runtime directory, ~/.local/state/apptoken/agent",
    ),
];
