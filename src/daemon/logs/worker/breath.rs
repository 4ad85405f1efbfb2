//! How long busy pipes are left to fill before they are looked at again.
//!
//! Owns that one figure. It must not wait itself, nor ask for the time. What a reader would get wrong: why waiting is faster. An app that
//! writes a line at a time wakes whoever waits for its pipe with every write that finds it empty, and stands still while
//! splice(2) holds the pipe: two threads that take turns for every few lines get less done than one that is let write. Where little
//! comes there is no breath at all, so a line of a quiet app is moved at once, and nothing wakes up for nothing.

use std::time::Duration;

/// No longer than this: nobody who watches a log sees it.
const MOST: Duration = Duration::from_micros(500);
/// Shorter ones are none.
const LEAST: Duration = Duration::from_micros(30);

/// What is known of how fast pipes fill.
#[derive(Debug)]
pub(super) struct Breath(Duration);

impl Breath {
    pub(super) fn new() -> Self {
        Self(Duration::ZERO)
    }

    /// After a turn. `waited`: how long nothing was ready before it. `full`: a pipe was found at least half full, so its app may
    /// be waiting. How long to leave the pipes alone now, if at all.
    pub(super) fn after(&mut self, waited: Duration, full: bool) -> Option<Duration> {
        self.0 = if waited >= MOST {
            Duration::ZERO
        } else if full {
            self.0 / 2
        } else {
            (self.0 * 2).clamp(LEAST, MOST)
        };
        Some(self.0).filter(|breath| *breath >= LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_micros(3);

    #[test]
    fn what_comes_now_and_then_is_never_kept_waiting() {
        let mut breath = Breath::new();
        assert!((0..10).all(|_| breath.after(MOST, false).is_none()));
    }

    #[test]
    fn what_comes_all_the_time_is_looked_at_less_and_less_often_down_to_the_most_that_nobody_sees() {
        let mut breath = Breath::new();
        let breaths: Vec<_> = (0..10).filter_map(|_| breath.after(AT_ONCE, false)).collect();
        assert!(breaths.len() == 10 && breaths.is_sorted() && breaths.last() == Some(&MOST), "{breaths:?}");
        assert_eq!(breath.after(MOST, false), None, "over at once when it is quiet");
    }

    #[test]
    fn who_may_wait_for_room_is_let_wait_half_as_long_and_soon_no_more() {
        let mut breath = Breath::new();
        while breath.after(AT_ONCE, false) != Some(MOST) {}
        assert_eq!(breath.after(AT_ONCE, true), Some(MOST / 2));
        assert!((0..5).any(|_| breath.after(AT_ONCE, true).is_none()));
    }
}
