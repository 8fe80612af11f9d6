//! The two clocks, how long something lives by them, and GitHub's way of writing the time. The only place that asks for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One moment on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Seconds since 1970 by the wall clock: what tokens expire by. It may be set, in either direction.
    pub unix: i64,
    /// Time since boot, the time asleep included: what lifetimes are counted in. A monotonic clock that halts in suspend
    /// would keep a key alive all weekend.
    pub boot: Duration,
}

/// A span that something lives. Thousands are kept, hence so small.
#[derive(Clone, Copy)]
pub struct Life {
    /// When it began, in seconds since 1970.
    unix: i64,
    /// The same moment in seconds since boot.
    boot: u32,
    /// Seconds from then on.
    seconds: u32,
}

/// Where the time comes from; tests bring their own.
pub type Clock = fn() -> Now;

/// Reads the system's clocks.
pub fn system() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Now { unix: i64::try_from(unix).unwrap_or(i64::MAX), boot: boot() }
}

/// Writes a moment as RFC 3339 in UTC: `2026-11-22T14:30:00Z`.
pub fn rfc3339(unix: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(unix).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).unwrap_or_else(|_| "9999-12-31T23:59:59Z".to_owned())
}

/// Reads RFC 3339 with any offset and fraction, as GitHub writes `expires_at`; whole seconds, rounded down.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// Reads the form of HTTP's `Date` header (RFC 9110 section 5.6.7).
pub fn parse_http_date(text: &str) -> Option<i64> {
    // IMF-fixdate is RFC 2822 with the zone's old name.
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok().map(OffsetDateTime::unix_timestamp)
}

impl Life {
    /// A life of so many seconds from now on; of none, if they are negative.
    pub fn new(now: Now, seconds: i64) -> Self {
        let boot = u32::try_from(now.boot.as_secs()).unwrap_or(u32::MAX);
        Self { unix: now.unix, boot, seconds: u32::try_from(seconds.max(0)).unwrap_or(u32::MAX) }
    }

    /// Whether there are at least `seconds` more, and one in any case.
    pub fn lasts(self, seconds: i64, now: Now) -> bool {
        self.seconds() - self.age(now) >= seconds.max(1)
    }

    /// Seconds since it began, by the clock that is further along: one stops in some kinds of sleep, the other can be set back.
    pub fn age(self, now: Now) -> i64 {
        let awake = now.boot.as_secs().saturating_sub(self.boot.into());
        i64::try_from(awake).unwrap_or(i64::MAX).max(now.unix.saturating_sub(self.unix))
    }

    /// Seconds from its beginning to its end.
    pub fn seconds(self) -> i64 {
        self.seconds.into()
    }

    /// When it began, in seconds since boot.
    pub fn began(self) -> u32 {
        self.boot
    }

    /// When it is over, by each clock; it is over as soon as one of them gets there.
    pub fn end(self) -> Now {
        let boot = u64::from(self.boot) + u64::from(self.seconds);
        Now { unix: self.unix.saturating_add(self.seconds()), boot: Duration::from_secs(boot) }
    }

    /// Whether it ends later than another.
    pub fn ends_after(self, other: Self) -> bool {
        self.end().boot > other.end().boot
    }
}

fn boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const BOOT: ClockId = ClockId::CLOCK_BOOTTIME;
    // Elsewhere the monotonic clock is the one that counts time asleep.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const BOOT: ClockId = ClockId::CLOCK_MONOTONIC;
    clock_gettime(BOOT).expect("this clock exists on every supported system").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn githubs_times_are_read_in_every_form_seen() {
        let half_past = 1_795_357_800;
        for text in [
            "2026-11-22T14:30:00Z",
            "2026-11-22T16:30:00+02:00",
            "2026-11-22T14:30:00.000Z",
            "2026-11-22T14:30:00.999Z",
        ] {
            assert_eq!(parse_rfc3339(text), Some(half_past), "{text}");
        }
        assert_eq!(parse_http_date("Sun, 22 Nov 2026 14:30:00 GMT"), Some(half_past));
        assert_eq!(rfc3339(half_past), "2026-11-22T14:30:00Z");
        assert_eq!(parse_rfc3339("tomorrow"), None);
    }
}
