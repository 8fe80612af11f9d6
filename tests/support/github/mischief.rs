//! What each [`Fault`] does: instead of the answer, to the answer, or to the connection.

use std::time::Duration;

use serde_json::{Value, json};

use super::access::{REQUEST_ID, limit_exceeded, limit_headers};
use super::answer::{Answer, Content};
use super::clock;
use super::fault::Fault;
use super::installation::RateLimit;
use super::pipeline::{API_VERSIONS, unsupported_version};
use super::request::Request;
use super::world::World;

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// As it should.
    Whole,
    /// Half of the body, then the end.
    Cut,
    /// Byte by byte.
    Drip(Duration),
    /// Instead of the body, so many bytes of white space.
    Flood(usize),
    /// Never; the connection stays open.
    Never,
    /// Never; the connection is closed.
    Close,
    /// Never; the connection is reset.
    Reset,
}

impl Delivery {
    /// Tells whether the client gets as much as a status.
    pub(super) fn is_an_answer(self) -> bool {
        !matches!(self, Self::Never | Self::Close | Self::Reset)
    }
}

/// The answer that stands in for GitHub's, if the fault keeps the request from getting there.
pub(super) fn instead(fault: &Fault, world: &World, request: &Request) -> Option<Answer> {
    let now = world.now();
    Some(match fault {
        Fault::Status(status) => trouble(*status),
        Fault::Verbatim { status, headers, body } => {
            let answer = Answer::raw(*status, "application/json; charset=utf-8", body.as_str());
            headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value))
        }
        Fault::Html(status) => Answer::raw(*status, "text/html; charset=utf-8", UNICORN),
        Fault::RetryAfter { status, seconds } => trouble(*status).header("Retry-After", seconds.to_string()),
        Fault::RetryAfterDate { status, seconds } => {
            let seconds = i64::try_from(*seconds).expect("a wait within the life of a test");
            trouble(*status).header("Retry-After", clock::http_date(now + seconds))
        }
        Fault::RateLimited { status, reset_in } => {
            let spent = RateLimit { limit: 5000, used: 5000, reset: now + reset_in };
            limit_headers(with_status(limit_exceeded(&asker(world, request), now), *status), &spent)
        }
        Fault::SecondaryLimit { status, retry_after } => {
            let plenty = RateLimit { limit: 5000, used: 17, reset: now + 3600 };
            let answer = limit_headers(secondary_limit(*status, now), &plenty);
            match retry_after {
                Some(seconds) => answer.header("Retry-After", seconds.to_string()),
                None => answer,
            }
        }
        Fault::Redirect(status, location) => trouble(*status).header("Location", location),
        Fault::UnsupportedVersion => {
            let version = request.header("x-github-api-version");
            unsupported_version(if version.is_empty() { API_VERSIONS[0] } else { version })
        }
        Fault::HugeBody(_) | Fault::Hang | Fault::CloseBeforeReply | Fault::Reset => Answer::json(200, json!({})),
        _ => return None,
    })
}

/// Lets GitHub work, and holds back for a while what it mints if the fault says so.
pub(super) fn before(
    fault: &Fault,
    world: &mut World,
    request: &Request,
    work: impl FnOnce(&mut World, &Request) -> Answer,
) -> Answer {
    let minted = world.tokens.len();
    let answer = work(world, request);
    if let Fault::LagAfterMint(requests) = fault {
        for token in &mut world.tokens[minted..] {
            token.lag = *requests;
        }
    }
    answer
}

/// Spoils GitHub's own answer.
pub(super) fn spoil(fault: &Fault, answer: &mut Answer) {
    match fault {
        Fault::NoDate => answer.headers.retain(|(name, _)| name != "Date"),
        Fault::Deprecated => {
            set(answer, "Deprecation", "Sun, 10 Mar 2026 00:00:00 GMT");
            set(answer, "Sunset", "Fri, 10 Mar 2028 00:00:00 GMT");
        }
        Fault::WrongContentType => set(answer, "Content-Type", "text/plain"),
        Fault::Link(link) => set(answer, "Link", link),
        Fault::EmptyBody => answer.content = Content::Empty,
        Fault::ExtraFields => alter(answer, |object| object["x_unheard_of"] = json!({"nested": [1, null, "two"]})),
        Fault::MissingPermissions => alter(answer, |object| {
            let object = object.as_object_mut().expect("alter hands out objects");
            object.remove("permissions");
            object.remove("repository_selection");
        }),
        Fault::NarrowerPermissions => alter(answer, |object| object["permissions"] = json!({"metadata": "read"})),
        _ => {}
    }
}

/// How the answer travels under this fault.
pub(super) fn delivery(fault: &Fault) -> Delivery {
    match fault {
        Fault::Truncate => Delivery::Cut,
        Fault::SlowBody(pause) => Delivery::Drip(*pause),
        Fault::HugeBody(bytes) => Delivery::Flood(*bytes),
        Fault::Hang => Delivery::Never,
        Fault::CloseBeforeReply => Delivery::Close,
        Fault::Reset => Delivery::Reset,
        _ => Delivery::Whole,
    }
}

/// Changes the object of an answer, or each object of a list.
fn alter(answer: &mut Answer, change: impl Fn(&mut Value)) {
    match &mut answer.content {
        Content::Json(Value::Array(items)) => items.iter_mut().for_each(change),
        Content::Json(object @ Value::Object(_)) => change(object),
        _ => {}
    }
}

fn set(answer: &mut Answer, name: &str, value: &str) {
    answer.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
    answer.headers.push((name.to_owned(), value.to_owned()));
}

/// GitHub's error object for a status that no endpoint of its own accord gives.
fn trouble(status: u16) -> Answer {
    let message = match status {
        301 | 302 | 307 | 308 => "Moved",
        429 => "Too Many Requests",
        500..=599 => "Server Error",
        _ => "Unexpected",
    };
    Answer::refusal(status, message, "")
}

fn with_status(mut answer: Answer, status: u16) -> Answer {
    answer.status = status;
    alter(&mut answer, |object| object["status"] = status.to_string().into());
    answer
}

fn asker(world: &World, request: &Request) -> String {
    let token = request.credential().and_then(|credential| world.token(&credential.value));
    token.map_or_else(|| "127.0.0.1".to_owned(), |token| format!("installation ID {}", token.issued.installation))
}

fn secondary_limit(status: u16, now: i64) -> Answer {
    Answer::refusal(
        status,
        &format!(
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If you reach \
             out to GitHub Support for help, please include the request ID {REQUEST_ID} and timestamp {}.",
            clock::sentence(now)
        ),
        "/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
    )
}

const UNICORN: &str = "<!DOCTYPE html>\n<html><head><title>Unicorn!</title></head>\
<body><p>We had issues producing the response to your request.</p></body></html>\n";
