//! The agent's answers as they came: for `--json`, with names as shells and gh write them, and to pick a line's words from.
//!
//! What is only shown needs no types of its own on this side; each would cost the client some kilobytes.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::error::CliError;
use crate::lifetime;

/// Prints an answer as an object.
pub(super) fn print(answer: Value) -> Result<(), CliError> {
    let mut shown = snake_case(answer);
    if let Value::Object(fields) = &mut shown {
        fields.remove("ok");
    }
    let text = Zeroizing::new(format!("{shown:#}\n"));
    super::print_data(text.as_bytes())
}

/// The objects in a list of an answer.
pub(super) fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

/// A field as a word of a line; nothing when the answer does not have it.
pub(super) fn word(object: &Value, name: &str) -> String {
    shown(object, name).to_string()
}

/// The same, to be printed.
pub(super) fn shown<'a>(object: &'a Value, name: &str) -> Shown<'a> {
    Shown(&object[name])
}

/// A field that prints as a word of a line.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(text),
            Value::Null => Ok(()),
            value => value.fmt(f),
        }
    }
}

/// A field of seconds as a span: `59m12s`.
pub(super) fn span(object: &Value, name: &str) -> Option<String> {
    object[name].as_u64().map(|seconds| lifetime::show(Duration::from_secs(seconds)))
}

fn snake_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut named = Map::new();
            for (name, value) in fields {
                named.insert(to_snake_case(&name), snake_case(value));
            }
            Value::Object(named)
        }
        Value::Array(list) => Value::Array(list.into_iter().map(snake_case).collect()),
        value => value,
    }
}

fn to_snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_and_values_do_not() {
        let answer = serde_json::json!({ "expiresAt": "fullName", "list": [{ "appId": 1, "pull_requests": "read" }] });
        let shown = serde_json::json!({ "expires_at": "fullName", "list": [{ "app_id": 1, "pull_requests": "read" }] });
        assert_eq!(snake_case(answer), shown);
    }
}
