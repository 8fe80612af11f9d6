//! One reply of GitHub's: received whole, within bounds, and judged.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, LINK};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::clock;

/// A reply that has arrived whole.
pub(super) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    /// Sends a request and receives the reply, within [`DEADLINE`].
    pub(super) async fn to(request: RequestBuilder) -> Result<Self, GitHubError> {
        timeout(DEADLINE, Self::receive(request)).await.unwrap_or(Err(GitHubError::Timeout))
    }

    async fn receive(request: RequestBuilder) -> Result<Self, GitHubError> {
        let mut response = request.send().await.map_err(|error| unreachable_because(&error))?;
        let mut body = Vec::with_capacity(BODY_ROOM);
        while let Some(piece) = response.chunk().await.map_err(|error| unreachable_because(&error))? {
            if body.len() + piece.len() > MAX_BODY {
                return Err(GitHubError::Unreadable("an answer that is too large"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Self { status: response.status(), headers: response.headers().clone(), body })
    }

    /// Whether this is success; else what it means. GitHub's sentences tell apart what its status codes do not.
    pub(super) fn judge(&self) -> Result<(), GitHubError> {
        #[derive(Default, Deserialize)]
        struct Body {
            #[serde(default)]
            message: String,
        }

        if self.status.is_success() {
            return Ok(());
        }
        let Body { message } = serde_json::from_slice(&self.body).unwrap_or_default();
        let says = |words: &str| message.contains(words);
        let retry_after = self.header("retry-after").and_then(|seconds| seconds.parse().ok());
        let none_left = self.header("x-ratelimit-remaining") == Some("0");
        let limited = retry_after.is_some() || none_left || says("rate limit") || says("abuse detection");
        Err(match self.status.as_u16() {
            401 if says("'Issued at' claim") || says("'Expiration time' claim") => GitHubError::ClockSkew(self.date()),
            401 if says("'Issuer' claim") => GitHubError::NoSuchApp,
            401 if says("must generate a public key") => GitHubError::AppHasNoKey,
            401 => GitHubError::WrongKey,
            404 if says("Integration not found") => GitHubError::NoSuchApp,
            404 => GitHubError::NotFound,
            429 => GitHubError::RateLimited(retry_after.or_else(|| self.until_reset())),
            403 if limited => GitHubError::RateLimited(retry_after.or_else(|| self.until_reset())),
            403 if says("suspended") => GitHubError::Suspended,
            422 if says("permissions requested") => GitHubError::PermissionNotGranted,
            422 if says("repository") => GitHubError::RepositoryNotGranted,
            status => GitHubError::Status(status),
        })
    }

    /// Reads what the API promises.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, GitHubError> {
        serde_json::from_slice(&self.body).map_err(|_| GitHubError::Unreadable("something that is not the API's JSON"))
    }

    /// GitHub's time, from its `Date` header.
    pub(super) fn date(&self) -> Option<i64> {
        self.header(DATE.as_str()).and_then(clock::parse_http_date)
    }

    /// Seconds until the rate limit is lifted, by GitHub's own clock.
    fn until_reset(&self) -> Option<u64> {
        let reset: i64 = self.header("x-ratelimit-reset")?.parse().ok()?;
        reset.checked_sub(self.date()?).and_then(|seconds| u64::try_from(seconds).ok()?.checked_add(1))
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
    /// 404: not there, or not to be seen by this App.
    NotFound,
    /// 403: the installation is suspended.
    Suspended,
    /// 422: a permission is not granted to the installation.
    PermissionNotGranted,
    /// 422: a repository is not there, or not part of the installation.
    RepositoryNotGranted,
    /// 403 or 429 with a limit; seconds to wait, if it said.
    RateLimited(Option<u64>),
    /// It took longer than [`DEADLINE`].
    Timeout,
    /// No connection; the reason in the system's words.
    Unreachable(String),
    /// A status that has no meaning here.
    Status(u16),
    /// An answer that is not what the API promises.
    Unreadable(&'static str),
}

/// The innermost reason, which is the system's; the outer ones repeat the address.
fn unreachable_because(error: &reqwest::Error) -> GitHubError {
    if error.is_timeout() {
        return GitHubError::Timeout;
    }
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    GitHubError::Unreachable(reason.to_string())
}

/// How long one request may take, from connecting to the last byte. GitHub gives up on its side after ten seconds.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// Largest answer read, in bytes: a token for GitHub's limit of 500 repositories comes with about 5 KiB for each.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Room set aside for an answer: a minted token with its surroundings.
const BODY_ROOM: usize = 8 * 1024;
