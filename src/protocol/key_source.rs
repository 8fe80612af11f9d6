//! The key of a request: in the request itself, or in an open file whose descriptor crosses the socket beside it.

use std::os::fd::AsFd;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[cfg(feature = "agent")]
use super::{Code, Refusal};
use crate::secret::Secret;

/// A private key on its way to the agent.
pub enum KeySource {
    /// The key, in base64.
    Inline(Secret<str>),
    /// An open file, which the agent reads from its start.
    File(OpenFile),
}

/// An open file. How it is closed is up to its owner: the agent closes what it received on a thread of its own.
pub type OpenFile = Arc<dyn AsFd + Send + Sync>;

/// The field `keyFile`. On the wire it is `true`; the descriptor comes with the first byte of the request.
#[derive(Default)]
pub(crate) struct KeyFile(pub(super) Option<OpenFile>);

impl KeySource {
    /// Takes the key from the two fields of which a request has exactly one.
    #[cfg(feature = "agent")]
    pub(crate) fn one_of(key: Option<Secret<str>>, file: Option<KeyFile>) -> Result<Self, Refusal> {
        match (key, file) {
            (Some(key), None) => Ok(Self::Inline(key)),
            (None, Some(KeyFile(Some(file)))) => Ok(Self::File(file)),
            (None, Some(KeyFile(None))) => {
                Err(Refusal::new(Code::BadRequest, "no file descriptor came with the request")
                    .hint("send it with the first byte of the request, or send the key itself as `key`"))
            }
            (Some(_), Some(_)) | (None, None) => {
                Err(Refusal::new(Code::BadRequest, "the request must have either `key` or `keyFile`")
                    .hint("send the key as `key`, or its open file and `keyFile`"))
            }
        }
    }

    /// The two fields, of which one has a value.
    pub(super) fn fields(self) -> (Option<Secret<str>>, Option<KeyFile>) {
        match self {
            Self::Inline(key) => (Some(key), None),
            Self::File(file) => (None, Some(KeyFile(Some(file)))),
        }
    }
}

impl From<Secret<str>> for KeySource {
    fn from(key: Secret<str>) -> Self {
        Self::Inline(key)
    }
}

impl Serialize for KeyFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(true)
    }
}

impl<'de> Deserialize<'de> for KeyFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? { Ok(Self(None)) } else { Err(de::Error::custom("it can only be true")) }
    }
}
