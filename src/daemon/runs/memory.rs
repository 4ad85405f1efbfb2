//! The memory of runs that have a mark: memory.events is the tripwire, a look at memory.stat says what it was about.
//!
//! Owns the watch. It must not decide whether what is seen is too much. What a reader would get wrong: an event of memory.high says
//! that usage passed it, and usage is page cache, too: a file that is copied makes one. So an event is told once, with what the run
//! holds, and the next only when that is asked for again; what happens in between is not lost, since the file stays ready for whoever
//! has not read it since.

use super::super::token::Token;
use super::Runs;
use crate::kernel::counters;
use crate::kernel::epoll::Epoll;
use crate::model::{Event, RunId};
use crate::supervise::Input;
use rustix::fd::OwnedFd;

/// A run whose memory is watched: a descriptor more than a quiet run has.
pub(super) struct Watch {
    events: OwnedFd,
    armed: bool,
}

impl Watch {
    pub(super) fn end(self, epoll: &Epoll) {
        if self.armed {
            epoll.remove(&self.events);
        }
    }
}

impl Runs {
    /// Waits for the next event of the run's memory, or looks at once. What could not be done is to be written down.
    pub(in crate::daemon) fn watch_memory(
        &mut self,
        epoll: &Epoll,
        run: RunId,
        look: bool,
    ) -> Result<Option<Input>, Event> {
        // Gone: its end is on its way to the core.
        let Some(dir) = self.dir(run) else { return Ok(None) };
        let Some(live) = self.table.get_mut(&run) else { return Ok(None) };
        let failed = |e: rustix::io::Errno| Event::Trouble {
            message: format!(
                "failed to watch the memory of run {}, so its max_memory_restart does not work: {}",
                run.0,
                std::io::Error::from(e)
            ),
        };
        let watch = match live.memory.take() {
            Some(watch) => live.memory.insert(watch),
            None => {
                let events = counters::memory_events(&dir).map_err(failed)?;
                live.memory.insert(Watch { events, armed: false })
            }
        };
        if look {
            let _ = counters::memory_events_seen(&watch.events);
            return Ok(Some(Input::Weighed { run, held: counters::held(&dir) }));
        }
        if !watch.armed {
            epoll.add_priority(&watch.events, Token::Memory(run).encode()).map_err(failed)?;
            watch.armed = true;
        }
        Ok(None)
    }

    /// memory.events has changed.
    pub(in crate::daemon) fn memory_ready(&mut self, epoll: &Epoll, run: RunId) -> Option<Input> {
        let dir = self.dir(run);
        let watch = self.table.get_mut(&run)?.memory.as_mut()?;
        epoll.remove(&watch.events);
        watch.armed = false;
        // Seen before it is looked at: what comes in between is told again.
        let _ = counters::memory_events_seen(&watch.events);
        Some(Input::Weighed { run, held: dir.and_then(|dir| counters::held(&dir)) })
    }

    /// The run is being ended for its memory: it may have what it takes to end well.
    pub(in crate::daemon) fn unthrottle(&mut self, epoll: &Epoll, run: RunId) {
        self.stop_watching_memory(epoll, run);
        if let Some(dir) = self.dir(run) {
            let _ = counters::unthrottle(&dir);
        }
    }

    pub(in crate::daemon) fn stop_watching_memory(&mut self, epoll: &Epoll, run: RunId) {
        if let Some(watch) = self.table.get_mut(&run).and_then(|live| live.memory.take()) {
            watch.end(epoll);
        }
    }
}
