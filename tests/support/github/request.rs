//! A request as GitHub sees it, once HTTP has been taken off.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;

/// A whole request, body included.
#[derive(Debug)]
pub struct Request {
    /// `GET`, `POST`…
    pub method: String,
    /// Path with its percent-encoding undone, so that `%5Bbot%5D` and `[bot]` are the same user.
    pub path: String,
    /// The query as sent, without the question mark.
    pub query: String,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// The body as sent.
    pub body: Vec<u8>,
    /// `http://HOST`, with the host that the client believes it is talking to: in an absolute-form target when
    /// the client takes this server for a proxy (as gh does in tests), otherwise in `Host`.
    pub origin: String,
}

/// Who the `Authorization` header says is asking.
#[derive(Debug)]
pub(super) struct Credential {
    /// `bearer`, `token` or `basic`.
    pub scheme: String,
    /// The JWT or token; for `basic`, the password.
    pub value: String,
}

impl Request {
    /// Reads a request to its end, and at most [`MAX_BODY`] of it.
    pub(super) async fn read(
        request: hyper::Request<Incoming>,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes().to_vec();
        let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let authority = head.uri.authority().map_or(host, |authority| authority.as_str());
        Ok(Self {
            method: head.method.to_string(),
            path: percent_decode(head.uri.path()),
            query: head.uri.query().unwrap_or_default().to_owned(),
            origin: format!("http://{authority}"),
            headers: head.headers,
            body,
        })
    }

    /// A header's value, empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The query's pairs, decoded.
    pub(super) fn parameters(&self) -> Vec<(String, String)> {
        self.query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (percent_decode(name), percent_decode(&value.replace('+', " "))))
            .collect()
    }

    /// One parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().into_iter().find(|(have, _)| have == name).map(|(_, value)| value)
    }

    /// The `Authorization` header taken apart; `None` if there is none.
    pub(super) fn credential(&self) -> Option<Credential> {
        let header = self.headers.get("authorization")?.to_str().ok()?;
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        let scheme = scheme.to_ascii_lowercase();
        let value = value.trim();
        let value = if scheme == "basic" { basic_password(value).unwrap_or_default() } else { value.to_owned() };
        Some(Credential { scheme, value })
    }
}

/// GitHub looks for an installation token in the password and disregards the user name.
fn basic_password(encoded: &str) -> Option<String> {
    let pair = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    Some(pair.split_once(':')?.1.to_owned())
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// No request of ours comes near: 600 repository names are some 60 KB.
const MAX_BODY: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::percent_decode;

    #[test]
    fn percent_encoding_is_undone_and_broken_escapes_are_kept() {
        assert_eq!(percent_decode("acme%5Bbot%5D"), "acme[bot]");
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
    }
}
