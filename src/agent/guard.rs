//! A mutex that a panic does not close: one connection's must not end the agent. Every change under one is made whole or not
//! at all.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it.
pub(super) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
