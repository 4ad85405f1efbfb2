//! Times for people: how long, how long ago, how soon.

use jiff::Timestamp;
use std::time::Duration;

/// How long between an RFC 3339 time and `now`, if it is one and lies before.
fn passed(earlier: &str, now: Timestamp) -> Option<Duration> {
    Duration::try_from(now.duration_since(earlier.parse().ok()?)).ok()
}

/// How long between two RFC 3339 times.
pub(in crate::cli) fn between(earlier: &str, later: &str) -> Option<Duration> {
    passed(earlier, later.parse().ok()?)
}

/// `3m 12s`: how long since `since`. A clock set back meanwhile shows as `0s`.
pub(in crate::cli) fn since(since: &str, now: Timestamp) -> String {
    passed(since, now).map_or_else(|| "0s".to_owned(), length)
}

/// `3m ago`: the largest unit is enough for something past.
pub(in crate::cli) fn ago(at: &str, now: Timestamp) -> String {
    let length = since(at, now);
    format!("{} ago", length.split(' ').next().unwrap_or_default())
}

/// `12s`: how long until then. `0s` if it is due.
pub(in crate::cli) fn until(at: &str, now: Timestamp) -> String {
    let left = at.parse::<Timestamp>().ok().and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    match left {
        // Rounded up: what is due in half a second is not due yet.
        Some(left) => length(left + Duration::from_millis(999)),
        None => "0s".to_owned(),
    }
}

/// `12s`, `3m 12s`, `5h 3m`, `9d 5h`: two units say enough.
pub(in crate::cli) fn length(length: Duration) -> String {
    let s = length.as_secs();
    let (m, h, d) = (s / 60, s / 3600, s / 86_400);
    if d > 0 {
        format!("{d}d {}h", h % 24)
    } else if h > 0 {
        format!("{h}h {}m", m % 60)
    } else if m > 0 {
        format!("{m}m {}s", s % 60)
    } else {
        format!("{s}s")
    }
}

/// `31 ms`, `1.2 s`: how long an order took.
pub(in crate::cli) fn took(length: Duration) -> String {
    if length < Duration::from_secs(1) {
        format!("{} ms", length.as_millis())
    } else {
        format!("{:.1} s", length.as_secs_f64())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units_at_most() {
        for (s, text) in [(0, "0s"), (59, "59s"), (192, "3m 12s"), (3600, "1h 0m"), (100_000, "1d 3h")] {
            assert_eq!(length(Duration::from_secs(s)), text);
        }
        assert_eq!(took(Duration::from_millis(31)), "31 ms");
        assert_eq!(took(Duration::from_millis(1240)), "1.2 s");
    }

    #[test]
    fn points_in_time_are_told_from_now() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(since("2025-12-31T23:59:57.5Z", now), "1m 2s");
        assert_eq!(ago("2025-12-31T23:59:57.5Z", now), "1m ago");
        assert_eq!(since("2027-01-01T00:00:00Z", now), "0s");
        assert_eq!(until("2026-01-01T00:01:11.5Z", now), "12s");
        assert_eq!(until("2026-01-01T00:00:00Z", now), "0s");
        assert_eq!(until("nonsense", now), "0s");
    }
}
