//! What goes back to the client, before a fault or the wire has touched it.

use serde_json::{Value, json};

/// A reply: status, headers of its own, and content.
///
/// The headers that every reply has are added when it leaves, so that no handler can forget them.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside the ones that all replies share.
    pub headers: Vec<(String, String)>,
    /// What the body will be.
    pub content: Content,
}

/// The body of an [`Answer`]; JSON stays a value for as long as possible, so that a fault can alter it.
#[derive(Clone, Debug)]
pub enum Content {
    /// No body at all, as with 204.
    Empty,
    /// `application/json; charset=utf-8`.
    Json(Value),
    /// Anything else: content type and body.
    Raw(String, Vec<u8>),
}

impl Answer {
    /// A JSON answer.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(body) }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::Empty }
    }

    /// An answer that is not JSON.
    pub fn raw(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), content: Content::Raw(content_type.to_owned(), body.into()) }
    }

    /// GitHub's error object; `page` is the part of the documentation's address after `/rest`.
    pub fn refusal(status: u16, message: &str, page: &str) -> Self {
        Self::json(
            status,
            json!({
                "message": message,
                "documentation_url": format!("{DOCUMENTATION}{page}"),
                "status": status.to_string(),
            }),
        )
    }

    /// 404, which is also what GitHub says about things the caller may not see.
    pub fn not_found(page: &str) -> Self {
        Self::refusal(404, "Not Found", page)
    }

    /// 401 for a token that is unknown, expired or revoked, and for an App's JWT outside the App endpoints.
    pub fn bad_credentials() -> Self {
        Self::refusal(401, "Bad credentials", "")
    }

    /// 401 for an anonymous request where GitHub wants to know who asks.
    pub fn requires_authentication(page: &str) -> Self {
        Self::refusal(401, "Requires authentication", page)
    }

    /// 403 for a token that lacks a permission, and for endpoints closed to installation tokens.
    pub fn not_accessible(page: &str) -> Self {
        Self::refusal(403, "Resource not accessible by integration", page)
    }

    /// Adds a header, replacing one of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Where GitHub's error objects point on github.com.
pub(super) const DOCUMENTATION: &str = "https://docs.github.com/rest";
