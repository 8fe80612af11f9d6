//! Where a kind of row is measured: directories of its own, a GitHub, and the servers that are compared.

use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::command::or_panic;
use crate::conversation::Ending;
use crate::github::{App, GitHub, Installation, TokenFormat, generate_key_pem};
use crate::options::Options;
use crate::server::Server;
use crate::tls::{Authority, Front};

/// A machine of its own, removed when dropped.
pub(crate) struct Stage {
    pub(crate) github: GitHub,
    /// What the API speaks TLS through, if it does.
    front: Option<Front>,
    programs: PathBuf,
    directory: TempDir,
}

impl Stage {
    /// One whose App is installed on one account, with what `installation` grants. Its tokens are of the long kind.
    pub(crate) fn new(options: &Options, installation: Installation) -> Self {
        let pem = generate_key_pem();
        let github = GitHub::start();
        github.token_format(TokenFormat::Stateless);
        github.add_app(App::new(APP_ID, "bench").key_pem(&pem));
        github.install(APP_ID, installation);

        // Not below $TMPDIR: the path of a socket ends after 107 bytes.
        let directory = TempDir::with_prefix_in("bench", "/tmp").expect("/tmp is writable");
        let key = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.path().join(KEY));
        key.expect("the directory is new").write_all(pem.as_bytes()).expect("the disk has room");
        let programs = fs::canonicalize(&options.programs).expect("the programs are there");
        Self { github, front: None, programs, directory }
    }

    /// The same, but the API speaks TLS, and its CA stands among all those that this machine trusts.
    pub(crate) fn over_tls(options: &Options, installation: Installation) -> Self {
        let mut stage = Self::new(options, installation);
        let authority = Authority::new("bench");
        let trusted = fs::read_to_string(SYSTEM_CAS).unwrap_or_default() + &authority.pem();
        fs::write(stage.path(CAS), trusted).expect("the disk has room");
        stage.front = Some(Front::start(authority.issue(&["localhost"]), &stage.github));
        stage
    }

    /// One with an installation such as most have.
    pub(crate) fn plain(options: &Options) -> Self {
        Self::new(options, Installation::new(INSTALLATION_ID, "octo").repositories(&["hello", "tools"]))
    }

    /// Our agent, holding the key, which it has not used yet.
    pub(crate) fn apptoken(&self) -> Server {
        let socket = self.path("apptoken");
        let mut command = self.command(self.program("apptoken-agent"));
        let server = Server::start(command.arg("-D").arg("-a").arg(&socket), socket, TOKEN, Ending::Newline);
        let mut add = self.client(&server);
        let api_url = self.front.as_ref().map_or_else(|| self.github.url(), Front::url);
        add.args(["add", KEY, "--offline", "--app-id", &APP_ID.to_string(), "--api-url", &api_url]);
        run_to_its_end(&mut add);
        server
    }

    /// The machine's ssh-agent, holding the same key.
    pub(crate) fn ssh_agent(&self) -> Server {
        let socket = self.path("ssh");
        let mut command = self.command("ssh-agent");
        let server = Server::start(command.arg("-D").arg("-a").arg(&socket), socket, LIST_KEYS, Ending::Announced);
        run_to_its_end(self.ssh_add(&server).arg(KEY));
        server
    }

    /// This program, to be told what else it is to do.
    pub(crate) fn this_program(&self) -> Command {
        self.command(env::current_exe().expect("this program knows where it is"))
    }

    /// A server that sends back as many bytes as `other` answers with.
    pub(crate) fn echo(&self, other: &Server) -> Server {
        let mut question = vec![b'x'; other.ask().len()];
        *question.last_mut().expect("answers are not empty") = b'\n';
        let socket = self.path("echo");
        let mut command = self.this_program();
        Server::start(command.arg("--echo").arg(&socket), socket, &question, Ending::Newline)
    }

    /// `apptoken`, as a client of our agent.
    pub(crate) fn client(&self, agent: &Server) -> Command {
        let mut command = self.command(self.program("apptoken"));
        command.env("APPTOKEN_AUTH_SOCK", agent.socket());
        command
    }

    /// `ssh-add`, as a client of the machine's agent.
    pub(crate) fn ssh_add(&self, agent: &Server) -> Command {
        let mut command = self.command("ssh-add");
        command.env("SSH_AUTH_SOCK", agent.socket());
        command
    }

    /// Any program, in this directory, with an environment that holds nothing of the caller's but its `PATH`.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).current_dir(self.directory.path());
        for name in ["HOME", "XDG_RUNTIME_DIR", "TMPDIR"] {
            command.env(name, self.directory.path());
        }
        if self.front.is_some() {
            command.env("SSL_CERT_FILE", self.path(CAS));
        }
        command
    }

    /// Where one of our two programs is.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn run_to_its_end(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = or_panic(command, output);
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
}

/// The number of the installation, for those that bring their own.
pub(crate) const INSTALLATION_ID: u64 = 1001;

const APP_ID: u64 = 123_456;
/// The App's key, in the directory of the stage.
const KEY: &str = "key.pem";
/// The CA certificates that the agent trusts over TLS, in the directory of the stage.
const CAS: &str = "ca.pem";
/// Those that this machine trusts; where it has none, the agent trusts ours alone.
const SYSTEM_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What our agent is asked.
const TOKEN: &[u8] = b"{\"action\":\"getToken\"}\n";
/// What ssh-agent is asked: one byte follows, `SSH_AGENTC_REQUEST_IDENTITIES`.
const LIST_KEYS: &[u8] = &[0, 0, 0, 1, 11];
