//! One API over time: how far its clock is ahead, how many ask it at once, when it wants to be left alone, and how a
//! request that failed is tried again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::clock::Clock;
use super::fair::{FairQueue, Limits, Overloaded, Permit, Standing, Waiters};
use super::guard::guard;
use super::http::{Http, Place, Thread};
use super::network::Reason;
use super::reply::GitHubError;
use crate::ids::AppId;

/// What is known of an API from asking it.
pub(super) struct Api {
    clock: Clock,
    /// How far its clock is ahead of ours, in seconds, as learnt from its `Date`.
    ahead: AtomicI64,
    turns: Arc<FairQueue>,
    /// A part of the turns for each App, so that one that asks for much leaves some to the others.
    shares: Mutex<HashMap<AppId, Arc<FairQueue>>>,
    /// One large answer is received at a time, so that the memory for them is bounded.
    pub(super) large: Arc<Semaphore>,
    thread: Place,
    /// Until when, in time since boot, each App is to ask nothing.
    pauses: Mutex<HashMap<AppId, Duration>>,
}

/// All APIs that were asked.
pub(super) struct Apis {
    clock: Clock,
    known: Mutex<HashMap<String, Arc<Api>>>,
}

/// Leave to ask, until it is dropped.
pub(super) struct Turn {
    _share: Permit,
    _turn: Permit,
}

/// How far one call has come with its tries.
pub(super) struct Tries {
    until: Instant,
    failed: u32,
    clock_was_set: bool,
}

impl Apis {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default() }
    }

    /// What is known of the API with this base.
    pub(super) fn of(&self, base: &str) -> Arc<Api> {
        let mut known = guard(&self.known);
        if let Some(api) = known.get(base) {
            return Arc::clone(api);
        }
        if known.len() >= MAX_APIS {
            known.retain(|_, api| Arc::strong_count(api) > 1);
        }
        let api = Arc::new(Api::new(self.clock));
        known.insert(base.to_owned(), Arc::clone(&api));
        api
    }
}

impl Api {
    fn new(clock: Clock) -> Self {
        Self {
            clock,
            ahead: AtomicI64::new(0),
            turns: FairQueue::new(turns(MAX_AT_ONCE)),
            shares: Mutex::default(),
            large: Arc::new(Semaphore::new(1)),
            thread: Place::default(),
            pauses: Mutex::default(),
        }
    }

    /// The time there, in seconds since 1970, as far as is known.
    pub(super) fn now(&self) -> i64 {
        (self.clock)().unix.saturating_add(self.ahead.load(Ordering::Relaxed))
    }

    /// The thread on which this API is spoken to.
    pub(super) fn thread(&self, http: Http) -> Result<Arc<Thread>, GitHubError> {
        self.thread.thread(http).map_err(|error| GitHubError::Unreachable(Reason::no_thread(&error)))
    }

    /// Waits until this App may ask, and it is the turn of one of those who wait for the answer; refuses at once when that
    /// takes longer than the tries may.
    pub(super) async fn turn(&self, app: &AppId, waiters: &Waiters, tries: &Tries) -> Result<Turn, GitHubError> {
        let share = self.share(app);
        loop {
            let turn = async {
                let of_app = share.acquire(waiters, Standing::New).await?;
                Ok(Turn { _share: of_app, _turn: self.turns.acquire(waiters, Standing::New).await? })
            };
            let turn = timeout_at(tries.until, turn).await.unwrap_or(Err(Overloaded));
            let turn = turn.map_err(|Overloaded| GitHubError::Timeout)?;
            let Some(left) = self.pause_left(app) else {
                return Ok(turn);
            };
            drop(turn);
            if Instant::now() + left >= tries.until {
                return Err(GitHubError::RateLimited(Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))));
            }
            sleep(left).await;
        }
    }

    /// Decides about a try that failed: waits and returns when another is to be made.
    pub(super) async fn after(&self, error: GitHubError, app: &AppId, tries: &mut Tries) -> Result<(), GitHubError> {
        match error {
            GitHubError::ClockSkew(Some(there)) if !tries.clock_was_set => {
                tries.clock_was_set = true;
                let ahead = there.saturating_sub((self.clock)().unix);
                if ahead.unsigned_abs() > MAX_CORRECTION {
                    return Err(GitHubError::ClockTooFar(ahead));
                }
                self.ahead.store(ahead, Ordering::Relaxed);
                return Ok(());
            }
            GitHubError::ClockSkew(there) => {
                return Err(GitHubError::ClockSkew(there.map(|there| there.saturating_sub((self.clock)().unix))));
            }
            GitHubError::RateLimited(seconds) => self.pause(app, Duration::from_secs(seconds.unwrap_or(UNSAID_PAUSE))),
            ref error if error.is_passing() => {}
            error => return Err(error),
        }
        tries.failed += 1;
        if tries.failed >= MAX_TRIES {
            return Err(error);
        }
        if error.is_passing() {
            let wanted = if let GitHubError::Unavailable(_, seconds) = error { seconds } else { 0 };
            // An hour is longer than there are tries for, and some numbers are too large for a clock to be set ahead by.
            let wait = back_off(tries.failed).max(Duration::from_secs(wanted).min(MAX_PAUSE));
            if Instant::now() + wait >= tries.until {
                return Err(error);
            }
            sleep(wait).await;
        }
        Ok(())
    }

    fn share(&self, app: &AppId) -> Arc<FairQueue> {
        let mut shares = guard(&self.shares);
        if shares.len() >= MAX_APIS {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        Arc::clone(shares.entry(app.clone()).or_insert_with(|| FairQueue::new(turns(MAX_OF_ONE_APP))))
    }

    fn pause(&self, app: &AppId, span: Duration) {
        let now = (self.clock)().boot;
        let mut pauses = guard(&self.pauses);
        pauses.retain(|_, until| *until > now);
        let until = pauses.entry(app.clone()).or_default();
        *until = (*until).max(now + span.min(MAX_PAUSE));
    }

    fn pause_left(&self, app: &AppId) -> Option<Duration> {
        let now = (self.clock)().boot;
        let pauses = guard(&self.pauses);
        pauses.get(app)?.checked_sub(now).filter(|left| !left.is_zero())
    }
}

impl Tries {
    pub(super) fn new() -> Self {
        Self { until: Instant::now() + DEADLINE, failed: 0, clock_was_set: false }
    }

    /// Makes one try, within the time that it may take.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, GitHubError>>) -> Result<T, GitHubError> {
        let until = self.until.min(Instant::now() + TRY_DEADLINE);
        timeout_at(until, work).await.unwrap_or(Err(GitHubError::Timeout))
    }
}

/// So many at once, and no limit to those that wait: each has a connection or a place among the calls in flight.
fn turns(at_once: usize) -> Limits {
    Limits { at_once, waiting: usize::MAX, waiting_of_one: usize::MAX }
}

/// How long to wait after so many failures: twice as long each time, and never all who failed at once.
fn back_off(failed: u32) -> Duration {
    let jitter = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    FIRST_WAIT.mul_f64(f64::from(1 << (failed - 1)) * (0.5 + jitter))
}

/// How long one call may take with all its tries.
const DEADLINE: Duration = Duration::from_secs(25);
/// How long one try may take, from connecting to the last byte. GitHub gives up on its side after ten seconds.
pub(super) const TRY_DEADLINE: Duration = Duration::from_secs(10);
/// Tries for one call.
const MAX_TRIES: u32 = 4;
/// The wait after the first failure; all of them together stay near two seconds, for who waits without a network.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Seconds to pause when GitHub limits and does not say for how long, as its documentation asks.
pub(super) const UNSAID_PAUSE: u64 = 60;
/// The longest pause that is believed: GitHub counts by the hour.
const MAX_PAUSE: Duration = Duration::from_hours(1);
/// Seconds that a clock is corrected by at most. A clock that differs by more was never set, and everything else that goes
/// by it fails as well; an API that makes us sign for another year is no GitHub.
const MAX_CORRECTION: u64 = 24 * 60 * 60;
/// Requests to one API at a time. GitHub wants few; and each takes memory while it lasts.
const MAX_AT_ONCE: usize = 8;
/// Of these, requests for one App.
const MAX_OF_ONE_APP: usize = 5;
/// APIs remembered, and Apps of one, as many as there can be keys.
const MAX_APIS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::clock;
    use crate::agent::fair::ShareKey;

    fn anyone() -> Waiters {
        ShareKey::Unknown.into()
    }

    #[test]
    fn waits_double_and_differ() {
        for (failed, low, high) in [(1, 100, 300), (2, 200, 600), (3, 400, 1200)] {
            for _ in 0..100 {
                let wait = back_off(failed).as_millis();
                assert!((low..=high).contains(&wait), "{failed}: {wait} ms");
            }
        }
        assert!((0..10).any(|_| back_off(1) != back_off(1)));
    }

    #[tokio::test]
    async fn a_pause_is_for_one_app_and_ends() {
        let (api, paused, other) = (Api::new(clock::system), AppId::Number(1), AppId::Number(2));
        let limited = |seconds| GitHubError::RateLimited(Some(seconds));
        api.after(limited(3600), &paused, &mut Tries::new()).await.expect("another try");
        assert_eq!(api.turn(&paused, &anyone(), &Tries::new()).await.err(), Some(limited(3600)));
        assert!(api.turn(&other, &anyone(), &Tries::new()).await.is_ok());
        api.after(limited(0), &paused, &mut Tries::new()).await.expect("another try");
        assert!(
            api.turn(&paused, &anyone(), &Tries::new()).await.is_err(),
            "a shorter pause does not end a longer one"
        );
        api.after(limited(0), &other, &mut Tries::new()).await.expect("another try");
        assert!(api.turn(&other, &anyone(), &Tries::new()).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_permanent_is_not_tried_again_and_what_passes_is_tried_to_a_bound() {
        let (api, app) = (Api::new(clock::system), AppId::Number(1));
        let mut tries = Tries::new();
        assert!(api.after(GitHubError::NotFound, &app, &mut tries).await.is_err());
        for _ in 1..MAX_TRIES {
            assert!(api.after(GitHubError::Status(502), &app, &mut tries).await.is_ok());
        }
        assert_eq!(api.after(GitHubError::Status(502), &app, &mut tries).await, Err(GitHubError::Status(502)));
    }

    #[tokio::test]
    async fn a_clock_is_corrected_by_a_day_at_most() {
        const DAY: i64 = 24 * 60 * 60;
        let clock = || clock::Now { unix: 10 * DAY, boot: Duration::ZERO };
        let app = AppId::Number(1);
        for (ahead, corrected) in [(DAY, true), (-DAY, true), (DAY + 1, false), (-DAY - 1, false)] {
            let api = Api::new(clock);
            let skew = GitHubError::ClockSkew(Some(10 * DAY + ahead));
            let result = api.after(skew, &app, &mut Tries::new()).await;
            assert_eq!(result, if corrected { Ok(()) } else { Err(GitHubError::ClockTooFar(ahead)) });
            assert_eq!(api.now(), 10 * DAY + if corrected { ahead } else { 0 });
        }
    }

    #[tokio::test]
    async fn no_span_that_github_names_is_too_long_to_reckon_with() {
        let (api, app) = (Api::new(clock::system), AppId::Number(1));
        let unavailable = GitHubError::Unavailable(503, u64::MAX);
        assert_eq!(api.after(unavailable.clone(), &app, &mut Tries::new()).await, Err(unavailable));
        let limited = GitHubError::RateLimited(Some(u64::MAX));
        api.after(limited, &app, &mut Tries::new()).await.expect("another try");
        assert!(api.turn(&app, &anyone(), &Tries::new()).await.is_err());
    }
}
