//! The freezer of runs: asked through `cgroup.freeze`, believed through `cgroup.events`.
//!
//! Owns the watch on a run that is being frozen, thawed, or is frozen. It must not decide. What a reader would get wrong: what is
//! said is said once for each question (its turn). A frozen run whose `frozen` flickers, since one of its processes was killed,
//! is still frozen by order; only when `cgroup.freeze` says 0 has somebody let it go.

use super::super::token::Token;
use super::Runs;
use crate::kernel::epoll::Epoll;
use crate::kernel::freezer::is_frozen;
use crate::model::RunId;
use crate::supervise::{Freezer, Input};
use rustix::fd::OwnedFd;

/// What is waited for at a run's freezer. Until the run's exit; a descriptor more than a quiet run has.
pub(super) struct Watch {
    events: OwnedFd,
    turn: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Freezing,
    Frozen,
    Thawing,
}

impl Watch {
    /// Stops watching.
    pub(super) fn end(self, epoll: &Epoll) {
        epoll.remove(&self.events);
    }
}

impl Runs {
    /// Asks the freezer to hold everything in the run.
    pub(in crate::daemon) fn freeze(&mut self, epoll: &Epoll, run: RunId, turn: u64) -> Option<Input> {
        self.ask_freezer(epoll, run, turn, Stage::Freezing)
    }

    /// Asks it to let go. Without a turn nobody waits for it.
    pub(in crate::daemon) fn thaw(&mut self, epoll: &Epoll, run: RunId, turn: Option<u64>) -> Option<Input> {
        if let Some(turn) = turn {
            return self.ask_freezer(epoll, run, turn, Stage::Thawing);
        }
        self.stop_watching_freezer(epoll, run);
        if let Some(dir) = self.dir(run) {
            let _ = dir.freeze(false);
        }
        None
    }

    fn ask_freezer(&mut self, epoll: &Epoll, run: RunId, turn: u64, stage: Stage) -> Option<Input> {
        self.stop_watching_freezer(epoll, run);
        // Gone from the table or from the tree: its end is on its way to the core, and answers whoever waits.
        let dir = self.dir(run)?;
        let refused = |what: &str, e: rustix::io::Errno| {
            let error = format!("failed to {what} of run {}: {}", run.0, std::io::Error::from(e));
            Some(Input::FreezerRefused { run, turn, error })
        };
        // Watched first: whatever happens after the question is seen.
        let watched = dir.events().and_then(|events| {
            epoll.add_priority(&events, Token::Freezer(run).encode())?;
            Ok(events)
        });
        let events = match watched {
            Ok(events) => events,
            Err(e) => return refused("watch cgroup.events", e),
        };
        let frozen = stage == Stage::Freezing;
        if let Err(e) = dir.freeze(frozen) {
            epoll.remove(&events);
            return refused("write cgroup.freeze", e);
        }
        self.table.get_mut(&run)?.freezer = Some(Watch { events, turn, stage });
        self.freezer_ready(epoll, run)
    }

    /// Takes up the watch on a run that the daemon before had frozen, or was freezing: by its cgroup.events.
    pub(in crate::daemon) fn adopted_freezer(
        &mut self,
        epoll: &Epoll,
        run: RunId,
        found: Freezer,
        events: Option<OwnedFd>,
    ) {
        let stage = match found {
            Freezer::Frozen => Stage::Frozen,
            Freezer::Freezing => Stage::Freezing,
            Freezer::Thawed => return,
        };
        if let (Some(events), Some(live)) = (events, self.table.get_mut(&run)) {
            let _ = epoll.add_priority(&events, Token::Freezer(run).encode());
            live.freezer = Some(Watch { events, turn: 0, stage });
        }
    }

    /// cgroup.events has changed.
    pub(in crate::daemon) fn freezer_ready(&mut self, epoll: &Epoll, run: RunId) -> Option<Input> {
        let dir = self.dir(run);
        let watch = self.table.get_mut(&run)?.freezer.as_mut()?;
        // This file's own read is what makes it wait for the next change (kernfs counts per open file).
        let frozen = is_frozen(&watch.events);
        let asked = dir.and_then(|dir| dir.is_asked_to_freeze().ok());
        let (turn, stage) = (watch.turn, watch.stage);
        match (stage, frozen, asked) {
            (Stage::Freezing, Ok(true), _) => {
                watch.stage = Stage::Frozen;
                Some(Input::Frozen { run, turn })
            }
            (Stage::Thawing, Ok(false), _) | (Stage::Freezing | Stage::Frozen, Ok(false), Some(false)) => {
                self.stop_watching_freezer(epoll, run);
                Some(Input::Thawed { run, turn })
            }
            (Stage::Freezing | Stage::Frozen, Ok(false), Some(true) | None)
            | (Stage::Frozen | Stage::Thawing, Ok(true), _) => None,
            // The cgroup is gone, which is told elsewhere.
            (Stage::Freezing | Stage::Frozen | Stage::Thawing, Err(_), _) => {
                self.stop_watching_freezer(epoll, run);
                None
            }
        }
    }

    pub(super) fn stop_watching_freezer(&mut self, epoll: &Epoll, run: RunId) {
        if let Some(watch) = self.table.get_mut(&run).and_then(|live| live.freezer.take()) {
            watch.end(epoll);
        }
    }
}
