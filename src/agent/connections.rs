//! The open connections: how many there may be, which of them are closed to make room, and how much they may hold in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::fair::ShareKey;
use super::guard::guard;

/// All open connections.
///
/// Where there are too many, a new one takes the place of one that was told to go, else of the one that has been idle longest,
/// else of the one that has not taken its answer longest, else of the one that has been sending a message longest, else of the newest request of the process that has clearly most requests carried out. Where
/// nothing of that is possible, a few more connections are reserved for requests that must always work.
pub(super) struct Connections {
    max: usize,
    inner: Mutex<Inner>,
    closed: Notify,
}

#[derive(Default)]
struct Inner {
    is_ending: bool,
    open: usize,
    reserved: usize,
    next: u64,
    /// Bytes that all of `waits` hold.
    held: usize,
    waits: BTreeMap<WaitId, Wait>,
}

type WaitId = (Phase, u64);

/// What a connection waits for. The first ones are closed first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    /// The client's end, after the last word to it.
    Leaving,
    /// The beginning of a message.
    Idle,
    /// The client's taking its answer.
    Answering,
    /// The rest of a message.
    Receiving,
    /// The answer to a request.
    CarryingOut,
    /// The one request of a reserved connection.
    Reserved,
}

impl Phase {
    /// Whether it goes on for a moment when the agent ends.
    fn goes_on(self) -> bool {
        matches!(self, Self::Answering | Self::CarryingOut)
    }
}

struct Wait {
    owner: ShareKey,
    held: usize,
    bell: Arc<Notify>,
}

impl Connections {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, inner: Mutex::default(), closed: Notify::new() })
    }

    /// Makes room for a connection of this peer; `None` if that is not possible.
    pub(super) fn admit(self: &Arc<Self>, owner: ShareKey) -> Option<Slot> {
        let mut inner = self.inner();
        if inner.open >= self.max && !inner.evict(owner) {
            return None;
        }
        inner.open += 1;
        Some(self.slot(owner, false))
    }

    /// Gives a connection one of the places for requests that must always work; `None` if there is none.
    pub(super) fn admit_reserved(self: &Arc<Self>, owner: ShareKey) -> Option<Slot> {
        let mut inner = self.inner();
        if inner.reserved >= MAX_RESERVED && !inner.evict_first(Phase::Reserved) {
            return None;
        }
        inner.reserved += 1;
        Some(self.slot(owner, true))
    }

    fn slot(self: &Arc<Self>, owner: ShareKey, is_reserved: bool) -> Slot {
        Slot { connections: Arc::clone(self), owner, is_reserved, bell: Arc::default() }
    }

    /// Closes every connection that has no request under way, and each that comes to wait for one from now on.
    pub(super) fn end(&self) {
        let mut inner = self.inner();
        inner.is_ending = true;
        let waits = inner.waits.iter().filter(|((phase, _), _)| !phase.goes_on());
        waits.for_each(|(_, wait)| wait.bell.notify_one());
    }

    /// Waits until all are closed.
    pub(super) async fn all_closed(&self) {
        loop {
            let (open, reserved) = {
                let inner = self.inner();
                (inner.open, inner.reserved)
            };
            if open + reserved == 0 {
                return;
            }
            self.closed.notified().await;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        guard(&self.inner)
    }
}

impl Inner {
    /// Closes one for a new connection of this peer.
    fn evict(&mut self, owner: ShareKey) -> bool {
        let give_way = [Phase::Leaving, Phase::Idle, Phase::Answering, Phase::Receiving];
        give_way.into_iter().any(|phase| self.evict_first(phase)) || self.evict_of_most(owner)
    }

    fn evict_first(&mut self, phase: Phase) -> bool {
        let first = self.waits.range((phase, 0)..=(phase, u64::MAX)).next().map(|(id, _)| *id);
        first.is_some_and(|id| self.ring(id))
    }

    fn evict_of_most(&mut self, owner: ShareKey) -> bool {
        let carried_out = || self.waits.range((Phase::CarryingOut, 0)..=(Phase::CarryingOut, u64::MAX));
        let mut counts = HashMap::<ShareKey, usize>::new();
        carried_out().for_each(|(_, wait)| *counts.entry(wait.owner).or_default() += 1);
        let ours = counts.get(&owner).copied().unwrap_or_default();
        let Some((most, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return false };
        let newest = carried_out().rev().find(|(_, wait)| wait.owner == most).map(|(id, _)| *id);
        count > ours + 1 && newest.is_some_and(|id| self.ring(id))
    }

    /// Cuts off the largest message of the process that holds most.
    fn evict_largest(&mut self) {
        let mut held = HashMap::<ShareKey, usize>::new();
        self.waits.values().for_each(|wait| *held.entry(wait.owner).or_default() += wait.held);
        let most = held.into_iter().max_by_key(|(_, held)| *held).map(|(owner, _)| owner);
        let theirs = self.waits.iter().filter(|(_, wait)| Some(wait.owner) == most);
        if let Some(id) = theirs.max_by_key(|(_, wait)| wait.held).map(|(id, _)| *id) {
            self.ring(id);
        }
    }

    fn ring(&mut self, id: WaitId) -> bool {
        self.remove(id).map(|wait| wait.bell.notify_one()).is_some()
    }

    fn remove(&mut self, id: WaitId) -> Option<Wait> {
        let wait = self.waits.remove(&id)?;
        self.held -= wait.held;
        Some(wait)
    }
}

/// The place of one connection, until it is dropped.
pub(super) struct Slot {
    connections: Arc<Connections>,
    owner: ShareKey,
    is_reserved: bool,
    bell: Arc<Notify>,
}

impl Slot {
    /// Whether it is for one request that must always work, and no other.
    pub(super) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Records what the connection waits for, and the bytes of its message that it holds.
    pub(super) fn wait(&self, phase: Phase, held: usize) -> Waiting<'_> {
        let phase = if self.is_reserved && phase != Phase::CarryingOut { Phase::Reserved } else { phase };
        let mut inner = self.connections.inner();
        if inner.is_ending && !phase.goes_on() {
            self.bell.notify_one();
        }
        let id = (phase, inner.next);
        inner.next += 1;
        inner.held += held;
        inner.waits.insert(id, Wait { owner: self.owner, held, bell: Arc::clone(&self.bell) });
        if inner.held > MAX_HELD {
            inner.evict_largest();
        }
        Waiting { slot: self, id }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inner = self.connections.inner();
        if self.is_reserved {
            inner.reserved -= 1;
        } else {
            inner.open -= 1;
        }
        self.connections.closed.notify_one();
    }
}

/// One wait of a connection.
pub(super) struct Waiting<'a> {
    slot: &'a Slot,
    id: WaitId,
}

impl Waiting<'_> {
    /// Returns when the connection is to be closed; whether to make room for others, and not because the agent ends.
    pub(super) async fn evicted(&self) -> bool {
        self.slot.bell.notified().await;
        !self.slot.connections.inner().is_ending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.slot.connections.inner().remove(self.id);
    }
}

/// Connections beyond the maximum, for requests that must always work. One is open for a second at most.
const MAX_RESERVED: usize = 16;
/// Bytes of memory for all messages that are not finished or being carried out, and for answers that are not taken. A message that comes in one piece does not
/// count; 16 MiB are thousands of those that do, or 64 of the largest.
const MAX_HELD: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ShareKey = ShareKey::Process(1);
    const OTHER: ShareKey = ShareKey::Process(2);

    fn is_rung(slot: &Slot) -> bool {
        use std::task::{Context, Waker};
        let notified = std::pin::pin!(slot.bell.notified());
        notified.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn those_that_lose_least_are_closed_first() {
        let order = [Phase::Leaving, Phase::Idle, Phase::Answering, Phase::Receiving];
        let connections = Connections::new(order.len());
        let slots = order.map(|_| connections.admit(ONE).expect("there is room"));
        let _waits: Vec<_> = slots.iter().zip(order).rev().map(|(slot, phase)| slot.wait(phase, 0)).collect();
        for expected in 0..order.len() {
            let _new = connections.admit(ONE).expect("there is room");
            let closed: Vec<usize> = (0..order.len()).filter(|at| is_rung(&slots[*at])).collect();
            assert_eq!(closed, [expected]);
        }
    }

    #[test]
    fn a_process_with_most_requests_makes_room_for_others_only() {
        let connections = Connections::new(3);
        let slots = [ONE; 3].map(|owner| connections.admit(owner).expect("there is room"));
        let _waits: Vec<_> = slots.iter().map(|slot| slot.wait(Phase::CarryingOut, 0)).collect();
        assert!(connections.admit(ONE).is_none());
        assert!(connections.admit(OTHER).is_some());
        assert_eq!(slots.each_ref().map(is_rung), [false, false, true]);
    }

    #[test]
    fn reserved_connections_are_few_and_the_oldest_gives_way() {
        let connections = Connections::new(1);
        let first = connections.admit(ONE).expect("there is room");
        let _wait = first.wait(Phase::CarryingOut, 0);
        let reserved: Vec<_> = (0..MAX_RESERVED).filter_map(|_| connections.admit_reserved(ONE)).collect();
        assert!(reserved.len() == MAX_RESERVED && reserved.iter().all(Slot::is_reserved));
        assert!(connections.admit_reserved(ONE).is_none(), "none of them waits");
        let _waits: Vec<_> = reserved.iter().map(|slot| slot.wait(Phase::Idle, 0)).collect();
        assert!(connections.admit_reserved(ONE).is_some());
        assert!(is_rung(&reserved[0]) && !is_rung(&reserved[1]));
    }

    #[test]
    fn the_largest_message_of_the_process_that_holds_most_is_cut_off() {
        let connections = Connections::new(10);
        let sizes = [(ONE, MAX_HELD / 4), (ONE, MAX_HELD / 4 + 1), (OTHER, MAX_HELD / 3), (OTHER, MAX_HELD / 6)];
        let slots = sizes.map(|(owner, _)| connections.admit(owner).expect("there is room"));
        let _waits: Vec<_> =
            slots.iter().zip(sizes).map(|(slot, (_, held))| slot.wait(Phase::Receiving, held)).collect();
        assert_eq!(slots.each_ref().map(is_rung), [false; 4], "it is just full");
        let more = connections.admit(OTHER).expect("there is room");
        let _more = more.wait(Phase::Receiving, MAX_HELD / 100);
        assert_eq!(slots.each_ref().map(is_rung), [false, false, true, false]);
        assert!(connections.inner().held <= MAX_HELD);
    }
}
