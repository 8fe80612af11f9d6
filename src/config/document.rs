//! The settings in a TOML document, each with its place in the text: so they can be judged, complained of, and edited there.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use toml_parser::decoder::ScalarKind;
use toml_parser::parser::{Event, EventKind, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ParseError, Source};

/// A header or a setting.
pub(super) struct Item {
    /// The parts of its name, those of the table's header first.
    pub(super) path: Vec<String>,
    /// How many of them stand in the header.
    pub(super) above: usize,
    pub(super) value: Value,
    /// Where the name begins.
    pub(super) start: usize,
    /// Where the value lies; of a header, where it ends.
    pub(super) span: Range<usize>,
}

/// What a setting is set to.
#[derive(Debug)]
pub(super) enum Value {
    /// Nothing: it is a header.
    Table,
    Text(String),
    Number(u64),
    /// What is never asked for here: dates, lists, tables in braces.
    Other,
}

/// What is wrong with a document, and where. It repeats nothing of what stands there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The line, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// What is wrong.
    pub reason: String,
}

/// Reads a document; the items are in the order in which they stand there.
pub(super) fn items(text: &str) -> Result<Vec<Item>, Damage> {
    let source = Source::new(text);
    let mut items = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let (mut above, mut start, mut opened, mut depth) = (0, 0, 0, 0);
    for event in events(source)? {
        let span = event.span();
        let mut set = None;
        match event.kind() {
            EventKind::ArrayTableOpen => return Err(Damage::at(text, span.start(), "no list of tables is used here")),
            EventKind::StdTableOpen => {
                path.clear();
                above = 0;
            }
            EventKind::StdTableClose => {
                above = path.len();
                set = Some((Value::Table, span.start()));
            }
            EventKind::SimpleKey => {
                let key = key(source, &event)?;
                if depth == 0 {
                    start = if path.len() == above { span.start() } else { start };
                    path.push(key);
                }
                if path.len() > MAX_DEPTH || path.last().is_some_and(|key| key.len() > MAX_KEY) {
                    return Err(Damage::at(text, span.start(), "no name here is this long"));
                }
            }
            EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                opened = if depth == 0 { span.start() } else { opened };
                depth += 1;
            }
            EventKind::ArrayClose | EventKind::InlineTableClose => {
                depth -= 1;
                set = Some((Value::Other, opened));
            }
            EventKind::Scalar => set = Some((scalar(source, &event)?, span.start())),
            _ => {}
        }
        if let Some((value, from)) = set.filter(|_| depth == 0) {
            items.push(Item { path: path.clone(), above, value, start, span: from..span.end() });
            path.truncate(above);
        }
    }
    match first_clash(&items) {
        Some(place) => Err(Damage::at(text, place, "this was said before")),
        None => Ok(items),
    }
}

/// What the document consists of, if its form is right.
fn events(source: Source<'_>) -> Result<Vec<Event>, Damage> {
    let tokens: Vec<_> = source.lex().collect();
    let mut events = Vec::new();
    let mut error = None;
    let mut bounded = RecursionGuard::new(&mut events, MAX_NESTING);
    parse_document(&tokens, &mut ValidateWhitespace::new(&mut bounded, source), &mut error);
    judge(source, error).map(|()| events)
}

fn key(source: Source<'_>, event: &Event) -> Result<String, Damage> {
    let (mut key, mut error) = (Cow::Borrowed(""), None);
    source.get(event).expect("an event lies in its source").decode_key(&mut key, &mut error);
    judge(source, error).map(|()| key.into_owned())
}

fn scalar(source: Source<'_>, event: &Event) -> Result<Value, Damage> {
    if event.span().is_empty() {
        return Err(Damage::at(source.input(), event.span().start(), "the value is missing"));
    }
    let (mut text, mut error) = (Cow::Borrowed(""), None);
    let kind = source.get(event).expect("an event lies in its source").decode_scalar(&mut text, &mut error);
    judge(source, error)?;
    Ok(match kind {
        ScalarKind::String => Value::Text(text.into_owned()),
        ScalarKind::Integer(radix) => u64::from_str_radix(&text, radix.value()).map_or(Value::Other, Value::Number),
        _ => Value::Other,
    })
}

fn judge(source: Source<'_>, error: Option<ParseError>) -> Result<(), Damage> {
    error.map_or(Ok(()), |error| {
        let place = error.unexpected().or(error.context()).unwrap_or_default();
        Err(Damage::at(source.input(), place.start(), error.description()))
    })
}

/// Where the first item stands that sets what another has set.
fn first_clash(items: &[Item]) -> Option<usize> {
    let mut sorted: Vec<&Item> = items.iter().collect();
    // Those below an item follow it directly; those alike stay in the order of the text.
    sorted.sort_by(|one, other| one.path.cmp(&other.path));
    let clash = |pair: &[&Item]| {
        let is_set = !matches!(pair[0].value, Value::Table);
        pair[0].path == pair[1].path || (is_set && pair[1].path.starts_with(&pair[0].path))
    };
    sorted.windows(2).filter(|pair| clash(pair)).map(|pair| pair[0].start.max(pair[1].start)).min()
}

impl Damage {
    /// Damage at a byte of `text`.
    pub(super) fn at(text: impl AsRef<[u8]>, place: usize, reason: impl Into<String>) -> Self {
        let before = text.as_ref().get(..place).unwrap_or(text.as_ref());
        let lines = before.split(|byte| *byte == b'\n');
        let last = lines.clone().next_back().unwrap_or_default();
        // Characters, of which the further bytes are no new ones.
        let column = last.iter().filter(|byte| **byte & 0xc0 != 0x80).count() + 1;
        Self { line: lines.count(), column, reason: reason.into() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.reason)
    }
}

/// Most parts of a name, longest part in bytes, and deepest nesting of a value: far beyond any that is used, and near enough
/// that no document takes long.
const MAX_DEPTH: usize = 8;
const MAX_KEY: usize = 128;
const MAX_NESTING: u32 = 16;
