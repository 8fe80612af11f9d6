//! GitHub's clock: the real one moved by a skew, and the three ways GitHub writes a time.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment on GitHub's clock, in Unix seconds.
pub type Timestamp = i64;

/// Returns the current second of a clock that is `skew` seconds ahead of ours.
pub(super) fn now(skew: i64) -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("the test machine's clock is past 1970");
    i64::try_from(since_epoch.as_secs()).expect("seconds since 1970 fit 63 bits") + skew
}

/// `2026-11-22T14:30:00Z`, as in `expires_at`.
pub(super) fn rfc3339(at: Timestamp) -> String {
    date(at).format(&Rfc3339).expect("a four-digit year has an RFC 3339 form")
}

/// `2026-11-22T14:30:00.000Z`, as in an installation's `created_at`.
pub(super) fn rfc3339_millis(at: Timestamp) -> String {
    rfc3339(at).replace('Z', ".000Z")
}

/// Reads the `since` parameter of a list; `None` if it is no RFC 3339 time.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// `Sun, 22 Nov 2026 14:30:00 GMT`, as in the `Date` header (RFC 9110, section 5.6.7).
pub(super) fn http_date(at: Timestamp) -> String {
    let at = date(at);
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    format!(
        "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
        &weekday[..3],
        at.day(),
        &month[..3],
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// `2026-11-22 14:30:00 UTC`, as inside the sentences about rate limits.
pub(super) fn sentence(at: Timestamp) -> String {
    rfc3339(at).replace('T', " ").replace('Z', " UTC")
}

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at).expect("tests stay within the years 1 to 9999")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_each_of_githubs_forms() {
        let at = 1_795_357_805;
        assert_eq!(rfc3339(at), "2026-11-22T14:30:05Z");
        assert_eq!(rfc3339_millis(at), "2026-11-22T14:30:05.000Z");
        assert_eq!(http_date(at), "Sun, 22 Nov 2026 14:30:05 GMT");
        assert_eq!(sentence(at), "2026-11-22 14:30:05 UTC");
        assert_eq!(parse("2026-11-22T15:30:05+01:00"), Some(at));
    }
}
