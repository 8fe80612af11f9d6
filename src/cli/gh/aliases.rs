//! gh's aliases: the command line that gh makes of one with an alias in it.
//!
//! gh keeps them in its configuration, which is YAML. Only the forms that gh itself writes are read here. An alias in
//! another form, or one that a shell runs, cannot be judged.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::env;

/// The aliases of gh's configuration.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    all: Vec<Alias>,
    /// Whether there may be others, in a form that is not read here.
    incomplete: bool,
}

#[derive(Debug, PartialEq)]
struct Alias {
    name: Vec<String>,
    /// The words that gh puts in its place, if they can be told.
    words: Option<Vec<String>>,
}

/// What gh runs for a command line.
#[derive(Debug, PartialEq)]
pub(super) enum Expanded {
    /// These words: the line itself, if there is no alias in it.
    Words(Vec<String>),
    /// Something that cannot be told.
    Unknown,
}

impl Aliases {
    /// Reads the configuration of the gh that runs here.
    pub(super) fn load() -> Self {
        match directory().map(|directory| fs::read_to_string(directory.join("config.yml"))) {
            Some(Ok(text)) => Self::read(&text),
            Some(Err(error)) if error.kind() != ErrorKind::NotFound => Self { incomplete: true, ..Self::default() },
            _ => Self::default(),
        }
    }

    fn read(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !is_blank(line));
        if !lines.any(|line| line.trim_end() == "aliases:") {
            return Self { incomplete: mentions_aliases(text), ..Self::default() };
        }
        let mut aliases = Self::default();
        let mut indent = None;
        for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
            let depth = line.len() - line.trim_start().len();
            if depth != *indent.get_or_insert(depth) {
                // The value of the last alias goes on.
                aliases.all.last_mut().into_iter().for_each(|last| last.words = None);
                continue;
            }
            match Alias::read(line.trim()) {
                Some(alias) => aliases.all.push(alias),
                None => aliases.incomplete = true,
            }
        }
        aliases
    }

    /// Returns what gh makes of a command line that begins with this command.
    pub(super) fn expand(&self, line: &[String]) -> Expanded {
        let mut line = line.to_vec();
        for _ in 0..MAX_EXPANSIONS {
            let Some(alias) = self.all.iter().find(|alias| alias.is_in(&line)) else {
                return if self.incomplete { Expanded::Unknown } else { Expanded::Words(line) };
            };
            let Some(words) = &alias.words else { return Expanded::Unknown };
            // The words of its name go; gh keeps all others behind the expansion.
            let mut name = alias.name.iter().peekable();
            line.retain(|word| name.next_if_eq(&word).is_none());
            line.splice(0..0, words.iter().cloned());
        }
        Expanded::Unknown
    }
}

impl Alias {
    /// Reads `name: expansion`.
    fn read(line: &str) -> Option<Self> {
        let (name, rest) = match line.strip_prefix('"') {
            Some(rest) => rest.split_once("\":")?,
            None => line.split_once(':')?,
        };
        let name: Vec<String> = name.split_whitespace().map(str::to_owned).collect();
        let is_plain = |word: &String| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        let fits = !name.is_empty() && name.iter().all(is_plain) && rest.starts_with([' ', '\t']);
        fits.then(|| Self { name, words: words_of(rest.trim()) })
    }

    /// Returns true if gh may take this alias from the command line: options may stand between the words of its name.
    fn is_in(&self, line: &[String]) -> bool {
        let mut words = line.iter();
        words.next() == self.name.first() && self.name[1..].iter().all(|part| words.any(|word| word == part))
    }
}

/// Returns the words of an expansion: none if a shell runs it, or if gh puts arguments into it.
fn words_of(value: &str) -> Option<Vec<String>> {
    let text = match value.chars().next()? {
        quote @ ('"' | '\'') => {
            let text = value[1..].strip_suffix(quote)?;
            (!text.contains([quote, '\\'])).then_some(text)?
        }
        // These begin something else than plain text.
        first if first.is_ascii_punctuation() => return None,
        _ => value.split(" #").next()?,
    };
    if text.starts_with('!') || text.contains('$') {
        return None;
    }
    shell_words::split(text).ok().filter(|words| !words.is_empty())
}

fn mentions_aliases(text: &str) -> bool {
    text.lines().any(|line| !is_blank(line) && line.contains("aliases"))
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// Returns the hosts that gh keeps a login for, as its configuration writes them.
pub(super) fn hosts() -> Vec<String> {
    let text =
        directory().and_then(|directory| fs::read_to_string(directory.join("hosts.yml")).ok()).unwrap_or_default();
    let lines = text.lines().filter(|line| !is_blank(line) && !line.starts_with([' ', '\t']));
    lines.map(|line| line.trim_end().trim_end_matches(':').trim_matches(['"', '\'']).to_owned()).collect()
}

/// Where gh's configuration is.
fn directory() -> Option<PathBuf> {
    let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    path(env::GH_CONFIG_DIR)
        .or_else(|| path(env::XDG_CONFIG_HOME).map(|base| base.join("gh")))
        .or_else(|| path(env::HOME).map(|home| home.join(".config/gh")))
}

/// Aliases may stand for others; a chain of this length has no end, or might as well have none.
const MAX_EXPANSIONS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "git_protocol: https\n# aliases:\naliases:\n    co: pr checkout\n    'odd': api user\n\
        \x20   \"q x\": api user\n    pr mine: pr list --author @me # mine\n    sh: '!gh api user'\n    put: api repos/$1\n\
        \x20   long: |-\n        api user\n    quoted: 'pr list --label \"help wanted\"'\n    again: co 7\n    loop: loop x\n\
        prompt: enabled\n";

    fn expanded(config: &str, line: &str) -> Option<String> {
        let line: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match Aliases::read(config).expand(&line) {
            Expanded::Words(words) => Some(words.join("|")),
            Expanded::Unknown => None,
        }
    }

    #[test]
    fn plain_aliases_are_expanded_as_gh_does() {
        let config = CONFIG.replace("    'odd': api user\n", "");
        for (line, words) in [
            ("co 7", Some("pr|checkout|7")),
            ("again", Some("pr|checkout|7")),
            ("q x y", Some("api|user|y")),
            ("pr mine -R a/b", Some("pr|list|--author|@me|-R|a/b")),
            ("pr -R a/b mine", Some("pr|list|--author|@me|-R|a/b")),
            ("quoted", Some("pr|list|--label|help wanted")),
            ("pr list", Some("pr|list")),
            ("api co", Some("api|co")),
            ("sh", None),
            ("put a/b", None),
            ("long", None),
            ("loop", None),
        ] {
            assert_eq!(expanded(&config, line).as_deref(), words, "{line}");
        }
    }

    #[test]
    fn a_configuration_in_another_form_hides_no_alias() {
        assert_eq!(expanded(CONFIG, "pr list"), None, "a name in quotes of a kind that gh does not write");
        assert_eq!(expanded("aliases: {x: api user}\n", "x"), None);
        assert_eq!(expanded("\"aliases\":\n    x: api user\n", "x"), None);
        assert_eq!(expanded("git_protocol: https\n", "x").as_deref(), Some("x"));
        assert_eq!(expanded("aliases:\n", "x").as_deref(), Some("x"));
    }
}
