//! How a user wants the time before a line written: strftime(3).
//!
//! Owns what may be asked for. It must not write a line; the daemon does, with the same crate. What a reader would get wrong: a
//! format that can be written but not read back is refused, because whoever reads the log must take off again what was put there.

use super::Mistake;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// It stands in the index of each log file, in a field of that many bytes.
const LONGEST: usize = 200;

/// Whether lines can be stamped so.
///
/// # Errors
/// They cannot; naming what is wrong.
pub fn check(format: &str) -> Result<(), Mistake> {
    let wrong = |why: &str| Mistake::new(format!("log format '{}' {why}", format.escape_debug()));
    if format.len() > LONGEST {
        return Err(wrong("is longer than 200 bytes"));
    }
    if !format.contains('%') {
        return Err(wrong("holds no time").hint("the form is that of strftime(3), such as '%Y-%m-%d %H:%M:%S%.3f'"));
    }
    for directive in directives(format) {
        if matches!(directive.chars().last(), Some('n' | 't')) && directive.len() > 1 {
            return Err(wrong(&format!("holds {directive}, which would tear the line")));
        }
        if written(directive, &samples()[0]).is_none() {
            return Err(wrong(&format!("holds {directive}, which opm does not know")));
        }
        if !samples().iter().all(|time| comes_back(directive, time)) {
            let mistake = wrong(&format!("holds {directive}, which cannot be read back out of a log"));
            return Err(if directive.ends_with('Z') { mistake.hint("%z is the offset from UTC") } else { mistake });
        }
    }
    if format.chars().any(char::is_control) {
        return Err(wrong("holds a control character"));
    }
    if format.trim() != format {
        return Err(wrong("starts or ends with a space"));
    }
    if !samples().iter().all(|time| comes_back(format, time)) {
        return Err(wrong("cannot be read back out of a log"));
    }
    Ok(())
}

/// Times with few digits and with many, east of Greenwich and west of it.
fn samples() -> [Zoned; 3] {
    [(0, 0), (1_790_000_123_456_789, -12_600), (1_701_234_567_000_100, 49_500)].map(|(micros, offset)| {
        let time = Timestamp::from_microsecond(micros).unwrap_or_default();
        time.to_zoned(jiff::tz::Offset::from_seconds(offset).map_or(TimeZone::UTC, TimeZone::fixed))
    })
}

fn written(format: &str, time: &Zoned) -> Option<String> {
    BrokenDownTime::from(time).to_string(format).ok()
}

fn comes_back(format: &str, time: &Zoned) -> bool {
    let Some(text) = written(format, time) else { return false };
    BrokenDownTime::parse_prefix(format, &text).is_ok_and(|(_, length)| length == text.len())
}

/// The parts that begin with `%`: flags, width, colons, a dot, and the letter that ends it.
fn directives(format: &str) -> impl Iterator<Item = &str> {
    let mut rest = format;
    std::iter::from_fn(move || {
        rest = &rest[rest.find('%')?..];
        let ends = |(at, c): &(usize, char)| *at > 0 && !matches!(c, '-' | '_' | '^' | '#' | ':' | '.' | '0'..='9');
        let end = rest.char_indices().find(ends).map_or(rest.len(), |(at, c)| at + c.len_utf8());
        let (directive, after) = rest.split_at(end);
        rest = after;
        Some(directive)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_back_may_be_asked_for() {
        for good in [
            "%Y-%m-%d %H:%M:%S%.3f",
            "%Y-%m-%dT%H:%M:%S.%6f%:z",
            "%F %T",
            "[%d/%b/%Y:%H:%M:%S %z]",
            "%s",
            "%s.%3N",
            "%b %e %T",
            "%a, %d %b %Y %I:%M:%S %p",
            "%y%m%d-%H%M%S",
            "%-d.%-m.%Y %k:%M",
            "%H:%M 100%% mine",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |format: &str| check(format).unwrap_err().message;
        assert_eq!(said("YYYY-MM-DD"), "log format 'YYYY-MM-DD' holds no time");
        assert_eq!(said("%F %E"), "log format '%F %E' holds %E, which opm does not know");
        assert_eq!(said("%F %"), "log format '%F %' holds %, which opm does not know");
        assert_eq!(said("%F %05"), "log format '%F %05' holds %05, which opm does not know");
        assert_eq!(said("%T %Z"), "log format '%T %Z' holds %Z, which cannot be read back out of a log");
        assert_eq!(check("%T %Z").unwrap_err().hint.unwrap(), "%z is the offset from UTC");
        assert_eq!(said("%c"), "log format '%c' holds %c, which cannot be read back out of a log");
        assert_eq!(said("%F%n%T"), "log format '%F%n%T' holds %n, which would tear the line");
        assert_eq!(said("%F\n%T"), "log format '%F\\n%T' holds a control character");
        assert_eq!(said("%T "), "log format '%T ' starts or ends with a space");
        assert_eq!(said(&"%F".repeat(101)), format!("log format '{}' is longer than 200 bytes", "%F".repeat(101)));
        assert!(said("%f%Y").ends_with("cannot be read back out of a log"), "a fraction takes all digits");
    }
}
