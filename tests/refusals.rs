//! What a refusal of GitHub's means is written in one table, in `src/agent/refuse.rs`; here each of its rows happens.

use serde_json::json;

use crate::support::github::{Fault, GitHub};
use crate::support::together::at_once;
use crate::support::{APP_ID, APPTOKEN, HOST, NOWHERE, World};

const MINT: &str = "POST /app/installations/*/access_tokens";

#[test]
fn every_row_of_the_table_is_true() {
    let rows = table();
    let stranger = GitHub::start();
    let complaints = at_once(&rows, |row| {
        let Some(trouble) = Trouble::read(row.github_answers, &stranger) else {
            return Some(format!("it is not known how to make this happen: {}", row.github_answers));
        };
        let answer = trouble.world().request(&json!({"action": "getToken"}));
        let said = answer["error"].as_str().unwrap_or_default();
        let holds = fits(row.we_say, said) && answer["code"] == row.code && answer["hint"].is_string();
        (!holds).then(|| format!("{} | {} | {} | but it is {answer}", row.github_answers, row.we_say, row.code))
    });
    let complaints: Vec<_> = complaints.into_iter().flatten().collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(stranger.journal().is_empty(), "another host was asked: {:?}", stranger.journal());
}

#[test]
fn the_table_has_as_many_rows_as_there_are_lines_and_says_no_sentence_that_fits_all() {
    let rows = table();
    let lines = REFUSE.lines().filter(|line| line.starts_with("//! |")).count();
    assert!(rows.len() > 10 && rows.len() + 2 == lines, "{} rows in {lines} lines", rows.len());
    for row in rows {
        assert!(!fits(row.we_say, "the agent is locked"), "{} says nothing", row.we_say);
    }
    assert!(fits("a … c …", "a b c d") && fits("…a", "a") && fits("a", "a"));
    assert!(!fits("a … c", "a b c d") && !fits("…b", "a") && !fits("a", "a b") && !fits("a … a", "a"));
}

/// A row of the table.
struct Row {
    github_answers: &'static str,
    we_say: &'static str,
    code: &'static str,
}

/// How to make GitHub, or the wire, do what a row says.
enum Trouble {
    /// Every mint meets this fault.
    Mint(Fault),
    /// The same, for a key that was added without asking GitHub.
    MintForNewKey(Fault),
    NoConnection,
}

impl Trouble {
    /// Reads the left cell: a status and GitHub's sentence in backticks, and perhaps under which circumstances; or some words.
    fn read(cell: &str, stranger: &GitHub) -> Option<Self> {
        if let Some((status, rest)) = cell.split_once(" `") {
            let (message, circumstances) = rest.split_once('`')?;
            let status = status.parse().ok()?;
            let refusal =
                Fault::Verbatim { status, headers: Vec::new(), body: json!({ "message": message }).to_string() };
            return match circumstances {
                "" | ", twice" | ", each time" | ", to a key it knew" => Some(Self::Mint(refusal)),
                ", to a new key" => Some(Self::MintForNewKey(refusal)),
                _ => None,
            };
        }
        if let Some(status) = cell.strip_prefix("a page for people with status ") {
            return Some(Self::Mint(Fault::Html(status.parse().ok()?)));
        }
        Some(match cell {
            "a redirect to another host" => Self::Mint(Fault::Redirect(307, stranger.url())),
            "no end of white space" => Self::Mint(Fault::HugeBody(usize::MAX)),
            "nothing in time" => Self::Mint(Fault::Hang),
            "no connection" => Self::NoConnection,
            _ => return None,
        })
    }

    /// A world where it happens to who asks for a token.
    fn world(self) -> World {
        match self {
            Self::Mint(fault) => {
                let w = World::with_key();
                w.github.always(MINT, fault);
                w
            }
            Self::MintForNewKey(fault) => {
                let w = World::with_agent();
                w.add_key(["--offline"]).stderr_contains("Identity added").ok();
                w.github.always(MINT, fault);
                w
            }
            Self::NoConnection => {
                let w = World::with_agent();
                let app = APP_ID.to_string();
                let add = w.command(APPTOKEN).args(["add", "key.pem", "--app-id", &app, "--host", HOST, "--offline"]);
                add.args(["--api-url", NOWHERE]).run().stderr_contains("Identity added").ok();
                w
            }
        }
    }
}

/// The rows below the head, whose cells are `GitHub answers`, `we say` and `code`.
#[track_caller]
fn table() -> Vec<Row> {
    let mut lines = REFUSE.lines().skip_while(|line| *line != HEAD).skip(2);
    let rows = std::iter::from_fn(|| lines.next()?.strip_prefix("//! | ")?.strip_suffix(" |"));
    let row = |line: &'static str| {
        let [github_answers, we_say, code] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not three cells: {line}");
        };
        Row { github_answers, we_say, code: code.trim_matches('`') }
    };
    rows.map(row).collect()
}

/// Whether `text` is what `pattern` says, where `…` stands for anything, also nothing.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('…') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let Some((between, last)) = rest.rsplit_once('…') else { return text.ends_with(rest) };
    for part in between.split('…') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

const REFUSE: &str = include_str!("../src/agent/refuse.rs");
const HEAD: &str = "//! | GitHub answers | we say | code |";
