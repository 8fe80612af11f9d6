//! Other processes that all send requests to an agent at the same moment, and wait for the answers.
//!
//! Each is this program again, started with `--requests`.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::command::or_panic;
use crate::process::allow_open_files;

/// Several of these processes, connected and ready. They end when this is dropped.
pub(crate) struct Requesters(Vec<Requester>);

struct Requester {
    child: Child,
    /// The process ends when this is closed, hence also when the bench is killed.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Requesters {
    /// Starts `processes` of them, each by its own `command`, and waits until all of their connections are open.
    pub(crate) fn start(processes: usize, mut command: impl FnMut() -> Command) -> Self {
        let mut requesters = Self((0..processes).map(|_| Requester::start(&mut command())).collect());
        requesters.0.iter_mut().for_each(|requester| requester.expect(CONNECTED));
        requesters
    }

    /// Lets all of them send, and returns when everything has been sent.
    pub(crate) fn send(&mut self) {
        for requester in &mut self.0 {
            let stdin = requester.stdin.as_mut().expect("it is closed on drop only");
            stdin.write_all(b"\n").expect("the process waits for this line");
        }
        self.0.iter_mut().for_each(|requester| requester.expect(SENT));
    }
}

impl Requester {
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = or_panic(command, child);
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, stdin, stdout }
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the process prints UTF-8");
        assert_eq!(line.trim_end(), word, "a process that sends requests has failed");
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// The program of such a process: opens `count` connections, and on a line from its standard input sends `message` over
/// each of them, with its number in place of [`NUMBER`]. It ends when its standard input is closed.
pub(crate) fn run(socket: &Path, count: usize, message: &str) {
    allow_open_files();
    let connect = |_| UnixStream::connect(socket).expect("the agent listens");
    let mut connections: Vec<UnixStream> = (0..count).map(connect).collect();
    println!("{CONNECTED}");
    io::stdin().read_line(&mut String::new()).expect("the line is UTF-8");
    for (number, connection) in connections.iter_mut().enumerate() {
        let message = message.replace(NUMBER, &number.to_string());
        connection.write_all(message.as_bytes()).expect("the agent reads");
    }
    println!("{SENT}");
    // The answers are for nobody; they fit into the buffers of the sockets.
    let _ = io::stdin().read(&mut [0]);
}

/// The part of a message that is replaced with the number of the connection.
pub(crate) const NUMBER: &str = "NUMBER";

const CONNECTED: &str = "connected";
const SENT: &str = "sent";
