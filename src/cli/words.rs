//! `words`: names that the agent knows, one a line, for the shells' completions.
//!
//! Somebody is typing: it says nothing but names, whatever goes wrong, and is soon done.

use std::time::Duration;

use serde_json::Value;

use super::json::list;
use crate::client::Agent;
use crate::output::print;
use crate::protocol::Request;

/// Prints the names of one kind: `keys`, `hosts`, `owners` or `repos`.
pub(super) fn words(kind: &str) {
    let text: String = known(kind).unwrap_or_default().iter().flat_map(|word| [word, "\n"]).collect();
    // Who closed the pipe has read enough.
    let _ = print(text.as_bytes());
}

fn known(kind: &str) -> Option<Vec<String>> {
    let mut agent = Agent::find().ok()?;
    agent.set_patience(PATIENCE).ok()?;
    let status = agent.call(&Request::Status).ok()?;
    let keys = list(&status, "keys").iter();
    let tokens = list(&status, "tokens").iter();
    let found: Vec<&Value> = match kind {
        "keys" => keys.map(|key| &key["name"]).collect(),
        "hosts" => keys.map(|key| &key["host"]).collect(),
        "owners" => tokens.map(|token| &token["account"]).collect(),
        "repos" => tokens.flat_map(|token| list(token, "repositories")).collect(),
        _ => return None,
    };
    let mut words: Vec<&str> = found.into_iter().filter_map(Value::as_str).filter(|word| is_plain(word)).collect();
    words.sort_unstable();
    words.dedup();
    Some(words.into_iter().map(str::to_owned).collect())
}

/// Whether a name is a word to every shell, and no option. GitHub's are; but what is offered is run at the next Enter.
fn is_plain(word: &str) -> bool {
    !word.starts_with('-') && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b))
}

/// How long somebody who types waits for names.
const PATIENCE: Duration = Duration::from_secs(2);
