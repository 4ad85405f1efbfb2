//! Deadlines in their order.
//!
//! Owns the index. It must not know what a deadline means. What a reader would get wrong: an instance has one entry at most,
//! and it knows which (`Instance::armed`), so that moving it costs two steps in a tree and never a search.

use crate::model::{InstanceId, Moment};
use std::collections::BTreeSet;

/// Whose deadline it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// What could not be saved is tried again.
    Save,
    /// An instance's.
    Instance(InstanceId),
}

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Moment, Timer)>);

impl Timers {
    pub(super) fn next(&self) -> Option<Moment> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Moves `timer` from `old` to `new`.
    pub(super) fn move_to(&mut self, timer: Timer, old: Option<Moment>, new: Option<Moment>) {
        if old == new {
            return;
        }
        if let Some(at) = old {
            self.0.remove(&(at, timer));
        }
        if let Some(at) = new {
            self.0.insert((at, timer));
        }
    }

    /// Those that are due, earliest first. They stay in the index until whoever they belong to moves them.
    pub(super) fn due(&self, now: Moment) -> Vec<Timer> {
        self.0.iter().take_while(|(at, _)| *at <= now).map(|(_, timer)| *timer).collect()
    }
}
