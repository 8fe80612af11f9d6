//! `words`: names that the agent knows, one a line, for the shells' completions.
//!
//! Somebody is typing: it says nothing but names, whatever goes wrong, and is soon done.

use std::slice;
use std::time::Duration;

use serde_json::{Map, Value};

use super::json::list;
use crate::client::Agent;
use crate::output::print;
use crate::protocol::Request;

/// Prints the names of one kind: `keys`, `hosts`, `owners` or `repos`.
pub(super) fn words(kind: &str) {
    let text: String = known(kind).unwrap_or_default().keys().flat_map(|word| [word, "\n"]).collect();
    // Who closed the pipe has read enough.
    let _ = print(text.as_bytes());
}

/// The names, as those of an object: in order and each once.
fn known(kind: &str) -> Option<Map<String, Value>> {
    let (holders, name) = match kind {
        "keys" => ("keys", "name"),
        "hosts" => ("keys", "host"),
        "owners" => ("tokens", "account"),
        "repos" => ("tokens", "repositories"),
        _ => return None,
    };
    let mut agent = Agent::find().ok()?;
    agent.set_patience(PATIENCE);
    let status = agent.call(&Request::Status).ok()?;
    let mut words = Map::new();
    for holder in list(&status, holders) {
        let found = &holder[name];
        for word in found.as_array().map_or(slice::from_ref(found), Vec::as_slice) {
            if let Some(word) = word.as_str().filter(|word| is_plain(word)) {
                words.insert(word.to_owned(), Value::Null);
            }
        }
    }
    Some(words)
}

/// Whether a name is a word to every shell, and no option. GitHub's are; but what is offered is run at the next Enter.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with('-')
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b))
}

/// How long somebody who types waits for names.
const PATIENCE: Duration = Duration::from_secs(2);
