//! Fair shares of the agent's capacity between the processes that use it.
//!
//! The agent can do some things only so often at once: derive keys, open imported keys, call GitHub. A [`FairQueue`]
//! hands out the permits for one of them. Each process has its own line in it. Every second turn goes to the line that came
//! last and was not served yet, so that a client that asks for little does not wait behind those that ask for much. Every
//! other turn goes to the line that has waited longest, so that a stream of new processes cannot hold one back for good.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex};

use tokio::sync::{oneshot, watch};

use super::guard::guard;

/// The peer whose share of the capacity a request uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ShareKey {
    /// One process.
    Process(i32),
    /// All processes whose pid is not known. The kernel reports 0 for a process in a foreign pid namespace.
    Unknown,
}

impl ShareKey {
    /// The share of the process that the kernel reports as the peer.
    pub fn of_process(pid: Option<i32>) -> Self {
        pid.filter(|pid| *pid > 0).map_or(Self::Unknown, Self::Process)
    }
}

/// The peers that wait for one shared call. The call may use the turn of each of them.
pub struct WaiterList(watch::Sender<Vec<ShareKey>>);

/// A view of a [`WaiterList`], for the call itself.
#[derive(Clone)]
pub struct Waiters(watch::Receiver<Vec<ShareKey>>);

impl WaiterList {
    /// A list with the peer that starts the call.
    pub fn new(first: ShareKey) -> Self {
        Self(watch::Sender::new(vec![first]))
    }

    /// Adds a peer that joins the call.
    pub fn add(&self, key: ShareKey) {
        self.0.send_if_modified(|keys| {
            let is_new = !keys.contains(&key);
            if is_new {
                keys.push(key);
            }
            is_new
        });
    }

    /// The peer that waits, if it is only one.
    pub fn sole(&self) -> Option<ShareKey> {
        match self.0.borrow()[..] {
            [sole] => Some(sole),
            _ => None,
        }
    }

    /// A view that sees later additions.
    pub fn view(&self) -> Waiters {
        Waiters(self.0.subscribe())
    }
}

impl Waiters {
    /// The peer that started the call.
    pub fn first(&self) -> ShareKey {
        self.0.borrow()[0]
    }

    /// Waits until another peer joins.
    async fn grow(&mut self) {
        if self.0.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// A call that no other peer can join.
impl From<ShareKey> for Waiters {
    fn from(key: ShareKey) -> Self {
        Self(watch::channel(vec![key]).1)
    }
}

/// Hands out a limited number of permits, in turns between the peers that ask for them.
pub struct FairQueue {
    limits: Limits,
    inner: Mutex<Inner>,
}

/// The limits of a [`FairQueue`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Permits in use at once.
    pub at_once: usize,
    /// Requests that wait. Beyond it, the longest line loses its oldest request.
    pub waiting: usize,
    /// Requests that wait in one line. Beyond it, the line loses its oldest request.
    pub waiting_of_one: usize,
}

/// Whether a peer may be served before those that came earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It may, once.
    New,
    /// It may not: it has had its chance.
    Known,
}

/// The request lost its place because too many others wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overloaded;

/// Permission to use a part of the capacity, until it is dropped.
pub struct Permit(Arc<FairQueue>);

#[derive(Default)]
struct Inner {
    in_use: usize,
    next_id: u64,
    waiting: HashMap<u64, Waiting>,
    /// The requests of each peer, oldest first. No line is empty.
    lines: HashMap<ShareKey, VecDeque<u64>>,
    /// The lines in the order in which they came or were last served.
    order: VecDeque<Line>,
    newest_was_served: bool,
}

struct Waiting {
    /// The lines that it stands in.
    keys: Vec<ShareKey>,
    grant: oneshot::Sender<Permit>,
}

struct Line {
    key: ShareKey,
    standing: Standing,
}

impl FairQueue {
    /// Creates a queue that nobody uses yet.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, inner: Mutex::default() })
    }

    /// Waits for a permit in the lines of all `waiters`. Dropping the future gives up the place.
    pub async fn acquire(self: &Arc<Self>, waiters: &Waiters, standing: Standing) -> Result<Permit, Overloaded> {
        let mut waiters = waiters.clone();
        let keys = waiters.0.borrow_and_update().clone();
        let mut place = self.enter(&keys, standing);
        loop {
            tokio::select! {
                granted = &mut place.granted => return granted.map_err(|_| Overloaded),
                () = waiters.grow() => {
                    let keys = waiters.0.borrow_and_update().clone();
                    guard(&self.inner).also(place.id, &keys, standing);
                }
            }
        }
    }

    fn enter(self: &Arc<Self>, keys: &[ShareKey], standing: Standing) -> Place {
        let (grant, granted) = oneshot::channel();
        let mut inner = guard(&self.inner);
        let id = inner.next_id;
        inner.next_id += 1;
        if inner.in_use < self.limits.at_once {
            inner.in_use += 1;
            // The receiver is in this function, so it takes the permit.
            let _ = grant.send(Permit(Arc::clone(self)));
        } else {
            let first = keys[0];
            inner.waiting.insert(id, Waiting { keys: Vec::new(), grant });
            inner.also(id, keys, standing);
            if inner.lines[&first].len() > self.limits.waiting_of_one {
                inner.lose_oldest(first);
            } else if inner.waiting.len() > self.limits.waiting
                && let Some(longest) = inner.longest_line()
            {
                inner.lose_oldest(longest);
            }
        }
        Place { queue: Arc::clone(self), id, granted }
    }

    /// Gives the permit that became free to the next in turn.
    fn release(self: &Arc<Self>) {
        let next = {
            let mut inner = guard(&self.inner);
            let next = inner.take_next();
            if next.is_none() {
                inner.in_use -= 1;
            }
            next
        };
        if let Some(grant) = next {
            // If the request was given up at this moment, the permit is dropped here and goes to the next.
            let _ = grant.send(Permit(Arc::clone(self)));
        }
    }
}

impl Inner {
    /// Puts a waiting request into further lines.
    fn also(&mut self, id: u64, keys: &[ShareKey], standing: Standing) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        for key in keys {
            if waiting.keys.contains(key) {
                continue;
            }
            waiting.keys.push(*key);
            let line = self.lines.entry(*key).or_default();
            if line.is_empty() {
                self.order.push_back(Line { key: *key, standing });
            }
            line.push_back(id);
        }
    }

    fn take_next(&mut self) -> Option<oneshot::Sender<Permit>> {
        self.newest_was_served = !self.newest_was_served;
        let newest = if self.newest_was_served {
            self.order.iter().rposition(|line| line.standing == Standing::New)
        } else {
            None
        };
        let Line { key, .. } = self.order.remove(newest.unwrap_or(0))?;
        self.order.push_back(Line { key, standing: Standing::Known });
        let id = self.lines[&key][0];
        self.remove(id).map(|waiting| waiting.grant)
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        for key in &waiting.keys {
            self.leave(*key, id);
        }
        Some(waiting)
    }

    fn leave(&mut self, key: ShareKey, id: u64) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        line.retain(|other| *other != id);
        if line.is_empty() {
            self.lines.remove(&key);
            self.order.retain(|line| line.key != key);
        }
    }

    fn longest_line(&self) -> Option<ShareKey> {
        self.lines.iter().max_by_key(|(_, line)| line.len()).map(|(key, _)| *key)
    }

    /// Takes the oldest request out of a line. It is refused, unless it stands in another line as well.
    fn lose_oldest(&mut self, key: ShareKey) {
        let Some(id) = self.lines.get(&key).and_then(|line| line.front().copied()) else { return };
        self.leave(key, id);
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.keys.retain(|other| *other != key);
            if waiting.keys.is_empty() {
                self.waiting.remove(&id);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The place of one request in a queue.
struct Place {
    queue: Arc<FairQueue>,
    id: u64,
    granted: oneshot::Receiver<Permit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        guard(&self.queue.inner).remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const ONE: Limits = Limits { at_once: 1, waiting: 100, waiting_of_one: 100 };

    type Acquiring = Pin<Box<dyn Future<Output = Result<Permit, Overloaded>>>>;

    /// Requests of different processes, each with its number.
    struct Requests {
        queue: Arc<FairQueue>,
        waiting: Vec<(i32, Acquiring)>,
    }

    impl Requests {
        fn at(limits: Limits) -> Self {
            Self { queue: FairQueue::new(limits), waiting: Vec::new() }
        }

        fn ask(&mut self, pid: i32, standing: Standing) {
            self.ask_for(ShareKey::Process(pid).into(), pid, standing);
        }

        fn ask_for(&mut self, waiters: Waiters, name: i32, standing: Standing) {
            let queue = Arc::clone(&self.queue);
            self.waiting.push((name, Box::pin(async move { queue.acquire(&waiters, standing).await })));
            self.poll_last();
        }

        /// Takes the place in the queue, as a spawned task does.
        fn poll_last(&mut self) {
            let (_, last) = self.waiting.last_mut().expect("one was pushed");
            assert!(poll(last).is_none(), "it must wait");
        }

        /// The requests that have an answer now: their process, and whether they were served.
        fn answered(&mut self) -> Vec<(i32, Option<Permit>)> {
            let mut answered = Vec::new();
            self.waiting.retain_mut(|(pid, request)| match poll(request) {
                Some(answer) => {
                    answered.push((*pid, answer.ok()));
                    false
                }
                None => true,
            });
            answered
        }

        /// Serves all, one after another, beginning when `held` is released; returns the order of the processes.
        fn order(&mut self, held: Permit) -> Vec<i32> {
            let (mut order, mut held) = (Vec::new(), Some(held));
            while held.take().is_some() {
                for (pid, permit) in self.answered() {
                    order.push(pid);
                    held = permit;
                }
            }
            order
        }
    }

    fn poll(request: &mut Acquiring) -> Option<Result<Permit, Overloaded>> {
        match request.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn hold(queue: &Arc<FairQueue>) -> Permit {
        let queue = Arc::clone(queue);
        let waiters = ShareKey::Unknown.into();
        let mut request: Acquiring = Box::pin(async move { queue.acquire(&waiters, Standing::New).await });
        poll(&mut request).expect("nobody else is there").expect("there is room")
    }

    #[test]
    fn many_requests_of_one_process_do_not_delay_another() {
        let mut requests = Requests::at(ONE);
        let held = hold(&requests.queue);
        for _ in 0..50 {
            requests.ask(1, Standing::New);
        }
        requests.ask(2, Standing::New);
        requests.ask(2, Standing::New);
        let order = requests.order(held);
        assert_eq!(order.len(), 52);
        assert_eq!(order[..4], [2, 1, 2, 1]);
    }

    #[test]
    fn the_newest_process_and_the_oldest_take_turns() {
        let mut requests = Requests::at(ONE);
        let held = hold(&requests.queue);
        for pid in 1..=5 {
            requests.ask(pid, Standing::New);
        }
        assert_eq!(requests.order(held), [5, 1, 4, 2, 3]);
    }

    #[test]
    fn a_known_process_waits_behind_new_ones() {
        let mut requests = Requests::at(ONE);
        let held = hold(&requests.queue);
        requests.ask(1, Standing::New);
        for pid in 2..=5 {
            requests.ask(pid, Standing::Known);
        }
        assert_eq!(requests.order(held)[0], 1);
    }

    #[test]
    fn a_full_line_loses_its_own_oldest_request() {
        let mut requests = Requests::at(Limits { waiting_of_one: 1, ..ONE });
        let held = hold(&requests.queue);
        requests.ask_for(ShareKey::Process(1).into(), 10, Standing::New);
        requests.ask_for(ShareKey::Process(2).into(), 20, Standing::New);
        requests.ask_for(ShareKey::Process(1).into(), 11, Standing::New);
        let answered = requests.answered();
        assert!(matches!(answered[..], [(10, None)]));
        assert_eq!(requests.order(held), [20, 11]);
    }

    #[test]
    fn a_full_queue_takes_from_the_longest_line() {
        let mut requests = Requests::at(Limits { waiting: 3, ..ONE });
        let held = hold(&requests.queue);
        for name in 10..13 {
            requests.ask_for(ShareKey::Process(1).into(), name, Standing::New);
        }
        requests.ask(2, Standing::New);
        assert!(matches!(requests.answered()[..], [(10, None)]));
        assert_eq!(requests.order(held), [2, 11, 12]);
    }

    #[test]
    fn a_joined_request_uses_the_turn_of_whoever_joined() {
        let mut requests = Requests::at(ONE);
        let held = hold(&requests.queue);
        for _ in 0..10 {
            requests.ask(1, Standing::New);
        }
        let shared = WaiterList::new(ShareKey::Process(1));
        requests.ask_for(shared.view(), 12, Standing::New);
        shared.add(ShareKey::Process(2));
        assert!(requests.answered().is_empty());
        assert_eq!(requests.order(held)[0], 12);
    }

    #[test]
    fn a_request_that_is_given_up_costs_no_turn() {
        let mut requests = Requests::at(ONE);
        let held = hold(&requests.queue);
        requests.ask(1, Standing::New);
        requests.ask(2, Standing::New);
        drop(requests.waiting.remove(1));
        drop(held);
        // This one was granted, but nobody took the permit.
        requests.waiting.clear();
        let inner = guard(&requests.queue.inner);
        assert_eq!((inner.in_use, inner.waiting.len(), inner.lines.len(), inner.order.len()), (0, 0, 0, 0));
    }

    #[test]
    fn processes_without_a_pid_share_one_key() {
        assert_eq!(ShareKey::of_process(None), ShareKey::of_process(Some(0)));
        assert_ne!(ShareKey::of_process(Some(1)), ShareKey::of_process(Some(2)));
    }
}
