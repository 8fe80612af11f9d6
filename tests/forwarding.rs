//! An agent's socket forwarded by ssh to another machine: the far end gets tokens, and never the key.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::json;

use crate::support::command::{Invocation, Running};
use crate::support::run::Run;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APPTOKEN, NO_OPTIONS, SLUG, World, need, need_root};

#[test]
fn the_far_end_gets_tokens_and_the_key_stays_here() {
    let Some(far) = Far::new() else { return };
    let token = far.run("apptoken token").line();
    assert_eq!(token, far.world.apptoken(["token"]).line());
    far.run("apptoken list").stdout_contains(SLUG).ok();
    far.run("apptoken token --repo octo/hello").stdout_contains("ghs_").ok();
    assert_eq!(far.world.github.mints(), 2);
}

#[test]
fn the_far_end_may_do_what_the_near_end_may() {
    let Some(far) = Far::new() else { return };
    far.run("exec 3<<X\npassphrase\nX\napptoken lock --passphrase-fd 3").stderr("Agent locked.\n").ok();
    far.world.apptoken(["token"]).fails(1, ["locked"]);
    let unlocked = far.world.request(&json!({"action": "unlock", "passphrase": "passphrase"}));
    assert_eq!(unlocked["ok"], true, "{unlocked}");
    far.run("apptoken remove --all").stderr("All identities removed.\n").ok();
    far.world.apptoken(["list"]).stdout("The agent has no identities.\n").exit(1);
}

#[test]
fn the_far_end_cannot_end_the_agent() {
    let Some(far) = Far::new() else { return };
    far.run("apptoken-agent -k -s").stderr_contains("another process").exit(1);
    far.world.assert_agent_is_well();
}

#[test]
fn an_agent_that_ended_is_no_agent_at_the_far_end() {
    let Some(far) = Far::new() else { return };
    far.world.agent(["-k", "-s"]).stdout_contains("unset").ok();
    far.run("apptoken token").stderr_contains("apptoken: no agent can be reached").exit(2);
}

/// Another machine, by way of this one: an sshd with a socket that leads back to our agent.
struct Far {
    world: World,
    port: u16,
    socket: PathBuf,
    _sshd: Running,
}

impl Far {
    fn new() -> Option<Self> {
        if !need_root() || !need("ssh") || !need("ssh-keygen") {
            return None;
        }
        let mut world = World::with_agent();
        world.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
        for key in ["host_key", "my_key"] {
            world.command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", key]).run().ok();
        }
        let home = world.path("home");
        let key = fs::read_to_string(home.join("my_key.pub")).expect("a public key");
        world.file("authorized_keys", key);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let home = home.display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {home}/host_key\nAuthorizedKeysFile {home}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\nStreamLocalBindUnlink yes\n"
        );
        let config = world.file("sshd_config", config);
        // sshd wants to be called by its whole path, and this directory to be there.
        fs::create_dir_all("/run/sshd").expect("root may make it");
        let sshd = world.command("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(config).start();
        wait_until("sshd listens", DEADLINE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        let socket = world.path("tmp").join("forwarded");
        world.env("PATH", path_of_the_far_end());
        Some(Self { world, port, socket, _sshd: sshd })
    }

    /// Runs a script over there, which finds the agent where ssh put it.
    fn run(&self, script: &str) -> Run {
        let near = self.world.socket();
        let forward = format!("{}:{}", self.socket.display(), near.display());
        let path = path_of_the_far_end();
        let script = format!("export PATH='{path}' APPTOKEN_AUTH_SOCK='{}'\n{script}", self.socket.display());
        self.ssh().args(["-R", &forward, "127.0.0.1", &script]).run()
    }

    fn ssh(&self) -> Invocation {
        let command = self.world.command("ssh").args(["-F", "none", "-p", &self.port.to_string(), "-i", "my_key"]);
        let options = [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ExitOnForwardFailure=yes",
        ];
        options.into_iter().fold(command, |command, option| command.args(["-o", option]))
    }
}

fn path_of_the_far_end() -> String {
    let ours = std::path::Path::new(APPTOKEN).parent().expect("a program is in a directory");
    format!("{}:/usr/bin:/bin", ours.display())
}
