//! Requests: what is understood is understood in the same way when it is said again, and what is refused is not repeated.

use apptoken::frame::{MAX_MESSAGE, Scanner};
use apptoken::protocol::{Code, Refusal, Request, written};
use serde_json::{Map, Value};

/// An input is one message.
pub(super) fn body(message: &[u8]) {
    match Request::parse(message) {
        Ok(request) => {
            let said = serde_json::from_slice(message).expect("what is understood is JSON");
            understood(&request, &said);
        }
        Err(refusal) => refused(&refusal, message),
    }
}

fn understood(request: &Request, said: &Map<String, Value>) {
    let wire = serde_json::to_vec(request).expect("a request has only string keys");
    let again = Request::parse(&wire).unwrap_or_else(|_| panic!("refused the second time: {request:?}"));
    assert!(wire == serde_json::to_vec(&again).expect("a request has only string keys"), "{request:?} changes");
    let came_with_one = ["key", "passphrase", "newPassphrase", "token"].iter().any(|field| said.contains_key(*field));
    assert!(request.has_secret() || !came_with_one, "{request:?} is not taken for secret");
    let meant: Map<String, Value> = serde_json::from_slice(&wire).expect("what is written is JSON");
    // A field that got lost is a token that is wider than the one asked for.
    for (name, value) in said {
        let is_name = ["appId", "host", "owner", "repo", "repositories"].contains(&name.as_str());
        let fits = |meant: &Value| value == meant || is_name && is_same(value, meant);
        assert!(meant.get(name).is_some_and(fits), "{request:?}: {name} is not what was said");
    }
    for narrowing in ["repositories", "permissions"] {
        let is_empty =
            |value: &Value| value.as_array().is_some_and(Vec::is_empty) || value == &Value::Object(Map::new());
        assert!(!meant.get(narrowing).is_some_and(is_empty), "an empty set, which GitHub takes for everything");
    }
}

/// Whether two names are the same to GitHub: in either case, and numbers as text as well.
fn is_same(said: &Value, meant: &Value) -> bool {
    match (said, meant) {
        (Value::Array(said), Value::Array(meant)) => {
            said.len() == meant.len() && said.iter().zip(meant).all(|(said, meant)| is_same(said, meant))
        }
        (Value::String(said), Value::String(meant)) => said.trim().eq_ignore_ascii_case(meant.trim()),
        (Value::String(said), Value::Number(meant)) => said.trim().parse() == Ok(meant.as_u64().unwrap_or_default()),
        _ => false,
    }
}

/// A refusal is one of a few sentences with a place in it; a refusal made of anything else could repeat a secret.
fn refused(refusal: &Refusal, message: &[u8]) {
    let words: String = refusal.error.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    let expected: &[&str] = match refusal.code {
        Code::UnknownAction => &["this agent knows no such action"],
        Code::BadRequest => &["malformed request at column ", "malformed request at line  column "],
        code => panic!("a request is refused with {code:?}"),
    };
    assert!(expected.contains(&words.as_str()), "{}", refusal.error);
    let numbers = refusal.error.split(|letter: char| !letter.is_ascii_digit()).filter(|number| !number.is_empty());
    for number in numbers {
        assert!(number.parse::<usize>().is_ok_and(|place| place <= message.len() + 1), "{}", refusal.error);
    }
    let plain = if refusal.code == Code::UnknownAction { r#"{"action":""}"# } else { "" };
    assert_eq!(refusal.hint, Request::parse(plain.as_bytes()).err().and_then(|plain| plain.hint));
    assert!(refusal.choices.is_empty() && refusal.retry_after.is_none());
    is_one_message(&written(&Err(refusal.clone())));
}

/// An answer is one line, and one message to who reads it as a stream.
fn is_one_message(line: &[u8]) {
    assert!(line.len() <= MAX_MESSAGE && line.iter().position(|byte| *byte == b'\n') == Some(line.len() - 1));
    assert_eq!(Scanner::default().next(line), Ok(Some(0..line.len() - 1)));
}
