//! git sends a token only over a verified connection.
