//! All that may cross the socket: a [`Request`] one way, an [`Answer`] or a [`Refusal`] the other, each one JSON object.

mod key_source;
mod refusal;
mod request;
mod response;

pub use key_source::{KeySource, OpenFile};
pub use refusal::{Choice, Code, Refusal};
pub use request::{
    CheckKey, DropToken, KeyChoice, NewKey, Passphrase, RemoveAllKeys, RemoveKey, Request, Revoke, SealKey,
    TokenRequest,
};
pub use response::written;
pub use response::{
    Added, Answer, Checked, Diagnosis, Done, Dropped, Finding, Installation, Installations, KeyInfo, Keys, Outcome,
    Pong, Removed, Revoked, SealedKey, Status, TokenAnswer, TokenInfo, Whoami,
};

/// The protocol spoken here. Raised by hand when an old peer would misunderstand a new one.
pub const PROTOCOL: u32 = 1;
