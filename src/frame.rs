//! Where one JSON object ends in a stream of them: the framing of the socket, in both directions.
//!
//! A message ends where its JSON value ends. Nothing need follow it, so a client may write an object and wait; white
//! space between messages is skipped. Only the nesting is looked at here, each byte once; whether it is good JSON is for
//! the parser to say.

use std::ops::Range;

/// Finds message after message in a growing buffer.
#[derive(Default)]
pub struct Scanner {
    at: usize,
    start: usize,
    depth: u32,
    place: Place,
}

/// What a stream can hold that is no message at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A message that does not begin with `{`: where the next one would begin cannot be known.
    NotAnObject,
    /// More than [`MAX_MESSAGE`] bytes without an end.
    TooLarge,
}

#[derive(Default, PartialEq)]
enum Place {
    #[default]
    Between,
    Inside,
    InString,
    AfterBackslash,
}

impl Scanner {
    /// Looks at what was appended to `buffer` since the last call; returns where the next whole message lies.
    ///
    /// After a message was taken, call again with the same buffer, for there may be another; [`Scanner::restart`] once
    /// the bytes are gone from the buffer.
    pub fn next(&mut self, buffer: &[u8]) -> Result<Option<Range<usize>>, FrameError> {
        while let Some(&byte) = buffer.get(self.at) {
            self.at += 1;
            if self.is_inside() && self.at - self.start > MAX_MESSAGE {
                return Err(FrameError::TooLarge);
            }
            match (&self.place, byte) {
                (Place::Between, b' ' | b'\t' | b'\r' | b'\n') => {}
                (Place::Between, b'{') => {
                    self.start = self.at - 1;
                    self.depth = 1;
                    self.place = Place::Inside;
                }
                (Place::Between, _) => return Err(FrameError::NotAnObject),
                (Place::Inside, b'{' | b'[') => self.depth += 1,
                (Place::Inside, b'}' | b']') => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.place = Place::Between;
                        return Ok(Some(self.start..self.at));
                    }
                }
                (Place::Inside, b'"') | (Place::AfterBackslash, _) => self.place = Place::InString,
                (Place::InString, b'"') => self.place = Place::Inside,
                (Place::InString, b'\\') => self.place = Place::AfterBackslash,
                (Place::Inside | Place::InString, _) => {}
            }
        }
        Ok(None)
    }

    /// Whether a message has begun and not ended.
    pub fn is_inside(&self) -> bool {
        self.place != Place::Between
    }

    /// Tells the scanner that the buffer now begins where the message under way begins, or is empty; returns how many
    /// bytes at its front are to go.
    pub fn restart(&mut self) -> usize {
        let gone = if self.is_inside() { self.start } else { self.at };
        self.at -= gone;
        self.start = 0;
        gone
    }
}

/// Largest message either side reads, in bytes: a 16 KiB key in base64 fits ten times over.
pub const MAX_MESSAGE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `stream` in pieces that end at `cuts`, dropping what was taken as the server does.
    fn split(stream: &[u8], cuts: &[usize]) -> Result<Vec<Vec<u8>>, FrameError> {
        let (mut scanner, mut buffer, mut messages) = (Scanner::default(), Vec::new(), Vec::new());
        let mut from = 0;
        for to in cuts.iter().copied().chain([stream.len()]) {
            buffer.extend_from_slice(&stream[from..to]);
            from = to;
            while let Some(range) = scanner.next(&buffer)? {
                messages.push(buffer[range].to_vec());
            }
            buffer.drain(..scanner.restart());
        }
        Ok(messages)
    }

    #[test]
    fn a_message_ends_where_its_value_ends_newline_or_not() {
        let stream = br#"{"a":1}{"b":"}\"{"} {"c":[{}]}
{"d":"\\"}"#;
        let messages = split(stream, &[]).expect("objects");
        assert_eq!(messages, [&br#"{"a":1}"#[..], br#"{"b":"}\"{"}"#, br#"{"c":[{}]}"#, br#"{"d":"\\"}"#]);
    }

    #[test]
    fn what_is_not_an_object_is_refused_at_its_first_byte() {
        for stream in ["hello", "[1]", "\"a\"", "1", "}", "\u{0}"] {
            assert_eq!(split(stream.as_bytes(), &[]), Err(FrameError::NotAnObject), "{stream:?}");
        }
    }

    #[test]
    fn a_message_of_the_limit_passes_and_one_byte_more_does_not() {
        let message = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8)).into_bytes();
        assert_eq!(split(&message(MAX_MESSAGE), &[]).map(|m| m.len()), Ok(1));
        assert_eq!(split(&message(MAX_MESSAGE + 1), &[]).map(|m| m.len()), Err(FrameError::TooLarge));
        assert_eq!(split(&vec![b'{'; MAX_MESSAGE + 1], &[]).map(|m| m.len()), Err(FrameError::TooLarge));
    }

    proptest! {
        #[test]
        fn how_a_stream_is_cut_does_not_matter(
            texts in prop::collection::vec(".{0,12}", 1..5),
            cuts in prop::collection::vec(0usize..200, 0..12),
        ) {
            let wanted: Vec<_> = texts.iter().map(|t| serde_json::to_vec(&serde_json::json!({ "t": [t] })).expect("JSON")).collect();
            let stream = wanted.concat();
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(split(&stream, &cuts), Ok(wanted));
        }

        #[test]
        fn no_bytes_make_it_panic(stream in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let cut = cut.min(stream.len());
            let _ = split(&stream, &[cut]);
        }
    }
}
