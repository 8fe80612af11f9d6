//! GitHub's state: what is registered, installed and handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::app::App;
use super::clock::{self, Timestamp};
use super::edition::Edition;
use super::fault::Faults;
use super::installation::{Account, AccountKind, Installation, Installed, RateLimit, Repository, Selection};
use super::journal::Entry;
use super::permissions::Permissions;
use super::request::Request;
use super::token::{Expiry, IssuedToken, Token, TokenFormat};

/// Answers git's own routes, `/{owner}/{repo}.git/…`, which are not part of the API.
///
/// The world tells it what a credential may reach. Without one, those routes are 404.
pub type GitRoutes = Arc<dyn Fn(&mut World, &Request) -> Answer + Send + Sync>;

/// Everything that GitHub knows, and how it is told to behave.
pub struct World {
    pub(super) edition: Edition,
    pub(super) skew: i64,
    /// When the clock was stopped, if it was.
    pub(super) stopped: Option<Timestamp>,
    pub(super) strict_issuer: bool,
    pub(super) token_lifetime: Duration,
    pub(super) token_format: TokenFormat,
    pub(super) expiry: Expiry,
    pub(super) delay: Duration,
    pub(super) faults: Faults,
    pub(super) journal: Vec<Entry>,
    pub(super) git: Option<GitRoutes>,
    pub(super) apps: BTreeMap<u64, App>,
    pub(super) accounts: Vec<Account>,
    pub(super) repositories: Vec<Repository>,
    pub(super) installations: BTreeMap<u64, Installed>,
    pub(super) tokens: Vec<Token>,
    /// The budget of everybody who says no name.
    pub(super) anonymous: RateLimit,
}

impl World {
    /// A GitHub with nobody on it.
    pub(super) fn new(edition: Edition) -> Self {
        Self {
            edition,
            skew: 0,
            stopped: None,
            strict_issuer: false,
            token_lifetime: TOKEN_LIFETIME,
            token_format: TokenFormat::Classic,
            expiry: Expiry::Truthful,
            delay: Duration::ZERO,
            faults: Faults::default(),
            journal: Vec::new(),
            git: None,
            apps: BTreeMap::new(),
            accounts: Vec::new(),
            repositories: Vec::new(),
            installations: BTreeMap::new(),
            tokens: Vec::new(),
            anonymous: RateLimit::new(ANONYMOUS_LIMIT),
        }
    }

    /// The time on GitHub's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.stopped.unwrap_or_else(|| clock::now(self.skew))
    }

    /// The address that endpoints are below, as the client spells the host.
    pub(super) fn api(&self, request: &Request) -> String {
        format!("{}{}", request.origin, self.edition.prefix())
    }

    /// Suspends an installation.
    pub(super) fn suspend(&mut self, installation: u64) {
        let now = self.now();
        self.installation_mut(installation).suspended_at = Some(now);
    }

    /// Ends the suspension of an installation.
    pub(super) fn unsuspend(&mut self, installation: u64) {
        self.installation_mut(installation).suspended_at = None;
    }

    /// An installation that is known to exist, to change it.
    #[track_caller]
    pub(super) fn installation_mut(&mut self, id: u64) -> &mut Installed {
        let now = self.now();
        let installation = self.installations.get_mut(&id).unwrap_or_else(|| panic!("there is no installation {id}"));
        installation.updated = now;
        installation
    }

    /// Installs an App, creating the account and its repositories where they do not exist yet.
    pub(super) fn install(&mut self, app: u64, wanted: Installation) {
        let account = self.account_or_new(&wanted.login, wanted.kind);
        let selected = wanted.repositories.iter().map(|name| self.repository_or_new(&account, name)).collect();
        let now = self.now();
        self.installations.insert(
            wanted.id,
            Installed {
                id: wanted.id,
                app,
                account,
                selection: wanted.selection,
                selected,
                permissions: wanted.permissions,
                updated: now,
                suspended_at: wanted.suspended.then_some(now),
                rate: RateLimit::new(INSTALLATION_LIMIT),
            },
        );
    }

    /// Returns the account of this login, creating it if need be.
    pub(super) fn account_or_new(&mut self, login: &str, kind: AccountKind) -> Account {
        if let Some(account) = self.account(login) {
            return account.clone();
        }
        let account = Account { id: FIRST_ACCOUNT + count(&self.accounts), login: login.to_owned(), kind };
        self.accounts.push(account.clone());
        account
    }

    /// A repository that is known to exist, to change it.
    #[track_caller]
    pub(super) fn repository_mut(&mut self, owner: &str, name: &str) -> &mut Repository {
        let id = self.repository(owner, name).unwrap_or_else(|| panic!("there is no repository {owner}/{name}")).id;
        let mut repositories = self.repositories.iter_mut();
        repositories.find(|repository| repository.id == id).expect("just found")
    }

    /// Returns the number of this repository, creating it if need be.
    pub(super) fn repository_or_new(&mut self, owner: &Account, name: &str) -> u64 {
        if let Some(repository) = self.repository(&owner.login, name) {
            return repository.id;
        }
        let id = self.repositories.last().map_or(FIRST_REPOSITORY, |last| last.id + 1);
        self.repositories.push(Repository {
            id,
            owner: owner.clone(),
            name: name.to_owned(),
            former_names: Vec::new(),
        });
        id
    }

    /// Finds an account; logins know no case.
    pub(super) fn account(&self, login: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.login.eq_ignore_ascii_case(login))
    }

    /// Finds a repository by its present name; names know no case.
    pub(super) fn repository(&self, owner: &str, name: &str) -> Option<&Repository> {
        self.repositories_of(owner).find(|repository| repository.name.eq_ignore_ascii_case(name))
    }

    /// Finds a repository by a name that it had before.
    pub(super) fn renamed_repository(&self, owner: &str, name: &str) -> Option<&Repository> {
        self.repositories_of(owner)
            .find(|repository| repository.former_names.iter().any(|former| former.eq_ignore_ascii_case(name)))
    }

    fn repositories_of(&self, owner: &str) -> impl Iterator<Item = &Repository> {
        self.repositories.iter().filter(move |repository| repository.owner.login.eq_ignore_ascii_case(owner))
    }

    /// The repositories that an installation reaches now.
    pub(super) fn reach(&self, installation: &Installed) -> BTreeSet<u64> {
        self.repositories
            .iter()
            .filter(|repository| repository.owner.id == installation.account.id)
            .map(|repository| repository.id)
            .filter(|id| installation.selection == Selection::All || installation.selected.contains(id))
            .collect()
    }

    /// Mints a token for an installation.
    pub(super) fn issue(
        &mut self,
        installation: u64,
        narrowed_to: Option<BTreeSet<u64>>,
        permissions: Permissions,
        format: TokenFormat,
    ) -> IssuedToken {
        let app = self.installations[&installation].app;
        let now = self.now();
        let lifetime = i64::try_from(self.token_lifetime.as_secs()).expect("a lifetime within the life of a test");
        let issued = IssuedToken {
            value: format.generate(app),
            app,
            installation,
            repositories: narrowed_to.as_ref().map(|ids| self.names(ids)),
            permissions,
            issued: now,
            expires: now + lifetime,
            revoked: false,
        };
        self.tokens.push(Token { issued: issued.clone(), narrowed_to, lag: 0 });
        issued
    }

    /// Finds a token by its value, dead or alive.
    pub(super) fn token(&self, value: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.issued.value == value)
    }

    /// The same, to change it.
    pub(super) fn token_mut(&mut self, value: &str) -> Option<&mut Token> {
        self.tokens.iter_mut().find(|token| token.issued.value == value)
    }

    /// Tells whether a token's time is not over and nobody has ended it early.
    pub(super) fn is_live(&self, token: &Token) -> bool {
        !token.issued.revoked
            && token.issued.expires > self.now()
            && self.apps.contains_key(&token.issued.app)
            && self.installations.contains_key(&token.issued.installation)
    }

    fn names(&self, ids: &BTreeSet<u64>) -> Vec<String> {
        let narrowed = self.repositories.iter().filter(|repository| ids.contains(&repository.id));
        narrowed.map(|repository| repository.name.clone()).collect()
    }
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).expect("a test has fewer than 2^64 accounts")
}

/// GitHub's tokens live for an hour, which cannot be changed there.
const TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// Requests an hour for an installation of up to twenty repositories.
const INSTALLATION_LIMIT: u64 = 5000;
/// Requests an hour without a credential.
const ANONYMOUS_LIMIT: u64 = 60;
/// Any numbers do; these look like GitHub's.
const FIRST_ACCOUNT: u64 = 9919;
const FIRST_REPOSITORY: u64 = 1_296_269;
