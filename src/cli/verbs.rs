//! The table of commands. Its words are what is printed as help. What is done for each stands beside it, and not in it: the
//! agent's program reads the same lines, and has its own way with some and no need of the others.

use super::args::{Kind, Run, Verb, Word};
use super::elsewhere::hand_over;
use super::scope::Scope;
use super::{credential, exec, gh, git, keys, lock, pages, revoke, setup_git, status, token, words};

/// The options that choose a token.
pub(super) static SCOPE: &[Word] = &[
    Word::new(
        "app",
        Kind::Scope("KEY"),
        "The key: its name, fingerprint, App ID, client ID or slug [env: APPTOKEN_APP]",
    ),
    Word::new("host", Kind::Scope("HOST"), "The host [env: APPTOKEN_HOST]"),
    Word::new("owner", Kind::Scope("OWNER"), "The account whose installation to use [env: APPTOKEN_OWNER]"),
    Word::new("repo", Kind::Scope("OWNER/NAME"), "The repository to use, and narrow the token to [env: APPTOKEN_REPO]"),
    Word::new("installation-id", Kind::Scope("ID"), "The installation to use [env: APPTOKEN_INSTALLATION_ID]"),
    Word::new(
        "permissions",
        Kind::Scope("LIST"),
        "Narrow the token, such as contents=read,issues=write [env: APPTOKEN_PERMISSIONS]",
    ),
    Word::new(
        "min-ttl",
        Kind::Scope("LIFE"),
        "How long the token must live at least, such as 30m [env: APPTOKEN_MIN_TTL]",
    ),
    Word::new("no-start", Kind::Flag, "Start no agent, and load no stored key, when one is missing"),
];

/// Every command.
pub(super) static VERBS: &[Verb] = &[
    Verb {
        name: "init",
        help: "Set up: store an App's key, encrypted, for the agent to load",
        takes: &[&[
            Word::new("file", Kind::File("FILE"), "The private key, PEM; - for standard input [default: asked for]"),
            Word::new("app-id", Kind::Value("ID"), "The App's number, or its client ID [env: APPTOKEN_APP_ID]"),
            Word::new("name", Kind::Value("NAME"), "What to call the key [default: the App's slug]"),
            Word::new("host", Kind::Value("HOST"), "The host the App lives on [default: github.com]"),
            API_URL,
            INSTALLATION,
            Word::new(
                "passphrase-fd",
                Kind::Value("N"),
                "Read the passphrase to store the key under from this open file; a FILE that is encrypted must open with it too",
            ),
            Word::new("offline", Kind::Flag, "Do not check key and App against GitHub"),
            Word::new("replace", Kind::Flag, "Replace a stored key of that name"),
            Word::new("remove-file", Kind::Flag, "Remove FILE when its key is stored"),
        ]],
    },
    Verb {
        name: "add",
        help: "Load keys into the agent: from files, else those that `init` stored",
        takes: &[&[
            Word::new(
                "files",
                Kind::Files("FILE"),
                "Private keys as GitHub gives them, PEM; - for standard input [default: the stored keys]",
            ),
            Word::new("app-id", Kind::Value("ID"), "The App's number, or its client ID [env: APPTOKEN_APP_ID]"),
            Word::short('t', "life", Kind::Value("LIFE"), "Forget the key after this long: 90, 45m, 1h30m, 2d, 1w"),
            Word::short('c', "confirm", Kind::Flag, "Have each use of the key confirmed"),
            Word::new("name", Kind::Value("NAME"), "What to call the key [default: the App's slug]"),
            Word::new("host", Kind::Value("HOST"), "The host the App lives on [default: github.com]"),
            API_URL,
            INSTALLATION,
            PASSPHRASE_FD,
            Word::new("offline", Kind::Flag, "Do not check key and App against GitHub"),
        ]],
    },
    Verb { name: "list", help: "List the keys that the agent holds", takes: &[&[JSON]] },
    Verb {
        name: "remove",
        help: "Remove keys from the agent",
        takes: &[&[
            Word::new("keys", Kind::OperandsUnless("KEY", "all"), "Keys by name, fingerprint or file"),
            Word::new("all", Kind::Flag, "Remove every key"),
            Word::new("revoke", Kind::Flag, "Revoke the tokens that were had with them"),
        ]],
    },
    Verb { name: "lock", help: "Lock the agent: encrypt every key under a passphrase", takes: &[&[PASSPHRASE_FD]] },
    Verb { name: "unlock", help: "Unlock the agent", takes: &[&[PASSPHRASE_FD]] },
    Verb {
        name: "token",
        help: "Print an installation token",
        takes: &[SCOPE, &[Word::new("json", Kind::Flag, "Print JSON: the token and what it is good for")]],
    },
    Verb {
        name: "revoke",
        help: "Revoke tokens that the agent handed out",
        takes: &[&[
            Word::new(
                "tokens",
                Kind::OperandsUnless("TOKEN", "all"),
                "Tokens; - for standard input, one a line: on a command line, others on this machine can see them",
            ),
            Word::new(
                "all",
                Kind::Flag,
                "Revoke every token, of the key that --app or --host chooses if one of them is given",
            ),
        ]],
    },
    Verb {
        name: "gh",
        help: "Run gh with a token",
        takes: &[&[Word::new("args", Kind::Rest("ARG"), "What to tell gh")]],
    },
    Verb {
        name: "git",
        help: "Run git with this program as its credential helper, and by https where a remote says ssh",
        takes: &[&[Word::new("args", Kind::Rest("ARG"), "What to tell git")]],
    },
    Verb {
        name: "credential",
        help: "Be git's credential helper",
        takes: &[&[Word::new("operation", Kind::Operand("OPERATION"), "What git asks for: get, store or erase")]],
    },
    Verb {
        name: "setup-git",
        help: "Make git ask this program for credentials",
        takes: &[&[
            Word::new("host", Kind::Value("HOST"), "The host [default: those of the keys held; env: APPTOKEN_HOST]"),
            Word::new("undo", Kind::Flag, "Take it back"),
        ]],
    },
    Verb {
        name: "run",
        help: "Run a command with a token where gh looks for one: GH_TOKEN, GITHUB_TOKEN",
        takes: &[&[
            Word::new("env", Kind::Values("NAME"), "Another variable to put the token in; may be given several times"),
            Word::new("as-bot", Kind::Flag, "Have git commit as the App's bot"),
            Word::new("command", Kind::Command("COMMAND"), "The command"),
        ]],
    },
    Verb {
        name: "whoami",
        help: "Show who the App is: its bot's name, number and e-mail address for commits",
        takes: &[&[JSON]],
    },
    Verb { name: "installations", help: "List where the App is installed", takes: &[&[JSON]] },
    Verb {
        name: "daemon",
        help: "Start the agent and load the stored keys, stop it, or tell whether it runs",
        takes: &[&[Word::new("action", Kind::Operand("start|stop|status"), "What to do"), PASSPHRASE_FD]],
    },
    Verb { name: "status", help: "Show the agent, its keys and its cached tokens", takes: &[&[JSON]] },
    Verb {
        name: "doctor",
        help: "Check one thing after another, from the agent to GitHub and git, and name the first that is wrong",
        takes: &[SCOPE, &[JSON]],
    },
    Verb {
        name: "completions",
        help: "Print what has a shell complete the words of both programs",
        takes: &[&[Word::new("shell", Kind::Operand("bash|zsh|fish"), "The shell")]],
    },
    Verb {
        name: "man",
        help: "Print a manual page, in roff",
        takes: &[&[Word::new("program", Kind::Optional("apptoken|apptoken-agent"), "The program [default: apptoken]")]],
    },
    Verb {
        name: "help",
        help: "Tell about a command or a topic",
        takes: &[&[Word::new(
            "about",
            Kind::Optional("COMMAND|protocol|environment|exit-codes|security"),
            "What to tell about [default: all commands]",
        )]],
    },
    // For the completions: keys, hosts, owners or repos that the agent knows.
    Verb { name: "words", help: "", takes: &[&[Word::new("kind", Kind::Operand("KIND"), "")]] },
];

/// What this program does for each command.
pub(super) fn here(verb: &Verb) -> Run {
    match verb.name {
        "init" | "daemon" | "doctor" => hand_over,
        "add" => keys::add,
        "list" => |words| keys::list(words.flag("json")),
        "remove" => |words| keys::remove(&words.values("keys"), words.flag("all"), words.flag("revoke")),
        "lock" => |words| lock::lock(words.value("passphrase-fd").as_deref()),
        "unlock" => |words| lock::unlock(words.value("passphrase-fd").as_deref()),
        "token" => |words| token::token(&Scope::read(words.scope())?, words.flag("json")),
        "revoke" => |words| revoke::revoke(Scope::read(words.scope())?, &words.values("tokens")),
        "gh" => |words| gh::gh(Scope::read(words.scope())?, &words.rest("args")).map(|never| match never {}),
        "git" => |words| git::git(&words.scope(), &words.rest("args")).map(|never| match never {}),
        "credential" => |words| credential::credential(words.scope(), &words.value("operation").unwrap_or_default()),
        "setup-git" => |words| {
            if words.flag("undo") { setup_git::undo(words.scope()) } else { setup_git::setup(&words.scope()) }
        },
        "run" => |words| {
            let (scope, command) = (Scope::read(words.scope())?, words.rest("command"));
            exec::run(scope, &words.values("env"), words.flag("as-bot"), &command).map(|never| match never {})
        },
        "whoami" => |words| status::whoami(Scope::read(words.scope())?, words.flag("json")),
        "installations" => |words| status::installations(Scope::read(words.scope())?, words.flag("json")),
        "status" => |words| status::status(words.flag("json")),
        "completions" => |words| pages::completions(&words.value("shell").unwrap_or_default()),
        "man" => |words| pages::man(words.value("program").as_deref()),
        "help" => |words| pages::help(words.value("about").as_deref()),
        "words" => |words| {
            words::words(&words.value("kind").unwrap_or_default());
            Ok(())
        },
        _ => unreachable!("a test goes through the table"),
    }
}

const API_URL: Word = Word::new(
    "api-url",
    Kind::Value("URL"),
    "The REST API's base [default: the host's usual one; env: APPTOKEN_API_URL]",
);
const INSTALLATION: Word =
    Word::new("installation-id", Kind::Value("ID"), "The installation to use when nothing else chooses one");
const JSON: Word = Word::new("json", Kind::Flag, "Print JSON");
const PASSPHRASE_FD: Word = Word::new(
    "passphrase-fd",
    Kind::Value("N"),
    "Read the passphrase from this open file descriptor, up to the end of the line",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_done_for_every_command() {
        for verb in VERBS {
            let _ = here(verb);
        }
    }
}
