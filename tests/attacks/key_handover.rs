//! The client hands a key over and keeps nothing of it; the agent takes a file from anybody, and neither blocks nor leaks.

use std::fs::{self, File};
use std::io::{IoSlice, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt};
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, pipe};
use serde_json::{Value, json};

use crate::support::command::{Invocation, Running};
use crate::support::encrypting::{WAYS, can_encrypt, encrypt, wire};
use crate::support::github::Fault;
use crate::support::memory::Needles;
use crate::support::peer::Peer;
use crate::support::process::{allow_open_files, connections_to, tell};
use crate::support::wait::{DEADLINE, poll, wait_until};
use crate::support::{APP_ID, APPTOKEN, HOST, KEY, SLUG, World, need, need_root};

#[test]
fn a_client_that_waits_for_github_holds_nothing_of_the_key() {
    if !need_root() {
        return;
    }
    let secrets = secrets();
    for way in ["a file", "a redirected file", "a pipe", "a pipe, with another key remembered", "init"] {
        let w = World::with_agent();
        w.github.always("GET /app", Fault::Hang);
        let client = match way {
            "a file" => w.add("key.pem"),
            "a redirected file" => w.command("sh").args(["-c", "exec \"$@\" <key.pem", "sh"]).args(add_line(&w)),
            "init" => w.command(APPTOKEN).args(["init", "key.pem"]).args(app_options(&w)),
            _ => {
                if way.contains("remembered") {
                    fs::create_dir(w.path("config/apptoken")).expect("a new directory");
                    let remembered = format!("[key.\"SHA256:{}=\"]\nname = \"x\"\napp-id = 1\n", "A".repeat(43));
                    fs::write(w.path("config/apptoken/config.toml"), remembered).expect("it is ours");
                }
                w.add("-").stdin(KEY)
            }
        };
        let client = client.start();
        w.github.wait_for(|journal| journal.iter().any(|entry| entry.is("GET /app")));
        let traces = secrets.traces_in(client.pid());
        assert!(traces.is_empty(), "{way}: while GitHub hangs, the client holds {traces:#?}");
    }
}

/// The control: a process that holds the key is found to hold it.
#[test]
fn the_search_finds_the_key_in_a_process_that_holds_it() {
    if !need_root() {
        return;
    }
    let w = World::new();
    let holder = w.command("sh").args(["-c", "key=$(cat key.pem); echo holding; sleep 60; echo \"$key\""]);
    let holder = holder.start();
    holder.expect_stdout("holding");
    secrets().assert_found_in(holder.pid(), "base64");
}

#[test]
fn the_client_never_reads_a_file_that_it_hands_over() {
    if !need("strace") {
        return;
    }
    let w = World::with_agent();
    let reads = |program: Invocation| {
        let _ = program.run().everything();
        let trace = fs::read_to_string(w.path("tmp/trace")).expect("strace has written");
        assert!(trace.contains("key.pem"), "the file was not opened: {trace}");
        let of_key = |line: &&str| line.contains("/key.pem>") && (line.contains("read") || line.contains("mmap"));
        trace.lines().filter(of_key).map(str::to_owned).collect::<Vec<_>>()
    };
    let trace = || {
        let options = ["-f", "-y", "-e", "trace=openat,read,readv,pread64,preadv,mmap,copy_file_range,sendfile", "-o"];
        w.command("strace").args(options).arg(w.path("tmp/trace"))
    };
    assert_eq!(reads(trace().arg(APPTOKEN).args(["add", "key.pem"]).args(app_options(&w))), [""; 0]);
    assert!(w.request(&json!({"action": "getToken"}))["token"].is_string());
    // The control: the same trace shows a program that reads it.
    assert!(!reads(trace().args(["cat", "key.pem"])).is_empty());
}

#[test]
fn a_file_is_read_in_every_form_by_its_descriptor() {
    let w = World::with_agent();
    let der = BASE64_STANDARD.decode(wire(KEY)).expect("base64");
    let text_forms = [
        KEY.to_owned(),
        KEY.replace('\n', "\r\n"),
        KEY.replace('\n', "\\n"),
        KEY.replace('\n', " "),
        format!("\n\n  {KEY}\n \t\n"),
        KEY.trim_end().to_owned(),
        BASE64_STANDARD.encode(KEY),
    ];
    for form in text_forms.into_iter().map(String::into_bytes).chain([der]) {
        let answer = w.check_file(&w.file("form", &form), &json!({}));
        assert_eq!(answer["bits"], 2048, "{}: {answer}", String::from_utf8_lossy(&form));
    }
    let mut added = json!({"action": "addKey", "keyFile": true, "appId": APP_ID, "host": HOST});
    added["apiUrl"] = json!(w.github.url());
    let key = File::open(w.path("home/key.pem")).expect("it is there");
    assert_eq!(ask(&w, &added, &[key.as_fd()])["name"], SLUG);
    assert!(w.request(&json!({"action": "getToken"}))["token"].is_string());
}

#[test]
fn an_encrypted_file_is_opened_by_its_descriptor() {
    if !can_encrypt() {
        return;
    }
    let w = World::with_agent();
    let key = File::open(w.path("home/key.pem")).expect("it is there");
    let seal = json!({"action": "sealKey", "keyFile": true, "newPassphrase": PASSPHRASE});
    let sealed = ask(&w, &seal, &[key.as_fd()]);
    let sealed = BASE64_STANDARD.decode(sealed["sealed"].as_str().expect("a sealed file")).expect("base64");
    for file in WAYS.map(|way| encrypt(&w, way, KEY, PASSPHRASE)).into_iter().chain([sealed]) {
        let file = w.file("encrypted", file);
        assert_eq!(w.check_file(&file, &json!({}))["code"], "wrong_passphrase");
        assert_eq!(w.check_file(&file, &json!({"passphrase": "wrong"}))["code"], "wrong_passphrase");
        let answer = w.check_file(&file, &json!({ "passphrase": PASSPHRASE }));
        assert_eq!(answer["bits"], 2048, "{answer}");
    }
}

#[test]
fn a_descriptor_that_is_not_wanted_or_not_usable_is_refused_and_closed() {
    let w = World::with_agent();
    let before = descriptors_of(&w);
    let open = |path: PathBuf| OwnedFd::from(File::open(path).expect("it can be opened"));
    let key = || open(w.path("home/key.pem"));
    let large = w.file("large", vec![b'A'; 17 * 1024]);
    File::create(w.path("tmp/sparse")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    mkfifo(&w.path("tmp/fifo"), Mode::S_IRWXU).expect("a new FIFO");
    let fifo = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(w.path("tmp/fifo")).expect("a FIFO");
    let (pipe, _writer) = pipe().expect("a pipe");
    let (socket, _other) = UnixStream::pair().expect("a pair");
    let write_only = File::options().append(true).open(w.path("home/key.pem")).expect("it is ours");
    let only_a_path =
        File::options().read(true).custom_flags(libc::O_PATH).open(w.path("home/key.pem")).expect("a path");

    let check = json!({"action": "checkKey", "keyFile": true});
    let cases: Vec<(&str, Value, Vec<OwnedFd>, &str, &str)> = vec![
        ("two", check.clone(), vec![key(), key()], "bad_request", "more than one"),
        (
            "as many as the kernel takes",
            check.clone(),
            (0..253).map(|_| key()).collect(),
            "bad_request",
            "more than one",
        ),
        ("no keyFile", json!({"action": "ping"}), vec![key()], "bad_request", "keyFile"),
        ("no keyFile, a key", json!({"action": "checkKey", "key": wire(KEY)}), vec![key()], "bad_request", "keyFile"),
        ("not even a request", json!({"action": 7}), vec![key()], "bad_request", "malformed"),
        ("no descriptor", check.clone(), vec![], "bad_request", "no file descriptor came"),
        ("neither", json!({"action": "checkKey"}), vec![], "bad_request", "either"),
        ("false", json!({"action": "checkKey", "keyFile": false}), vec![], "bad_request", "malformed"),
        ("a path", json!({"action": "checkKey", "keyFile": "/etc/passwd"}), vec![key()], "bad_request", "malformed"),
        (
            "both",
            json!({"action": "checkKey", "keyFile": true, "key": wire(KEY)}),
            vec![key()],
            "bad_request",
            "either",
        ),
        ("a FIFO", check.clone(), vec![fifo.into()], "bad_request", "regular"),
        ("a directory", check.clone(), vec![open(w.path("home"))], "bad_request", "regular"),
        ("a pipe", check.clone(), vec![pipe], "bad_request", "regular"),
        ("a socket", check.clone(), vec![socket.into()], "bad_request", "regular"),
        ("a device", check.clone(), vec![open("/dev/zero".into())], "bad_request", "regular"),
        ("write-only", check.clone(), vec![write_only.into()], "bad_request", "cannot be used"),
        ("only a path", check.clone(), vec![only_a_path.into()], "bad_request", "cannot be used"),
        ("17 KiB", check.clone(), vec![open(large)], "bad_key", "16 KiB"),
        ("a terabyte of nothing", check.clone(), vec![open(w.path("tmp/sparse"))], "bad_key", "16 KiB"),
        ("a file that says it is empty", check, vec![open("/proc/self/status".into())], "bad_key", "PEM"),
    ];
    for (what, request, descriptors, code, reason) in cases {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let answer = ask(&w, &request, &descriptors);
        assert_eq!(answer["code"], code, "{what}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(reason)), "{what}: {answer}");
    }
    // Half a request, and none at all.
    for half in ["{\"action\":\"checkKey\",", " \n"] {
        let stream = UnixStream::connect(w.socket()).expect("the agent listens");
        send(&stream, half.as_bytes(), &[key().as_fd()]);
    }
    w.assert_agent_is_well();
    wait_until("the agent has closed what it was sent", DEADLINE, || descriptors_of(&w) == before);
}

#[test]
fn a_descriptor_belongs_to_the_request_with_whose_first_byte_it_comes() {
    let w = World::with_agent();
    let key = File::open(w.path("home/key.pem")).expect("it is there");
    let check = json!({"action": "checkKey", "keyFile": true}).to_string();
    let stream = UnixStream::connect(w.socket()).expect("the agent listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("it is not zero");
    // Another request is before it, in the same read; then it comes in pieces; and more follows.
    send(&stream, b"{\"action\":\"ping\"}", &[]);
    send(&stream, &check.as_bytes()[..9], &[key.as_fd()]);
    send(&stream, &check.as_bytes()[9..], &[]);
    send(&stream, b"{\"action\":\"ping\"}", &[]);
    let mut answers = answers(&stream);
    assert_eq!(answers.next().expect("an answer")["pong"], true);
    let answer = answers.next().expect("an answer");
    assert_eq!(answer["bits"], 2048, "{answer}");
    assert_eq!(answers.next().expect("an answer")["pong"], true);
    // The file is read from its start, wherever its offset is.
    for _ in 0..2 {
        (&key).read_to_end(&mut Vec::new()).expect("it can be read");
        send(&stream, check.as_bytes(), &[key.as_fd()]);
        assert_eq!(answers.next().expect("an answer")["bits"], 2048);
    }
    // What follows at once is read without being asked for again.
    send(&stream, check.as_bytes(), &[key.as_fd()]);
    send(&stream, check.as_bytes(), &[key.as_fd()]);
    for _ in 0..2 {
        assert_eq!(answers.next().expect("an answer")["bits"], 2048);
    }
}

#[test]
fn a_socket_that_lingers_when_it_is_closed_does_not_stop_the_agent() {
    // The control: closing such a socket takes as long as it lingers.
    let (socket, _peer) = lingering(2);
    let began = Instant::now();
    drop(socket);
    assert!(began.elapsed() > Duration::from_secs(1), "closing it takes no time here: {:?}", began.elapsed());

    let w = World::with_agent();
    let (ping, check) = (json!({"action": "ping"}), json!({"action": "checkKey", "keyFile": true}));
    let key = File::open(w.path("home/key.pem")).expect("it is there");
    // Unwanted, surplus, more than the agent would make room for, and not what was asked for.
    for (request, files) in [(&ping, 0), (&check, 1), (&ping, 100), (&check, 0)] {
        let (socket, _peer) = lingering(60);
        let stream = UnixStream::connect(w.socket()).expect("the agent listens");
        let mut descriptors = vec![key.as_fd(); files];
        descriptors.push(socket.as_fd());
        send(&stream, request.to_string().as_bytes(), &descriptors);
        // The agent's is now the only one, so that it closes the socket.
        drop(descriptors);
        drop(socket);
        let began = Instant::now();
        w.assert_agent_is_well();
        tell(format_args!("a ping beside a lingering socket: {:?}", began.elapsed()));
        assert!(began.elapsed() < Duration::from_secs(20), "the agent stood still for {:?}", began.elapsed());
    }
}

#[test]
fn sockets_that_linger_in_what_was_not_read_do_not_stop_the_agent() {
    allow_open_files(4096);
    let w = World::with_key();
    w.github.delay(DEADLINE);
    let before = w.github.journal().len();
    // One in what the agent does not read, for its request is not answered yet; and more than may wait to be closed.
    for (request, sockets) in [(json!({"action": "getToken"}), 1), (json!({"action": "ping"}), 600)] {
        let stream = UnixStream::connect(w.socket()).expect("the agent listens");
        send(&stream, request.to_string().as_bytes(), &[]);
        if sockets == 1 {
            w.github.wait_for(|journal| journal.len() > before);
        }
        let lingering: Vec<_> = (0..sockets).map(|_| lingering(60)).collect();
        for some in lingering.chunks(200) {
            send(&stream, b" ", &some.iter().map(|(socket, _)| socket.as_fd()).collect::<Vec<_>>());
        }
        let (theirs, _peers): (Vec<_>, Vec<_>) = lingering.into_iter().unzip();
        // The agent's are now the only ones.
        drop(theirs);
        drop(stream);
        wait_until("the connection is closed", DEADLINE, || {
            w.assert_agent_is_well();
            connections_to(&w.socket()) == 0
        });
    }
}

#[test]
fn a_file_system_that_hangs_stops_only_who_handed_its_file_over() {
    if !need_root() || !need("python3") || !need("unshare") || !fs::exists("/dev/fuse").is_ok_and(|there| there) {
        return;
    }
    let mut w = World::with_agent();
    let (server, file) = hanging_file(&w);
    // The control: reading it does not end. (`timeout` ends the reader with SIGTERM.)
    let path = file_of(&server);
    w.command("timeout").args(["1", "cat"]).arg(&path).run().exit(124);

    let check = json!({"action": "checkKey", "keyFile": true}).to_string();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let stream = UnixStream::connect(w.socket()).expect("the agent listens");
            stream.set_read_timeout(Some(DEADLINE)).expect("it is not zero");
            send(&stream, check.as_bytes(), &[file.as_fd()]);
            stream
        })
        .collect();
    let began = Instant::now();
    w.assert_agent_is_well();
    assert_eq!(w.request(&json!({"action": "checkKey", "key": wire(KEY)}))["bits"], 2048);
    assert!(began.elapsed() < Duration::from_secs(5), "the agent stood still for {:?}", began.elapsed());
    let codes: Vec<_> =
        waiting.iter().map(|stream| answers(stream).next().expect("an answer")["code"].clone()).collect();
    let count = |code: &str| codes.iter().filter(|other| **other == code).count();
    assert_eq!((count("timeout"), count("busy")), (16, 4), "{codes:?}");
    assert!(began.elapsed() > Duration::from_secs(5), "that was no hang");
    // Threads that hang do not keep the agent from ending.
    let pid = w.pid();
    w.signal(Signal::SIGTERM);
    wait_until("the agent has ended", DEADLINE, || !crate::support::agent::is_alive(pid));
    w.env_remove("APPTOKEN_AGENT_PID");
}

#[test]
fn over_a_socket_that_passes_bytes_only_the_client_reads_the_file() {
    if !need("socat") {
        return;
    }
    let mut w = World::with_agent();
    let forwarded = w.path("tmp/forwarded");
    let listen = format!("UNIX-LISTEN:{},fork", forwarded.display());
    let _socat = w.command("socat").arg(listen).arg(format!("UNIX-CONNECT:{}", w.socket().display())).start();
    wait_until("socat listens", DEADLINE, || Peer::connect(&forwarded).is_ok());
    w.env("APPTOKEN_AUTH_SOCK", &forwarded);
    w.add("key.pem").run().stderr_contains("Identity added").ok();
    w.apptoken(["remove", "key.pem"]).stderr(format!("Identity removed: {SLUG}\n")).ok();
    w.file("bad.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    w.add("bad.pem").run().fails(1, ["bad.pem: this is no App's key: it is a public key"]);
}

impl World {
    /// The agent's answer to `checkKey` for this file, by its descriptor.
    #[track_caller]
    fn check_file(&self, file: &PathBuf, more: &Value) -> Value {
        let mut request = json!({"action": "checkKey", "keyFile": true});
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        ask(self, &request, &[File::open(file).expect("it is there").as_fd()])
    }
}

/// The key as it is on the wire, and in DER, in which each of its numbers is.
fn secrets() -> Needles {
    Needles::new().and("base64", wire(KEY)).and("DER", BASE64_STANDARD.decode(wire(KEY)).expect("base64"))
}

fn app_options(w: &World) -> [String; 6] {
    ["--app-id", &APP_ID.to_string(), "--host", HOST, "--api-url", &w.github.url()].map(str::to_owned)
}

/// `apptoken add -` as a command line.
fn add_line(w: &World) -> Vec<String> {
    [APPTOKEN, "add", "-"].map(str::to_owned).into_iter().chain(app_options(w)).collect()
}

/// Sends a request, with descriptors at its first byte, and returns the answer.
#[track_caller]
fn ask(w: &World, request: &Value, descriptors: &[BorrowedFd<'_>]) -> Value {
    let stream = UnixStream::connect(w.socket()).expect("the agent listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("it is not zero");
    send(&stream, request.to_string().as_bytes(), descriptors);
    answers(&stream).next().expect("an answer")
}

#[track_caller]
fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let descriptors: Vec<_> = descriptors.iter().map(BorrowedFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let beside = if descriptors.is_empty() { &[][..] } else { &rights };
    let sent = sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(bytes)], beside, MsgFlags::empty(), None);
    assert_eq!(sent, Ok(bytes.len()), "the agent takes bytes");
}

fn answers(stream: &UnixStream) -> impl Iterator<Item = Value> {
    serde_json::Deserializer::from_reader(stream).into_iter().map(|answer| answer.expect("an answer in time"))
}

fn descriptors_of(w: &World) -> usize {
    fs::read_dir(format!("/proc/{}/fd", w.pid())).expect("root may look").count()
}

/// A TCP socket with unsent data, which takes `seconds` to close; and its peer, which does not read.
fn lingering(seconds: i32) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut socket = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (peer, _) = listener.accept().expect("it is connected");
    setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: seconds }).expect("a socket option");
    socket.set_nonblocking(true).expect("a socket option");
    while socket.write(&[0; 16 * 1024]).is_ok() {}
    socket.set_nonblocking(false).expect("a socket option");
    (socket, peer)
}

/// A file on a file system whose server never answers a read; with the server.
#[track_caller]
fn hanging_file(w: &World) -> (Running, File) {
    fs::create_dir(w.path("tmp/mount")).expect("a new directory");
    let server = w.command("unshare").args(["--mount", "python3", "-c", FUSE_SERVER]).arg(w.path("tmp/mount")).start();
    server.expect_stdout("mounted");
    let file = poll(DEADLINE, || File::open(file_of(&server)).ok()).expect("it can be opened");
    (server, file)
}

/// Its path, through the server's mount namespace.
fn file_of(server: &Running) -> PathBuf {
    let pid = server.pid();
    let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).expect("the server runs");
    let mount =
        mounts.lines().find_map(|line| line.strip_prefix("hanging ")?.split(' ').next()).expect("it is mounted");
    PathBuf::from(format!("/proc/{pid}/root{mount}/key.pem"))
}

const PASSPHRASE: &str = "correct horse battery staple";

/// A minimal FUSE server with one file. It answers everything but a read, which ends only when the kernel gives it up: a
/// server that did not even answer that would leave a process behind that nobody can end.
const FUSE_SERVER: &str = r#"
import ctypes, errno, os, struct, sys
device = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
if libc.mount(b"hanging", sys.argv[1].encode(), b"fuse", 0, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
def attributes(node):
    mode, size = (0o40700, 0) if node == 1 else (0o100600, 1700)
    return struct.pack("<6Q10I", node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
while True:
    request = os.read(device, 1 << 18)
    _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
    if opcode == 26:  # INIT
        answer = struct.pack("<4I2HI", 7, 12, 65536, 0, 64, 48, 65536)
    elif opcode == 1:  # LOOKUP
        answer = struct.pack("<4Q2I", 2, 0, 1000, 1000, 0, 0) + attributes(2)
    elif opcode == 3:  # GETATTR
        answer = struct.pack("<Q2I", 1000, 0, 0) + attributes(node)
    elif opcode in (14, 27):  # OPEN, OPENDIR
        answer = struct.pack("<Q2I", 0, 0, 0)
    elif opcode == 15:  # READ
        continue
    elif opcode == 36:  # INTERRUPT
        unique, = struct.unpack_from("<Q", request, 40)
        os.write(device, struct.pack("<IiQ", 16, -errno.EINTR, unique))
        continue
    elif opcode in (2, 42):  # FORGET, BATCH_FORGET
        continue
    else:
        os.write(device, struct.pack("<IiQ", 16, -errno.ENOSYS, unique))
        continue
    os.write(device, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)
"#;
