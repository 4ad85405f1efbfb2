//! Lengths of time, written as people write them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time. Text form: `500ms`, `10s`, `1m30s`, `2h`, `1d`; a bare number is milliseconds, as PM2 users write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// Longer than anybody waits, short enough that adding it to a point in time cannot overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// `ms` milliseconds.
    #[must_use]
    pub const fn millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a duration; write 500ms, 10s, 2h or a number of milliseconds");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
            let (digits, tail) = rest.split_at(end);
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let factor = match unit.trim() {
                "" if digits.len() == text.trim().len() => 1,
                unit => UNITS.iter().find(|(u, _)| *u == unit).ok_or_else(wrong)?.1,
            };
            let part = if let Ok(whole) = digits.parse::<u64>() {
                whole.checked_mul(factor).ok_or_else(wrong)?
            } else {
                let value = digits.parse::<f64>().map_err(|_| wrong())? * factor as f64;
                if !value.is_finite() || value > 9e15 {
                    return Err(wrong());
                }
                value.round() as u64
            };
            total = total.checked_add(part).ok_or_else(wrong)?;
            rest = tail;
        }
        let span = Duration::from_millis(total);
        if span > LONGEST { Err(wrong()) } else { Ok(Self(span)) }
    }
}

impl fmt::Display for Span {
    /// The largest unit that is exact: `10s`, `1500ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        for (unit, factor) in UNITS {
            if ms > 0 && ms.is_multiple_of(u128::from(factor)) {
                return write!(f, "{}{unit}", ms / u128::from(factor));
            }
        }
        write!(f, "{ms}ms")
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"10s\" or a number of milliseconds")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Span, E> {
                v.to_string().parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Span, E> {
                u64::try_from(v).map_err(|_| E::custom("a duration cannot be negative")).and_then(|v| self.visit_u64(v))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Span, E> {
                v.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("2h", 7_200_000),
            ("1600", 1600),
            ("1m30s", 90_000),
            ("0.5s", 500),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Span::millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "10x", "1s5", "5 5", "999999999999999999999", "200000d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert_eq!(Span::millis(1500).to_string(), "1500ms");
        assert_eq!(Span::millis(60_000).to_string(), "1m");
        assert_eq!(Span::millis(0).to_string(), "0ms");
    }
}
