//! Debug output: lines for standard error, which a thread writes. Lines for which there is no room are dropped and counted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};

use tokio::sync::oneshot;

use super::writer;

/// The queue of lines. Its thread starts with the first line.
#[derive(Default)]
pub(super) struct DebugLog {
    /// `None` inside: the thread could not be started, and every line is dropped.
    queue: OnceLock<Option<SyncSender<Message>>>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(String),
    /// Answered when everything before it has been written.
    Flush(oneshot::Sender<()>),
}

impl DebugLog {
    /// Queues a line, or drops it if the queue is full.
    pub(super) fn write(&self, line: String) {
        let sent =
            self.queue.get_or_init(|| self.start().ok()).as_ref().map(|queue| queue.try_send(Message::Line(line)));
        if !matches!(sent, Some(Ok(()))) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was queued has been written. Returns at once if the queue is full.
    pub(super) async fn flush(&self) {
        let Some(Some(queue)) = self.queue.get() else { return };
        let (done, written) = oneshot::channel();
        if let Ok(()) | Err(TrySendError::Disconnected(_)) = queue.try_send(Message::Flush(done)) {
            let _ = written.await;
        }
    }

    fn start(&self) -> io::Result<SyncSender<Message>> {
        // A descriptor of its own: the lock of `io::stderr()` would be held for as long as a write takes.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let (queue, messages) = sync_channel(MAX_QUEUED);
        let dropped = Arc::clone(&self.dropped);
        writer::start("debug log", move || write_all(&stderr, &messages, &dropped))?;
        Ok(queue)
    }
}

/// Writes what comes. Whenever nothing is left to write, it reports the lines that were dropped since then.
///
/// Errors are ignored: nobody reads the other end then.
fn write_all(mut to: impl Write, messages: &Receiver<Message>, dropped: &AtomicU64) {
    loop {
        let next = messages.try_recv();
        if next.is_err() {
            let dropped = dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let _ = to.write_all(format!("debug: {dropped} lines were dropped\n").as_bytes());
            }
        }
        let Ok(message) = next.or_else(|_| messages.recv()) else { return };
        match message {
            Message::Line(mut line) => {
                line.push('\n');
                let _ = to.write_all(line.as_bytes());
            }
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

/// Lines that wait for a reader of standard error at most, about 100 bytes each.
const MAX_QUEUED: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, pipe};
    use std::thread;

    use super::*;

    #[test]
    fn dropped_lines_are_counted_and_reported() {
        let (reader, writer) = pipe().expect("a pipe");
        let (queue, messages) = sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        thread::spawn(move || write_all(writer, &messages, &counted));
        // Nobody reads, so the pipe fills up, and then the queue.
        let line = "x".repeat(1000);
        let (mut sent, mut refused) = (0_usize, 0_u64);
        for _ in 0..1000 {
            if queue.try_send(Message::Line(line.clone())).is_ok() {
                sent += 1;
            } else {
                refused += 1;
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(queue);
        let lines = BufReader::new(reader).lines().map(|line| line.expect("text"));
        let (whole, reports): (Vec<_>, Vec<_>) = lines.partition(|read| *read == line);
        let number =
            |report: &String| report.strip_prefix("debug: ")?.strip_suffix(" lines were dropped")?.parse::<u64>().ok();
        let reported: Option<u64> = reports.iter().map(number).sum();
        assert_eq!((whole.len(), reported), (sent, Some(refused)), "{reports:?}");
        assert!(refused >= 900, "a pipe holds 64 KiB, {refused} lines were dropped");
    }
}
