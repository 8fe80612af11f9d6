//! Replies of GitHub's, or of whatever answers in its place: what is made of them can be shown on a terminal, written on a
//! line and used as a name, and what is refused is refused in our own words.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use apptoken::agent::clock::{Now, rfc3339};
use apptoken::agent::github::{Granted, Reading};
use apptoken::agent::keyring::HeldKey;
use apptoken::agent::refuse::{Asked, refuse};
use apptoken::agent::reply::GitHubError;
use apptoken::agent::shield::Shielded;
use apptoken::agent::state::Target;
use apptoken::frame::Scanner;
use apptoken::ids::{AppId, AppNames, InstallationId};
use apptoken::protocol::{Answer, Installation, Refusal, TokenAnswer, written};
use serde_json::Value;
use url::Url;

/// An input is a reply as HTTP writes it: a line with the status, headers, an empty line, the body. It is taken for the answer
/// to each question.
pub(super) fn body(data: &[u8]) {
    let (head, body) = cut(data, b"\n\n");
    let (status, head) = cut(head, b"\n");
    let status = std::str::from_utf8(status).ok().and_then(|status| status.trim().parse().ok()).unwrap_or(200);
    let headers = head.split(|byte| *byte == b'\n').map(|line| cut(line, b": "));
    let headers: Vec<_> = headers.filter(|(_, value)| !value.contains(&0)).collect();
    let Some(reading) = Reading::of(status, &headers, body, API, NOW) else { return };

    assert_eq!(reading.judged.is_ok(), (200..300).contains(&status), "{status} is taken for something else");
    if let Some(path) = &reading.next_page {
        stays_at_the_api(path);
    }
    if let Ok(app) = &reading.app {
        is_a_name(app);
    }
    for installation in reading.installation.iter().chain(reading.installations.iter().flatten()) {
        can_be_shown(installation);
    }
    let errors = [
        reading.judged.err(),
        reading.app.err(),
        reading.installation.err(),
        reading.installations.err(),
        reading.user_id.err(),
        reading.granted.as_ref().err().cloned(),
    ];
    let each_once = errors.iter().enumerate().filter(|(at, error)| !errors[..*at].contains(error));
    each_once.filter_map(|(_, error)| error.as_ref()).for_each(is_refused_in_our_words);
    if let Ok(granted) = reading.granted {
        is_handed_out_whole(granted);
    }
}

fn stays_at_the_api(path: &str) {
    let next = Url::parse(&format!("{API}{path}")).expect("a path makes an address");
    let api = Url::parse(API).expect("an address");
    assert_eq!((next.origin(), next.username()), (api.origin(), ""), "the next page is elsewhere: {path}");
}

/// What the App is called in URLs is in names of keys and bots.
fn is_a_name(app: &AppNames) {
    let plain = |slug: &str| slug.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    assert!(app.slug.as_deref().is_none_or(|slug| (1..100).contains(&slug.len()) && plain(slug)), "{app:?}");
}

/// An installation is a line of a list, and a choice in a refusal.
fn can_be_shown(installation: &Installation) {
    let Installation { account, account_type, repository_selection, .. } = installation;
    for text in [account, account_type, repository_selection] {
        assert!(text.len() <= 200 && !text.chars().any(char::is_control), "{installation:?}");
    }
}

/// Every word is one of this program or of the question: of what came, a refusal has numbers and no more.
fn is_refused_in_our_words(error: &GitHubError) {
    let targets = ["octo/hello".parse().map(Target::Repo), "octo".parse().map(Target::Owner)];
    let targets = targets.map(|target| target.expect("a target"));
    let targets = targets.into_iter().chain([Target::Id(InstallationId(7)), Target::Sole]);
    let refused = |asked: Asked<'_>| is_ours(&refuse(error, &KEY, asked));
    refused(Asked::App);
    targets.for_each(|target| refused(Asked::Token(&target)));
}

fn is_ours(refusal: &Refusal) {
    let text = format!("{} {}", refusal.error, refusal.hint.as_deref().unwrap_or_default());
    assert!(text.len() < 500 && !text.chars().any(char::is_control), "{text}");
    for word in words(&text) {
        assert!(OURS.contains(word), "a refusal has a word of somebody else's: {text}");
    }
}

/// The answer with a token is one line, and who reads it has the token as it came.
fn is_handed_out_whole(granted: Granted) {
    let token = granted.token.expose().to_owned();
    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "this is no token: {token:?}");
    assert!((0..=i64::from(u32::MAX)).contains(&granted.life.seconds()));
    let answer = Ok(Answer::Token(TokenAnswer {
        token: token.as_str().into(),
        expires_at: rfc3339(granted.expires),
        host: KEY.host.clone(),
        installation_id: InstallationId(7),
        account: "octo".to_owned(),
        permissions: granted.permissions,
        repositories: granted.repositories,
        warning: None,
    }));
    let line = written(&answer);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    assert!(matches!(Scanner::default().next(&line), Ok(Some(whole)) if whole.end == line.len() - 1));
    let read: Value = serde_json::from_slice(&line).expect("an answer is JSON");
    assert!(read["token"] == token, "the token changes on its way");
}

/// What comes before a separator, and what after it.
fn cut<'a>(text: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    let at = text.windows(separator.len()).position(|window| window == separator);
    at.map_or((text, &[]), |at| (&text[..at], &text[at + separator.len()..]))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty())
}

/// The words of the files in which refusals are written, and of the key and the targets here.
static OURS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let files = [include_str!("../../../src/agent/refuse.rs"), include_str!("../../../src/agent/reply.rs")];
    let others = [include_str!("../../../src/agent/github.rs"), include_str!("github.rs")];
    files.into_iter().chain(others).flat_map(words).collect()
});

static KEY: LazyLock<HeldKey> = LazyLock::new(|| HeldKey {
    name: "key".to_owned(),
    number: 0,
    fingerprint: Arc::from("SHA256:fingerprint"),
    bits: 2048,
    app_id: AppId::Number(123_456),
    app: None,
    host: "github.com".parse().expect("a host"),
    api_url: API.to_owned(),
    installation: None,
    forget_at: None,
    confirm: false,
    pkcs1: Arc::new(Shielded::new(b"key")),
});

const API: &str = "https://api.github.com";
/// 2026-11-22T14:30:00Z, on a machine that was booted an hour ago.
const NOW: Now = Now { unix: 1_795_357_800, boot: Duration::from_hours(1) };
