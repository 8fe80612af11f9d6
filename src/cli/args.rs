//! The command line: the table in `verbs.rs`, read and told about.
//!
//! Values come out of it as text; `scope.rs` and the verbs make identifiers of them, in one way for the command line and the
//! environment. A library that knew more than to tell options from words would be a sixth of this program, which starts
//! thousands of times a day.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;

use lexopt::{Arg, Parser};

use super::error::{CliError, Exit};
use super::verbs::{SCOPE, VERBS};

/// A row of the table: a command, and what it takes.
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) takes: &'static [&'static [Word]],
}

/// What is done for a command.
pub(super) type Run = fn(&Words) -> Result<(), CliError>;

/// An option, or the words of a command that are none.
pub(super) struct Word {
    /// What it is read by; for an option without a letter, its name.
    pub(super) name: &'static str,
    pub(super) letter: Option<char>,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// What an option or word is, with what its value is called.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// An option without a value.
    Flag,
    /// An option.
    Value(&'static str),
    /// An option that chooses the token.
    Scope(&'static str),
    /// An option that may be given several times.
    Values(&'static str),
    /// One word.
    Operand(&'static str),
    /// One word, or none.
    Optional(&'static str),
    /// One path, or none.
    File(&'static str),
    /// Paths, or none; like any path, they need not be UTF-8.
    Files(&'static str),
    /// Words, one at least, or the flag of this name in their place.
    OperandsUnless(&'static str, &'static str),
    /// Whatever follows, `--help` too.
    Rest(&'static str),
    /// A command: one word, and whatever follows.
    Command(&'static str),
}

/// What a command line asks for.
pub(super) enum Asked {
    /// To be told about a command, or all.
    Help(Option<&'static Verb>),
    /// Which version this is.
    Version,
    /// That this is done.
    Run(&'static Verb, Words),
}

/// The words that were given: before the command, and after it.
#[derive(Default)]
pub(super) struct Words {
    outer: Given,
    own: Given,
}

type Given = Vec<(&'static Word, OsString)>;

/// Which token. Each option has an environment variable for its default.
#[derive(Default, Clone)]
pub(super) struct ScopeArgs {
    pub(super) app: Option<String>,
    pub(super) host: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) repo: Option<String>,
    pub(super) installation_id: Option<String>,
    pub(super) permissions: Option<String>,
    pub(super) min_ttl: Option<String>,
    pub(super) no_start: bool,
}

/// Reads a command line, without the program's own name.
pub(super) fn read(line: impl IntoIterator<Item = OsString, IntoIter: 'static>) -> Result<Asked, CliError> {
    let mut parser = Parser::from_args(line);
    let mut words = Words::default();
    let verb = loop {
        match parser.next()? {
            None => return Err(wrong("a COMMAND is missing", None)),
            Some(Arg::Value(name)) => {
                break Verb::named(&name).ok_or_else(|| wrong("there is no such command", None))?;
            }
            Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Asked::Help(None)),
            Some(Arg::Long("version") | Arg::Short('V')) => return Ok(Asked::Version),
            Some(arg) => {
                let word = find(&arg, SCOPE.iter()).ok_or_else(|| no_option(&arg, None))?;
                give(&mut words.outer, word, &mut parser, None)?;
            }
        }
    };
    if let Some(rest) = verb.word(|kind| matches!(kind, Kind::Rest(_))) {
        words.own.extend(parser.raw_args()?.map(|arg| (rest, arg)));
        return Ok(Asked::Run(verb, words));
    }
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Asked::Help(Some(verb))),
            Arg::Value(value) => {
                let word = verb.word(|kind| !kind.is_option()).ok_or_else(|| too_many(verb))?;
                let several = matches!(word.kind, Kind::Files(_) | Kind::OperandsUnless(..) | Kind::Command(_));
                if !several && words.own.iter().any(|(given, _)| std::ptr::eq(*given, word)) {
                    return Err(too_many(verb));
                }
                words.own.push((word, word.check(value, Some(verb))?));
                if let Kind::Command(_) = word.kind {
                    words.own.extend(parser.raw_args()?.map(|arg| (word, arg)));
                }
            }
            arg => {
                let word = find(&arg, verb.words()).ok_or_else(|| no_option(&arg, Some(verb)))?;
                give(&mut words.own, word, &mut parser, Some(verb))?;
            }
        }
    }
    verb.check(&words)?;
    Ok(Asked::Run(verb, words))
}

fn find(arg: &Arg<'_>, mut among: impl Iterator<Item = &'static Word>) -> Option<&'static Word> {
    among.find(|word| match arg {
        Arg::Short(letter) => word.letter == Some(*letter),
        Arg::Long(name) => word.letter.is_none() && word.kind.is_option() && word.name == *name,
        Arg::Value(_) => false,
    })
}

fn give(
    given: &mut Given,
    word: &'static Word,
    parser: &mut Parser,
    verb: Option<&'static Verb>,
) -> Result<(), CliError> {
    let value =
        if let Kind::Flag = word.kind { OsString::new() } else { word.check(value(word, parser, verb)?, verb)? };
    let twice = given.iter().any(|(other, _)| std::ptr::eq(*other, word));
    if twice && !matches!(word.kind, Kind::Flag | Kind::Values(_)) {
        return Err(wrong(&format!("{} was given twice", word.shown()), verb));
    }
    given.push((word, value));
    Ok(())
}

/// The value of an option: what is joined to it, else the next word, unless that is an option and the value was forgotten.
fn value(word: &Word, parser: &mut Parser, verb: Option<&'static Verb>) -> Result<OsString, CliError> {
    if let Some(joined) = parser.optional_value() {
        return Ok(joined);
    }
    let value = parser.value()?;
    if value.as_encoded_bytes().starts_with(b"--") {
        return Err(wrong(&format!("{} needs a value", word.shown()), verb));
    }
    Ok(value)
}

impl Verb {
    /// The command of this name.
    pub(super) fn named(name: &OsStr) -> Option<&'static Self> {
        VERBS.iter().find(|verb| name == verb.name)
    }

    /// Whether it is for our own completions, and told of nowhere.
    pub(super) fn is_hidden(&self) -> bool {
        self.help.is_empty()
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &'static Word> {
        self.takes.iter().copied().flatten()
    }

    fn word(&self, wanted: impl Fn(Kind) -> bool) -> Option<&'static Word> {
        self.words().find(|word| wanted(word.kind))
    }

    /// Whether everything is there that must be.
    fn check(&'static self, words: &Words) -> Result<(), CliError> {
        for word in self.words() {
            let there = words.own.iter().any(|(given, _)| std::ptr::eq(*given, word));
            match word.kind {
                Kind::Operand(name) | Kind::Command(name) if !there => {
                    return Err(wrong(&format!("{name} is missing"), Some(self)));
                }
                Kind::OperandsUnless(name, flag) if there == words.flag(flag) => {
                    let which = if there { "one of both" } else { "something" };
                    return Err(wrong(&format!("{which} is to be chosen: {name} or --{flag}"), Some(self)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Word {
    pub(super) const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, letter: None, kind, help }
    }

    pub(super) const fn short(letter: char, name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, letter: Some(letter), kind, help }
    }

    fn shown(&self) -> String {
        self.letter.map_or_else(|| format!("--{}", self.name), |letter| format!("-{letter}"))
    }

    /// A value that is text, where it must be.
    fn check(&self, value: OsString, verb: Option<&'static Verb>) -> Result<OsString, CliError> {
        if matches!(self.kind, Kind::File(_) | Kind::Files(_) | Kind::Command(_)) || value.to_str().is_some() {
            return Ok(value);
        }
        Err(wrong("a value is not UTF-8", verb))
    }
}

impl Kind {
    pub(super) fn is_option(self) -> bool {
        matches!(self, Self::Flag | Self::Value(_) | Self::Scope(_) | Self::Values(_))
    }
}

impl Words {
    /// Whether a flag was given to the command, or before it.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.own.iter().chain(&self.outer).any(|(word, _)| word.name == name)
    }

    /// The value of an option or word: the command's own, else the one before it.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let given = self.own.iter().chain(&self.outer).find(|(word, _)| word.name == name);
        given.map(|(_, value)| text(value))
    }

    /// All values that are text.
    pub(super) fn values(&self, name: &str) -> Vec<String> {
        self.rest(name).iter().map(|value| text(value)).collect()
    }

    /// All values, as they are.
    pub(super) fn rest(&self, name: &str) -> Vec<OsString> {
        self.own.iter().filter(|(word, _)| word.name == name).map(|(_, value)| value.clone()).collect()
    }

    /// What chooses the token.
    pub(super) fn scope(&self) -> ScopeArgs {
        ScopeArgs {
            app: self.value("app"),
            host: self.value("host"),
            owner: self.value("owner"),
            repo: self.value("repo"),
            installation_id: self.value("installation-id"),
            permissions: self.value("permissions"),
            min_ttl: self.value("min-ttl"),
            no_start: self.flag("no-start"),
        }
    }
}

fn text(value: &OsStr) -> String {
    value.to_str().expect("it was looked at when it was read").to_owned()
}

/// What is told about a command, or about all.
pub(super) fn help(verb: Option<&Verb>) -> String {
    let mut text = String::with_capacity(4096);
    let (about, words): (_, Vec<&Word>) = match verb {
        Some(verb) => (verb.help, verb.words().collect()),
        None => (ABOUT, SCOPE.iter().collect()),
    };
    let name = verb.map_or_else(|| "apptoken".to_owned(), |verb| format!("apptoken {}", verb.name));
    let _ = write!(text, "{about}\n\nUsage: {name}");
    let takes_options = verb.is_none_or(|verb| verb.word(|kind| matches!(kind, Kind::Rest(_))).is_none());
    if takes_options {
        text.push_str(" [OPTIONS]");
    }
    let operands: Vec<(String, &str)> = words.iter().filter_map(|word| Some((word.operand()?, word.help))).collect();
    for (operand, _) in &operands {
        let _ = write!(text, " {operand}");
    }
    text.push_str(if verb.is_none() { " <COMMAND>\n" } else { "\n" });

    let option = |word: &Word| {
        let value = match word.kind {
            Kind::Value(value) | Kind::Scope(value) | Kind::Values(value) => format!(" <{value}>"),
            _ => String::new(),
        };
        let indent = if word.letter.is_some() { "" } else { "    " };
        (format!("{indent}{}{value}", word.shown()), word.help)
    };
    let chooses = |word: &&&Word| matches!(word.kind, Kind::Scope(_));
    let mut options: Vec<_> =
        words.iter().filter(|word| word.kind.is_option() && !chooses(word)).map(|word| option(word)).collect();
    if takes_options {
        options.push(("-h, --help".to_owned(), "Print help"));
    }
    if verb.is_none() {
        options.push(("-V, --version".to_owned(), "Print version"));
        let shown = VERBS.iter().filter(|verb| !verb.is_hidden());
        list(&mut text, "Commands", &shown.map(|verb| (verb.name.to_owned(), verb.help)).collect::<Vec<_>>());
    }
    list(&mut text, "Arguments", &operands);
    list(&mut text, "Options", &options);
    list(&mut text, "Which token", &words.iter().filter(chooses).map(|word| option(word)).collect::<Vec<_>>());
    if verb.is_none() {
        let _ = write!(text, "\n{MORE}\n");
    }
    text
}

fn list(text: &mut String, heading: &str, rows: &[(String, &str)]) {
    if rows.is_empty() {
        return;
    }
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or_default();
    let _ = write!(text, "\n{heading}:\n");
    for (left, right) in rows {
        let _ = writeln!(text, "  {left:width$}  {right}");
    }
}

impl Word {
    /// How it stands in a usage line, if it is no option.
    fn operand(&self) -> Option<String> {
        match self.kind {
            Kind::Operand(name) => Some(format!("<{name}>")),
            Kind::Optional(name) | Kind::File(name) => Some(format!("[{name}]")),
            Kind::OperandsUnless(name, _) | Kind::Command(name) => Some(format!("<{name}>...")),
            Kind::Files(name) | Kind::Rest(name) => Some(format!("[{name}]...")),
            _ => None,
        }
    }
}

fn wrong(what: &str, verb: Option<&Verb>) -> CliError {
    let about = verb.map(|verb| format!("{} ", verb.name)).unwrap_or_default();
    CliError::new(what).hint(format!("see what there is: apptoken {about}--help")).exit(Exit::Usage)
}

fn too_many(verb: &Verb) -> CliError {
    wrong("there are more words than it takes", Some(verb))
}

fn no_option(arg: &Arg<'_>, verb: Option<&Verb>) -> CliError {
    let name = match arg {
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Long(name) => format!("--{name}"),
        Arg::Value(_) => "of that name".to_owned(),
    };
    wrong(&format!("there is no option {name}"), verb)
}

impl From<lexopt::Error> for CliError {
    fn from(error: lexopt::Error) -> Self {
        match error {
            lexopt::Error::MissingValue { option: Some(option) } => wrong(&format!("{option} needs a value"), None),
            lexopt::Error::UnexpectedValue { option, .. } => wrong(&format!("{option} takes no value"), None),
            _ => wrong("this cannot be understood", None),
        }
    }
}

/// What the program is for.
pub(super) const ABOUT: &str = "Use GitHub as an App: the agent holds the key, commands get short-lived tokens";
/// Where there is more to read.
pub(super) const MORE: &str = "apptoken help COMMAND tells more, and so does apptoken help TOPIC about\nprotocol, environment, exit-codes, security.";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, CliError> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        read(words)
    }

    fn given(line: &str) -> Words {
        match asked(line) {
            Ok(Asked::Run(_, words)) => words,
            Ok(_) => panic!("`{line}` asks for help"),
            Err(error) => panic!("`{line}`: {error:?}"),
        }
    }

    #[test]
    fn values_are_found_however_they_are_written() {
        for line in ["token --repo a/b", "token --repo=a/b", "--repo a/b token", "--repo=x/y token --repo a/b"] {
            assert_eq!(given(line).scope().repo.as_deref(), Some("a/b"), "{line}");
        }
        let add = given("--installation-id 7 add -ct5m key.pem - --name=x");
        assert_eq!((add.flag("confirm"), add.value("life").as_deref()), (true, Some("5m")));
        assert_eq!(add.value("installation-id").as_deref(), Some("7"));
        assert_eq!(add.rest("files"), ["key.pem", "-"]);
        assert!(given("add").rest("files").is_empty());
        for line in ["--no-start token", "token --no-start"] {
            assert!(given(line).scope().no_start, "{line}");
        }
    }

    #[test]
    fn what_follows_a_command_is_the_commands() {
        assert_eq!(given("gh --help -R x -- --repo y").rest("args"), ["--help", "-R", "x", "--", "--repo", "y"]);
        assert_eq!(given("run --env A --env B -- x --env C").rest("command"), ["x", "--env", "C"]);
        let run = given("run --as-bot x -h");
        assert_eq!((run.flag("as-bot"), run.rest("command")), (true, vec!["x".into(), "-h".into()]));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for line in [
            "",
            "frobnicate",
            "--frobnicate",
            "token --frobnicate",
            "token word",
            "token --repo",
            "token --repo --json",
            "token --json=yes",
            "token --repo a/b --repo c/d",
            "add -x key.pem",
            "remove",
            "remove --all key",
            "run",
            "run --env",
            "completions",
            "completions bash zsh",
            "man a b",
        ] {
            assert!(asked(line).is_err(), "{line}");
        }
        assert!(matches!(asked("token --help"), Ok(Asked::Help(Some(verb))) if verb.name == "token"));
        assert!(matches!(asked("-h"), Ok(Asked::Help(None))));
        assert!(matches!(asked("-V"), Ok(Asked::Version)));
    }

    #[test]
    fn help_names_every_word() {
        for verb in VERBS {
            let text = help(Some(verb));
            assert!(text.starts_with(verb.help) && text.contains(&format!("Usage: apptoken {}", verb.name)));
            for word in verb.words() {
                assert!(text.contains(word.help), "{}: {}", verb.name, word.name);
            }
            assert_eq!(help(None).contains(&format!("\n  {} ", verb.name)), !verb.is_hidden(), "{}", verb.name);
        }
    }
}
