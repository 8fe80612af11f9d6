//! What the tests are written in: a [`World`] with a home, a GitHub and perhaps an agent, and the programs run in it.

pub(crate) mod agent;
pub(crate) mod command;
pub(crate) mod encrypting;
pub(crate) mod generated;
pub(crate) mod git_server;
pub(crate) mod github;
pub(crate) mod inprocess;
pub(crate) mod listener;
pub(crate) mod memory;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod pty;
pub(crate) mod run;
pub(crate) mod tls;
pub(crate) mod together;
pub(crate) mod unprivileged;
pub(crate) mod wait;

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;

use apptoken::agent::clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::{Value, json};
use tempfile::TempDir;

use agent::{is_alive, is_our_agent, parse_bourne, pid_behind, sockets_below};
use command::Invocation;
use github::{App, GitHub, Installation};
use peer::Peer;
use run::Run;
use wait::{DEADLINE, comes_true};

/// For calls that take options, and are given none.
pub(crate) const NO_OPTIONS: [&str; 0] = [];

/// The App that every world has, installed on the user `octo`.
pub(crate) const APP_ID: u64 = 123_456;
pub(crate) const SLUG: &str = "acme-deployer";
pub(crate) const INSTALLATION_ID: u64 = 1001;
/// Its private key, and one that belongs to no App.
pub(crate) const KEY: &str = include_str!("../fixtures/UNSAFE-TEST-ONLY-1.pem");
pub(crate) const OTHER_KEY: &str = include_str!("../fixtures/UNSAFE-TEST-ONLY-2.pem");
/// gh's own name for a GitHub that is tested locally, over plain http.
pub(crate) const HOST: &str = "github.localhost";
/// The address of an API where every connection is refused.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:1";

pub(crate) const APPTOKEN: &str = env!("CARGO_BIN_EXE_apptoken");
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_apptoken-agent");

/// A machine of one's own: directories, environment, GitHub, and the agents started in it, which end with it.
pub(crate) struct World {
    pub(crate) github: GitHub,
    environment: BTreeMap<OsString, OsString>,
    root: PathBuf,
    /// Removed after everything above.
    _directory: TempDir,
}

impl World {
    /// A world with no agent.
    pub(crate) fn new() -> Self {
        Self::in_directory_named("w")
    }

    /// A world with no agent, whose every path goes through a directory of this name.
    pub(crate) fn in_directory_named(name: impl AsRef<Path>) -> Self {
        // Not below $TMPDIR: the path of a socket ends after 107 bytes.
        let directory = TempDir::with_prefix_in("at", "/tmp").expect("/tmp is writable");
        let root = directory.path().join(name);
        for part in ["home", "run", "config", "tmp"] {
            // A runtime directory is private, as the XDG specification asks.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(part)).expect("a new directory");
        }
        let github = GitHub::start();
        install_our_app(&github);
        let mut world = Self { github, environment: BTreeMap::new(), root, _directory: directory };
        for (name, part) in
            [("HOME", "home"), ("XDG_RUNTIME_DIR", "run"), ("XDG_CONFIG_HOME", "config"), ("TMPDIR", "tmp")]
        {
            world.env(name, world.path(part));
        }
        world.env("PATH", path_with_our_programs());
        world.env("LC_ALL", "C");
        world.env("COLUMNS", "80");
        world.file("key.pem", KEY);
        world
    }

    /// A world with an agent that holds no key.
    pub(crate) fn with_agent() -> Self {
        let mut world = Self::new();
        world.start_agent(NO_OPTIONS);
        world
    }

    /// A world with an agent that holds the App's key.
    pub(crate) fn with_key() -> Self {
        let world = Self::with_agent();
        world.add_key(NO_OPTIONS).stderr(format!("Identity added: {SLUG} (App {APP_ID} on {HOST})\n")).ok();
        world
    }

    /// Lets gh in, which then finds the GitHub of this world, and that alone.
    pub(crate) fn with_gh(mut self) -> Self {
        self.env("HTTP_PROXY", self.github.url());
        self.env("GH_CONFIG_DIR", self.path("config/gh"));
        self.env("GH_NO_UPDATE_NOTIFIER", "1");
        self.env("GH_PROMPT_DISABLED", "1");
        self.env("NO_COLOR", "1");
        self
    }

    /// Starts an agent as a user does; the commands after it find it in the environment.
    #[track_caller]
    pub(crate) fn start_agent(&mut self, options: impl IntoIterator<Item = impl AsRef<OsStr>>) {
        let lines = self.command(AGENT).arg("-s").args(options).run().text();
        let (socket, pid) = parse_bourne(&lines).unwrap_or_else(|| panic!("not the lines of an agent:\n{lines}"));
        self.env("APPTOKEN_AUTH_SOCK", socket);
        self.env("APPTOKEN_AGENT_PID", pid.to_string());
    }

    /// Adds the App's key to the agent, from `key.pem` in the home directory, with further `options`.
    #[track_caller]
    pub(crate) fn add_key(&self, options: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        self.add("key.pem").args(options).run()
    }

    /// `apptoken add FILE` for the App of this world.
    pub(crate) fn add(&self, file: impl AsRef<OsStr>) -> Invocation {
        self.add_for(&APP_ID.to_string(), file)
    }

    /// `apptoken add FILE` for an App of the GitHub of this world.
    pub(crate) fn add_for(&self, app: &str, file: impl AsRef<OsStr>) -> Invocation {
        let api_url = self.github.url();
        let options = ["--app-id", app, "--host", HOST, "--api-url", &api_url];
        self.command(APPTOKEN).arg("add").arg(file).args(options)
    }

    /// Runs the client.
    #[track_caller]
    pub(crate) fn apptoken(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        self.command(APPTOKEN).args(args).run()
    }

    /// Runs the agent's program.
    #[track_caller]
    pub(crate) fn agent(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        self.command(AGENT).args(args).run()
    }

    /// Runs `script` in a shell; both our programs are in its `PATH`.
    #[track_caller]
    pub(crate) fn shell(&self, shell: &str, script: &str) -> Run {
        self.command(shell).args(["-c", script]).run()
    }

    /// Any program, in the home directory of this world and with its environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Invocation {
        Invocation::new(program).envs(&self.environment).current_dir(self.path("home"))
    }

    /// Sets a variable for all commands from now on.
    pub(crate) fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
    }

    /// A variable as commands from now on have it.
    #[track_caller]
    pub(crate) fn variable(&self, name: &str) -> OsString {
        self.environment.get(OsStr::new(name)).expect("it was set").clone()
    }

    pub(crate) fn env_remove(&mut self, name: impl AsRef<OsStr>) {
        self.environment.remove(name.as_ref());
    }

    /// A path below the directory that all of this world lies in.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Writes a file into the home directory, for nobody else to read, and returns its path.
    #[track_caller]
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("home").join(name);
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.expect("the home directory is writable").write_all(contents.as_ref()).expect("the disk has room");
        path
    }

    /// Writes an executable script for `sh` into the home directory and returns its path.
    #[track_caller]
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        // By another process: while this one holds a file open for writing, a child that another test starts at that
        // moment holds it too, and what is open for writing cannot be run.
        let write = self.command("sh").args(["-c", r#"cat >"$0"; chmod 700 "$0""#, name]);
        write.stdin(format!("#!/bin/sh\n{body}\n")).run().ok();
        self.path("home").join(name)
    }

    /// The socket of the agent that [`start_agent`](Self::start_agent) started.
    #[track_caller]
    pub(crate) fn socket(&self) -> PathBuf {
        self.environment.get(OsStr::new("APPTOKEN_AUTH_SOCK")).expect("an agent was started").into()
    }

    /// Its process.
    #[track_caller]
    pub(crate) fn pid(&self) -> Pid {
        let pid = self.environment.get(OsStr::new("APPTOKEN_AGENT_PID")).expect("an agent was started");
        Pid::from_raw(pid.to_string_lossy().parse().expect("a pid is a number"))
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the agent runs");
    }

    /// A new connection to the agent.
    #[track_caller]
    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(&self.socket()).expect("the agent listens")
    }

    /// The agent's answer to one request on a new connection.
    #[track_caller]
    pub(crate) fn request(&self, request: &Value) -> Value {
        self.connect().request(request)
    }

    /// Whether the agent of this world answers, and as the process that it was.
    #[track_caller]
    pub(crate) fn assert_agent_is_well(&self) {
        let answer = self.request(&json!({"action": "ping"}));
        assert_eq!(answer["pid"], self.pid().as_raw(), "the same agent still answers: {answer}");
    }

    /// All sockets below the directories of this world.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        sockets_below(&self.root)
    }
}

impl Drop for World {
    /// Ends the agents, the one in the environment and those that a script started and left.
    fn drop(&mut self) {
        let sockets = self.sockets().into_iter();
        let answering = sockets.filter_map(|socket| pid_behind(&socket));
        let started = self.environment.get(OsStr::new("APPTOKEN_AGENT_PID"));
        let started = started.and_then(|pid| pid.to_str()?.parse().ok());
        for pid in answering.chain(started.map(Pid::from_raw)) {
            if is_our_agent(pid) {
                let _ = kill(pid, Signal::SIGTERM);
                let ended = comes_true(DEADLINE, || !is_alive(pid));
                assert!(ended || thread::panicking(), "agent {pid} does not end");
            }
        }
    }
}

/// Registers the App that every world has, and installs it.
pub(crate) fn install_our_app(github: &GitHub) {
    github.add_app(App::new(APP_ID, SLUG).key_pem(KEY));
    let octo = Installation::new(INSTALLATION_ID, "octo").user().repositories(&["hello", "tools"]);
    let granted = [("contents", "write"), ("pull_requests", "write"), ("metadata", "read")];
    github.install(APP_ID, octo.permissions(&granted));
}

/// Whether a test that needs `program` can run. On a person's machine it is skipped without; in CI that is a failure.
#[must_use = "a test whose program is missing must return"]
#[expect(clippy::print_stderr, reason = "whoever reads the test's output should see why it did nothing")]
pub(crate) fn need(program: &str) -> bool {
    let found = find(program).is_some();
    if !found {
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "in CI nothing is skipped, and {program} is missing");
        eprintln!("skipped: {program} is missing");
    }
    found
}

/// The same for a test that only root can do.
#[must_use = "a test that is not run as root must return"]
#[expect(clippy::print_stderr, reason = "whoever reads the test's output should see why it did nothing")]
pub(crate) fn need_root() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "in CI nothing is skipped, and this is not root");
        eprintln!("skipped: this is not root");
    }
    root
}

/// Where the `PATH` of whoever runs the tests has `program`.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

fn path_with_our_programs() -> OsString {
    let ours = Path::new(APPTOKEN).parent().expect("a program is in a directory").to_owned();
    let theirs = env::var_os("PATH").expect("the tests have a PATH");
    env::join_paths([ours].into_iter().chain(env::split_paths(&theirs))).expect("no directory in PATH has a colon")
}

/// When a token ends that is granted now, as GitHub writes it.
pub(crate) fn in_an_hour() -> String {
    clock::rfc3339(clock::system().unix + 3600)
}

/// Every file in a directory and those below it.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("it is ours").flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => (),
        }
    }
    files
}
