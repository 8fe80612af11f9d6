//! Nothing that a user can configure blocks the event loop.
