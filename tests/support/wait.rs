//! Waiting for a condition, with a deadline: the only place in the tests that sleeps.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test calls it a hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; fails the test, naming `what`, when `deadline` passes first.
#[track_caller]
pub(crate) fn wait_until(what: &str, deadline: Duration, condition: impl FnMut() -> bool) {
    assert!(comes_true(deadline, condition), "waited {deadline:?} in vain until {what}");
}

/// Whether `condition` holds before `deadline` passes.
#[must_use]
pub(crate) fn comes_true(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    poll(deadline, || condition().then_some(())).is_some()
}

/// Asks `question` again and again until it has an answer; `None` when `deadline` passes first.
pub(crate) fn poll<T>(deadline: Duration, mut question: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        // Whether time is up is read first, so that the question is asked once more after it.
        let late = start.elapsed() >= deadline;
        match question() {
            Some(answer) => return Some(answer),
            None if late => return None,
            None => thread::sleep(INTERVAL),
        }
    }
}

const INTERVAL: Duration = Duration::from_millis(2);
