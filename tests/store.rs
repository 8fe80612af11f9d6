//! What is stored is whole, whenever its writer is killed and however many write, and for nobody else to read.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use apptoken::config::{Config, Remembered};
use apptoken::files::{Folder, directory_of, write_atomically};
use apptoken::ids::AppId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::command::Invocation;
use crate::support::wait::{DEADLINE, wait_until};
use crate::support::{APPTOKEN, World, need};

#[test]
fn killed_before_any_of_its_system_calls_a_writer_leaves_the_file_whole() {
    if !need("strace") {
        return;
    }
    let w = World::new();
    let file = git_file(&w);
    let mut kills = 0;
    for old in [None, Some(OLD)] {
        prepare(&w, old);
        let calls = calls_while_writing(&w);
        let new = fs::read(&file).expect("it was written");
        for (call, number) in calls {
            prepare(&w, old);
            traced(&w, &["-e", &format!("inject={call}:signal=KILL:when={number}")]).run().ended_by(Signal::SIGKILL);
            let left = fs::read(&file).ok();
            let whole = left.as_deref() == old || left.as_deref() == Some(&new);
            assert!(whole, "killed before {call} number {number} it left {left:?}");
            write_atomically(&file, OLD).expect("the next writer writes");
            assert_eq!(names_in(directory_of(&file)), ["github.com.conf"], "after {call} number {number}");
            kills += 1;
        }
    }
    assert!(kills >= 30, "only {kills}");
}

/// The writer that the tests here start: this very test again, in a process of its own.
#[test]
fn killed_at_any_moment_a_writer_leaves_the_file_whole() {
    match (env::var_os(FILE).map(PathBuf::from), env::var(APP)) {
        (Some(file), _) if env::var_os(ONCE).is_some() => return write_atomically(&file, NEW).expect("it is written"),
        (Some(file), _) => write_for_ever(&file),
        (None, Ok(app)) => return remember(app.parse().expect("a number")),
        _ => {}
    }
    let w = World::new();
    let file = key_file(&w);
    for looks in moments() {
        write_atomically(&file, OLD).expect("it is written");
        assert_eq!(names_in(&w.path("config/apptoken/keys")), ["a.key"], "the next writer tidies up");
        let inode = || fs::metadata(&file).expect("it is always there").ino();
        let (before, running) = (inode(), writer(&w, &file).start());
        wait_until("the writer writes", DEADLINE, || inode() != before);
        for _ in 0..looks {
            assert!(hint::black_box(inode()) > 0);
        }
        running.signal(Signal::SIGKILL);
        running.finish().stdout_contains(STARTED).ended_by(Signal::SIGKILL);
        let left = fs::read(&file).expect("it is always there");
        assert!(left == OLD || left == NEW, "after {looks} looks {} bytes are left", left.len());
    }
}

#[test]
fn what_is_written_is_on_disk_before_it_has_its_name() {
    if !need("strace") {
        return;
    }
    let w = World::new();
    let calls = calls_while_writing(&w);
    let calls: Vec<_> =
        calls.iter().map(|(call, _)| call.as_str()).filter(|call| ["fsync", "rename"].contains(call)).collect();
    assert_eq!(calls, ["fsync", "rename", "fsync"], "the file, its name, and the directory that the name is in");
}

#[test]
fn what_cannot_be_written_is_told_and_leaves_what_was_there() {
    if !need("strace") {
        return;
    }
    let w = World::new();
    let file = git_file(&w);
    prepare(&w, Some(OLD));
    let calls = calls_while_writing(&w);
    for (call, error, why) in [
        ("openat", "EACCES", "Permission denied"),
        ("write", "ENOSPC", "No space left"),
        ("fsync", "EIO", "Input/output error"),
        ("rename", "EROFS", "Read-only file system"),
    ] {
        prepare(&w, Some(OLD));
        // The first such call, but the last to open something: that is the draft.
        let mut numbers = calls.iter().filter(|(name, _)| name == call).map(|(_, number)| number);
        let number = if call == "openat" { numbers.next_back() } else { numbers.next() };
        let fault = format!("inject={call}:error={error}:when={}", number.expect("there is one"));
        traced(&w, &["-e", &fault]).run().fails(1, ["cannot write", "github.com.conf", why]);
        assert!(fs::read(&file).expect("it is there") == OLD, "{fault}");
        assert_eq!(names_in(directory_of(&file)), ["github.com.conf"], "{fault}");
    }
}

#[test]
fn where_directories_cannot_be_locked_it_is_written_all_the_same() {
    if !need("strace") {
        return;
    }
    let w = World::new();
    prepare(&w, Some(OLD));
    let others = directory_of(&git_file(&w)).join(".apptoken-draft-1");
    fs::write(&others, "of a writer that may live").expect("it is written");
    // What network file systems say.
    traced(&w, &["-e", "inject=flock:error=EBADF"]).run().stderr_contains("git now asks").ok();
    assert!(fs::read(git_file(&w)).expect("it is there") != OLD);
    assert_eq!(names_in(directory_of(&git_file(&w))), [".apptoken-draft-1", "github.com.conf"]);
}

#[test]
fn a_writer_waits_for_another_and_gives_up_in_time() {
    let w = World::new();
    let file = git_file(&w);
    prepare(&w, Some(OLD));
    let other = Folder::lock(directory_of(&file)).expect("nobody writes");
    w.apptoken(["setup-git", "--host", "github.com"]).fails(1, ["cannot write", "another writer"]);
    assert!(fs::read(&file).expect("it is there") == OLD);
    let waiting = w.command(APPTOKEN).args(["setup-git", "--host", "github.com"]).start();
    wait_until("it waits", DEADLINE, || is_at_the_lock(waiting.pid()));
    drop(other);
    waiting.finish().stderr_contains("git now asks").ok();
    assert!(fs::read(&file).expect("it is there") != OLD);
}

#[test]
fn writers_at_once_are_in_nobodys_way_and_a_reader_never_sees_half() {
    let w = World::new();
    let file = key_file(&w);
    write_atomically(&file, OLD).expect("it is written");
    let writing = AtomicBool::new(true);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while writing.load(Ordering::Relaxed) {
                let read = fs::read(&file).expect("it is always there");
                assert!(read == OLD || read == NEW, "{} bytes", read.len());
            }
        });
        let write = |bytes| (0..25).for_each(|_| write_atomically(&file, bytes).expect("it is written"));
        let writers = [OLD, NEW, OLD, NEW].map(|bytes| scope.spawn(move || write(bytes)));
        let ended = writers.map(thread::ScopedJoinHandle::join);
        writing.store(false, Ordering::Relaxed);
        reader.join().expect("what it reads is whole");
        assert!(ended.iter().all(Result::is_ok), "each of them writes");
    });
    assert_eq!(names_in(&w.path("config/apptoken/keys")), ["a.key"]);
}

#[test]
fn keys_that_are_written_down_at_once_are_all_remembered() {
    let w = World::new();
    let apps: Vec<String> = (1..=8).map(|app: u64| app.to_string()).collect();
    let writers: Vec<_> = apps.iter().map(|app| test_again(w.command(this_binary())).env(APP, app).start()).collect();
    for writer in writers {
        writer.finish().stdout_contains("1 passed").ok();
    }
    let text = fs::read(w.path("config/apptoken/config.toml")).expect("it was written");
    let config = Config::parse(&text).expect("it is not damaged");
    let mut remembered: Vec<_> = config.keys.iter().map(|key| key.app_id.to_string()).collect();
    remembered.sort_unstable();
    assert_eq!(remembered, apps);
    assert_eq!(names_in(&w.path("config/apptoken")), ["config.toml"]);
}

#[test]
fn nobody_else_can_read_it_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let w = World::new();
        let file = key_file(&w);
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let writer =
            test_again(w.command("sh").args(["-c", &script]).arg(this_binary())).env(FILE, &file).env(ONCE, "1");
        writer.run().stdout_contains("1 passed").ok();
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
        let directory = w.path("config/apptoken");
        assert_eq!(
            (mode(&file), mode(&directory.join("keys")), mode(&directory)),
            (0o600, 0o700, 0o700),
            "umask {umask}"
        );
    }
}

#[test]
fn what_a_user_keeps_beside_it_is_left_there() {
    let w = World::new();
    let directory = w.path("config/apptoken/keys");
    write_atomically(&key_file(&w), OLD).expect("it is written");
    for name in [".apptoken-draft-1", ".draft-1", "a.key~", ".apptoken"] {
        fs::write(directory.join(name), "mine").expect("it is written");
    }
    drop(Folder::lock(&directory).expect("nobody writes"));
    assert_eq!(names_in(&directory), [".apptoken", ".draft-1", "a.key", "a.key~"]);
}

#[test]
fn directories_that_others_can_look_into_are_warned_of_with_what_mends_them() {
    let w = World::with_agent();
    write_atomically(&key_file(&w), b"no key").expect("it is written");
    let [outer, inner] = ["config/apptoken", "config/apptoken/keys"].map(|path| w.path(path));
    let load = || w.command(APPTOKEN).args(["add", "--app-id", "1", "--passphrase-fd", "0"]).stdin("hunter2\n").run();
    for (directory, mode) in [(&outer, 0o755), (&inner, 0o710)] {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).expect("it is ours");
        let mend = format!("others can read {0}\nhint: chmod 700 {0}\n", directory.display());
        load().stderr_contains(mend).exit(1);
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("it is ours");
    }
    assert!(!load().everything().contains("chmod"));
}

/// Runs this test binary as a writer: `program` is how it is started.
fn test_again(program: Invocation) -> Invocation {
    let name = "store::killed_at_any_moment_a_writer_leaves_the_file_whole";
    program.args(["--exact", name, "--test-threads=1"])
}

fn this_binary() -> PathBuf {
    env::current_exe().expect("we have a name")
}

/// A writer that goes on until it is killed.
fn writer(w: &World, file: &Path) -> Invocation {
    test_again(w.command(this_binary())).env(FILE, file)
}

/// A writer whose system calls are written down: the client itself, which writes one file and then runs git.
fn traced(w: &World, options: &[&str]) -> Invocation {
    let strace = w.command("strace").args(["-qq", "-o"]).arg(w.path("tmp/trace")).args(options);
    strace.arg(APPTOKEN).args(["setup-git", "--host", "github.com"])
}

/// Its system calls from where it comes to our directory until it is done there, each with its number among its like.
fn calls_while_writing(w: &World) -> Vec<(String, usize)> {
    traced(w, &[]).run().stderr_contains("git now asks").ok();
    let trace = fs::read_to_string(w.path("tmp/trace")).expect("strace wrote it");
    let mut made = BTreeMap::new();
    let numbered = trace.lines().filter_map(|line| {
        let call = line.split_once('(')?.0;
        let number = made.entry(call).and_modify(|number| *number += 1).or_insert(1);
        Some((line, call.to_owned(), *number))
    });
    let writing = numbered.skip_while(|(line, ..)| !line.contains("config/apptoken"));
    let writing = writing.take_while(|(line, ..)| !line.contains("/dev/null"));
    // How often memory is asked for differs from start to start.
    let calls = writing
        .map(|(_, call, number)| (call, number))
        .filter(|(call, _)| !["brk", "mmap", "munmap"].contains(&&**call));
    calls.collect()
}

/// Whether a process has opened our directory, as it does to lock it.
fn is_at_the_lock(pid: Pid) -> bool {
    let opened = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    opened.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| path.ends_with("config/apptoken/git"))
}

/// Has the client's file as a writer is to find it: with the old content, or not there.
fn prepare(w: &World, old: Option<&[u8]>) {
    let _ = fs::remove_file(w.path("home/.gitconfig"));
    let _ = fs::remove_dir_all(w.path("config/apptoken"));
    if let Some(bytes) = old {
        write_atomically(&git_file(w), bytes).expect("it is written");
    }
}

fn write_for_ever(file: &Path) -> ! {
    loop {
        for bytes in [NEW, OLD] {
            write_atomically(file, bytes).expect("it is written");
        }
    }
}

fn remember(app: u64) {
    let hash = [[0; 24].as_slice(), &app.to_be_bytes()].concat();
    let key = Remembered {
        fingerprint: format!("SHA256:{}", STANDARD.encode(hash)).parse().expect("a fingerprint"),
        name: format!("app-{app}").parse().expect("a name"),
        app_id: AppId::Number(app),
        host: None,
        api_url: None,
        installation_id: None,
    };
    Config::remember(&key).expect("it is written");
}

/// After how many looks at the file its writer is killed: no clock decides it, and each run has the same.
fn moments() -> impl Iterator<Item = u32> {
    // Steps of Knuth's generator, of which the upper bits are as good as any.
    let steps =
        std::iter::successors(Some(1_u32), |last| Some(last.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
    steps.map(|step| (step >> 16) % MOST_LOOKS).take(KILLS)
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it is there");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

fn git_file(w: &World) -> PathBuf {
    w.path("config/apptoken/git/github.com.conf")
}

fn key_file(w: &World) -> PathBuf {
    w.path("config/apptoken/keys/a.key")
}

/// Two contents that differ in every byte, and in length.
const OLD: &[u8] = &[b'o'; 8 * 1024];
const NEW: &[u8] = &[b'n'; 12 * 1024];
/// What tells this binary that it is a writer: the file, whether it writes only once, or the App that it remembers.
const FILE: &str = "STORE_TEST_FILE";
const ONCE: &str = "STORE_TEST_ONCE";
const APP: &str = "STORE_TEST_APP";
/// What it prints first of all.
const STARTED: &str = "running 1 test";
/// How many writers are killed at which of so many moments.
const KILLS: usize = 250;
const MOST_LOOKS: u32 = 3000;
