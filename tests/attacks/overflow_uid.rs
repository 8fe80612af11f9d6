//! The overflow uid identifies nobody: where every user without a mapping looks like ours, no secret is sent to any of them.
//!
//! The attack needs two users besides root, so that only root can perform it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;

use nix::unistd::Pid;

use crate::support::agent::{parse_bourne, wait_for_agent_at};
use crate::support::command::{Invocation, Running};
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{AGENT, APPTOKEN, World, need, need_root};

/// The user who is attacked, and the stranger who listens.
const USER: u32 = 61_234;
const STRANGER: u32 = 64_321;

/// A world in which the user has the programs, and the home directory.
struct Users {
    w: World,
}

impl Users {
    fn new() -> Option<Self> {
        if !need_root() || !["setpriv", "unshare", "python3"].into_iter().all(need) {
            return None;
        }
        let mut w = World::new();
        for part in ["..", "", "home", "run", "tmp", "config", "home/key.pem"] {
            chown(w.path(part), Some(USER), Some(USER)).expect("root may");
        }
        for part in ["..", "", "home", "tmp"] {
            fs::set_permissions(w.path(part), Permissions::from_mode(0o755)).expect("root may");
        }
        // The other users may not be able to reach the build directory, or root's own programs.
        for program in [APPTOKEN, AGENT] {
            w.command("cp").arg(program).arg(".").run().ok();
        }
        let path = [w.path("home").as_os_str(), "/usr/local/bin:/usr/bin:/bin".as_ref()].join(":".as_ref());
        w.env("PATH", path);
        Some(Self { w })
    }

    fn as_user(&self, uid: u32, command: &[&str]) -> Invocation {
        let ids = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()];
        self.w.command("setpriv").args(ids).args(command)
    }

    /// The user's command, in a user namespace that maps nobody.
    fn unmapped(&self, command: &[&str]) -> Invocation {
        self.as_user(USER, &["unshare", "-U"]).args(command)
    }

    /// Starts the stranger's listener, to which everybody may connect. It writes down what it is sent.
    fn stranger_listens(&self) -> (Running, PathBuf) {
        let directory = self.w.path("tmp/stranger");
        fs::create_dir(&directory).expect("a new directory");
        chown(&directory, Some(STRANGER), Some(STRANGER)).expect("root may");
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).expect("root may");
        let socket = directory.join("agent");
        let listener = self.as_user(STRANGER, &["python3", "-c", LISTENER]).arg(&directory).start();
        wait_until("the stranger listens", DEADLINE, || directory.join("received").exists());
        (listener, socket)
    }

    fn received(&self) -> String {
        fs::read_to_string(self.w.path("tmp/stranger/received")).expect("the stranger writes it")
    }
}

/// Answers every request, and writes down what was asked.
const LISTENER: &str = r#"
import os, socket, sys
os.chdir(sys.argv[1])
listener = socket.socket(socket.AF_UNIX)
listener.bind("agent")
os.chmod("agent", 0o777)
listener.listen(64)
received = open("received", "ab", buffering=0)
while True:
    stream, _ = listener.accept()
    while data := stream.recv(65536):
        received.write(data)
        stream.send(b'{"ok":true,"keys":[],"fingerprint":"x"}\n')
"#;

/// Sends a canary if the listener has our uid, as a client without the check does.
const NAIVE_CLIENT: &str = r#"
import os, socket, struct, sys
stream = socket.socket(socket.AF_UNIX)
stream.connect(sys.argv[1])
_, uid, _ = struct.unpack("3i", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
assert uid == os.geteuid(), uid
stream.sendall(b"CANARY OF A NAIVE CLIENT")
stream.recv(64)
"#;

#[test]
fn no_secret_goes_to_a_stranger_with_the_overflow_uid() {
    let Some(users) = Users::new() else { return };
    let (_listener, socket) = users.stranger_listens();
    let socket = socket.to_string_lossy().into_owned();

    let attacked = |line: &[&str]| {
        let command = users.unmapped(&["apptoken"]).args(line).env("APPTOKEN_AUTH_SOCK", &socket);
        command.env("APPTOKEN_ASKPASS", "/no/such/askpass").stdin("hunter2\n").run()
    };
    for line in [
        &["add", "key.pem", "--app-id", "1", "--offline"][..],
        &["lock", "--passphrase-fd", "0"],
        &["unlock", "--passphrase-fd", "0"],
        &["lock"],
        &["init", "key.pem", "--app-id", "1", "--offline", "--passphrase-fd", "0"],
        &["remove", "key.pem"],
        &["daemon", "start"],
        &["add"],
    ] {
        attacked(line).fails(2, ["no key or passphrase is sent", "cannot be told from others"]);
    }
    assert_eq!(users.received(), "", "the stranger received nothing");

    // A request without a secret goes where the user says.
    attacked(&["list"]).stdout_contains("no identities").exit(1);
    assert_eq!(users.received(), "{\"action\":\"listKeys\"}\n");

    // The control: to a client that only compares the uids, the stranger looks like its own user.
    users.unmapped(&["python3", "-c", NAIVE_CLIENT, &socket]).run().ok();
    assert!(users.received().ends_with("CANARY OF A NAIVE CLIENT"));
}

#[test]
fn a_strangers_record_is_not_used() {
    let Some(users) = Users::new() else { return };
    let (_listener, socket) = users.stranger_listens();
    let record = users.w.path("tmp/runtime/apptoken");
    fs::create_dir_all(&record).expect("a new directory");
    fs::write(record.join("agent"), socket.as_os_str().as_encoded_bytes()).expect("it is ours");
    for path in [users.w.path("tmp/runtime"), record.clone(), record.join("agent")] {
        chown(path, Some(STRANGER), Some(STRANGER)).expect("root may");
    }
    let client = |command: &[&str]| users.unmapped(command).env("XDG_RUNTIME_DIR", users.w.path("tmp/runtime"));
    for line in
        [&["list"][..], &["token"], &["token", "--no-start"], &["daemon", "start"], &["add", "key.pem"], &["init"]]
    {
        let run = client(&["apptoken"]).args(line).run();
        run.fails(2, ["APPTOKEN_AUTH_SOCK is not set", "cannot be told from others"]);
    }
    assert_eq!(users.received(), "");
    // The control: there, the stranger's directory looks like the user's own.
    let owner = client(&["sh", "-c", r#"test "$(stat -c %u "$XDG_RUNTIME_DIR/apptoken")" = "$(id -u)""#]);
    owner.run().ok();
}

#[test]
fn the_agent_refuses_to_start_as_the_overflow_uid() {
    let Some(users) = Users::new() else { return };
    for line in [&["-s"][..], &["-s", "--new"], &["-D"], &["-d"], &["touch", "ran"]] {
        let run = users.unmapped(&["apptoken-agent"]).args(line).run();
        run.fails(1, ["refusing to start", "cannot be told from others", "unshare --map-current-user"]);
    }
    assert!(!users.w.path("home/ran").exists());
    assert!(users.w.sockets().is_empty());
    // The hint works, and so does the overflow uid where every uid is mapped.
    let mapped =
        users.as_user(USER, &["unshare", "-U", "--map-current-user", "apptoken-agent", "sh", "-c", "echo ran"]);
    assert_eq!(mapped.run().line(), "ran");
    let nobody = users.as_user(65_534, &["apptoken-agent", "sh", "-c", "apptoken list"]);
    nobody.env_remove("XDG_RUNTIME_DIR").env_remove("TMPDIR").run().stdout_contains("no identities").exit(1);
}

#[test]
fn a_token_can_be_had_from_an_unmapped_user() {
    let Some(users) = Users::new() else { return };
    let lines = users.as_user(USER, &["apptoken-agent", "-s"]).run().text();
    let (socket, pid): (PathBuf, Pid) = parse_bourne(&lines).expect("the lines of an agent");
    assert_eq!(wait_for_agent_at(&socket), pid);
    let (app, url) = (crate::support::APP_ID.to_string(), users.w.github.url());
    let add = ["apptoken", "add", "key.pem", "--app-id", &app, "--host", crate::support::HOST, "--api-url", &url];
    let add = users.as_user(USER, &add).env("APPTOKEN_AUTH_SOCK", &socket);
    add.run().stderr_contains("Identity added").ok();
    let unmapped = |line: &[&str]| users.unmapped(&["apptoken"]).args(line).env("APPTOKEN_AUTH_SOCK", &socket).run();
    assert!(unmapped(&["token"]).line().starts_with("ghs_"));
    unmapped(&["status"]).text();
    unmapped(&["lock"]).fails(2, ["no key or passphrase is sent"]);
}
