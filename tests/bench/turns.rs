//! Who is measured when, and what is made of it.

use std::time::{Duration, Instant};

/// What one contender took, shortest first.
pub(crate) struct Samples(Vec<Duration>);

/// Gives every contender a turn each round, of so many measurements `in_a_row`. Who began the last round ends the next,
/// so that nobody always begins.
pub(crate) fn take_turns<C, const N: usize>(
    rounds: usize,
    in_a_row: usize,
    mut contenders: [C; N],
    mut measure: impl FnMut(&mut C) -> Duration,
) -> [Samples; N] {
    let mut samples = [(); N].map(|()| Vec::with_capacity(rounds * in_a_row));
    for round in 0..WARM_UP + rounds {
        for turn in 0..N {
            let who = (round + turn) % N;
            for _ in 0..in_a_row {
                let took = measure(&mut contenders[who]);
                if round >= WARM_UP {
                    samples[who].push(took);
                }
            }
        }
    }
    samples.map(|mut samples| {
        samples.sort_unstable();
        Samples(samples)
    })
}

/// How long `work` takes, and what comes of it.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

impl Samples {
    pub(crate) fn median(&self) -> Duration {
        self.below(50)
    }

    /// The 99th percentile.
    pub(crate) fn p99(&self) -> Duration {
        self.below(99)
    }

    /// What this share of the samples, in hundredths, does not exceed.
    fn below(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }
}

/// Rounds before the first that counts: caches fill, and tokens are minted.
const WARM_UP: usize = 5;
