//! An agent in the test's own process, without a socket, and time in the test's hand, for GitHub's clock as well.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use apptoken::agent::clock::Now;
use apptoken::agent::confirm::Confirm;
use apptoken::agent::handler::{Agent, Rules};
use apptoken::agent::http::Http;
use apptoken::agent::peer::Peer;
use apptoken::pem;
use apptoken::protocol::{Request, written};
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};
use tokio::task;
use tokio::time::timeout;

use super::HOST;
use super::github::GitHub;
use super::wait::{DEADLINE, wait_until};

/// The agent, its GitHub, and the thread that both wait for: nothing of the agent goes on but while a test waits for it.
pub(crate) struct InProcess {
    pub(crate) github: GitHub,
    agent: Arc<Agent>,
    runtime: Runtime,
}

impl InProcess {
    /// An agent without keys. GitHub's clock stands still from now on, as the agent's do, until the test moves them.
    pub(crate) fn new(github: GitHub) -> Self {
        TIME.set(Some(Time::default()));
        github.stop_clock(START.unix);
        let rules = Rules { max_lifetime: None, idle: None, confirm: Confirm::from_env(), audit: None, debug: false };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs only memory");
        Self { github, agent: Agent::new(rules, clock, Http::Here), runtime }
    }

    /// Carries a request out, and waits for GitHub if need be.
    #[track_caller]
    pub(crate) fn request(&self, request: &Value) -> Value {
        let handle = self.agent.handle(parsed(request), US);
        let answer = self.runtime.block_on(async { timeout(DEADLINE, handle).await }).expect("the agent does not hang");
        serde_json::from_slice(&written(&answer)).expect("an answer is JSON")
    }

    /// Carries a request out if nothing needs to be waited for; else whoever asked leaves.
    #[track_caller]
    pub(crate) fn at_once(&self, request: &Value) -> Option<Value> {
        let _runtime = self.runtime.enter();
        let handle = pin!(self.agent.handle(parsed(request), US));
        match handle.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(serde_json::from_slice(&written(&answer)).expect("an answer is JSON")),
            Poll::Pending => None,
        }
    }

    /// Hands a request in; whoever asked waits for the answer, while the test goes on.
    pub(crate) fn ask(&self, request: &Value) {
        let (agent, request) = (Arc::clone(&self.agent), parsed(request));
        self.runtime.spawn(async move { agent.handle(request, US).await });
    }

    /// Lets the agent go on until it has nothing left to do.
    #[track_caller]
    pub(crate) fn settle(&self) {
        self.go_on_until("the agent has nothing left to do", || self.runtime.metrics().num_alive_tasks() == 0);
    }

    /// Lets the agent go on until `condition` holds, and no further.
    #[track_caller]
    pub(crate) fn go_on_until(&self, what: &str, condition: impl Fn() -> bool) {
        let go_on = || self.runtime.block_on(task::yield_now());
        wait_until(what, DEADLINE, || {
            condition() || {
                go_on();
                condition()
            }
        });
    }

    /// Lets time pass, awake or asleep, here and on GitHub's clock.
    pub(crate) fn pass(&self, seconds: u64) {
        let time = time();
        TIME.set(Some(Time { passed: time.passed + seconds, ..time }));
        self.github.stop_clock(true_time());
    }

    /// The same on a machine whose clock since boot stands still while it sleeps.
    pub(crate) fn sleep_uncounted(&self, seconds: u64) {
        let time = time();
        TIME.set(Some(Time { uncounted: time.uncounted + seconds, ..time }));
        self.pass(seconds);
    }
}

/// Sets the wall clock of the agent's machine so many seconds ahead of GitHub's.
pub(crate) fn set_wall_clock(ahead: i64) {
    TIME.set(Some(Time { wall_ahead: ahead, ..time() }));
}

/// What GitHub's clock shows, which is the true time.
pub(crate) fn true_time() -> i64 {
    START.unix.saturating_add_unsigned(time().passed)
}

/// `addKey` for a private key in PEM, at the simulated GitHub.
pub(crate) fn add_key(github: &GitHub, app: u64, pem: &str) -> Value {
    let key = pem::read(pem.as_bytes()).expect("it is a private key");
    json!({"action": "addKey", "key": key.wire.expose(), "appId": app, "host": HOST, "apiUrl": github.url()})
}

/// How far a test has come.
#[derive(Clone, Copy, Default)]
struct Time {
    /// Seconds since its start.
    passed: u64,
    /// How far the wall clock is ahead of the true time.
    wall_ahead: i64,
    /// Seconds asleep that the clock since boot does not know of.
    uncounted: u64,
}

thread_local! {
    /// Each test has a thread, and its agent runs on it.
    static TIME: Cell<Option<Time>> = const { Cell::new(None) };
}

fn time() -> Time {
    TIME.get().expect("the time is asked for on the thread of the test, after its start")
}

fn clock() -> Now {
    let Time { passed, wall_ahead, uncounted } = time();
    Now { unix: true_time() + wall_ahead, boot: START.boot + Duration::from_secs(passed - uncounted) }
}

fn parsed(request: &Value) -> Request {
    Request::parse(request.to_string().as_bytes()).expect("a test asks well-formed questions")
}

/// 2026-11-22T14:30:00Z, on a machine that was booted an hour ago.
const START: Now = Now { unix: 1_795_357_800, boot: Duration::from_hours(1) };
/// Who asks: nobody that is looked at.
const US: Peer = Peer::new(0, None);
