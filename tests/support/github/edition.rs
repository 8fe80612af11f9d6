//! Which GitHub this is: github.com, or an Enterprise Server of some version.

use super::answer::DOCUMENTATION;

/// The product and what differs by it.
#[derive(Clone, Debug)]
pub(super) enum Edition {
    /// github.com.
    DotCom,
    /// GitHub Enterprise Server; the version reads like `3.19.1`.
    Enterprise(String),
}

impl Edition {
    /// What stands between the host and the endpoints.
    pub(super) fn prefix(&self) -> &'static str {
        match self {
            Self::DotCom => "",
            Self::Enterprise(_) => "/api/v3",
        }
    }

    /// Takes the prefix off a path; `None` if the path is not below it.
    pub(super) fn api_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self {
            Self::DotCom => Some(path),
            // GraphQL is the one endpoint beside `/api/v3` instead of below it.
            Self::Enterprise(_) if path == "/api/graphql" => Some("/graphql"),
            Self::Enterprise(_) => {
                path.strip_prefix(self.prefix()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// Where error objects point.
    pub(super) fn documentation(&self) -> String {
        match self {
            Self::DotCom => DOCUMENTATION.to_owned(),
            Self::Enterprise(_) => {
                let (major, minor) = self.release().expect("an Enterprise Server has a release");
                format!("https://docs.github.com/enterprise-server@{major}.{minor}/rest")
            }
        }
    }

    /// Client IDs as `iss` came with Enterprise Server 3.14; before, an App was named by its number only.
    pub(super) fn knows_client_ids(&self) -> bool {
        self.release().is_none_or(|release| release >= (3, 14))
    }

    /// Enterprise Server has rate limits off unless its owner turns them on.
    pub(super) fn limits_rates(&self) -> bool {
        matches!(self, Self::DotCom)
    }

    /// `x-github-enterprise-version` and `installed_version`.
    pub(super) fn version(&self) -> Option<&str> {
        match self {
            Self::DotCom => None,
            Self::Enterprise(version) => Some(version),
        }
    }

    /// Major and minor number of an Enterprise Server.
    fn release(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version()?.split('.').map(|number| {
            number.parse().unwrap_or_else(|_| panic!("a server version is numbers and dots, not `{number}`"))
        });
        Some((numbers.next()?, numbers.next().unwrap_or(0)))
    }
}
