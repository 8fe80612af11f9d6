//! How the agent says no: a sentence, a code for programs, and what to do next.

use serde::Serialize;

use crate::ids::{AppId, Host, InstallationId};

/// A request that was not carried out, and why. Nothing that was received is ever repeated in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// What failed, in a sentence without capital or full stop.
    pub error: String,
    /// The same for programs.
    pub code: Code,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What there is to choose from, with [`Code::ChooseKey`] and [`Code::ChooseInstallation`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// Seconds to wait, with [`Code::RateLimited`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// The reasons for a refusal. A client may branch on these; the sentences may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request cannot be understood, or asks for what cannot be.
    BadRequest,
    /// The request is larger than the agent reads.
    TooLarge,
    /// There is no such action.
    UnknownAction,
    /// The agent is locked.
    Locked,
    /// The user, or the agent's rules, said no.
    Denied,
    /// No key that fits is loaded.
    NoKey,
    /// Several keys fit.
    ChooseKey,
    /// Several installations fit.
    ChooseInstallation,
    /// The App is not installed there.
    NotInstalled,
    /// The installation is suspended.
    Suspended,
    /// The installation does not have what was asked for.
    NotGranted,
    /// This is not a private key that GitHub Apps use.
    BadKey,
    /// The key is encrypted, and no passphrase that opens it came with it.
    WrongPassphrase,
    /// The key is not one of this App's.
    AppMismatch,
    /// This machine's clock and GitHub's differ too much.
    ClockSkew,
    /// GitHub wants a pause.
    RateLimited,
    /// GitHub cannot be reached, or answers what cannot be used.
    GithubUnavailable,
    /// It took too long.
    Timeout,
    /// The agent has too many connections.
    Busy,
    /// A fault in the agent.
    Internal,
}

/// One of several keys or installations to choose from; the fields of the one kind or of the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// The key's name in the agent; `app` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The fingerprint that GitHub shows for the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The key's App.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<AppId>,
    /// The host that App lives on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// The installation's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installation_id: Option<InstallationId>,
    /// The account the installation is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

impl Choice {
    /// A loaded key.
    pub fn key(name: String, fingerprint: String, app_id: AppId, host: Host) -> Self {
        Self {
            name: Some(name),
            fingerprint: Some(fingerprint),
            app_id: Some(app_id),
            host: Some(host),
            ..Self::default()
        }
    }

    /// An installation of the App.
    pub fn installation(id: InstallationId, account: String) -> Self {
        Self { installation_id: Some(id), account: Some(account), ..Self::default() }
    }
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(code: Code, error: impl Into<String>) -> Self {
        Self { error: error.into(), code, hint: None, choices: Vec::new(), retry_after: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what there is to choose from.
    #[must_use]
    pub fn choices(mut self, choices: Vec<Choice>) -> Self {
        self.choices = choices;
        self
    }
}
