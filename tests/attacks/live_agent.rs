//! A live agent is never replaced, and always has room for the requests that matter.
