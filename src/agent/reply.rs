//! One reply of GitHub's: received whole, within bounds, and judged.

use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LINK};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::clock;
use super::network::{self, Reason};
use crate::ids::InstallationId;

/// A reply that has arrived whole.
pub(super) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Held by a large one for as long as it is there.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Reply {
    /// Sends a request and receives the reply.
    ///
    /// A large one waits for its turn in `large`, which it keeps for as long as it is there.
    pub(super) async fn to(request: RequestBuilder, large: &Arc<Semaphore>) -> Result<Self, GitHubError> {
        let mut response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let most = if status.is_success() && is_json(&headers) { MAX_ANSWER } else { MAX_OTHER };
        let told = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut body = Vec::with_capacity(BODY_ROOM);
        let mut turn = None;
        while let Some(piece) = response.chunk().await? {
            if body.len() + piece.len() > most {
                return Err(GitHubError::Unreadable("an answer that is too large"));
            }
            if turn.is_none() && body.len() + piece.len() > LARGE {
                turn = Arc::clone(large).acquire_owned().await.ok();
                // Room for all of it at once, if it says how large it is: to grow would take twice as much.
                body.reserve_exact(told.min(most).saturating_sub(body.len()));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Self { status, headers, body, _turn: turn })
    }

    /// One that is made up, for who has no network.
    pub(super) fn of(status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { status, headers, body, _turn: None }
    }

    /// Whether this is success; else what it means. GitHub's sentences tell apart what its status codes do not.
    ///
    /// `now` is our own time, for a reply that does not tell GitHub's.
    pub(super) fn judge(&self, now: i64) -> Result<(), GitHubError> {
        #[derive(Default, Deserialize)]
        struct Body {
            #[serde(default)]
            message: String,
            /// A sentence, or a list of objects.
            #[serde(default)]
            errors: Value,
        }

        let status = self.status.as_u16();
        if self.status.is_success() {
            return Ok(());
        }
        if self.status.is_redirection() {
            return Err(GitHubError::Redirected);
        }
        if self.status.is_server_error() {
            return Err(match self.header("retry-after").and_then(|_| self.pause(now)) {
                Some(seconds) => GitHubError::Unavailable(status, seconds),
                None => GitHubError::Status(status),
            });
        }
        let Body { message, errors } = serde_json::from_slice(&self.body).unwrap_or_default();
        let says = |words: &str| message.contains(words);
        let limited = self.header("retry-after").is_some()
            || self.header("x-ratelimit-remaining") == Some("0")
            || says("rate limit")
            || says("abuse detection");
        Err(match status {
            429 => GitHubError::RateLimited(self.pause(now)),
            403 if limited => GitHubError::RateLimited(self.pause(now)),
            // A gateway in between has pages of its own, and "not found" on them says nothing about GitHub.
            _ if message.is_empty() => GitHubError::Unreadable(NO_JSON),
            401 if says("'Issued at' claim") || says("'Expiration time' claim") => GitHubError::ClockSkew(self.date()),
            401 if says("'Issuer' claim") => GitHubError::NoSuchApp,
            401 if says("must generate a public key") => GitHubError::AppHasNoKey,
            401 => GitHubError::WrongKey,
            404 if says("Integration not found") => GitHubError::NoSuchApp,
            404 => GitHubError::NotFound,
            403 if says("suspended") => GitHubError::Suspended,
            403 => GitHubError::Forbidden,
            410 => GitHubError::VersionGone,
            400 if errors.as_str().is_some_and(|text| text.contains("not a supported version")) => {
                GitHubError::VersionGone
            }
            422 if says("permissions requested") => GitHubError::PermissionNotGranted,
            422 if says("repository") => GitHubError::RepositoryNotGranted,
            422 => GitHubError::NotNarrowed,
            status => GitHubError::Status(status),
        })
    }

    /// Reads what the API promises.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, GitHubError> {
        serde_json::from_slice(&self.body).map_err(|_| GitHubError::Unreadable(NO_JSON))
    }

    /// GitHub's time, from its `Date` header.
    pub(super) fn date(&self) -> Option<i64> {
        self.header(DATE.as_str()).and_then(clock::parse_http_date)
    }

    /// Seconds to wait: until what `Retry-After` says, in seconds or as a date, else until the rate limit is lifted; by
    /// GitHub's own clock if it tells the time.
    fn pause(&self, now: i64) -> Option<u64> {
        let now = self.date().unwrap_or(now);
        let until = |moment: i64| u64::try_from(moment.saturating_sub(now)).unwrap_or_default();
        if let Some(after) = self.header("retry-after") {
            return after.parse().ok().or_else(|| clock::parse_http_date(after).map(until));
        }
        // With requests left it is another limit that was met, and this is not when it ends.
        self.header("x-ratelimit-remaining").filter(|left| *left == "0")?;
        let reset = self.header("x-ratelimit-reset")?.parse().ok()?;
        // A second more, for what was rounded off.
        Some(until(reset).saturating_add(1))
    }

    /// The path of the next page, from the `Link` header; only within the same API.
    pub(super) fn next_page(&self, api_url: &str) -> Option<String> {
        let links = self.header(LINK.as_str())?;
        let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
        let url = next.trim().strip_prefix('<')?.split_once('>')?.0;
        url.strip_prefix(api_url).filter(|path| path.starts_with('/')).map(str::to_owned)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why GitHub gave no answer that can be used. `agent/refuse.rs` puts them into words.
#[derive(Clone, Debug, PartialEq)]
pub enum GitHubError {
    /// The key cannot sign.
    CannotSign,
    /// The key was removed, or locked away, before it could sign.
    KeyGone,
    /// 401: the JWT is not signed with a key of this App.
    WrongKey,
    /// 404 `Integration not found`, or 401 for a client ID that is none: there is no such App.
    NoSuchApp,
    /// 401: the App has no key at all.
    AppHasNoKey,
    /// 401 about times that repeating with GitHub's own time did not mend; how far its clock is ahead, if it said.
    ClockSkew(Option<i64>),
    /// The same, when its clock is so many seconds ahead that ours is not corrected.
    ClockTooFar(i64),
    /// Another installation than the one that was asked about.
    OtherInstallation(InstallationId),
    /// An installation that is not on the account that was asked about.
    OtherAccount,
    /// Another App than the one that asked.
    OtherApp,
    /// A token that lives so many seconds, which is longer than any of GitHub's.
    LongLived(i64),
    /// 404: not there, or not to be seen by this App.
    NotFound,
    /// 403: the installation is suspended.
    Suspended,
    /// 422: a permission is not granted to the installation.
    PermissionNotGranted,
    /// 422: a repository is not there, or not part of the installation.
    RepositoryNotGranted,
    /// 403 for another reason, such as the account's list of IP addresses.
    Forbidden,
    /// 422 for another reason: the API does not narrow a token in that way.
    NotNarrowed,
    /// 403 or 429 with a limit; seconds to wait, if it said.
    RateLimited(Option<u64>),
    /// It took longer than one try, or all of them together, may take.
    Timeout,
    /// No connection, or one that broke; the reason.
    Unreachable(Reason),
    /// No connection, and none at the next try either: the server is not trusted, or its proxy wants a password.
    Barred(Reason),
    /// A redirect that is not followed.
    Redirected,
    /// The API version that is asked for is not spoken any more.
    VersionGone,
    /// 5xx, with the seconds after which to ask again.
    Unavailable(u16, u64),
    /// A status that has no meaning here.
    Status(u16),
    /// An answer that is not what the API promises.
    Unreadable(&'static str),
}

impl GitHubError {
    /// Whether it is about the way to GitHub, and says nothing about what was asked.
    pub fn is_no_answer(&self) -> bool {
        self.is_passing() || matches!(self, Self::RateLimited(_) | Self::Barred(_))
    }

    /// Whether it may be gone at the next try.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable(_) | Self::Unavailable(..) | Self::Status(500..))
    }
}

impl From<reqwest::Error> for GitHubError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        let reason = network::reason(&error);
        if reason.lasts { Self::Barred(reason) } else { Self::Unreachable(reason) }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

const NO_JSON: &str = "something that is not the API's JSON";
/// Largest answer read, in bytes: a token for GitHub's limit of 500 repositories comes with about 5 KiB for each.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The same for what comes in place of an answer: error objects, and pages for people.
const MAX_OTHER: usize = 1024 * 1024;
/// Bytes from which on an answer takes a turn: what is ordinary is far smaller.
const LARGE: usize = 64 * 1024;
/// Room set aside for an answer: a minted token with its surroundings.
const BODY_ROOM: usize = 8 * 1024;
