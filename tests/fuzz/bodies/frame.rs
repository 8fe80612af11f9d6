//! The framing of the socket: where messages end does not depend on how the bytes come, and nothing is lost or too large.

use apptoken::frame::{FrameError, MAX_MESSAGE, Scanner};
use serde_json::Value;

/// Messages, and why there are no more.
type Framed = (Vec<Vec<u8>>, Option<FrameError>);

/// The first line of an input is how the rest is cut, as [`cuts`] reads it; the rest is the stream, [`inflated`] if the line
/// begins with a star.
pub(super) fn body(data: &[u8]) {
    let (line, rest) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let rest = rest.get(1..).unwrap_or_default();
    let stream = if line.starts_with(b"*") { inflated(rest) } else { rest.to_vec() };
    let whole = framed(&stream, &[]);
    assert_eq!(framed(&stream, &cuts(line)), whole, "how it is cut matters");
    nothing_is_lost(&stream, &whole);
    agrees_with_the_parser(&stream, &whole);
}

/// Feeds the stream in pieces, dropping what was taken as the server does.
fn framed(stream: &[u8], cuts: &[usize]) -> Framed {
    let (mut scanner, mut buffer, mut messages) = (Scanner::default(), Vec::new(), Vec::new());
    let mut rest = stream;
    for size in cuts.iter().copied().chain([stream.len()]) {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = after;
        loop {
            match scanner.next(&buffer) {
                Ok(Some(range)) => messages.push(buffer[range].to_vec()),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        buffer.drain(..scanner.restart());
        assert_eq!(scanner.is_inside(), !buffer.is_empty(), "what is kept is a message that has begun");
        assert!(buffer.len() <= MAX_MESSAGE, "more is kept than a message may have");
    }
    (messages, None)
}

/// The messages and blanks between them are the stream; after them there is at most one that has no end.
fn nothing_is_lost(stream: &[u8], (messages, error): &Framed) {
    let mut rest = stream;
    for message in messages {
        assert!(message.len() <= MAX_MESSAGE, "a message of {} bytes", message.len());
        rest = past_blanks(rest).strip_prefix(&message[..]).expect("messages lie in the stream in their order");
    }
    let rest = past_blanks(rest);
    match error {
        None => assert!(rest.is_empty() || rest[0] == b'{', "what is no object passed"),
        Some(FrameError::NotAnObject) => assert_ne!(rest[0], b'{', "an object was refused for none"),
        Some(FrameError::TooLarge) => assert!(rest.len() > MAX_MESSAGE, "refused before it was too large"),
    }
}

/// What a parser of JSON takes for an object from the beginning of the stream is a message, byte for byte.
fn agrees_with_the_parser(stream: &[u8], (messages, _): &Framed) {
    let mut values = serde_json::Deserializer::from_slice(stream).into_iter::<Value>();
    let mut began = 0;
    for message in messages {
        match values.next() {
            Some(Ok(value)) => assert!(value.is_object(), "taken for an object: {value}"),
            // It is no JSON; where it ends is as good as any.
            _ => return,
        }
        assert_eq!(past_blanks(&stream[began..values.byte_offset()]), message, "the parser ends it elsewhere");
        began = values.byte_offset();
    }
}

/// What follows the white space that JSON knows.
fn past_blanks(stream: &[u8]) -> &[u8] {
    let blanks = stream.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    &stream[blanks..]
}

/// How long the pieces are, one for each byte of the line: 1 to 32,768 bytes for the digits from `1` on, and what follows
/// them in ASCII. The rest comes at once.
fn cuts(line: &[u8]) -> Vec<usize> {
    line.iter().map(|byte| 1 << (byte.wrapping_sub(b'1') % 16)).collect()
}

/// The stream with `\xff`, which no JSON has, standing for so many letters that four of them and `{"a":""}` are as long as a
/// message may be.
fn inflated(text: &[u8]) -> Vec<u8> {
    let (mut stream, mut left) = (Vec::with_capacity(text.len()), 5);
    for byte in text {
        if *byte == b'\xff' && left > 0 {
            stream.resize(stream.len() + MAX_MESSAGE / 4 - 2, b'x');
            left -= 1;
        } else {
            stream.push(*byte);
        }
    }
    stream
}
