//! gh's command line: the hosts that it may make gh go to, and the repository that it is about.
//!
//! gh has some hundred commands, and which options take a value depends on the command. So a word counts in every way in
//! which some command of gh may read it. A text that only mentions an address is told apart by the option before it.

use std::ffi::OsString;

use super::addresses::{Named, address, canonical, host_of_repository};
use super::aliases::{Aliases, Expanded};
use crate::cli::error::{CliError, Exit};
use crate::ids::Host;

/// A command line of gh.
#[derive(Debug)]
pub(super) struct Arguments {
    /// gh's own command first, if there is one.
    words: Vec<String>,
    /// Whether gh may run something that these words do not tell.
    unknown: bool,
}

impl Arguments {
    /// Reads a command line as gh does, with its aliases expanded.
    pub(super) fn read(args: &[OsString], aliases: &Aliases) -> Self {
        // Bytes that are not UTF-8 become characters that are part of no host's name.
        let mut words: Vec<String> = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        // An alias may be found behind options. These stay before the rest, since of several options gh takes the last.
        let leading: Vec<String> = words.drain(..leading_options(&words)).collect();
        let behind_command = words.len().min(1);
        words.splice(behind_command..behind_command, leading);
        match aliases.expand(&words) {
            Expanded::Words(words) => {
                let known = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    ["extension" | "extensions" | "ext", below, ..] => EXTENSION_COMMANDS.contains(&below),
                    [verb, ..] => COMMANDS.contains(&verb),
                    [] => true,
                };
                Self { words, unknown: !known }
            }
            Expanded::Unknown => Self { words, unknown: true },
        }
    }

    /// Returns true if gh may run something that cannot be judged: an extension, a shell, or a command that is not known here.
    pub(super) fn is_unknown(&self) -> bool {
        self.unknown
    }

    fn verb(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The command and the command below it, as `pr view`.
    fn command(&self) -> (&str, &str) {
        (self.verb(), self.words.get(1).map_or("", String::as_str))
    }

    /// Returns the repository that the words are about. What only looks like one costs nothing but another choice of the
    /// installation, which `--owner` overrules.
    pub(super) fn repository(&self) -> Result<Option<Named>, CliError> {
        let options: Vec<String> = self.words.iter().take_while(|word| *word != "--").cloned().collect();
        let values = values(&options, "--repo", 'R');
        let mut named = None;
        for (certain, value) in values {
            match Named::parse(value) {
                None if certain => return Err(no_repository("--repo")),
                None => {}
                // Of several gh takes the last.
                some => named = some,
            }
        }
        if named.is_some() {
            return Ok(named);
        }
        let mut plain = options.iter().filter(|word| !word.starts_with('-'));
        let (Some(verb), mut rest) = (plain.next(), plain) else { return Ok(None) };
        Ok(match verb.as_str() {
            "api" => rest.find_map(|word| Named::in_api_path(word)),
            "repo" => rest.skip(1).find_map(|word| Named::parse(word)),
            _ => rest.filter(|word| address(word).is_some()).find_map(|word| Named::parse(word)),
        })
    }

    /// Returns every host that gh is told to go to, by an option or by an address.
    pub(super) fn hosts(&self) -> Result<Vec<Host>, CliError> {
        let mut hosts: Vec<String> =
            values(&self.words, "--hostname", NO_SHORT).map(|(_, host)| canonical(host)).collect();
        if self.verb() == "auth" {
            hosts.extend(values(&self.words, "--hostname", 'h').map(|(_, host)| canonical(host)));
        }
        for (_, value) in values(&self.words, "--repo", 'R') {
            hosts.extend(address(value).map(|(host, _)| host).or_else(|| host_of_repository(value)));
        }
        if !ONLY_TEXTS.contains(&self.verb()) {
            hosts.extend(self.readings(behind_sign).into_iter().filter_map(|text| Some(address(text)?.0)));
        }
        if ["repo", "gist"].contains(&self.verb()) {
            // Options of git follow, and an address in one of them may lead git anywhere.
            let gits = self.words.iter().skip_while(|word| *word != "--");
            hosts.extend(gits.flat_map(|word| addresses_within(word)));
        }
        hosts.iter().map(|host| parse(host)).collect()
    }

    /// Returns the hosts of words that may be repositories, written `HOST/OWNER/REPO`. They may also be files or branches.
    pub(super) fn possible_hosts(&self) -> Vec<String> {
        if !TAKES_REPOSITORIES.contains(&self.verb()) {
            return Vec::new();
        }
        self.readings(behind_repository_option).into_iter().filter_map(host_of_repository).collect()
    }

    /// Returns true if gh asks every host that it knows of, rather than one.
    pub(super) fn asks_all_hosts(&self) -> bool {
        self.verb() == "auth" && values(&self.words, "--hostname", 'h').next().is_none()
    }

    /// Returns true if gh sends the token to the very address that it is given, rather than to a host's API over https.
    pub(super) fn goes_in_the_clear(&self) -> bool {
        let is_open = |text: &&str| {
            let scheme = text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://"));
            scheme && address(text).is_some_and(|(host, _)| host != LOCAL && !host.ends_with(&format!(".{LOCAL}")))
        };
        self.verb() == "api" && self.readings(behind_sign).iter().any(is_open)
    }

    /// Returns the texts that gh may read as a repository or an address: each word, and the value within a word that is an
    /// option: `attached` finds it among short options. The values of options that are only texts are left out.
    fn readings(&self, attached: fn(&str) -> &str) -> Vec<&str> {
        let mut readings = Vec::new();
        let mut before = ["", ""];
        let mut are_options = true;
        for word in &self.words {
            let [first, second] = before;
            before = [second, word];
            are_options &= second != "--";
            // In `-X --body TEXT`, `--body` is the value of `-X`, and the text is not its own.
            let is_option = are_options && (!first.starts_with('-') || first.contains('='));
            if is_option && self.is_text_option(second) {
                continue;
            }
            if let Some(long) = word.strip_prefix("--") {
                match long.split_once('=') {
                    Some((name, _)) if self.is_text_option(&format!("--{name}")) => {}
                    Some((_, value)) => readings.push(value),
                    None => {}
                }
            } else if let Some(short) = word.strip_prefix('-').filter(|short| !short.is_empty()) {
                let is_text = short.chars().next().is_some_and(|first| self.is_text_option(&format!("-{first}")));
                if !is_text {
                    readings.push(attached(short));
                }
            } else {
                readings.push(word);
            }
        }
        readings
    }

    /// Returns true if the option takes a text that names no host, in this command.
    fn is_text_option(&self, option: &str) -> bool {
        let (verb, below) = self.command();
        let here = |(verbs, belows, options): &(&str, &[&str], &[&str])| {
            *verbs == verb && belows.contains(&below) && options.contains(&option)
        };
        TEXTS.contains(&option)
            // `repo create` takes a repository there.
            || option == "--template" && verb != "repo"
            // `KEY=VALUE`
            || verb == "api" && ["-f", "--raw-field", "-F", "--field"].contains(&option)
            || TEXTS_OF.iter().any(here)
    }
}

/// The error for a value that gh would not read as a repository.
pub(super) fn no_repository(name: &str) -> CliError {
    CliError::new(format!("the value of {name} is no repository")).hint("write it [HOST/]OWNER/REPO").exit(Exit::Usage)
}

fn parse(host: &str) -> Result<Host, CliError> {
    host.parse().map_err(|_| CliError::new("gh is to go to a host whose name cannot be read").exit(Exit::Usage))
}

/// Returns how many words of options for a repository stand before gh's command.
fn leading_options(words: &[String]) -> usize {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += match word.as_str() {
            "-R" | "--repo" => 2,
            word if word.starts_with("-R") || word.starts_with("--repo=") => 1,
            _ => break,
        };
    }
    at.min(words.len())
}

/// Returns the values of an option, in every way to write it; true with those that can be nothing else.
///
/// Short options may share a word: in `-cR`, `R` is an option if `c` takes no value. Only some never take one or always do.
fn values<'a>(words: &'a [String], long: &'a str, short: char) -> impl Iterator<Item = (bool, &'a str)> {
    words.iter().enumerate().filter_map(move |(at, word)| {
        let next = || words.get(at + 1).map(String::as_str);
        if let Some(rest) = word.strip_prefix(long) {
            return if rest.is_empty() { Some((true, next()?)) } else { Some((true, rest.strip_prefix('=')?)) };
        }
        let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-'))?;
        let (before, rest) = letters.split_once(short)?;
        if before.contains(TAKE_VALUES) {
            return None;
        }
        let value = if rest.is_empty() { next()? } else { rest.strip_prefix('=').unwrap_or(rest) };
        Some((before.is_empty(), value))
    })
}

/// Returns what follows the letters of short options, which may be an address. Letters in front of one do no harm: they are
/// read as a part of its scheme or its user.
fn behind_sign(short: &str) -> &str {
    let is_cluster = |(letters, _): &(&str, &str)| letters.bytes().all(|letter| letter.is_ascii_alphabetic());
    short.split_once('=').filter(is_cluster).map_or(short, |(_, value)| value)
}

/// Returns the value of the first of several short options that takes a repository; empty if none does.
fn behind_repository_option(short: &str) -> &str {
    let value = short.split_once(TAKE_REPOSITORIES).map_or("", |(_, value)| value);
    value.strip_prefix('=').unwrap_or(value)
}

/// Returns the hosts of all addresses in a word.
fn addresses_within(word: &str) -> impl Iterator<Item = String> {
    let starts = word.match_indices("://").map(|(end, _)| {
        let scheme = word[..end].rfind(|letter: char| !letter.is_ascii_alphanumeric() && letter != '+');
        scheme.map_or(0, |at| at + word[at..].chars().next().map_or(0, char::len_utf8))
    });
    starts.filter_map(|start| Some(address(&word[start..])?.0))
}

/// gh's own local test host, which alone it asks by plain http.
const LOCAL: &str = "github.localhost";
const NO_SHORT: char = '\0';

/// gh's own commands. Any other word is an alias, an extension, or a command of a gh that is not known yet. `copilot` and
/// `preview` are left out, since they run other programs.
const COMMANDS: [&str; 43] = [
    "agent",
    "agent-task",
    "agent-tasks",
    "agents",
    "alias",
    "api",
    "at",
    "attestation",
    "auth",
    "browse",
    "cache",
    "co",
    "codespace",
    "completion",
    "config",
    "cs",
    "discussion",
    "gist",
    "gpg-key",
    "help",
    "issue",
    "label",
    "licenses",
    "org",
    "pr",
    "project",
    "release",
    "repo",
    "rs",
    "ruleset",
    "run",
    "search",
    "secret",
    "skill",
    "skills",
    "ssh-key",
    "status",
    "variable",
    "version",
    "workflow",
    "--version",
    "--help",
    "-h",
];
/// The commands for extensions that ask no host but the one they are told. The others run an extension, or ask the hosts that
/// extensions were installed from.
const EXTENSION_COMMANDS: [&str; 5] = ["install", "create", "browse", "search", "remove"];
/// Commands that take `HOST/OWNER/REPO` outside `--repo`.
const TAKES_REPOSITORIES: [&str; 8] = ["repo", "label", "issue", "skill", "skills", "extension", "extensions", "ext"];
/// Commands in which an address is only a text.
const ONLY_TEXTS: [&str; 5] = ["search", "attestation", "at", "alias", "config"];
/// Short options that take a repository: `--template`, `--source` and `--issue-repo`.
const TAKE_REPOSITORIES: [char; 3] = ['p', 's', 'i'];
/// Short options that take a value in every command of gh 2.23 to 2.102 that has them.
const TAKE_VALUES: [char; 16] = ['A', 'B', 'D', 'F', 'H', 'L', 'O', 'S', 'T', 'X', 'b', 'g', 'j', 'k', 'o', 'q'];
/// Options that take a text that names no host in every command that has them.
const TEXTS: [&str; 11] = [
    "-b",
    "--body",
    "-q",
    "--jq",
    "--title",
    "--notes",
    "--description",
    "--desc",
    "--homepage",
    "--subject",
    "--search",
];
/// The same, in some commands only; in others these take no value.
const TEXTS_OF: [(&str, &[&str], &[&str]); 9] = [
    ("pr", &["create", "new", "edit", "merge"], &["-t"]),
    ("pr", &["close", "reopen"], &["-c", "--comment"]),
    ("issue", &["create", "new", "edit"], &["-t"]),
    ("issue", &["close", "reopen"], &["-c", "--comment"]),
    ("discussion", &["create", "new", "edit"], &["-t"]),
    ("release", &["create", "new", "edit"], &["-n", "-t"]),
    ("label", &["create", "new", "edit"], &["-d"]),
    ("gist", &["create", "new", "edit"], &["-d"]),
    ("repo", &["create", "new", "edit"], &["-d", "-h"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Arguments {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Arguments::read(&args, &Aliases::default())
    }

    fn found(line: &str) -> Option<String> {
        read(line).repository().expect(line).map(|named| match named.host {
            Some(host) => format!("{host}/{}", named.repo),
            None => named.repo.to_string(),
        })
    }

    #[test]
    fn the_repository_is_found_where_gh_takes_it_from() {
        for (line, repo) in [
            ("pr list -R acme/web", "acme/web"),
            ("pr list --repo acme/web", "acme/web"),
            ("pr list --repo=Acme/Web", "acme/web"),
            ("pr list -Racme/web", "acme/web"),
            ("pr list -R ghe.example/acme/web", "ghe.example/acme/web"),
            ("-R acme/web pr list", "acme/web"),
            ("api repos/acme/web/pulls?state=all", "acme/web"),
            ("api /repos/acme/web", "acme/web"),
            ("api -X POST repos/acme/web/issues -f title=x", "acme/web"),
            ("repo view acme/web", "acme/web"),
            ("repo clone https://github.com/acme/web.git dir", "github.com/acme/web"),
            ("repo clone acme/web -- --depth 1", "acme/web"),
            ("pr view https://github.com/acme/web/pull/7", "github.com/acme/web"),
        ] {
            assert_eq!(found(line).as_deref(), Some(repo), "{line}");
        }
    }

    #[test]
    fn every_host_that_gh_would_go_to_is_seen() {
        let hosts = |line: &str| {
            let arguments = read(line);
            let mut hosts: Vec<String> = arguments.hosts().expect(line).iter().map(ToString::to_string).collect();
            hosts.extend(arguments.possible_hosts());
            hosts.sort();
            hosts.dedup();
            hosts.join(" ")
        };
        for (line, seen) in [
            ("pr list -R git@evil.example:o/r", "evil.example"),
            ("pr list -R ssh://git@evil.example/o/r", "evil.example"),
            ("pr list -R evil.example/o/r", "evil.example"),
            ("pr view http://evil.example/o/r/pull/1", "evil.example"),
            ("pr view --comments https://evil.example/o/r/pull/1", "evil.example"),
            ("api https://evil.example/x", "evil.example"),
            ("api https://api.evil.ghe.com/x", "evil.ghe.com"),
            ("api https://api.github.com/repos/o/r", "github.com"),
            ("repo clone git@evil.example:o/r", "evil.example"),
            ("api --hostname evil.example user", "evil.example"),
            ("api user --hostname=API.github.com", "github.com"),
            ("api -- https://evil.example/x", "evil.example"),
            ("api -X -b https://evil.example/x", "evil.example"),
            ("pr view 1 -cR evil.example/o/r", "evil.example"),
            ("pr view -c https://evil.example/o/r/pull/1", "evil.example"),
            ("pr list -R evil.example/o/r -R o/r", "evil.example"),
            ("pr list -R o/r --repo=evil.example/o/r", "evil.example"),
            ("auth status -th evil.example", "evil.example"),
            ("issue transfer 1 evil.example/o/r", "evil.example"),
            ("issue close 1 --duplicate-of=https://evil.example/o/r/issues/2", "evil.example"),
            ("repo create o/n --template evil.example/o/r", "evil.example"),
            ("repo create o/n -phttps://evil.example/o/r", "evil.example"),
            ("repo create o/n -p=https://evil.example/o/r", "evil.example"),
            ("repo create o/n -cpghes.example/o/r", "ghes.example"),
            ("repo clone o/r -- --config=url.https://evil.example/.insteadOf=x", "evil.example"),
            ("pr create --body https://elsewhere.example/x", ""),
            ("pr create --body=https://elsewhere.example/x", ""),
            ("release create v1 -bRelease/of/today", ""),
            ("api repos/o/r/issues -fbody=https://elsewhere.example/x", ""),
            ("search code https://elsewhere.example/x", ""),
            ("attestation verify oci://elsewhere.example/x -R o/r", ""),
            ("api repos/o/r -f body=https://elsewhere.example/x", ""),
            ("pr list", ""),
        ] {
            assert_eq!(hosts(line), seen, "{line}");
        }
    }

    #[test]
    fn what_is_no_repository_chooses_nothing() {
        for line in [
            "",
            "api user",
            "api graphql -f query=x",
            "api repos/{owner}/{repo}/pulls",
            "pr list",
            "pr checkout 7",
            "issue create --title a/b",
            "pr list -- -R acme/web",
            "repo list acme",
        ] {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
