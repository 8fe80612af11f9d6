//! The threads on which HTTP is spoken: one for each API that is being asked.
//!
//! An API decides how much work its answers make. Names are looked up, TLS is spoken, and answers are read and parsed on a
//! thread that belongs to one API, so that an API that floods its answers delays neither clients nor other APIs. The thread
//! ends some seconds after the last request.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use std::{io, thread};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::guard::guard;
use crate::secret::on_wiped_stack;

/// Where requests to GitHub run.
#[derive(Clone, Copy)]
pub enum Http {
    /// On a thread for each API.
    Threads,
    /// On the runtime of the caller: a test whose clock is a thread-local variable runs everything on one thread.
    Here,
}

/// The thread of one API, while it is needed.
#[derive(Default)]
pub(super) struct Place(Arc<Mutex<Option<Arc<Thread>>>>);

/// A running thread. It ends when this is dropped, and all that runs on it is cancelled.
pub(super) struct Thread {
    handle: Handle,
    /// Nothing is ever sent: dropping it is the signal.
    _stop: Option<oneshot::Sender<Infallible>>,
}

impl Place {
    /// Returns the thread that runs, or starts one.
    pub(super) fn thread(&self, http: Http) -> io::Result<Arc<Thread>> {
        let mut place = guard(&self.0);
        if let Some(thread) = &*place {
            return Ok(Arc::clone(thread));
        }
        let thread = Arc::new(match http {
            Http::Threads => Thread::start()?,
            Http::Here => Thread { handle: Handle::current(), _stop: None },
        });
        if matches!(http, Http::Threads) {
            thread.handle.spawn(end_when_idle(Arc::downgrade(&self.0)));
        }
        *place = Some(Arc::clone(&thread));
        Ok(thread)
    }
}

/// Ends the thread in a place when nobody has used it for a while. To start one for each request would take time, and the
/// memory that an answer took would not be used again for the next.
async fn end_when_idle(place: Weak<Mutex<Option<Arc<Thread>>>>) {
    loop {
        sleep(IDLE).await;
        let Some(place) = place.upgrade() else { return };
        let mut place = guard(&place);
        // It is taken out of the place under the same lock.
        if place.as_ref().is_none_or(|thread| Arc::strong_count(thread) == 1) {
            *place = None;
            return;
        }
    }
}

/// How often to look whether a thread is idle.
const IDLE: Duration = Duration::from_secs(5);

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = Ours(Some(Builder::new_current_thread().enable_all().build()?));
        let handle = runtime.get().handle().clone();
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let run = move || {
            let _ = runtime.get().block_on(stopped);
            drop(runtime);
            // The stack may be given to another thread as it is, and tokens were on it.
            on_wiped_stack(|| ());
        };
        thread::Builder::new().name("github".to_owned()).spawn(run)?;
        Ok(Self { handle, _stop: Some(stop) })
    }

    /// Runs `work` there, and cancels it when the caller leaves. It fails where the work panics: tokio does where no thread
    /// can be started for the look-up of a name.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.handle);
        tasks.join_next().await.expect("one was spawned")
    }

    /// Runs `work` there, to its end even if the caller leaves. Its result is then dropped. It fails like [`Thread::run`].
    pub(super) async fn run_to_the_end<T: Send + 'static>(
        self: Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        let kept = Arc::clone(&self);
        let task = self.handle.spawn(async move {
            let result = work.await;
            drop(kept);
            result
        });
        task.await
    }
}

/// A runtime that is dropped without a wait: a look-up of a name that hangs must not keep the thread, and where no thread can
/// be started it is dropped on the clients' loop, which may not wait.
struct Ours(Option<Runtime>);

impl Ours {
    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken only when this is dropped")
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn work_runs_on_another_thread_which_ends_with_it() {
        let place = Place::default();
        let here = thread::current().id();
        let thread = place.thread(Http::Threads).expect("a thread can be started");
        assert!(thread.run(async { thread::current().id() }).await.is_ok_and(|there| there != here));
        assert!(thread.run(async { panic!("on purpose") }).await.is_err_and(|error: JoinError| error.is_panic()));
        assert!(Arc::ptr_eq(&thread, &place.thread(Http::Threads).expect("it runs")), "it is used again");
        let (dropped, gone) = oneshot::channel::<()>();
        thread.handle.spawn(async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        drop(thread);
        assert!(timeout(Duration::from_mins(1), gone).await.expect("the thread ends").is_err());
        assert!(guard(&place.0).is_none(), "another is started for the next request");
    }

    #[tokio::test]
    async fn a_runtime_without_a_thread_can_be_dropped_by_a_task() {
        drop(Ours(Some(Builder::new_current_thread().enable_all().build().expect("a runtime needs only memory"))));
    }

    #[tokio::test]
    async fn work_is_cancelled_or_ends_when_the_caller_leaves() {
        let place = Place::default();
        for to_the_end in [false, true] {
            let thread = place.thread(Http::Threads).expect("a thread can be started");
            let (begun, has_begun) = oneshot::channel();
            let (done, is_done) = oneshot::channel();
            let (go_on, may_go_on) = oneshot::channel();
            let work = async move {
                let _ = begun.send(());
                let _ = may_go_on.await;
                let _ = done.send(());
            };
            let calling = tokio::spawn(async move {
                let _ = if to_the_end { thread.run_to_the_end(work).await } else { thread.run(work).await };
            });
            has_begun.await.expect("it begins");
            calling.abort();
            let _ = calling.await;
            if !to_the_end {
                // It is cancelled, so that nobody listens any more.
                let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
                while !go_on.is_closed() && tokio::time::Instant::now() < deadline {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            let _ = go_on.send(());
            assert_eq!(is_done.await.is_ok(), to_the_end);
        }
    }
}
