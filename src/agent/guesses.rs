//! Wrong passphrases, counted for each process: every one makes that process wait longer, and no other.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::fair::ShareKey;

/// The processes that gave a wrong passphrase.
#[derive(Default)]
pub struct Guesses(HashMap<ShareKey, Guesser>);

#[derive(Clone, Copy)]
struct Guesser {
    failures: u32,
    /// The process has to wait until then.
    blocked_until: Instant,
}

impl Guesses {
    /// Records a wrong passphrase; returns until when its process has to wait.
    pub fn failed(&mut self, key: ShareKey, now: Instant) -> Instant {
        self.0.retain(|_, guesser| now < guesser.blocked_until + REMEMBERED);
        if self.0.len() >= MAX_REMEMBERED
            && let Some(oldest) = self.0.iter().min_by_key(|(_, guesser)| guesser.blocked_until).map(|(key, _)| *key)
        {
            self.0.remove(&oldest);
        }
        let guesser = self.0.entry(key).or_insert(Guesser { failures: 0, blocked_until: now });
        guesser.failures = guesser.failures.saturating_add(1);
        guesser.blocked_until = now + penalty(guesser.failures);
        guesser.blocked_until
    }

    /// Returns until when this process has to wait, if it gave a wrong passphrase lately.
    pub fn blocked_until(&self, key: ShareKey, now: Instant) -> Option<Instant> {
        let until = self.0.get(&key)?.blocked_until;
        (now < until + REMEMBERED).then_some(until)
    }

    /// Forgets all of them: the right passphrase came.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The delay that the `failures`th wrong passphrase of a process costs it.
fn penalty(failures: u32) -> Duration {
    PENALTY_STEP.saturating_mul(failures).min(MAX_PENALTY)
}

const PENALTY_STEP: Duration = Duration::from_millis(100);
const MAX_PENALTY: Duration = Duration::from_secs(10);
/// How long a wrong passphrase is remembered. Pids are used again, and a new process is not to suffer from an old one.
const REMEMBERED: Duration = Duration::from_mins(10);
/// Processes remembered at once. At ten derivations a second, an attacker needs minutes to push one out.
const MAX_REMEMBERED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_passphrase_costs_more_up_to_a_bound() {
        assert_eq!(penalty(1), Duration::from_millis(100));
        assert_eq!(penalty(5), Duration::from_millis(500));
        assert_eq!(penalty(u32::MAX), MAX_PENALTY);
    }

    #[test]
    fn a_process_waits_for_its_own_failures_only() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        let [one, other] = [1, 2].map(ShareKey::Process);
        assert_eq!(guesses.failed(one, now), now + PENALTY_STEP);
        assert_eq!(guesses.failed(one, now), now + 2 * PENALTY_STEP);
        assert_eq!(guesses.blocked_until(one, now), Some(now + 2 * PENALTY_STEP));
        assert_eq!(guesses.blocked_until(other, now), None);
        assert_eq!(guesses.blocked_until(one, now + 2 * REMEMBERED), None);
        guesses.clear();
        assert_eq!(guesses.blocked_until(one, now), None);
    }

    #[test]
    fn failures_of_many_processes_take_bounded_memory() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for pid in 1..10_000 {
            guesses.failed(ShareKey::Process(pid), now);
        }
        assert_eq!(guesses.0.len(), MAX_REMEMBERED);
    }
}
