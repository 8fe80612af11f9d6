//! One flight a question: who asks what is being asked already joins; who leaves cancels it for nobody, and the last one
//! to leave ends it. What GitHub refused is not asked again for a moment: a stampede of failures is one request as well.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::clock::Clock;
use super::guard::guard;
use crate::protocol::{Code, Refusal};

/// The questions under way, and those that were refused a moment ago.
pub struct Flights<K, T> {
    clock: Clock,
    board: Arc<Mutex<Board<K, T>>>,
}

type Board<K, T> = HashMap<K, Flight<T>>;
type Landing<T> = Option<Result<T, Refusal>>;

struct Flight<T> {
    /// Who waits subscribes here, with the board in hand.
    landing: watch::Sender<Landing<T>>,
    /// Until when its failure is remembered, in time since boot; none while it is under way.
    remembered_until: Option<Duration>,
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// An empty sky.
    pub fn new(clock: Clock) -> Self {
        Self { clock, board: Arc::default() }
    }

    /// Returns the answer of the flight under way for `question`, its failure of a moment ago, or the answer of `flight`,
    /// which is then started.
    pub async fn join(
        &self,
        question: K,
        flight: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let mut landing = self.board(question, flight)?;
        match landing.wait_for(Option::is_some).await.map(|answer| answer.clone()) {
            Ok(Some(answer)) => answer,
            // It panicked.
            _ => Err(Refusal::new(Code::Internal, "the agent failed at this request")
                .hint("try again, and report it if it stays so")),
        }
    }

    /// Starts `flight` unless there is one for `question`, or there are too many; nobody waits for it.
    pub fn start(&self, question: K, flight: impl Future<Output = Result<T, Refusal>> + Send + 'static) {
        if let Ok(landing) = self.board(question, flight) {
            // As long as it is under way, somebody does.
            tokio::spawn(async move {
                let mut landing = landing;
                let _ = landing.wait_for(Option::is_some).await;
            });
        }
    }

    fn board(
        &self,
        question: K,
        flight: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<watch::Receiver<Landing<T>>, Refusal> {
        let (clock, now) = (self.clock, (self.clock)().boot);
        let mut board = guard(&self.board);
        if let Some(flight) = board.get(&question)
            && flight.remembered_until.is_none_or(|until| now < until)
        {
            return Ok(flight.landing.subscribe());
        }
        if board.len() >= MAX_ON_BOARD {
            board.retain(|_, flight| flight.remembered_until.is_none());
        }
        if board.len() >= MAX_ON_BOARD {
            return Err(
                Refusal::new(Code::Busy, "GitHub is being asked too much at once").hint("try again in a moment")
            );
        }
        let (land, landing) = watch::channel(None);
        board.insert(question.clone(), Flight { landing: land.clone(), remembered_until: None });
        let arrival = Arrival { board: Arc::clone(&self.board), question, land };
        tokio::spawn(async move {
            let answer = tokio::select! {
                answer = flight => answer,
                // All who asked have left.
                () = arrival.abandoned() => return,
            };
            if answer.as_ref().is_err_and(is_remembered) {
                arrival.remember(clock().boot + REMEMBERED);
            }
            // First off the board, then the answer: who asks from now on asks anew.
            let land = arrival.land.clone();
            drop(arrival);
            land.send_replace(Some(answer));
        });
        Ok(landing)
    }

    /// Forgets what was refused: something has changed.
    pub fn forget_failures(&self) {
        guard(&self.board).retain(|_, flight| flight.remembered_until.is_none());
    }
}

/// Takes a flight off the board, also when it panicked; not when its failure is to be remembered.
struct Arrival<K: Eq + Hash, T> {
    board: Arc<Mutex<Board<K, T>>>,
    question: K,
    land: watch::Sender<Landing<T>>,
}

impl<K: Eq + Hash, T> Arrival<K, T> {
    /// Waits until nobody waits, and takes it off the board before anybody can join it again.
    async fn abandoned(&self) {
        loop {
            self.land.closed().await;
            let mut board = guard(&self.board);
            if self.land.receiver_count() == 0 {
                board.remove(&self.question);
                return;
            }
        }
    }

    fn remember(&self, until: Duration) {
        if let Some(flight) = guard(&self.board).get_mut(&self.question) {
            flight.remembered_until = Some(until);
        }
    }
}

impl<K: Eq + Hash, T> Drop for Arrival<K, T> {
    fn drop(&mut self) {
        let mut board = guard(&self.board);
        // Another may have been started in its place since.
        let ours = |flight: &Flight<T>| flight.landing.same_channel(&self.land);
        if board.get(&self.question).is_some_and(|flight| ours(flight) && flight.remembered_until.is_none()) {
            board.remove(&self.question);
        }
    }
}

/// Whether it is GitHub's word, or the lack of it. What the agent itself refused can be otherwise at once.
fn is_remembered(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        Code::AppMismatch
            | Code::ChooseInstallation
            | Code::ClockSkew
            | Code::GithubUnavailable
            | Code::NotGranted
            | Code::NotInstalled
            | Code::RateLimited
            | Code::Suspended
            | Code::Timeout
    )
}

/// How long a failure is remembered: longer than those take who asked at the same time, and shorter than a person who has
/// mended it and tries again.
const REMEMBERED: Duration = Duration::from_secs(2);
/// Questions on the board, beyond which failures are forgotten early, and what is new is refused.
const MAX_ON_BOARD: usize = 1000;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::agent::clock;

    #[tokio::test]
    async fn all_who_ask_get_the_answer_of_one_flight_even_if_the_first_leaves() {
        let flights = Arc::new(Flights::<&str, u32>::new(clock::system));
        let (flown, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let ask = || {
            let (flights, flown, go) = (Arc::clone(&flights), Arc::clone(&flown), Arc::clone(&go));
            tokio::spawn(async move {
                let flight = async move {
                    go.notified().await;
                    Ok(flown.fetch_add(1, Ordering::Relaxed) + 1)
                };
                flights.join("question", flight).await
            })
        };
        let askers: Vec<_> = (0..100).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        askers[0].abort();
        go.notify_one();
        for asker in askers.into_iter().skip(1) {
            assert_eq!(asker.await.expect("not aborted"), Ok(1));
        }
        go.notify_one();
        assert_eq!(ask().await.expect("not aborted"), Ok(2), "a later question is asked anew");
    }

    #[tokio::test]
    async fn a_flight_that_panics_says_so_and_blocks_nobody() {
        let flights = Flights::<(), u32>::new(clock::system);
        let fault = flights.join((), async { panic!("on purpose") }).await;
        assert_eq!(fault.expect_err("it panicked").code, Code::Internal);
        assert_eq!(flights.join((), async { Ok(7) }).await, Ok(7));
    }

    #[tokio::test]
    async fn a_failure_of_githubs_is_remembered_for_a_moment_and_no_other() {
        static LATER: AtomicU32 = AtomicU32::new(0);
        let clock = || {
            let now = clock::system();
            clock::Now { boot: now.boot + Duration::from_secs(LATER.load(Ordering::Relaxed).into()), ..now }
        };
        let flights = Flights::<(), u32>::new(clock);
        let fails = |code| async move { Err(Refusal::new(code, "no")) };
        let refused = |answer: Result<u32, Refusal>| answer.map_err(|refusal| refusal.code);

        assert_eq!(refused(flights.join((), fails(Code::NoKey)).await), Err(Code::NoKey));
        assert_eq!(refused(flights.join((), fails(Code::NotInstalled)).await), Err(Code::NotInstalled));
        assert_eq!(refused(flights.join((), async { Ok(7) }).await), Err(Code::NotInstalled), "it is remembered");
        LATER.store(2, Ordering::Relaxed);
        assert_eq!(refused(flights.join((), async { Ok(7) }).await), Ok(7), "it is asked again");
        assert_eq!(refused(flights.join((), fails(Code::Timeout)).await), Err(Code::Timeout));
        flights.forget_failures();
        assert_eq!(refused(flights.join((), async { Ok(8) }).await), Ok(8));
    }
}
