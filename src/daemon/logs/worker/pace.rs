//! How long busy pipes are left to fill before they are looked at again, and which of them nobody watches meanwhile.
//!
//! Owns these two, and what was found full since we last waited. It must not wait itself, nor ask for the time. What a reader would get
//! wrong: why waiting is faster. An app that writes a line at a time wakes whoever waits for its pipe with every write that finds it
//! empty, and stands still while splice(2) holds the pipe: two threads that take turns for every few lines get less done than one that is
//! let write. And a pipe in an epoll set has every write tell that set, however much is in the pipe already (`poll_usage` in the
//! kernel's fs/pipe.c, since 5.14): a tenth of what such an app can write. Where little comes there is no breath at all and everything is
//! watched, so a line of a quiet app is moved at once, and nothing wakes up for nothing.

use super::super::stream::{Poured, State};
use super::Worker;
use std::collections::BTreeSet;
use std::time::Duration;

/// No longer than this: nobody who watches a log sees it.
const MOST: Duration = Duration::from_micros(500);
/// Shorter ones are none.
const LEAST: Duration = Duration::from_micros(30);
/// So many bytes of one turn make a stream busy; a quarter of it and it is watched again.
const BUSY: u64 = 32 << 10;

/// What is known of how fast pipes fill.
#[derive(Debug, Default)]
pub(super) struct Pace {
    breath: Duration,
    /// A pipe was found at least half full since we last waited.
    pub(super) full: bool,
    /// The tokens of those that are looked at after each breath.
    busy: BTreeSet<u64>,
}

impl Pace {
    /// Whether only epoll knows when there is something to do.
    pub(super) fn may_block(&self) -> bool {
        self.busy.is_empty()
    }

    /// After a turn. `waited`: how long nothing was ready before it. How long to leave the pipes alone now, if at all.
    pub(super) fn after(&mut self, waited: Duration) -> Option<Duration> {
        let full = std::mem::take(&mut self.full);
        self.breath = if waited >= MOST {
            Duration::ZERO
        } else if full {
            self.breath / 2
        } else {
            (self.breath * 2).clamp(LEAST, MOST)
        };
        Some(self.breath).filter(|breath| *breath >= LEAST)
    }
}

impl Worker {
    /// After a turn of a stream: whether it is watched until the next one.
    pub(super) fn keep_pace(&mut self, token: u64, poured: &Poured) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        match stream.state {
            // One whose app may be waiting has no breath, so there is nothing to be won.
            State::Watched if poured.bytes >= BUSY && !poured.full => {
                self.epoll.remove(&stream.pipe);
                stream.state = State::Busy;
                self.pace.busy.insert(token);
            }
            State::Busy if poured.bytes < BUSY / 4 => self.watch(token),
            State::Watched | State::Busy | State::Stuck | State::Dropping | State::Ended => {}
        }
    }

    /// The turns of those that are not watched.
    pub(super) fn look_at_the_busy(&mut self) {
        let mut busy = std::mem::take(&mut self.pace.busy);
        busy.retain(|token| {
            self.turn(*token, false);
            self.streams.get(token).is_some_and(|stream| stream.state == State::Busy)
        });
        self.pace.busy.append(&mut busy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_micros(3);

    impl Pace {
        fn full(&mut self) -> &mut Self {
            self.full = true;
            self
        }
    }

    #[test]
    fn what_comes_now_and_then_is_never_kept_waiting() {
        let mut pace = Pace::default();
        assert!((0..10).all(|_| pace.after(MOST).is_none()));
    }

    #[test]
    fn what_comes_all_the_time_is_looked_at_less_and_less_often_down_to_the_most_that_nobody_sees() {
        let mut pace = Pace::default();
        let breaths: Vec<_> = (0..10).filter_map(|_| pace.after(AT_ONCE)).collect();
        assert!(breaths.len() == 10 && breaths.is_sorted() && breaths.last() == Some(&MOST), "{breaths:?}");
        assert_eq!(pace.after(MOST), None, "over at once when it is quiet");
    }

    #[test]
    fn who_may_wait_for_room_is_let_wait_half_as_long_and_soon_no_more() {
        let mut pace = Pace::default();
        while pace.after(AT_ONCE) != Some(MOST) {}
        assert_eq!(pace.full().after(AT_ONCE), Some(MOST / 2));
        assert!((0..5).any(|_| pace.full().after(AT_ONCE).is_none()));
    }
}
