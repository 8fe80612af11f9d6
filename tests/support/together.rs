//! Many things at the same time, for tests in which each of them is a wait.

use std::panic::resume_unwind;
use std::thread;

/// Does `act` to all `items` at the same time; returns what came of each, in their order.
#[track_caller]
pub(crate) fn at_once<T: Send, R: Send>(items: impl IntoIterator<Item = T>, act: impl Fn(T) -> R + Sync) -> Vec<R> {
    let act = &act;
    thread::scope(|scope| {
        let acting: Vec<_> = items.into_iter().map(|item| scope.spawn(move || act(item))).collect();
        acting.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}
