//! gh sends an enterprise token to its own host only.
