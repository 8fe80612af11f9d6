//! The simulated GitHub is itself tested, with a plain HTTP client, against what is known of the real one.

mod apps;
mod client;
mod faults;
mod jwt;
mod mint;
mod pages;
mod real_gh;
mod tokens;
mod wire;

use crate::support::github::{App, GitHub, Installation};

/// The App of these tests, and the number that GitHub gave it.
const APP: u64 = 123_456;
/// Its installation on `acme-inc`, limited to the repositories `web` and `api`.
const ACME: u64 = 30_614_487;
/// Its key.
const PEM: &str = include_str!("fixtures/UNSAFE-TEST-ONLY-1.pem");
/// A key that nobody has registered.
const STRANGERS_PEM: &str = include_str!("fixtures/UNSAFE-TEST-ONLY-2.pem");

/// A GitHub with one App, installed once; `infra` exists beside the selected repositories.
fn github() -> GitHub {
    populated(GitHub::start())
}

/// The same on any edition.
fn populated(github: GitHub) -> GitHub {
    github.add_app(App::new(APP, "acme-deployer").client_id("Iv23liABCDEFGHIJKLMN").key_pem(PEM));
    github.install(APP, Installation::new(ACME, "acme-inc").repositories(&["web", "api"]));
    github.add_repository("acme-inc", "infra");
    github
}
