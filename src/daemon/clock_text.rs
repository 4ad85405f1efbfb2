//! Moments and wall times as RFC 3339 text in UTC, for people.
//!
//! A moment is shown by the wall clock as it is *now*: if an administrator sets the clock, uptimes stay right.

use crate::kernel::clock;
use crate::model::state::When;
use crate::model::{Moment, Wall};

/// Both clocks, read together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub(super) moment: Moment,
    wall: Wall,
}

pub(super) fn now() -> Clocks {
    Clocks { moment: clock::now(), wall: clock::wall() }
}

impl Clocks {
    /// `2026-11-21T02:13:00.123Z`.
    pub(super) fn text(self, when: When) -> String {
        let millis = match when {
            When::Wall(wall) => wall.0 as i64,
            When::Moment(moment) => {
                let ago = (i128::from(self.moment.0) - i128::from(moment.0)) / 1_000_000;
                (i128::from(self.wall.0) - ago) as i64
            }
        };
        jiff::Timestamp::from_millisecond(millis).map_or_else(|_| String::new(), |t| format!("{t:.3}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_by_the_wall_clock_of_now() {
        let clocks = Clocks { moment: Moment(10_000_000_000), wall: Wall(1_000_000_000_000) };
        assert_eq!(clocks.text(When::Wall(Wall(0))), "1970-01-01T00:00:00.000Z");
        assert_eq!(clocks.text(When::Moment(Moment(9_000_000_000))), "2001-09-09T01:46:39.000Z");
        assert_eq!(clocks.text(When::Moment(Moment(12_500_000_000))), "2001-09-09T01:46:42.500Z");
    }
}
