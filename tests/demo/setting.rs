//! Where the demo plays: a home of its own, a GitHub, and what the shell there has in its environment.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::github::{App, GitHub, Installation, TokenFormat, generate_key_pem};
use crate::step::{Failure, Step};

/// The stage and its props. The agent is ended, and all files are removed, when this is dropped.
pub(crate) struct Setting {
    github: GitHub,
    home: TempDir,
    environment: BTreeMap<&'static str, OsString>,
    agent: Option<Pid>,
}

impl Setting {
    /// A home with `key.pem` in it, and a GitHub that knows this key. Our programs are in the `PATH`.
    pub(crate) fn new(programs: &Path) -> Result<Self, Failure> {
        let pem = generate_key_pem();
        let github = GitHub::start();
        github.token_format(TokenFormat::Stateless);
        github.add_app(App::new(APP_ID, "acme-deployer").key_pem(&pem));
        github.install(APP_ID, Installation::new(INSTALLATION_ID, "octo").user().repositories(&["hello", "tools"]));

        // Not below $TMPDIR: the path of a socket ends after 107 bytes.
        let home = TempDir::with_prefix_in("apptoken-demo-", "/tmp").map_err(|error| cannot_prepare(&error))?;
        write_private(&home.path().join("key.pem"), pem.as_bytes()).map_err(|error| cannot_prepare(&error))?;

        let mut environment: BTreeMap<&'static str, OsString> =
            HOMES.iter().map(|&name| (name, home.path().into())).collect();
        environment.insert("PATH", path_beginning_with(programs)?);
        Ok(Self { github, home, environment, agent: None })
    }

    /// A command for the shell, about to be shown.
    pub(crate) fn step<'a>(&'a self, command: &'a str) -> Step<'a> {
        Step::new(self, command)
    }

    /// Starts the agent as a shell does, and lets later commands find it.
    pub(crate) fn start_agent(&mut self) -> Result<(), Failure> {
        // Each command has a shell of its own, so what this one has learnt is written down for the others.
        let note = "printf '%s\\n%s\\n' \"$APPTOKEN_AUTH_SOCK\" \"$APPTOKEN_AGENT_PID\" > agent";
        self.step("eval \"$(apptoken-agent -s)\"").and_then(note).prints("Agent pid ")?;

        let note = fs::read_to_string(self.home.path().join("agent")).map_err(|error| cannot_prepare(&error))?;
        let (socket, pid) = note.trim_end().split_once('\n').unwrap_or_default();
        let number = pid.parse().map_err(|_| Failure::new("the agent's lines set no APPTOKEN_AGENT_PID"))?;
        self.agent = Some(Pid::from_raw(number));
        self.environment.insert("APPTOKEN_AUTH_SOCK", socket.into());
        self.environment.insert("APPTOKEN_AGENT_PID", pid.into());
        Ok(())
    }

    /// Ends the agent as a shell does.
    pub(crate) fn end_agent(&mut self) -> Result<(), Failure> {
        self.step("apptoken-agent -k").prints("unset APPTOKEN_AUTH_SOCK;")?;
        self.agent = None;
        Ok(())
    }

    /// Shows how many tokens GitHub was asked for, and fails if it is another number than expected.
    pub(crate) fn assert_mints(&self, expected: usize) -> Result<(), Failure> {
        let mints = self.github.mints();
        println!("(GitHub's journal: mints: {mints})");
        if mints == expected { Ok(()) } else { Err(Failure::new(format!("there should be {expected} mints"))) }
    }

    /// Whether the shell will find this program.
    pub(crate) fn finds(&self, program: &str) -> bool {
        env::split_paths(&self.environment["PATH"]).any(|directory| directory.join(program).is_file())
    }

    /// The address of GitHub's API, which is also a proxy.
    pub(crate) fn api_url(&self) -> String {
        self.github.url()
    }

    /// Where commands run.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// What commands find in their environment, and nothing beside it.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.environment.iter().map(|(name, value)| (OsStr::new(name), value.as_os_str()))
    }

    /// `text` with every token in it cut short.
    pub(crate) fn without_tokens(&self, text: &str) -> String {
        self.github.tokens().iter().fold(text.to_owned(), |text, token| {
            let shown = format!("{}… ({} characters)", &token.value[..SHOWN_OF_TOKEN], token.value.len());
            text.replace(&token.value, &shown)
        })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Some(agent) = self.agent {
            // It may have ended by itself, which is then what failed.
            let _ = kill(agent, Signal::SIGTERM);
        }
    }
}

fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(contents)
}

fn path_beginning_with(programs: &Path) -> Result<OsString, Failure> {
    let theirs = env::var_os("PATH").unwrap_or_default();
    env::join_paths([programs.to_owned()].into_iter().chain(env::split_paths(&theirs)))
        .map_err(|_| Failure::new(format!("{} cannot be in a PATH", programs.display())))
}

fn cannot_prepare(error: &io::Error) -> Failure {
    Failure::new(format!("cannot prepare a home in /tmp: {error}"))
}

pub(crate) const APP_ID: u64 = 123_456;
/// gh's own name for a GitHub that is tested locally, over plain http.
pub(crate) const API_HOST: &str = "github.localhost";

const INSTALLATION_ID: u64 = 1001;
/// Variables that name a directory to write to.
const HOMES: [&str; 4] = ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "TMPDIR"];
/// `ghs_`, the App's number, and the first of what differs.
const SHOWN_OF_TOKEN: usize = 20;
