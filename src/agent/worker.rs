//! A thread that carries out one piece of work after another.
//!
//! tokio's own threads for blocking work panic where no thread can be started, for example under a memory limit. Here that
//! is an error of the one piece of work.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::guard::guard;

/// A thread that is started by the first piece of work and ends when there is none for a while.
pub struct Worker {
    name: &'static str,
    shared: Arc<Shared>,
}

/// The work was not done: there is no memory for a thread, or the work panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotDone;

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system has no memory for it, or too many threads")
    }
}

impl Error for NotDone {}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_running: bool,
}

impl Worker {
    /// A worker whose thread will have this name.
    pub fn new(name: &'static str) -> Self {
        Self { name, shared: Arc::default() }
    }

    /// Carries out `work` on the thread and returns its result. The work goes on if the future is dropped.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NotDone> {
        let (sender, result) = oneshot::channel();
        self.start(Box::new(move || {
            // The request that waited may be gone.
            let _ = sender.send(work());
        }))?;
        result.await.map_err(|_| NotDone)
    }

    fn start(&self, job: Job) -> Result<(), NotDone> {
        let mut state = guard(&self.shared.state);
        if !state.is_running {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name(self.name.to_owned());
            thread.spawn(move || shared.serve()).map_err(|_| NotDone)?;
            state.is_running = true;
        }
        state.jobs.push_back(job);
        self.shared.arrived.notify_one();
        Ok(())
    }
}

impl Shared {
    fn serve(&self) {
        loop {
            let job = {
                let state = guard(&self.state);
                let waited = self.arrived.wait_timeout_while(state, IDLE, |state| state.jobs.is_empty());
                let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                let Some(job) = state.jobs.pop_front() else {
                    state.is_running = false;
                    return;
                };
                job
            };
            // Work that panics sends no result, and the request that waits for one sees that.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }
}

/// How long the thread waits for more work. A thread that is not needed costs memory.
const IDLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_in_order_on_one_thread() {
        let worker = Worker::new("test");
        let first = worker.run(|| thread::current().id()).await;
        assert_eq!(worker.run(|| thread::current().id()).await, first);
        assert_ne!(first, Ok(thread::current().id()));
    }

    #[tokio::test]
    async fn work_that_panics_is_reported_and_the_next_is_done() {
        let worker = Worker::new("test");
        let panicked: Result<(), NotDone> = worker.run(|| panic!("on purpose")).await;
        assert_eq!(panicked, Err(NotDone));
        assert_eq!(worker.run(|| 7).await, Ok(7));
    }
}
