//! One client does not feel another, and another user is nobody.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::{Duration, Instant};

use apptoken::agent::sealed::MAX_MEMORY;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::support::encrypting::wire;
use crate::support::peer::Peer;
use crate::support::process::peak;
use crate::support::wait::{DEADLINE, comes_true, wait_until};
use crate::support::{APPTOKEN, KEY, NO_OPTIONS, World, need, need_root};

/// All at once: a question that is open stays open when the agent is locked, and only then can unlocks be wrong.
#[test]
fn a_ping_takes_no_longer_whatever_others_do() {
    let mut w = World::new();
    w.env("APPTOKEN_ASKPASS", w.script("askpass", r#"echo open >"$HOME/open"; exec sleep 300"#));
    w.start_agent(NO_OPTIONS);
    w.add_key(["-c"]).stderr_contains("must confirm").ok();

    let mut asker = w.connect();
    asker.send(r#"{"action":"getToken"}"#);
    wait_until("the question is open", DEADLINE, || w.path("home/open").exists());
    let lock = w.request(&json!({"action": "lock", "passphrase": "hunter2"}));
    assert_eq!(lock["ok"], true);
    // From now on a wrong passphrase waits for half a second at least.
    for _ in 0..4 {
        w.request(&unlock_request(0));
    }
    let _halves: Vec<Peer> = (0..500)
        .map(|_| {
            let mut peer = w.connect();
            peer.send(r#"{"action":"getTok"#);
            peer
        })
        .collect();
    let mut deaf = w.connect();
    deaf.write_timeout(Duration::from_millis(100));
    let flood = r#"{"action":"status"}"#.repeat(1000);
    while deaf.try_send(&flood).is_ok() {}
    let mut guessers: Vec<Peer> = (0..20)
        .map(|number| {
            let mut peer = w.connect();
            peer.send(unlock_request(number).to_string());
            peer
        })
        .collect();

    let mut pinger = w.connect();
    let mut took = Vec::new();
    let all_answered = comes_true(DEADLINE, || {
        let start = Instant::now();
        assert_eq!(pinger.request(&json!({"action": "ping"}))["locked"], true);
        took.push(start.elapsed());
        took.len() == 200
    });
    assert!(all_answered, "{} pings were answered", took.len());
    took.sort_unstable();
    let slow = took[took.len() * 99 / 100];
    assert!(slow < Duration::from_millis(50), "99 of 100 pings are faster than {slow:?}");
    for guesser in &mut guessers {
        // Of one process, one waits at a time, and the newest.
        let answer = guesser.answer();
        assert!(answer["code"] == "denied" || answer["code"] == "busy", "{answer}");
    }
}

/// Each opening takes a core for a tenth of a second, and there is a crowd of them.
#[test]
fn a_ping_takes_no_longer_while_keys_are_opened() {
    let w = World::with_agent();
    let mut openers = open_in_a_crowd(&w);
    let mut took = Vec::new();
    thread::scope(|scope| {
        let opening =
            scope.spawn(|| openers.iter_mut().map(|opener| opener.answer()["code"].clone()).collect::<Vec<_>>());
        let mut pinger = w.connect();
        while !opening.is_finished() {
            let start = Instant::now();
            assert_eq!(pinger.request(&json!({"action": "ping"}))["pong"], true);
            took.push(start.elapsed());
        }
        let codes = opening.join().expect("every opening is answered");
        assert!(codes.iter().all(|code| code == "wrong_passphrase"), "{codes:?}");
    });
    assert!(took.len() >= 200, "{} pings were answered", took.len());
    // One at a time: each takes 64 MiB.
    assert!(peak(w.pid()) < 128 << 20, "{} bytes", peak(w.pid()));
    took.sort_unstable();
    let slow = took[took.len() * 99 / 100];
    assert!(slow < Duration::from_millis(50), "99 of 100 pings are faster than {slow:?}");
}

#[test]
fn a_key_in_the_clear_and_the_lock_do_not_wait_for_the_keys_that_are_opened() {
    let w = World::with_agent();
    let mut costly = BASE64_STANDARD.decode(sealed(&w)).expect("base64");
    costly[16..20].copy_from_slice(&MAX_MEMORY.to_be_bytes());
    let mut openers = open_in_a_crowd(&w);
    assert_eq!(openers[0].answer()["code"], "wrong_passphrase");
    // All others have been heard by now, so that this one is the last.
    let mut last = w.connect();
    last.send(check_request(&BASE64_STANDARD.encode(costly)));
    w.add_key(NO_OPTIONS).stderr_contains("Identity added").ok();
    assert_eq!(w.request(&json!({"action": "lock", "passphrase": "hunter2"}))["ok"], true);
    // It has waited in vain: a locked agent opens nothing, and spends nothing on it.
    let answer = last.answer();
    assert_eq!(answer["code"], "locked", "{answer}");
    assert!(peak(w.pid()) < u64::from(MAX_MEMORY) * 1024, "{} bytes", peak(w.pid()));
}

#[test]
fn another_user_who_can_reach_the_socket_gets_no_byte() {
    if !need_root() || !need("python3") {
        return;
    }
    let w = World::with_key();
    open_to_all(&w);
    for said in ["", r#"{"action":"ping"}"#, r#"{"action":"getToken"}"#, r#"{"action":"#, "hello", "[1]"] {
        let heard = |user: &str| {
            let client = w.command("python3").args(["-c", CLIENT, user]).arg(w.socket()).arg(said);
            client.run().line()
        };
        assert_eq!(heard(NOBODY), "connected, heard b''", "{said}");
        // The control: the same program hears something under our own user.
        let answered = said.ends_with('}') || said.starts_with(['h', '[']);
        assert_eq!(heard("0") != "connected, heard b''", answered, "{said}");
    }
    assert_eq!(w.github.mints(), 1, "the control's");
    w.assert_agent_is_well();
}

#[test]
fn another_user_cannot_crowd_the_agent_out() {
    if !need_root() || !need("python3") {
        return;
    }
    let w = World::with_key();
    open_to_all(&w);
    let crowd = w.command("python3").args(["-c", CROWD, NOBODY]).arg(w.socket()).start();
    crowd.expect_stdout("all refused");
    w.assert_agent_is_well();
    crowd.finish().stdout("all refused\n").ok();
}

/// Whoever could put a socket where ours was expected would otherwise be given keys and passphrases.
#[test]
fn a_client_sends_no_secret_to_an_agent_of_another_user() {
    if !need_root() || !need("python3") {
        return;
    }
    let mut w = World::new();
    let socket = w.path("tmp/fake");
    for part in ["..", "", "tmp"] {
        fs::set_permissions(w.path(part), Permissions::from_mode(0o777)).expect("it is ours");
    }
    w.env("APPTOKEN_AUTH_SOCK", &socket);
    let commands: [&[&str]; 4] = [
        &["add", "key.pem", "--app-id", "1"],
        &["lock", "--passphrase-fd", "0"],
        &["unlock", "--passphrase-fd", "0"],
        &["remove", "key.pem"],
    ];
    let count = commands.len().to_string();
    let fake = w.command("python3").args(["-c", FAKE_AGENT, NOBODY]).arg(&socket).arg(&count).start();
    fake.expect_stdout("listening");
    for args in commands {
        let run = w.command(APPTOKEN).args(args).stdin("hunter2\n").run();
        run.fails(2, ["65534", "no key or passphrase is sent"]);
    }
    assert_eq!(fake.finish().text(), format!("listening\n{}", "heard b''\n".repeat(commands.len())));
}

/// Lets every user reach the agent's socket, as no agent does.
fn open_to_all(w: &World) {
    let (socket, inside) = (w.socket(), w.path(""));
    let outermost = inside.parent().expect("it lies in a directory");
    for directory in socket.ancestors().skip(1).take_while(|directory| directory.starts_with(outermost)) {
        fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("it is ours");
    }
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).expect("it is ours");
}

/// Twenty clients who want a key opened, with a wrong passphrase.
fn open_in_a_crowd(w: &World) -> Vec<Peer> {
    let request = check_request(&sealed(w));
    let crowd = (0..20).map(|_| {
        let mut peer = w.connect();
        peer.send(&request);
        peer
    });
    crowd.collect()
}

/// The key of this world, as it is stored.
fn sealed(w: &World) -> String {
    let sealed = w.request(&json!({"action": "sealKey", "key": wire(KEY), "newPassphrase": "hunter2"}));
    sealed["sealed"].as_str().expect("a sealed file").to_owned()
}

fn check_request(sealed: &str) -> String {
    json!({"action": "checkKey", "key": sealed, "passphrase": "wrong"}).to_string()
}

fn unlock_request(number: u32) -> Value {
    json!({"action": "unlock", "passphrase": format!("wrong {number}")})
}

/// Says something as another user, and tells what it hears until the other side has no more to say.
const CLIENT: &str = r#"
import os, socket, sys
user, path, said = sys.argv[1:]
os.setgroups([])
os.setuid(int(user))
client = socket.socket(socket.AF_UNIX)
client.connect(path)
try:
    client.sendall(said.encode())
    client.shutdown(socket.SHUT_WR)
except (BrokenPipeError, ConnectionResetError, OSError):
    pass
heard = b""
try:
    while piece := client.recv(65536):
        heard += piece
except ConnectionResetError:
    pass
print("connected, heard", heard)
"#;

/// Opens far more connections than an agent serves, and keeps them.
const CROWD: &str = r#"
import os, resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
user, path = sys.argv[1:]
os.setgroups([])
os.setuid(int(user))
crowd = []
for _ in range(5000):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    crowd.append(client)
for client in crowd:
    try:
        assert client.recv(1) == b""
    except ConnectionResetError:
        pass
print("all refused", flush=True)
"#;

/// Listens as another user, and tells what each client says before it closes the connection.
const FAKE_AGENT: &str = r#"
import os, socket, sys
user, path, count = sys.argv[1:]
os.setgroups([])
os.setuid(int(user))
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
print("listening", flush=True)
for _ in range(int(count)):
    client, _ = listener.accept()
    heard = b""
    while piece := client.recv(65536):
        heard += piece
    print("heard", heard, flush=True)
"#;
const NOBODY: &str = "65534";
