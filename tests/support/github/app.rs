//! Apps: what is registered under *Developer settings*.

use super::keys::PublicKey;
use super::permissions::{Permissions, permissions};

/// An App to register with [`GitHub::add_app`](super::GitHub::add_app).
#[derive(Clone, Debug)]
#[must_use = "an App is unknown to GitHub until it is added"]
pub struct App {
    pub(super) id: u64,
    pub(super) slug: String,
    pub(super) client_id: String,
    pub(super) owner: String,
    pub(super) keys: Vec<PublicKey>,
    pub(super) permissions: Permissions,
}

impl App {
    /// An App without a key, owned by `acme-inc`, that asks for what [`Installation`](super::Installation)s grant by default.
    pub fn new(id: u64, slug: &str) -> Self {
        Self {
            id,
            slug: slug.to_owned(),
            client_id: format!("Iv23li{id:014}"),
            owner: "acme-inc".to_owned(),
            keys: Vec::new(),
            permissions: permissions(super::installation::DEFAULT_PERMISSIONS),
        }
    }

    /// Sets the client ID, which a JWT may name instead of the App's number.
    pub fn client_id(mut self, client_id: &str) -> Self {
        client_id.clone_into(&mut self.client_id);
        self
    }

    /// Sets the account that owns the App.
    pub fn owner(mut self, login: &str) -> Self {
        login.clone_into(&mut self.owner);
        self
    }

    /// Registers the public half of a private key; an App may have several.
    pub fn key_pem(mut self, pem: &str) -> Self {
        self.keys.push(PublicKey::of_private_pem(pem));
        self
    }

    /// Sets the permissions that the App asks of whoever installs it.
    #[track_caller]
    pub fn permissions(mut self, list: &[(&str, &str)]) -> Self {
        self.permissions = permissions(list);
        self
    }
}
