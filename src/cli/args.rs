//! The command line of `apptoken`; the doc comments are its help.
#![expect(clippy::doc_markdown, reason = "what is printed as help has no backticks")]

//!
//! Values come out of it as text; `scope.rs` and the verbs make identifiers of them, in one way for the command line and the
//! environment.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};

/// Use GitHub as an App: the agent holds the key, commands get short-lived tokens
#[derive(Parser)]
#[command(
    name = "apptoken",
    version,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    after_help = "apptoken help COMMAND tells more, and so does apptoken help TOPIC about\nprotocol, environment, exit-codes, security.",
    max_term_width = 100
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) scope: ScopeArgs,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Which token. Each option has an environment variable for its default.
#[derive(Args, Default, Clone)]
#[command(next_help_heading = "Which token")]
pub(super) struct ScopeArgs {
    /// The key: its name, fingerprint, App ID, client ID or slug [env: APPTOKEN_APP]
    #[arg(long, value_name = "KEY")]
    pub(super) app: Option<String>,

    /// The host [env: APPTOKEN_HOST]
    #[arg(long)]
    pub(super) host: Option<String>,

    /// The account whose installation to use [env: APPTOKEN_OWNER]
    #[arg(long)]
    pub(super) owner: Option<String>,

    /// The repository to use, and narrow the token to [env: APPTOKEN_REPO]
    #[arg(long, value_name = "OWNER/NAME")]
    pub(super) repo: Option<String>,

    /// The installation to use [env: APPTOKEN_INSTALLATION_ID]
    #[arg(long, value_name = "ID")]
    pub(super) installation_id: Option<String>,

    /// Narrow the token, such as contents=read,issues=write [env: APPTOKEN_PERMISSIONS]
    #[arg(long, value_name = "LIST")]
    pub(super) permissions: Option<String>,

    /// How long the token must live at least, such as 30m [env: APPTOKEN_MIN_TTL]
    #[arg(long, value_name = "LIFE")]
    pub(super) min_ttl: Option<String>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Load a key into the agent
    Add(Add),

    /// List the keys that the agent holds
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Remove keys from the agent
    Remove {
        /// Keys by name, fingerprint or file
        #[arg(value_name = "KEY", required_unless_present = "all", conflicts_with = "all")]
        keys: Vec<String>,
        /// Remove every key
        #[arg(long)]
        all: bool,
        /// Revoke the tokens that were had with them
        #[arg(long)]
        revoke: bool,
    },

    /// Lock the agent: encrypt every key under a passphrase
    Lock {
        #[command(flatten)]
        from: PassphraseFrom,
    },

    /// Unlock the agent
    Unlock {
        #[command(flatten)]
        from: PassphraseFrom,
    },

    /// Print an installation token
    Token {
        #[command(flatten)]
        scope: ScopeArgs,
        /// Print JSON: the token and what it is good for
        #[arg(long)]
        json: bool,
    },

    /// Revoke tokens that the agent handed out
    Revoke {
        /// Tokens; - for standard input, one a line: on a command line, others on this machine can see them
        #[arg(value_name = "TOKEN", required_unless_present = "all", conflicts_with = "all")]
        tokens: Vec<String>,
        /// Revoke every token, of the key that `--app` or `--host` chooses if one of them is given
        #[arg(long)]
        all: bool,
    },

    /// Run gh with a token
    #[command(disable_help_flag = true)]
    Gh {
        /// What to tell gh
        #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// Run git with this program as its credential helper, and by https where a remote says ssh
    #[command(disable_help_flag = true)]
    Git {
        /// What to tell git
        #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// Be git's credential helper
    Credential {
        /// What git asks for: get, store or erase
        #[arg(value_name = "OPERATION")]
        operation: String,
    },

    /// Make git ask this program for credentials
    SetupGit {
        /// The host [default: those of the keys held; env: APPTOKEN_HOST]
        #[arg(long)]
        host: Option<String>,
        /// Take it back
        #[arg(long)]
        undo: bool,
    },

    /// Run a command with a token where gh looks for one: GH_TOKEN, GITHUB_TOKEN
    Run {
        /// Another variable to put the token in; may be given several times
        #[arg(long = "env", value_name = "NAME")]
        variables: Vec<String>,
        /// Have git commit as the App's bot
        #[arg(long)]
        as_bot: bool,
        /// The command
        #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },

    /// Show who the App is: its bot's name, number and e-mail address for commits
    Whoami {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// List where the App is installed
    Installations {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Show the agent, its keys and its cached tokens
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Print what has a shell complete the words of both programs
    Completions {
        /// The shell
        #[arg(value_name = "bash|zsh|fish")]
        shell: String,
    },

    /// Print a manual page, in roff
    Man {
        /// The program [default: apptoken]
        #[arg(value_name = "apptoken|apptoken-agent")]
        program: Option<String>,
    },

    /// Tell about a command or a topic
    Help {
        /// What to tell about [default: all commands]
        #[arg(value_name = "COMMAND|protocol|environment|exit-codes|security")]
        about: Option<String>,
    },

    /// Print names that the agent knows, for completions: keys, hosts, owners or repos
    #[command(hide = true)]
    Words { kind: String },
}

#[derive(Args)]
pub(super) struct PassphraseFrom {
    /// Read the passphrase from this open file descriptor, up to the end of the line
    #[arg(long = "passphrase-fd", value_name = "N")]
    pub(super) fd: Option<String>,
}

#[derive(Args)]
pub(super) struct Add {
    /// Private keys as GitHub gives them, PEM; - for standard input
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<OsString>,

    /// The App's number, or its client ID [env: APPTOKEN_APP_ID]
    #[arg(long, value_name = "ID")]
    pub(super) app_id: Option<String>,

    /// Forget the key after this long: 90, 45m, 1h30m, 2d, 1w
    #[arg(short = 't', value_name = "LIFE")]
    pub(super) lifetime: Option<String>,

    /// Have each use of the key confirmed
    #[arg(short = 'c')]
    pub(super) confirm: bool,

    /// What to call the key [default: the App's slug]
    #[arg(long)]
    pub(super) name: Option<String>,

    /// The host the App lives on [default: github.com]
    #[arg(long)]
    pub(super) host: Option<String>,

    /// The REST API's base [default: the host's usual one; env: APPTOKEN_API_URL]
    #[arg(long, value_name = "URL")]
    pub(super) api_url: Option<String>,

    /// The installation to use when nothing else chooses one
    #[arg(long, value_name = "ID")]
    pub(super) installation_id: Option<String>,

    /// Do not check key and App against GitHub
    #[arg(long)]
    pub(super) offline: bool,
}
