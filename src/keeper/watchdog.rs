//! The watchdog, where one is asked for: is the daemon's loop alive, and do we tell systemd that we are.
//!
//! Owns when to ask and when to give up. What a reader would get wrong: systemd is told that the *keeper* is well, each half
//! period; a hung daemon is the keeper's to end. Were systemd to end the keeper for it, exits would go unrecorded. And what is
//! counted is our own ticks, not time: when the whole machine was halted, the daemon could not have answered either.

use std::time::{Duration, Instant};

/// When to ask whom.
#[derive(Debug)]
pub(super) struct Watchdog {
    pub(super) period: Duration,
    next: Instant,
    /// An answer is due, and for so many ticks.
    asked: Option<u8>,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is not time yet.
    Nothing,
    /// Half a period has gone by: say so to systemd, and ask the daemon unless it owes an answer already.
    Tick { ask: bool },
    /// The daemon owes an answer for a whole period.
    Hung,
}

impl Watchdog {
    pub(super) fn new(period: Duration, now: Instant) -> Self {
        Self { period, next: now, asked: None }
    }

    /// The period that systemd asks for (sd_watchdog_enabled(3)).
    pub(super) fn asked_by_systemd() -> Option<Duration> {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
            return None;
        }
        number("WATCHDOG_USEC").filter(|us| *us > 0).map(Duration::from_micros)
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Called whenever there is a reason to; `serving`: a daemon is ready, so it can be asked.
    pub(super) fn due(&mut self, now: Instant, serving: bool) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        self.next = now + self.period / 2;
        match self.asked {
            Some(1) if serving => {
                self.asked = None;
                Due::Hung
            }
            Some(ticks) if serving => {
                self.asked = Some(ticks + 1);
                Due::Tick { ask: false }
            }
            None if serving => {
                self.asked = Some(0);
                Due::Tick { ask: true }
            }
            Some(_) | None => {
                self.asked = None;
                Due::Tick { ask: false }
            }
        }
    }

    /// It answered, or it is another.
    pub(super) fn answered(&mut self) {
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_question_at_a_time_and_a_whole_period_for_the_answer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut dog = Watchdog::new(Duration::from_millis(100), start);
        assert_eq!(dog.due(at(0), true), Due::Tick { ask: true });
        assert_eq!(dog.due(at(49), true), Due::Nothing);
        dog.answered();
        assert_eq!(dog.due(at(50), true), Due::Tick { ask: true });
        assert_eq!(dog.due(at(100), true), Due::Tick { ask: false }, "it still has time");
        assert_eq!(dog.due(at(150), true), Due::Hung);
        assert_eq!(dog.due(at(200), false), Due::Tick { ask: false }, "none to ask; systemd is told all the same");
        assert_eq!(dog.due(at(250), true), Due::Tick { ask: true }, "the next daemon starts with a clean sheet");
        assert_eq!(dog.due(at(9000), true), Due::Tick { ask: false }, "we were halted, and so was it");
        assert_eq!(dog.due(at(9050), true), Due::Hung);
    }
}
