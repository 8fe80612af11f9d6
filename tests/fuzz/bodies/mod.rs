//! What is promised of whatever a stranger sends: a body for each target, which panics where a promise is broken.

mod config;
mod credential;
mod frame;
mod github;
mod pem;
mod request;
mod sealed;

/// What a target does with an input.
pub(crate) type Body = fn(&[u8]);

/// Each target with its body.
pub(crate) const BODIES: &[(&str, Body)] = &[
    ("config", config::body),
    ("credential", credential::body),
    ("frame", frame::body),
    ("github", github::body),
    ("pem", pem::body),
    ("request", request::body),
    ("sealed", sealed::body),
];
