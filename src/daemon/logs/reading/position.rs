//! A place in a log, as clients keep it: `18+12345`.
//!
//! Owns how it is written. It must not look whether anything is there.

use std::fmt::{self, Display};
use std::str::FromStr;

/// A place in a log. Offsets are of the unpacked file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which of the log's files.
    pub number: u64,
    /// Where in it.
    pub offset: u64,
}

impl Position {
    /// The beginning of a file.
    #[must_use]
    pub fn start(number: u64) -> Self {
        Self { number, offset: 0 }
    }
}

impl Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.number, self.offset)
    }
}

impl FromStr for Position {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('+').map(|(number, offset)| (number.parse(), offset.parse()));
        match parts {
            Some((Ok(number), Ok(offset))) => Ok(Self { number, offset }),
            Some(_) | None => Err(format!("'{}' is no place in a log, which is NUMBER+OFFSET", text.escape_debug())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_it_is_read() {
        for (text, number, offset) in [("18+12345", 18, 12345), ("0+0", 0, 0)] {
            let position = Position { number, offset };
            assert_eq!(text.parse(), Ok(position));
            assert_eq!(position.to_string(), text);
        }
        for wrong in ["", "18", "18+", "+5", "a+b", "1+2+3", "1+-2"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong}");
        }
    }
}
