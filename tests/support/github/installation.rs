//! Accounts, their repositories, and the Apps installed on them.

use std::collections::BTreeSet;

use super::clock::Timestamp;
use super::permissions::{Permissions, permissions};

/// An installation to make with [`GitHub::install`](super::GitHub::install).
#[derive(Clone, Debug)]
#[must_use = "nothing is installed until GitHub is told"]
pub struct Installation {
    pub(super) id: u64,
    pub(super) login: String,
    pub(super) kind: AccountKind,
    pub(super) repositories: Vec<String>,
    pub(super) selection: Selection,
    pub(super) permissions: Permissions,
    pub(super) suspended: bool,
}

impl Installation {
    /// An installation on the organization `login`, on all of its repositories, of which there are none yet.
    pub fn new(id: u64, login: &str) -> Self {
        Self {
            id,
            login: login.to_owned(),
            kind: AccountKind::Organization,
            repositories: Vec::new(),
            selection: Selection::All,
            permissions: permissions(DEFAULT_PERMISSIONS),
            suspended: false,
        }
    }

    /// Makes the account an organization, which it is by default.
    pub fn organization(mut self) -> Self {
        self.kind = AccountKind::Organization;
        self
    }

    /// Makes the account a user's.
    pub fn user(mut self) -> Self {
        self.kind = AccountKind::User;
        self
    }

    /// Installs on these repositories only, creating those that do not exist.
    pub fn repositories(mut self, names: &[&str]) -> Self {
        self.repositories = names.iter().map(|&name| name.to_owned()).collect();
        self.selection = Selection::Selected;
        self
    }

    /// Installs on all repositories of the account, which are these and those added later.
    pub fn all(mut self, names: &[&str]) -> Self {
        self.repositories = names.iter().map(|&name| name.to_owned()).collect();
        self.selection = Selection::All;
        self
    }

    /// Sets what the account granted, in full.
    #[track_caller]
    pub fn permissions(mut self, list: &[(&str, &str)]) -> Self {
        self.permissions = permissions(list);
        self
    }

    /// Suspends it from the start.
    pub fn suspended(mut self) -> Self {
        self.suspended = true;
        self
    }
}

/// What an installation grants unless the test says otherwise.
pub(super) const DEFAULT_PERMISSIONS: &[(&str, &str)] =
    &[("contents", "write"), ("metadata", "read"), ("pull_requests", "write")];

/// Whether an account belongs to a group or a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccountKind {
    Organization,
    User,
}

impl AccountKind {
    /// GitHub's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::User => "User",
        }
    }
}

/// Whether an installation follows its account or keeps a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    All,
    Selected,
}

impl Selection {
    /// GitHub's word for it, in `repository_selection`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Selected => "selected",
        }
    }
}

/// An organization or a user.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub id: u64,
    pub login: String,
    pub kind: AccountKind,
}

/// A private repository.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    pub id: u64,
    pub owner: Account,
    pub name: String,
    /// Names it had before, which redirect.
    pub former_names: Vec<String>,
}

impl Repository {
    /// `acme-inc/web`
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner.login, self.name)
    }
}

/// An App installed on an account.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    pub id: u64,
    pub app: u64,
    pub account: Account,
    pub selection: Selection,
    /// The selected repositories; unused while the selection is all.
    pub selected: BTreeSet<u64>,
    pub permissions: Permissions,
    pub updated: Timestamp,
    pub suspended_at: Option<Timestamp>,
    pub rate: RateLimit,
}

/// The hourly budget that all tokens of an installation share.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateLimit {
    pub limit: u64,
    pub used: u64,
    pub reset: Timestamp,
}

impl RateLimit {
    /// A budget of `limit` requests, untouched; the hour begins with the first.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, reset: 0 }
    }

    /// Begins a new hour if the last one is over.
    pub(super) fn turn(&mut self, now: Timestamp) {
        if now >= self.reset {
            *self = Self { limit: self.limit, used: 0, reset: now + HOUR };
        }
    }

    /// What is left of this hour's budget.
    pub(super) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

const HOUR: Timestamp = 3600;
