//! Running a program to its end, or starting it and looking on. A hang fails the test, with all that was printed.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::find;
use super::pty::Terminal;
use super::run::Run;
use super::wait::{DEADLINE, comes_true, poll};

/// A command about to be run in a [`World`](super::World).
#[must_use = "run() or start() it"]
pub(crate) struct Invocation {
    /// `setsid`, with everything but its arguments.
    command: Command,
    /// The program and its arguments.
    line: Vec<OsString>,
    stdin: Vec<u8>,
    each_line: Option<LineHandler>,
}

/// Gets what a command writes to stdout, line by line.
type LineHandler = Box<dyn FnMut(&str) + Send>;

impl Invocation {
    /// `program` as leader of a session of its own, so that no prompt can reach the terminal of whoever runs the tests.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        // By its whole path, for a command whose own PATH is empty.
        let mut command = Command::new(find("setsid").expect("util-linux is installed"));
        command.env_clear();
        Self { command, line: vec![program.as_ref().to_owned()], stdin: Vec::new(), each_line: None }
    }

    pub(crate) fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.line.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn envs(mut self, vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        self.command.envs(vars);
        self
    }

    pub(crate) fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Hands each line of stdout to `handle` when it comes, and keeps none: for a command that prints much.
    pub(crate) fn each_line(mut self, handle: impl FnMut(&str) + Send + 'static) -> Self {
        self.each_line = Some(Box::new(handle));
        self
    }

    /// Runs the command to its end; fails the test when it has none.
    #[track_caller]
    pub(crate) fn run(self) -> Run {
        self.start().finish()
    }

    /// Starts the command and leaves it running.
    #[track_caller]
    pub(crate) fn start(mut self) -> Running {
        let mut child = self
            .command
            .args(&self.line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`setsid` of util-linux can be started");
        feed(child.stdin.take().expect("stdin is piped"), self.stdin);
        let stdout = child.stdout.take().expect("stdout is piped");
        let stdout = match self.each_line {
            Some(handle) => Capture::handing_on(stdout, handle),
            None => Capture::of(stdout),
        };
        let stderr = Capture::of(child.stderr.take().expect("stderr is piped"));
        let words: Vec<_> = self.line.iter().map(|word| word.to_string_lossy()).collect();
        Running { what: words.join(" "), child, stdout, stderr }
    }

    /// Starts the command on a terminal of its own.
    #[track_caller]
    pub(crate) fn on_terminal(mut self) -> Terminal {
        self.command.args(["--ctty", "--wait"]).args(&self.line);
        Terminal::start(self.command)
    }
}

/// A command that was started and has not been waited for. Dropping it kills it and what it started.
#[must_use = "finish() it"]
pub(crate) struct Running {
    what: String,
    child: Child,
    stdout: Capture,
    stderr: Capture,
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a pid is an i32"))
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the command still runs");
    }

    /// Waits until stdout contains `text`.
    #[track_caller]
    pub(crate) fn expect_stdout(&self, text: &str) {
        let printed = comes_true(DEADLINE, || self.stdout.text().contains(text));
        assert!(printed, "`{}` did not print `{text}`:\n{}", self.what, self.so_far());
    }

    /// Waits for the end of the command, and of every process that holds its output.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Run {
        let Some(status) = poll(DEADLINE, || self.child.try_wait().expect("the child is ours to wait for")) else {
            panic!("`{}` did not end within {DEADLINE:?}:\n{}", self.what, self.so_far());
        };
        let closed = comes_true(DEADLINE, || self.stdout.at_end() && self.stderr.at_end());
        assert!(closed, "`{}` ended, but a process it left behind holds its output:\n{}", self.what, self.so_far());
        Run::new(&self.what, self.stdout.text(), self.stderr.text(), status)
    }

    fn so_far(&self) -> String {
        format!("--- stdout\n{}--- stderr\n{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // The child leads its own process group, see `Invocation::new`.
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// What a process writes, read as it comes.
pub(crate) struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Capture {
    pub(crate) fn of(mut source: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut chunk = [0; 4096];
            // A terminal whose last user has gone answers EIO: an end like any other.
            while let Ok(count @ 1..) = source.read(&mut chunk) {
                sink.lock().expect("no holder panics").extend_from_slice(&chunk[..count]);
            }
        });
        Self { bytes, reader }
    }

    /// Keeps nothing, and hands on each line.
    fn handing_on(source: impl Read + Send + 'static, mut handle: LineHandler) -> Self {
        let reader =
            thread::spawn(move || BufReader::new(source).lines().map_while(Result::ok).for_each(|line| handle(&line)));
        Self { bytes: Arc::default(), reader }
    }

    /// What has been read so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no holder panics")).into_owned()
    }

    fn at_end(&self) -> bool {
        self.reader.is_finished()
    }
}

/// Writes the input from a thread: a program that reads late, or never, must not stop the test.
fn feed(mut stdin: ChildStdin, bytes: Vec<u8>) {
    thread::spawn(move || match stdin.write_all(&bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => panic!("stdin: {error}"),
        _ => (),
    });
}
