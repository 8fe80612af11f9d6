//! A GitHub in the test's own process: stateful, strict, and able to fail on demand.
//!
//! It keeps Apps, installations and tokens, checks signatures as GitHub does, answers with GitHub's own statuses and
//! sentences, and writes down who asked for what. Tests stay plain synchronous code.
//!
//! ```ignore
//! let github = GitHub::start();
//! github.add_app(App::new(123456, "acme-deployer").key_pem(PEM));
//! github.install(123456, Installation::new(30614487, "acme-inc").repositories(&["web", "api"]));
//! github.next_on("POST /app/installations/*/access_tokens", Fault::Status(502));
//!
//! // … a client asks github.url() for a token, twice because of the fault …
//!
//! assert_eq!(github.mints(), 2);
//! assert!(github.is_live(&token));
//! ```
//!
//! `routes` holds the endpoints, `pipeline` the order of checks before them, `jwt` and `access` the two ways in,
//! `fault` and `mischief` what can go wrong, `server` the wire. What GitHub does is taken from its documentation and
//! from recordings; where neither tells, the code says so.

// Three targets include this module, and none of them uses all of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod access;
mod answer;
mod app;
mod clock;
mod edition;
mod fault;
mod installation;
mod journal;
mod jwt;
mod keys;
mod mischief;
mod page;
mod pattern;
mod permissions;
mod pipeline;
mod render;
mod request;
mod routes;
mod server;
mod token;
mod world;

use std::sync::Arc;
use std::time::Duration;

pub use answer::{Answer, Content};
pub use app::App;
pub use clock::Timestamp;
pub use fault::Fault;
pub use installation::Installation;
pub use journal::{Auth, Entry};
pub use keys::generate_key_pem;
pub use permissions::{Level, Permissions};
pub use request::Request;
pub use token::{Expiry, IssuedToken, TokenFormat};
pub use world::World;

use edition::Edition;
use installation::{AccountKind, RateLimit};
use keys::PublicKey;
use pattern::Pattern;
use permissions::permissions;
use server::{Server, Shared};

/// A running GitHub. It is gone when this is dropped, and its connections with it.
pub struct GitHub {
    shared: Arc<Shared>,
    server: Server,
    prefix: &'static str,
}

/// Where it is.
impl GitHub {
    /// Starts a github.com with nobody on it.
    pub fn start() -> Self {
        Self::start_edition(Edition::DotCom)
    }

    /// Starts an Enterprise Server of a version such as `3.19.1`, whose endpoints are below `/api/v3`.
    pub fn start_enterprise(version: &str) -> Self {
        Self::start_edition(Edition::Enterprise(version.to_owned()))
    }

    fn start_edition(edition: Edition) -> Self {
        let prefix = edition.prefix();
        let shared = Shared::new(World::new(edition));
        let server = Server::start(Arc::clone(&shared));
        Self { shared, server, prefix }
    }

    /// `http://127.0.0.1:PORT`: the host, which is also a proxy for plain http.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Where the endpoints are: the host, and for an Enterprise Server `/api/v3`.
    pub fn api_url(&self) -> String {
        self.url() + self.prefix
    }
}

/// Apps, accounts and installations.
impl GitHub {
    /// Registers an App and returns its ID.
    pub fn add_app(&self, app: App) -> u64 {
        let id = app.id;
        self.shared.world().apps.insert(id, app);
        id
    }

    /// Deletes an App with its installations; its tokens die.
    #[track_caller]
    pub fn remove_app(&self, app: u64) {
        let mut world = self.shared.world();
        assert!(world.apps.remove(&app).is_some(), "there is no App {app}");
        world.installations.retain(|_, installation| installation.app != app);
    }

    /// Registers the public half of another key for an App.
    #[track_caller]
    pub fn add_key(&self, app: u64, pem: &str) {
        self.with_app(app, |app| app.keys.push(PublicKey::of_private_pem(pem)));
    }

    /// Deletes a key from an App; tokens minted with it live on.
    #[track_caller]
    pub fn remove_key(&self, app: u64, pem: &str) {
        let key = PublicKey::of_private_pem(pem);
        self.with_app(app, |app| app.keys.retain(|have| *have != key));
    }

    /// Installs an App and returns the installation's ID.
    #[track_caller]
    pub fn install(&self, app: u64, installation: Installation) -> u64 {
        let mut world = self.shared.world();
        assert!(world.apps.contains_key(&app), "there is no App {app}");
        let id = installation.id;
        world.install(app, installation);
        id
    }

    /// Uninstalls; the installation's tokens die.
    #[track_caller]
    pub fn uninstall(&self, installation: u64) {
        let removed = self.shared.world().installations.remove(&installation);
        assert!(removed.is_some(), "there is no installation {installation}");
    }

    /// Suspends an installation; its tokens get 403 until it is unsuspended.
    #[track_caller]
    pub fn suspend(&self, installation: u64) {
        self.shared.world().suspend(installation);
    }

    /// Ends a suspension.
    #[track_caller]
    pub fn unsuspend(&self, installation: u64) {
        self.shared.world().unsuspend(installation);
    }

    /// Replaces what an installation grants. Tokens lose what it loses, and gain nothing.
    #[track_caller]
    pub fn set_permissions(&self, installation: u64, list: &[(&str, &str)]) {
        self.shared.world().installation_mut(installation).permissions = permissions(list);
    }

    /// Creates a repository; installations on all repositories reach it at once.
    pub fn add_repository(&self, owner: &str, name: &str) {
        let mut world = self.shared.world();
        let owner = world.account_or_new(owner, AccountKind::Organization);
        world.repository_or_new(&owner, name);
    }

    /// Gives a repository another name; the old one redirects.
    #[track_caller]
    pub fn rename_repository(&self, owner: &str, name: &str, new_name: &str) {
        let mut world = self.shared.world();
        let repository = world.repository_mut(owner, name);
        let former = std::mem::replace(&mut repository.name, new_name.to_owned());
        repository.former_names.push(former);
    }

    /// Deletes a repository.
    #[track_caller]
    pub fn remove_repository(&self, owner: &str, name: &str) {
        let mut world = self.shared.world();
        let id = world.repository_mut(owner, name).id;
        world.repositories.retain(|repository| repository.id != id);
    }

    /// Takes a repository out of an installation's selection; the repository stays.
    #[track_caller]
    pub fn deselect_repository(&self, installation: u64, name: &str) {
        let mut world = self.shared.world();
        let owner = world.installation_mut(installation).account.login.clone();
        let id = world.repository_mut(&owner, name).id;
        assert!(world.installation_mut(installation).selected.remove(&id), "`{name}` was not selected");
    }

    #[track_caller]
    fn with_app(&self, id: u64, change: impl FnOnce(&mut App)) {
        let mut world = self.shared.world();
        change(world.apps.get_mut(&id).unwrap_or_else(|| panic!("there is no App {id}")));
    }
}

/// How it behaves.
impl GitHub {
    /// Sets how long tokens minted from now on live, in whole seconds; an hour unless set.
    pub fn token_lifetime(&self, lifetime: Duration) {
        self.shared.world().token_lifetime = lifetime;
    }

    /// Sets what tokens minted from now on look like.
    pub fn token_format(&self, format: TokenFormat) {
        self.shared.world().token_format = format;
    }

    /// Sets what the answers to mints say about expiry.
    pub fn expires_at(&self, expiry: Expiry) {
        self.shared.world().expiry = expiry;
    }

    /// Sets how many seconds GitHub's clock is ahead of ours; negative is behind.
    pub fn skew(&self, seconds: i64) {
        self.shared.world().skew = seconds;
    }

    /// Stops GitHub's clock at this moment, in Unix seconds; stopping it again sets it.
    pub fn stop_clock(&self, at: Timestamp) {
        self.shared.world().stopped = Some(at);
    }

    /// Makes every answer take this long.
    pub fn delay(&self, delay: Duration) {
        self.shared.world().delay = delay;
    }

    /// Refuses App IDs in quotes, as GitHub has been seen to do.
    pub fn strict_issuer(&self) {
        self.shared.world().strict_issuer = true;
    }

    /// Gives an installation this many requests an hour, all of them still to be used.
    #[track_caller]
    pub fn rate_limit(&self, installation: u64, requests: u64) {
        self.shared.world().installation_mut(installation).rate = RateLimit::new(requests);
    }

    /// Answers git's routes, `/{owner}/{repo}.git/…`, which are 404 otherwise.
    pub fn serve_git(&self, routes: impl Fn(&mut World, &Request) -> Answer + Send + Sync + 'static) {
        self.shared.world().git = Some(Arc::new(routes));
    }

    /// Queues a fault for the next request.
    pub fn next(&self, fault: Fault) {
        self.shared.world().faults.queue(Pattern::any(), fault);
    }

    /// Queues a fault for the next request that fits a pattern: `POST /app/installations/*/access_tokens`.
    ///
    /// `*` is one segment or any method, a final `**` any rest. Of several that fit, the first queued is taken.
    #[track_caller]
    pub fn next_on(&self, pattern: &str, fault: Fault) {
        self.shared.world().faults.queue(Pattern::parse(pattern), fault);
    }

    /// Lets all requests that fit a pattern meet a fault, unless one is queued for them.
    #[track_caller]
    pub fn always(&self, pattern: &str, fault: Fault) {
        self.shared.world().faults.always(Pattern::parse(pattern), fault);
    }

    /// Lets one in so many requests that fit a pattern meet one of these faults, as the seed decides.
    #[track_caller]
    pub fn at_random(&self, pattern: &str, one_in: u64, faults: &[Fault], seed: u64) {
        self.shared.world().faults.at_random(Pattern::parse(pattern), one_in, faults, seed);
    }

    /// How many requests met a fault at random, of how many.
    pub fn random_faults(&self) -> (usize, usize) {
        let world = self.shared.world();
        (world.faults.random, world.journal.len())
    }

    /// Forgets all faults, queued, standing and random.
    pub fn clear_faults(&self) {
        self.shared.world().faults.clear();
    }
}

/// What happened.
impl GitHub {
    /// All requests so far, in the order in which they arrived.
    pub fn journal(&self) -> Vec<Entry> {
        self.shared.world().journal.clone()
    }

    /// How many requests fit a pattern, answered or not.
    #[track_caller]
    pub fn count(&self, pattern: &str) -> usize {
        self.journal().iter().filter(|entry| entry.is(pattern)).count()
    }

    /// How many times a token was asked for, granted or not; [`GitHub::tokens`] has those granted.
    pub fn mints(&self) -> usize {
        self.count("POST /app/installations/*/access_tokens")
    }

    /// Waits until the journal is as wanted and returns it; panics after ten seconds.
    #[track_caller]
    pub fn wait_for(&self, wanted: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        let (world, came) = self.shared.wait(PATIENCE, |world| wanted(&world.journal));
        let journal = world.journal.clone();
        drop(world);
        assert!(came, "GitHub waited {PATIENCE:?} for something that did not come. Its journal: {journal:#?}");
        journal
    }

    /// All tokens handed out so far, dead or alive.
    pub fn tokens(&self) -> Vec<IssuedToken> {
        self.shared.world().tokens.iter().map(|token| token.issued.clone()).collect()
    }

    /// A token that was handed out, dead or alive.
    pub fn token(&self, value: &str) -> Option<IssuedToken> {
        self.shared.world().token(value).map(|token| token.issued.clone())
    }

    /// Tells whether a token is neither expired nor revoked, nor its installation gone.
    pub fn is_live(&self, token: &str) -> bool {
        let world = self.shared.world();
        world.token(token).is_some_and(|token| world.is_live(token))
    }

    /// Revokes a token behind its holder's back.
    #[track_caller]
    pub fn revoke(&self, token: &str) {
        let mut world = self.shared.world();
        world.token_mut(token).expect("a token that was handed out here").issued.revoked = true;
    }
}

/// How long [`GitHub::wait_for`] waits: far longer than anything takes that is going to happen.
const PATIENCE: Duration = Duration::from_secs(10);
