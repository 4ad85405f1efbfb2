//! Waiting for a condition, with a deadline. The only place where tests re-check anything.
//!
//! A condition here is one that no descriptor announces: what a file holds, what a fresh `opm ls` says. Nothing is concluded
//! from time having passed, except that a test has failed.

use std::time::{Duration, Instant};

/// Long, since a loaded machine must not make a test red; a green test never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Until it holds.
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_or(what, PATIENCE, condition, String::new);
}

/// Until it holds; if it does not, panics with what `otherwise` has to say.
#[track_caller]
pub fn until_or<T: std::fmt::Debug>(
    what: &str,
    limit: Duration,
    condition: impl FnMut() -> bool,
    otherwise: impl FnOnce() -> T,
) {
    assert!(holds_within(limit, condition), "waited {limit:?} in vain for {what}: {:?}", otherwise());
}

/// Whether it comes to hold within the limit.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    true
}
