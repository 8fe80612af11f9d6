//! The audit log: a line for each hand-out and each refusal of one, without secrets.
//!
//! A thread writes the lines, because a write can take as long as the disk likes. A hand-out waits for its line, for at
//! most five seconds; a hand-out that cannot be logged is refused.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::clock;
use super::guard::guard;
use super::peer::Peer;
use super::writer;
use crate::ids::InstallationId;
use crate::protocol::{Code, Refusal};
use crate::secret::Secret;

/// An open log; each line is one JSON object, written at once. Its thread starts with the first line.
pub struct Audit {
    log: Arc<Log>,
    queue: Mutex<Option<Sender<Entry>>>,
}

/// The file, and how much waits to be written to it.
struct Log {
    file: File,
    queued_bytes: AtomicUsize,
}

/// A line on its way into the log.
struct Entry {
    line: Vec<u8>,
    /// Gets the result. It is closed when the request was given up.
    result: oneshot::Sender<io::Result<()>>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    uid: u32,
    pid: Option<i32>,
    executable: Option<String>,
    key: Option<&'a str>,
    asked: Option<String>,
    #[serde(flatten)]
    granted: Option<Granted>,
    outcome: Outcome,
    hashed_token: Option<String>,
}

/// A token that nobody has and that may be alive.
#[derive(Serialize)]
struct NotRevoked<'a> {
    time: String,
    event: &'static str,
    key: &'a str,
    installation_id: InstallationId,
    hashed_token: Option<String>,
    reason: &'a str,
}

/// What of an answer is written down as it is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
struct Granted {
    account: String,
    installation_id: u64,
    permissions: BTreeMap<String, String>,
    #[serde(default)]
    repositories: Option<Vec<String>>,
    #[serde(skip_serializing)]
    token: Secret<str>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Granted,
    #[serde(untagged)]
    Refused(Code),
}

impl Audit {
    /// Opens the log for appending; a new one is for its owner alone. Only a regular file is opened: a write to anything
    /// else can wait for a reader forever, and cannot be taken back.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Before the open too, since opening a device can have an effect.
        if let Ok(there) = fs::metadata(path) {
            regular(&there)?;
        }
        let mut options = OpenOptions::new();
        // `O_NONBLOCK`: a FIFO may have been put there since, and opening one waits for its reader otherwise.
        options.append(true).create(true).mode(0o600).custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(path)?;
        regular(&file.metadata()?)?;
        Ok(Self::to(file))
    }

    fn to(file: File) -> Self {
        Self { log: Arc::new(Log { file, queued_bytes: AtomicUsize::new(0) }), queue: Mutex::new(None) }
    }

    /// Writes down what `peer` got for what it `asked`, a key's fingerprint and a scope, if that could be understood: the line
    /// handed out, or why none was. Returns when the line is in the file.
    ///
    /// When the future is dropped, or the deadline passes, a line that is still queued is not written: nothing was handed
    /// out.
    pub async fn write(
        &self,
        peer: &Peer,
        asked: Option<(&str, String)>,
        outcome: Result<&[u8], &Refusal>,
        unix: i64,
    ) -> io::Result<()> {
        self.append(render(peer, asked, outcome, unix)?).await
    }

    /// Writes down that a token was not handed out and may be alive all the same; `hashed_token` is absent when it never
    /// arrived.
    pub async fn not_revoked(
        &self,
        key: &str,
        installation_id: InstallationId,
        hashed_token: Option<String>,
        reason: &str,
        unix: i64,
    ) -> io::Result<()> {
        let time = clock::rfc3339(unix);
        let line = NotRevoked { time, event: "not_revoked", key, installation_id, hashed_token, reason };
        let mut line = serde_json::to_vec(&line)?;
        line.push(b'\n');
        self.append(line).await
    }

    /// Queues a line, and waits until it is in the file.
    async fn append(&self, line: Vec<u8>) -> io::Result<()> {
        let written = self.queue(line)?;
        match timeout(DEADLINE, written).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(io::Error::other("the thread that writes it has ended")),
            Err(_) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("it took longer than {} s", DEADLINE.as_secs())))
            }
        }
    }

    /// Queues a line.
    fn queue(&self, line: Vec<u8>) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        let bytes = line.len();
        if self.log.queued_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_QUEUED {
            self.log.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(io::Error::other("too many lines wait to be written"));
        }
        let (result, written) = oneshot::channel();
        let mut queue = guard(&self.queue);
        let queue = match &mut *queue {
            Some(queue) => queue,
            none => none.insert(self.start()?),
        };
        // If the thread has ended, the receiver reports that.
        let _ = queue.send(Entry { line, result });
        Ok(written)
    }

    fn start(&self) -> io::Result<Sender<Entry>> {
        let (queue, entries) = channel();
        let log = Arc::clone(&self.log);
        writer::start("audit log", move || log.write_all(&entries))?;
        Ok(queue)
    }
}

impl Log {
    fn write_all(&self, entries: &Receiver<Entry>) {
        // A fragment that could not be taken back must not be glued to the next line.
        let mut torn = false;
        for Entry { mut line, result } in entries {
            self.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            if result.is_closed() {
                continue;
            }
            if torn {
                line.insert(0, b'\n');
            }
            let written = self.append(&line, &mut torn);
            let _ = result.send(written);
        }
    }

    /// Appends a line whole, or takes back what was written of it.
    fn append(&self, line: &[u8], torn: &mut bool) -> io::Result<()> {
        let written = loop {
            match (&self.file).write(line) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                other => break other?,
            }
        };
        if written == line.len() {
            *torn = false;
            return Ok(());
        }
        *torn = self.take_back(written).is_err();
        Err(io::Error::new(io::ErrorKind::StorageFull, "No space left for a whole line"))
    }

    /// Removes the last write, of so many bytes.
    ///
    /// Another process may have appended to the file since. Then only the bytes of this write are replaced, by a blank line.
    fn take_back(&self, written: usize) -> io::Result<()> {
        // With `O_APPEND`, a write sets the position to the end of what it wrote.
        let end = (&self.file).stream_position()?;
        let start = end - written as u64;
        if self.file.metadata()?.len() == end {
            return self.file.set_len(start);
        }
        let mut blank = vec![b' '; written - 1];
        blank.push(b'\n');
        // Linux ignores the offset of a write while `O_APPEND` is set; only this thread writes to this descriptor.
        let set = |flags: OFlag| fcntl(&self.file, FcntlArg::F_SETFL(flags)).map_err(io::Error::from);
        set(OFlag::O_NONBLOCK)?;
        let replaced = self.file.write_all_at(&blank, start);
        set(OFlag::O_NONBLOCK | OFlag::O_APPEND)?;
        replaced
    }
}

fn render(
    peer: &Peer,
    asked: Option<(&str, String)>,
    outcome: Result<&[u8], &Refusal>,
    unix: i64,
) -> io::Result<Vec<u8>> {
    let granted: Option<Granted> = outcome.ok().map(serde_json::from_slice).transpose()?;
    let mut line = serde_json::to_vec(&Line {
        time: clock::rfc3339(unix),
        uid: peer.uid,
        pid: peer.pid,
        executable: peer.executable(),
        key: asked.as_ref().map(|(key, _)| *key),
        asked: asked.map(|(_, scope)| scope),
        outcome: outcome.map_or_else(|refusal| Outcome::Refused(refusal.code), |_| Outcome::Granted),
        // The form that GitHub's own audit log has.
        hashed_token: granted.as_ref().map(|granted| STANDARD.encode(Sha256::digest(granted.token.expose()))),
        granted,
    })?;
    line.push(b'\n');
    Ok(line)
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(io::Error::other("it is not a regular file")) }
}

/// How long a hand-out waits for its line: longer than a busy disk takes, and shorter than a client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of lines that wait to be written: a line of each of 4,096 connections, and a line has about a kilobyte. The longest,
/// for a token of 500 repositories, has about 60.
const MAX_QUEUED: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::pipe;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_full_queue_refuses_lines_at_once() {
        // Nobody reads the pipe, so that the thread waits forever.
        let (_reader, writer) = pipe().expect("a pipe");
        let audit = Audit::to(OwnedFd::from(writer).into());
        let mut waiting = Vec::new();
        let error = loop {
            match audit.queue(vec![b'x'; 64 * 1024]) {
                Ok(written) => waiting.push(written),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "too many lines wait to be written");
        assert!((64..=67).contains(&waiting.len()), "{} lines", waiting.len());
    }

    #[test]
    fn a_line_whose_request_was_given_up_is_not_written() {
        let file = tempfile::tempfile().expect("a file");
        let audit = Audit::to(file.try_clone().expect("another descriptor"));
        // The lock keeps the thread from starting before the second line is queued.
        let (queue, entries) = channel();
        *guard(&audit.queue) = Some(queue);
        drop(audit.queue(b"given up\n".to_vec()).expect("there is room"));
        let kept = audit.queue(b"kept\n".to_vec()).expect("there is room");
        *guard(&audit.queue) = None;
        audit.log.write_all(&entries);
        kept.blocking_recv().expect("a result").expect("it was written");
        assert_eq!(content(&file), b"kept\n");
        assert_eq!(audit.log.queued_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn only_a_fragment_of_ours_is_taken_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let audit = Audit::open(&path).expect("a new file");
        let mut other = OpenOptions::new().append(true).open(&path).expect("it is there");
        let write = |text: &str| (&audit.log.file).write_all(text.as_bytes()).expect("the disk has room");

        write("one\n");
        write("{\"frag");
        audit.log.take_back(6).expect("nothing is in the way");
        assert_eq!(content(&audit.log.file), b"one\n");

        write("{\"frag");
        other.write_all(b"theirs\n").expect("the disk has room");
        audit.log.take_back(6).expect("nothing is in the way");
        write("two\n");
        assert_eq!(content(&audit.log.file), b"one\n     \ntheirs\ntwo\n");
    }

    fn content(file: &File) -> Vec<u8> {
        let length = file.metadata().expect("a file").len();
        let file =
            fs::read(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file))).expect("it can be read");
        assert_eq!(file.len() as u64, length);
        file
    }
}
