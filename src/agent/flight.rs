//! One flight a question: who asks what is being asked already joins; who leaves cancels it for nobody, and the last one
//! to leave ends it. What GitHub refused is not asked again for a moment: a stampede of failures is one request as well.
//!
//! When too many calls are in flight, the process that started most of them loses its newest.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::clock::Clock;
use super::fair::{ShareKey, WaiterList, Waiters};
use super::guard::guard;
use crate::protocol::{Code, Refusal};

/// The questions under way, and those that were refused a moment ago.
pub struct Flights<K, T> {
    clock: Clock,
    board: Arc<Mutex<Board<K, T>>>,
    started: AtomicU64,
}

type Board<K, T> = HashMap<K, Flight<T>>;
type Landing<T> = Option<Result<T, Refusal>>;

struct Flight<T> {
    /// Who waits subscribes here, with the board in hand.
    landing: watch::Sender<Landing<T>>,
    /// The peers that asked.
    waiters: WaiterList,
    /// Counts up with each flight.
    number: u64,
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
        Self { clock, board: Arc::default(), started: AtomicU64::new(0) }
    }

    /// Returns the answer of the flight under way for `question`, its failure of a moment ago, or the answer of `flight`,
    /// which is then started. It uses the share of every peer that waits for it.
    pub async fn join<F>(&self, question: K, share: ShareKey, flight: impl FnOnce(Waiters) -> F) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let mut landing = self.board(question, share, flight)?;
        match landing.wait_for(Option::is_some).await.map(|answer| answer.clone()) {
            Ok(Some(answer)) => answer,
            // It panicked.
            _ => Err(Refusal::new(Code::Internal, "the agent failed at this request")
                .hint("try again, and report it if it stays so")),
        }
    }

    /// Starts `flight` unless there is one for `question`, or there are too many; nobody waits for it.
    pub fn start<F>(&self, question: K, share: ShareKey, flight: impl FnOnce(Waiters) -> F)
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        if let Ok(landing) = self.board(question, share, flight) {
            // As long as it is under way, somebody does.
            tokio::spawn(async move {
                let mut landing = landing;
                let _ = landing.wait_for(Option::is_some).await;
            });
        }
    }

    fn board<F>(
        &self,
        question: K,
        share: ShareKey,
        flight: impl FnOnce(Waiters) -> F,
    ) -> Result<watch::Receiver<Landing<T>>, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let (clock, now) = (self.clock, (self.clock)().boot);
        let mut board = guard(&self.board);
        if let Some(flight) = board.get(&question)
            && flight.remembered_until.is_none_or(|until| now < until)
        {
            flight.waiters.add(share);
            return Ok(flight.landing.subscribe());
        }
        if board.len() >= MAX_ON_BOARD {
            board.retain(|_, flight| flight.remembered_until.is_none());
        }
        if board.len() >= MAX_ON_BOARD && !make_room(&mut board, share) {
            return Err(too_many());
        }
        let (land, landing) = watch::channel(None);
        let waiters = WaiterList::new(share);
        let flight = flight(waiters.view());
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        board.insert(question.clone(), Flight { landing: land.clone(), waiters, number, remembered_until: None });
        let arrival = Arrival { board: Arc::clone(&self.board), question, land };
        tokio::spawn(async move {
            let answer = tokio::select! {
                answer = flight => answer,
                // All who asked have left, or were refused to make room.
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
                self.leave(&mut board);
                return;
            }
        }
    }

    fn remember(&self, until: Duration) {
        if let Some(flight) = guard(&self.board).get_mut(&self.question).filter(|flight| self.is_of(flight)) {
            flight.remembered_until = Some(until);
        }
    }

    fn leave(&self, board: &mut Board<K, T>) {
        if board.get(&self.question).is_some_and(|flight| self.is_of(flight) && flight.remembered_until.is_none()) {
            board.remove(&self.question);
        }
    }

    /// Whether this is its flight, and not one that was started in its place since.
    fn is_of(&self, flight: &Flight<T>) -> bool {
        flight.landing.same_channel(&self.land)
    }
}

impl<K: Eq + Hash, T> Drop for Arrival<K, T> {
    fn drop(&mut self) {
        self.leave(&mut guard(&self.board));
    }
}

/// Ends the newest flight of the process that alone waits for most of them, if those are clearly more than those of `share`.
fn make_room<K: Clone + Eq + Hash, T>(board: &mut Board<K, T>, share: ShareKey) -> bool {
    let mut counts = HashMap::<ShareKey, usize>::new();
    for key in board.values().filter_map(|flight| flight.waiters.sole()) {
        *counts.entry(key).or_default() += 1;
    }
    let ours = counts.get(&share).copied().unwrap_or_default();
    let Some((most, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return false };
    if count <= ours + 1 {
        return false;
    }
    let theirs = board.iter().filter(|(_, flight)| flight.waiters.sole() == Some(most));
    let Some(question) = theirs.max_by_key(|(_, flight)| flight.number).map(|(question, _)| question.clone()) else {
        return false;
    };
    if let Some(flight) = board.remove(&question) {
        flight.landing.send_replace(Some(Err(too_many())));
    }
    true
}

fn too_many() -> Refusal {
    Refusal::new(Code::Busy, "GitHub is being asked too much at once").hint("try again in a moment")
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
/// Questions on the board, beyond which failures are forgotten early, and the process with most of them loses one.
const MAX_ON_BOARD: usize = 1000;

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::AtomicU32;

    use tokio::sync::Notify;

    use super::*;
    use crate::agent::clock;

    const ONE: ShareKey = ShareKey::Process(1);
    const OTHER: ShareKey = ShareKey::Process(2);

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
                flights.join("question", ONE, |_| flight).await
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
        let fault = flights.join((), ONE, |_| async { panic!("on purpose") }).await;
        assert_eq!(fault.expect_err("it panicked").code, Code::Internal);
        assert_eq!(flights.join((), ONE, |_| async { Ok(7) }).await, Ok(7));
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

        assert_eq!(refused(flights.join((), ONE, |_| fails(Code::NoKey)).await), Err(Code::NoKey));
        assert_eq!(refused(flights.join((), ONE, |_| fails(Code::NotInstalled)).await), Err(Code::NotInstalled));
        assert_eq!(
            refused(flights.join((), ONE, |_| async { Ok(7) }).await),
            Err(Code::NotInstalled),
            "it is remembered"
        );
        LATER.store(2, Ordering::Relaxed);
        assert_eq!(refused(flights.join((), ONE, |_| async { Ok(7) }).await), Ok(7), "it is asked again");
        assert_eq!(refused(flights.join((), ONE, |_| fails(Code::Timeout)).await), Err(Code::Timeout));
        flights.forget_failures();
        assert_eq!(refused(flights.join((), ONE, |_| async { Ok(8) }).await), Ok(8));
    }

    #[tokio::test]
    async fn a_process_that_fills_the_board_loses_its_newest() {
        let flights = Arc::new(Flights::<u32, u32>::new(clock::system));
        let ask = |question: usize, share| {
            let (flights, question) = (Arc::clone(&flights), u32::try_from(question).expect("it is small"));
            tokio::spawn(async move { flights.join(question, share, |_| pending()).await })
        };
        let crowd: Vec<_> = (0..MAX_ON_BOARD).map(|question| ask(question, ONE)).collect();
        while guard(&flights.board).len() < MAX_ON_BOARD {
            tokio::task::yield_now().await;
        }
        let own = flights.join(5000, ONE, |_| async { Ok(1) }).await;
        assert_eq!(own.map_err(|refusal| refusal.code), Err(Code::Busy), "it pushes out none of its own");
        assert_eq!(flights.join(5000, OTHER, |_| async { Ok(2) }).await, Ok(2));
        while !crowd.iter().any(tokio::task::JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        let refused: Vec<_> = (0..MAX_ON_BOARD).filter(|question| crowd[*question].is_finished()).collect();
        assert_eq!(refused, [MAX_ON_BOARD - 1]);
    }
}
