//! One key's entry written into the text of a configuration, and nothing else in it changed.

use std::ops::Range;

use super::document::{Damage, Item, Value, items};
use super::{API_URL, APP_ID, HOST, INSTALLATION_ID, KEY, NAME, Remembered};
use crate::ids::AppId;

/// The text with `new` in place of `old`, the entry that is there, or at its end.
pub(super) fn edited(text: &str, old: Option<&Remembered>, new: &Remembered) -> Result<String, Damage> {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    match old {
        Some(old) => Ok(replaced(text, &items(text)?, old, new, newline)),
        None => Ok(appended(text, new, newline)),
    }
}

fn appended(text: &str, new: &Remembered, newline: &str) -> String {
    let mut text = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text += newline;
    }
    if !text.is_empty() {
        text += newline;
    }
    let header = format!("[{KEY}.{}]{newline}", quoted(&new.fingerprint.to_string()));
    let line = |(setting, value): (_, Option<String>)| value.map(|value| format!("{setting} = {value}{newline}"));
    text + &header + &settings(new).into_iter().filter_map(line).collect::<String>()
}

/// Only what differs is touched: who wrote the entry by hand finds it as it was written.
fn replaced(text: &str, items: &[Item], old: &Remembered, new: &Remembered, newline: &str) -> String {
    let fingerprint = old.fingerprint.to_string();
    let mut changes: Vec<_> = settings(new).into_iter().zip(settings(old)).collect();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for item in items {
        let ([key, print, setting], Value::Text(_) | Value::Number(_)) = (&item.path[..], &item.value) else {
            continue;
        };
        if key != KEY || *print != fingerprint {
            continue;
        }
        if let Some(at) =
            changes.iter().position(|((name, new), (_, old))| name == setting && new != old && old.is_some())
        {
            edits.push(match changes.swap_remove(at).0.1 {
                Some(value) => (item.span.clone(), value),
                None => (line_of(text, item), String::new()),
            });
        }
        // There is always one, and after it is room for what was not there before.
        if setting == APP_ID {
            let end = line_of(text, item).end;
            for ((setting, value), (_, old)) in settings(new).into_iter().zip(settings(old)) {
                if let Some(value) = value.filter(|_| old.is_none()) {
                    edits.push((
                        end..end,
                        added_line(text, end, &format!("{} = {value}", named_like(item, setting)), newline),
                    ));
                }
            }
        }
    }
    apply(text, edits)
}

/// A setting of the same entry, named as far as the header above `item` does not name it.
fn named_like(item: &Item, setting: &str) -> String {
    let parts: Vec<_> = item.path[item.above..item.path.len() - 1].iter().map(|part| quoted(part) + ".").collect();
    parts.concat() + setting
}

fn added_line(text: &str, place: usize, line: &str, newline: &str) -> String {
    if text[..place].ends_with('\n') { format!("{line}{newline}") } else { format!("{newline}{line}") }
}

/// All lines that a setting takes, with the end of the last.
fn line_of(text: &str, item: &Item) -> Range<usize> {
    let start = text[..item.start].rfind('\n').map_or(0, |before| before + 1);
    let end = text[item.span.end..].find('\n').map_or(text.len(), |end| item.span.end + end + 1);
    start..end
}

fn apply(text: &str, edits: Vec<(Range<usize>, String)>) -> String {
    let (mut result, mut done) = (String::with_capacity(text.len()), 0);
    for (range, new) in edits {
        result += &text[done..range.start];
        result += &new;
        done = range.end;
    }
    result + &text[done..]
}

/// Each setting as it is written.
fn settings(key: &Remembered) -> [(&'static str, Option<String>); 5] {
    let app_id = match &key.app_id {
        AppId::Number(number) => number.to_string(),
        AppId::Client(id) => quoted(id),
    };
    [
        (NAME, Some(quoted(&key.name.to_string()))),
        (APP_ID, Some(app_id)),
        (HOST, key.host.as_ref().map(|host| quoted(&host.to_string()))),
        (API_URL, key.api_url.as_deref().map(quoted)),
        (INSTALLATION_ID, key.installation_id.map(|id| id.to_string())),
    ]
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
