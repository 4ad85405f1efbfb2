//! A place in the journal: the number of a line, and a token that tells it from another line of the same number.
//!
//! Owns the text that clients keep. It must not read the journal. What a reader would get wrong: numbers alone would not do. A
//! journal that was removed begins again at 1, and a power cut may take back the last lines, whose numbers are then given
//! again; the token makes both visible instead of skipping in silence.

use crate::model::Moment;
use std::fmt;
use std::str::FromStr;

/// After which line to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) struct Cursor {
    /// The line's number, from 1. 0: before all lines that have one.
    pub(in crate::daemon) seq: u64,
    token: u16,
}

impl Cursor {
    /// Of the line with that number, which was written at that moment.
    pub(super) fn of(seq: u64, moment: Moment) -> Self {
        // Microseconds: two lines of the same number are never written at the same one, give or take one in 65,536.
        Self { seq, token: if seq == 0 { 0 } else { (moment.0 / 1000) as u16 } }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:04x}", self.seq, self.token)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('-').and_then(|(seq, token)| {
            let token = (token.len() == 4).then(|| u16::from_str_radix(token, 16).ok())??;
            Some(Self { seq: seq.parse().ok()?, token })
        });
        parsed.ok_or_else(|| {
            format!("'{}' is not a cursor; they are in the output of 'opm events --json'", text.escape_debug())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_were() {
        for cursor in [Cursor::of(1, Moment(0)), Cursor::of(u64::MAX, Moment(u64::MAX)), Cursor::of(0, Moment(77_000))]
        {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        assert_ne!(Cursor::of(7, Moment(1_000)), Cursor::of(7, Moment(2_000)));
        for text in ["", "7", "7-", "7-12345", "-7-1234", "7-zzzz", "2026-11-21", "10s"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
