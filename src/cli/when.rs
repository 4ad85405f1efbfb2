//! Points in time as people write them: `10m` ago, `today`, `2026-11-21 08:00` of this machine's clock.
//!
//! What a reader would get wrong: a time without a zone is local, and a day is its midnight. What says its zone is meant so.

use crate::model::Span;
use jiff::civil::{DateTime, Time};
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};
use rustix::time::{ClockId, clock_gettime};

/// What is written where somebody has to guess.
pub(super) const EXAMPLES: &str = "write 10m for ten minutes ago, '2026-11-21 08:00', 08:00, today, yesterday or boot";

/// The moment that is meant, if any is. `now` says the zone.
pub(super) fn when(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.trim();
    match text {
        "now" => return Some(now.timestamp()),
        "today" => return now.start_of_day().ok().map(|day| day.timestamp()),
        "yesterday" => return now.checked_sub(1.day()).ok()?.start_of_day().ok().map(|day| day.timestamp()),
        "boot" => return boot(now),
        _ => {}
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    // A bare number would be milliseconds, which nobody means here.
    if text.parse::<f64>().is_err()
        && let Ok(Span(ago)) = text.parse()
    {
        return now.timestamp().checked_sub(SignedDuration::try_from(ago).ok()?).ok();
    }
    let local = |time: DateTime| time.to_zoned(now.time_zone().clone()).ok().map(|time| time.timestamp());
    if let Ok(time) = text.parse::<DateTime>() {
        return local(time);
    }
    text.parse::<Time>().ok().and_then(|time| local(now.date().to_datetime(time)))
}

/// When the kernel began.
fn boot(now: &Zoned) -> Option<Timestamp> {
    let up = clock_gettime(ClockId::Boottime);
    let up = SignedDuration::new(up.tv_sec, i32::try_from(up.tv_nsec).ok()?);
    now.timestamp().checked_sub(up).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_many_ways() {
        let now: Zoned = "2026-11-21T12:30:00+01:00[+01:00]".parse().unwrap();
        for (text, meant) in [
            ("10m", "2026-11-21T11:20:00Z"),
            ("2h30m", "2026-11-21T09:00:00Z"),
            ("1.5h", "2026-11-21T10:00:00Z"),
            ("now", "2026-11-21T11:30:00Z"),
            ("today", "2026-11-20T23:00:00Z"),
            ("yesterday", "2026-11-19T23:00:00Z"),
            ("2026-11-21", "2026-11-20T23:00:00Z"),
            ("2026-07-01 08:00", "2026-07-01T07:00:00Z"),
            ("2026-11-21 08:00:01.5", "2026-11-21T07:00:01.5Z"),
            ("2026-11-21T08:00", "2026-11-21T07:00:00Z"),
            ("2026-11-21T08:00:00Z", "2026-11-21T08:00:00Z"),
            ("2026-11-21T08:00:00-05:00", "2026-11-21T13:00:00Z"),
            ("08:00", "2026-11-21T07:00:00Z"),
        ] {
            assert_eq!(when(text, &now).map(|t| t.to_string()).as_deref(), Some(meant), "{text}");
        }
        for text in ["", "5", "1.5", "tomorrow", "-10m", "2026-13-01", "2026-11-21 25:00", "10x"] {
            assert_eq!(when(text, &now), None, "{text}");
        }
        assert!(when("boot", &now).unwrap() < now.timestamp());
    }
}
