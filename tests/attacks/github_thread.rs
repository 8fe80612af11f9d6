//! A hostile API does not delay other clients.
