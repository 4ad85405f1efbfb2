//! One instance as it is observed: its run if it has one, its rest if it has none, and what its past counts for.
//!
//! Owns the states. It must not hold what is wanted: that is the app's, and the two are only compared in `converge`.
//! What a reader would get wrong: "wanted down" is no state. A resting instance that is wanted up and has no reason to wait
//! is simply one that the next look at it will start.
//!
//! ```text
//!   Resting --spawn--> Starting --Spawned--> Online
//!      ^                  |                     |
//!      |                  +------ exit, order --+-----> Stopping        Unknown (adopted without marks)
//!      |                                                    |              |
//!      +---- Exited and Emptied both came: over ------------+--------------+
//! ```

use super::bug::{self, Bug};
use super::ladder::{Ending, Stage};
use super::limits::{Bounds, Scale};
use super::pause::Frost;
use super::waiters::Waiter;
use crate::model::state::When;
use crate::model::{ExitRecord, Generation, Moment, RunId, Tally};
use std::sync::Arc;

/// A run that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Its number.
    pub id: RunId,
    /// What it is marked with.
    pub generation: Generation,
    /// When its program was executed; until that is reported, when it was asked for.
    pub started: Moment,
    /// It is the one attempt of an errored instance: if it fails before it is healthy, the instance is errored again.
    pub probation: bool,
    /// Its cgroup was reported empty. That may come before the main process ends, which can leave its cgroup (su, sudo).
    pub emptied: bool,
    /// Which limits it is under.
    pub bounds: Bounds,
    /// How its memory is watched, if it has a mark.
    pub scale: Option<Box<Scale>>,
    /// What all of it used; known when its cgroup is empty.
    pub tally: Option<Box<Tally>>,
}

impl Run {
    /// One that was asked for, or found.
    pub(super) fn new(id: RunId, generation: Generation, started: Moment, bounds: Bounds) -> Self {
        Self { id, generation, started, probation: false, emptied: false, bounds, scale: None, tally: None }
    }
}

/// What an instance is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing lives.
    Resting(Rest),
    /// A run was asked for.
    Starting(Run),
    /// Its main process lives.
    Online {
        /// The run.
        run: Run,
        /// Its main process.
        pid: u32,
        /// Whether it is held still.
        frost: Frost,
    },
    /// Its run is on its way down, by order or because its main process ended.
    Stopping(Box<Ending>),
    /// A run that nobody can identify. It is left alone until somebody wants it down.
    Unknown(Run),
}

/// Why nothing lives. Each reason holds for the generation it was found for: a newer one starts afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// No reason: it is started as soon as it is wanted up.
    Idle,
    /// Settled: it did its work.
    Finished(Generation),
    /// Its successor has a time.
    Backoff(Generation, Moment),
    /// Settled: it failed too often; one attempt at that moment, if any.
    Errored(Generation, Option<Moment>),
}

impl Rest {
    /// When it is over by itself.
    pub(super) fn deadline(self) -> Option<Moment> {
        match self {
            Self::Idle | Self::Finished(_) => None,
            Self::Backoff(_, until) => Some(until),
            Self::Errored(_, next) => next,
        }
    }

    /// Whether it still holds when `generation` is wanted.
    pub(super) fn holds_for(self, generation: Generation) -> bool {
        match self {
            Self::Idle => false,
            Self::Finished(of) | Self::Backoff(of, _) | Self::Errored(of, _) => of >= generation,
        }
    }
}

/// What failed lately, and how often it was started again by itself. Counts for one generation: every order that starts
/// something raises the generation, and so begins a clean sheet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Counters {
    /// Which generation this counts for.
    pub of: Generation,
    /// Automatic restarts.
    pub restarts: u32,
    /// Early failures in a row: the backoff's exponent.
    pub failures: u32,
    /// Failures within the start limit's window, oldest first.
    pub recent: Vec<Moment>,
}

/// One instance.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    /// What it is doing.
    pub state: State,
    /// Further runs that adoption found beside the first, which should not be. They are being ended; nothing starts beside them.
    pub extras: Vec<Ending>,
    /// What its past counts for.
    pub counters: Counters,
    /// How its last run ended.
    pub last: Option<(Arc<ExitRecord>, When)>,
    /// Who waits for it.
    pub waiters: Vec<Waiter>,
    /// The deadline that is in the index, so that it is found there again.
    pub armed: Option<Moment>,
}

impl Instance {
    /// One that never ran.
    pub(super) fn new() -> Self {
        Self {
            state: State::Resting(Rest::Idle),
            extras: Vec::new(),
            counters: Counters::default(),
            last: None,
            waiters: Vec::new(),
            armed: None,
        }
    }

    /// The run it is about; extras are not it.
    pub(super) fn run(&self) -> Option<&Run> {
        match &self.state {
            State::Resting(_) => None,
            State::Starting(run) | State::Online { run, .. } | State::Unknown(run) => Some(run),
            State::Stopping(ending) => Some(&ending.run),
        }
    }

    /// Nothing lives, as far as anybody knows.
    pub(super) fn is_gone(&self) -> bool {
        self.run().is_none() && self.extras.is_empty()
    }

    /// Something lives that cannot be brought down further by waiting: left behind on purpose, or stuck in the kernel.
    pub(super) fn is_halted(&self) -> bool {
        let halted = |e: &Ending| matches!(e.stage, Stage::Stuck | Stage::Left);
        let first = match &self.state {
            State::Stopping(ending) => halted(ending),
            State::Resting(_) => true,
            State::Starting(_) | State::Online { .. } | State::Unknown(_) => false,
        };
        first && !self.is_gone() && self.extras.iter().all(halted)
    }

    /// The one deadline of its state, or of the first of its extras.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let own = match &self.state {
            State::Resting(rest) => rest.deadline(),
            State::Online { frost, run, .. } => {
                let scale = run.scale.as_ref().and_then(|scale| scale.deadline());
                frost.deadline().into_iter().chain(scale).min()
            }
            State::Starting(_) | State::Unknown(_) => None,
            State::Stopping(ending) => ending.stage.deadline(),
        };
        own.into_iter().chain(self.extras.iter().filter_map(|e| e.stage.deadline())).min()
    }

    /// The highest generation that anything of it is known by.
    pub(super) fn newest_generation(&self) -> Generation {
        let run = self.run().map(|run| run.generation);
        let last = self.last.as_ref().map(|(record, _)| record.generation);
        let stopped = self.last.as_ref().and_then(|(record, _)| record.down);
        // A start that was refused gives its generation back, but a stop may have been marked with it meanwhile: one that comes
        // now must be past that mark, or the next daemon would take the stop for the later order.
        let own = match &self.state {
            State::Stopping(ending) => ending.mark,
            State::Resting(_) | State::Starting(_) | State::Online { .. } | State::Unknown(_) => None,
        };
        let marks = own.into_iter().chain(self.extras.iter().filter_map(|e| e.mark)).filter_map(|mark| mark.down).max();
        let marks = marks.max(stopped).filter(|_| !bug::on(Bug::MarkedGenerationReused));
        run.max(last).max(marks).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_instance_is_small() {
        // Ten thousand of them are to cost less than what one Node process starts with.
        assert!(size_of::<super::Instance>() <= 240, "{} bytes", size_of::<super::Instance>());
    }
}
