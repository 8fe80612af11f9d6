//! Spans of time as people write and read them: `90`, `45m`, `1h30m`, `2d`, `1w`.

use std::fmt::Write;
use std::time::Duration;

use crate::ids::Malformed;

/// Parses a span as ssh-agent's `-t` does: whole seconds, or numbers with the units s, m, h, d, w in either case.
///
/// Zero and anything over [`MAX_LIFETIME`] are refused.
pub fn parse(text: &str) -> Result<Duration, Malformed> {
    const FORM: Malformed =
        Malformed("a lifetime is seconds, or written like `45m`, `1h30m`, `2d`, `1w`; at most 68 years");
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| FORM)?;
        let unit = rest[digits..].chars().next();
        let seconds = match unit.map(|unit| unit.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            Some(_) => return Err(FORM),
        };
        total = number.checked_mul(seconds).and_then(|span| total.checked_add(span)).ok_or(FORM)?;
        rest = &rest[digits + unit.map_or(0, char::len_utf8)..];
    }
    let lifetime = Duration::from_secs(total);
    (total > 0 && lifetime <= MAX_LIFETIME).then_some(lifetime).ok_or(FORM)
}

/// Prints a span in the same form, whole seconds, largest unit first: `1d2h`, `59m12s`.
pub fn show(span: Duration) -> String {
    let mut seconds = span.as_secs();
    let mut text = String::new();
    for (unit, size) in [("d", 24 * 60 * 60), ("h", 60 * 60), ("m", 60), ("s", 1)] {
        if seconds >= size {
            let _ = write!(text, "{}{unit}", seconds / size);
            seconds %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The longest lifetime: what ssh-agent takes, the seconds that fit in 31 bits.
pub const MAX_LIFETIME: Duration = Duration::from_secs(i32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_ssh_agent_reads_them() {
        for (text, seconds) in [
            ("90", 90),
            ("45m", 2_700),
            ("1h30m", 5_400),
            ("1H30", 3_630),
            ("2d", 172_800),
            ("1w", 604_800),
            ("10s", 10),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in
            ["", "0", "0m", "-1", "h", "1x", "1 h", "1.5h", "2147483648", "99999999999999999999", "9999999w", "1\u{b5}"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back_as_the_same_span() {
        for seconds in [1, 59, 60, 3_599, 5_400, 90_061, 604_800] {
            let span = Duration::from_secs(seconds);
            assert_eq!(parse(&show(span)), Ok(span));
        }
        assert_eq!(show(Duration::ZERO), "0s");
    }
}
