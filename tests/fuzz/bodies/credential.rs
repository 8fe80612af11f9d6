//! Git's questions for credentials: only a held key's own host gets a token, and nothing comes in that git would take for a
//! line of its own.

use apptoken::cli::Rehearsal;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

/// An input is what git says; what follows its first empty line takes the place of the agent's answer for a token.
pub(super) fn body(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").map_or(data.len(), |at| at + 2);
    let (question, rest) = data.split_at(end);
    let answer = serde_json::from_slice(rest).unwrap_or_else(|_| json!({ "token": GOOD_TOKEN, "expiresAt": GOOD_END }));
    let Some(rehearsal) = Rehearsal::of(question, &held_keys(), &answer) else {
        assert!(question.contains(&0) || question.len() > 1024 * 1024, "a question of git's was refused");
        return;
    };
    if let Some(host) = &rehearsal.host {
        assert!(is_ours(question), "{host} gets a token that is another's");
        if answer["token"] == GOOD_TOKEN {
            assert!(rehearsal.reply.is_some(), "{host} does not get its token");
        }
    }
    if let Some(reply) = &rehearsal.reply {
        has_only_gits_lines(reply, question, &answer);
    }
    if let Some(owner) = &rehearsal.owner {
        let owner = format!("/{owner}");
        let path = format!("/{}", said(question, "path").unwrap_or_default().trim_start_matches('/'));
        assert!(path.split_at_checked(owner.len()).is_some_and(|(first, _)| first.eq_ignore_ascii_case(&owner)));
    }
    if let Some(token) = &rehearsal.token {
        let password = said(question, "password") == Some(token.expose());
        assert!(password || said(question, "credential").is_some(), "another token is forgotten than the one refused");
    }
}

/// Whether git asks for a host that a key is for, by a way that keeps its token secret.
fn is_ours(question: &[u8]) -> bool {
    let (protocol, host) = (said(question, "protocol").unwrap_or_default(), said(question, "host").unwrap_or_default());
    let is = |name: &str| host.eq_ignore_ascii_case(name);
    match protocol {
        "https" => is("github.com") || is("ghe.example:8443") || is("localhost:8080"),
        "http" => is("localhost:8080"),
        _ => false,
    }
}

/// What git says of something: as it reads its own lines, the last word.
fn said<'a>(question: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = question.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let texts = lines.filter_map(|line| std::str::from_utf8(line).ok());
    texts.filter_map(|line| line.split_once('=')).filter(|(known, _)| *known == name).last().map(|(_, value)| value)
}

/// The reply is the lines of one of two forms, each once, with this token and no other value that came from outside.
fn has_only_gits_lines(reply: &str, question: &[u8], answer: &Value) {
    assert!(reply.bytes().all(|byte| byte == b'\n' || byte.is_ascii_graphic()) && reply.ends_with('\n'));
    let token = answer["token"].as_str().expect("without a token there is no reply");
    assert!(!token.is_empty(), "an empty password");
    let lines: Vec<(&str, &str)> =
        reply.lines().map(|line| line.split_once('=').expect("a name and a value")).collect();
    let basic = BASE64_STANDARD.encode(format!("x-access-token:{token}"));
    let header = [("capability[]", "authtype"), ("authtype", "Basic"), ("credential", &basic), ("ephemeral", "1")];
    let pair = [("username", "x-access-token"), ("password", token)];
    let by_header = String::from_utf8_lossy(question).contains("capability[]=authtype");
    let rest = if by_header { lines.strip_prefix(&header) } else { None }.or_else(|| lines.strip_prefix(&pair));
    match rest.expect("a header or a password") {
        [] => {}
        [("password_expiry_utc", time)] => assert!(time.parse::<u64>().is_ok(), "{time}"),
        more => panic!("{more:?}"),
    }
}

/// What the agent says of its keys: one of github.com, one of a server of one's own, one of this machine.
fn held_keys() -> Value {
    json!({"keys": [
        {"host": "github.com", "apiUrl": "https://api.github.com"},
        {"host": "ghe.example:8443", "apiUrl": "http://127.0.0.1:1"},
        {"host": "localhost:8080", "apiUrl": "http://localhost:8080"},
    ]})
}

const GOOD_TOKEN: &str = "ghs_0123456789abcdefghijABCDEFGHIJ012345";
const GOOD_END: &str = "2099-01-01T00:00:00Z";
