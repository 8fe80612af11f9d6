//! Every environment variable that the two programs read or set, in one place.

use std::ffi::OsString;

/// The program that asks the user where there is no terminal, if one is named.
pub fn askpass() -> Option<OsString> {
    [ASKPASS, SSH_ASKPASS].into_iter().filter_map(std::env::var_os).find(|program| !program.is_empty())
}

/// Who reads a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// `apptoken`.
    Client,
    /// `apptoken-agent`.
    Agent,
    /// Either.
    Both,
}

/// What a person may set, who reads it, and what it does: of this the manuals and README are made.
pub const MANUAL: [(&str, Reader, &str); 22] = [
    (AUTH_SOCK, Reader::Both, "the agent's socket, as `apptoken-agent` prints it; `apptoken-agent -k` ends that agent"),
    (APP, Reader::Client, "the default of `--app`"),
    (HOST, Reader::Client, "the default of `--host`"),
    (OWNER, Reader::Client, "the default of `--owner`"),
    (REPO, Reader::Client, "the default of `--repo`"),
    (INSTALLATION_ID, Reader::Client, "the default of `--installation-id`"),
    (PERMISSIONS, Reader::Client, "the default of `--permissions`"),
    (MIN_TTL, Reader::Client, "the default of `--min-ttl`"),
    (APP_ID, Reader::Client, "the default of `add --app-id`, and of `init`"),
    (API_URL, Reader::Client, "the default of `add --api-url`, and of `init`"),
    (GH, Reader::Client, "the gh that `apptoken gh` runs, with arguments if need be, split as a shell would"),
    (GH_HOST, Reader::Client, "for `apptoken gh`: the host, when nothing else says one"),
    (GH_REPO, Reader::Client, "for `apptoken gh`: the repository whose owner to use, when its arguments name none"),
    (ASKPASS, Reader::Both, "the program that asks the user, when there is no terminal, and for keys added with `-c`"),
    (SSH_ASKPASS, Reader::Both, "the same, when `APPTOKEN_ASKPASS` is not set"),
    (SHELL, Reader::Agent, "whether lines are printed for Bourne shells, C shells or fish, when no option says"),
    (XDG_RUNTIME_DIR, Reader::Both, "where the socket is, and the record of the agent started last"),
    (HOME, Reader::Both, "where that record is without a runtime directory"),
    (TMPDIR, Reader::Agent, "where the socket is without a runtime directory"),
    (XDG_CONFIG_HOME, Reader::Client, "where stored keys are, and what git is told by `setup-git`, else `~/.config`"),
    (PROXIES[0], Reader::Agent, "the proxy that leads to GitHub, else `ALL_PROXY`; `NO_PROXY` names hosts without one"),
    (SSL_CERT_FILE, Reader::Agent, "the CA certificates to trust in place of the system's; `SSL_CERT_DIR` likewise"),
];

/// Path of the agent's socket.
pub const AUTH_SOCK: &str = "APPTOKEN_AUTH_SOCK";
/// Process of the agent.
pub const AGENT_PID: &str = "APPTOKEN_AGENT_PID";

/// Default of `--app`.
pub const APP: &str = "APPTOKEN_APP";
/// Default of `--host`.
pub const HOST: &str = "APPTOKEN_HOST";
/// Default of `--owner`.
pub const OWNER: &str = "APPTOKEN_OWNER";
/// Default of `--repo`.
pub const REPO: &str = "APPTOKEN_REPO";
/// Default of `--installation-id`.
pub const INSTALLATION_ID: &str = "APPTOKEN_INSTALLATION_ID";
/// Default of `--permissions`.
pub const PERMISSIONS: &str = "APPTOKEN_PERMISSIONS";
/// Default of `--min-ttl`.
pub const MIN_TTL: &str = "APPTOKEN_MIN_TTL";
/// Default of `add --app-id`.
pub const APP_ID: &str = "APPTOKEN_APP_ID";
/// Default of `add --api-url`.
pub const API_URL: &str = "APPTOKEN_API_URL";
/// The gh to run, split as a shell would.
pub const GH: &str = "APPTOKEN_GH";

/// How many `apptoken gh` were run within each other; for themselves only.
pub const GH_DEPTH: &str = "APPTOKEN_GH_DEPTH";

/// The program that asks the user, when there is no terminal.
pub const ASKPASS: &str = "APPTOKEN_ASKPASS";
/// The same, as ssh names it.
pub const SSH_ASKPASS: &str = "SSH_ASKPASS";
/// Tells an askpass program that a yes or no is wanted, not a passphrase.
pub const SSH_ASKPASS_PROMPT: &str = "SSH_ASKPASS_PROMPT";

/// gh's token for github.com and its kind; taken before [`GITHUB_TOKEN`].
pub const GH_TOKEN: &str = "GH_TOKEN";
/// The same, as GitHub Actions and many libraries name it.
pub const GITHUB_TOKEN: &str = "GITHUB_TOKEN";
/// gh's token for a GitHub Enterprise Server.
pub const GH_ENTERPRISE_TOKEN: &str = "GH_ENTERPRISE_TOKEN";
/// The same, second in line.
pub const GITHUB_ENTERPRISE_TOKEN: &str = "GITHUB_ENTERPRISE_TOKEN";
/// The repository that gh works on: `[HOST/]OWNER/REPO`.
pub const GH_REPO: &str = "GH_REPO";
/// gh's default host.
pub const GH_HOST: &str = "GH_HOST";

/// Where gh keeps its configuration.
pub const GH_CONFIG_DIR: &str = "GH_CONFIG_DIR";
/// Whether gh is in a codespace, where it sends [`GITHUB_TOKEN`] to Enterprise Servers too.
pub const CODESPACES: &str = "CODESPACES";

/// Where gh's codespace commands send the token, whatever the host is.
pub const GITHUB_API_URL: &str = "GITHUB_API_URL";
/// The same for pages rather than the API.
pub const GITHUB_SERVER_URL: &str = "GITHUB_SERVER_URL";

/// Who git says wrote a commit.
pub const GIT_AUTHOR_NAME: &str = "GIT_AUTHOR_NAME";
/// That person's address.
pub const GIT_AUTHOR_EMAIL: &str = "GIT_AUTHOR_EMAIL";
/// Who git says made a commit.
pub const GIT_COMMITTER_NAME: &str = "GIT_COMMITTER_NAME";
/// That person's address.
pub const GIT_COMMITTER_EMAIL: &str = "GIT_COMMITTER_EMAIL";
/// How many settings for git are in the environment.
pub const GIT_CONFIG_COUNT: &str = "GIT_CONFIG_COUNT";
/// What the names of the variables begin with that hold their names; a number follows.
pub const GIT_CONFIG_KEY: &str = "GIT_CONFIG_KEY_";
/// The same of those that hold their values.
pub const GIT_CONFIG_VALUE: &str = "GIT_CONFIG_VALUE_";
/// Turns git's verification of every server off, whatever the value.
pub const GIT_SSL_NO_VERIFY: &str = "GIT_SSL_NO_VERIFY";
/// Git's global configuration, where it is not in the user's home.
pub const GIT_CONFIG_GLOBAL: &str = "GIT_CONFIG_GLOBAL";

/// The CA certificates to trust in place of the system's, in one file.
pub const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// The same, in directories.
pub const SSL_CERT_DIR: &str = "SSL_CERT_DIR";
/// What may name the proxy to reach https by, as curl has it.
pub const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The user's shell, which decides the dialect of what the agent prints.
pub const SHELL: &str = "SHELL";
/// Where sockets of a login session belong.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// The user's home.
pub const HOME: &str = "HOME";
/// Where configuration belongs.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Where temporary files belong.
pub const TMPDIR: &str = "TMPDIR";
