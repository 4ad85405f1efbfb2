//! What is done to runs: the mark of a stop under way, signals, the kill.
//!
//! Decides nothing, and says nothing back but to whoever ordered a signal: what became of a run is a fact that comes by pidfd and
//! cgroup.events. What a reader would get wrong: a signal goes through a pidfd, never to a number, so it cannot reach a stranger.

use super::Runs;
use crate::kernel::{mark, process};
use crate::model::{MarkPassed, RunId, Signal};
use crate::supervise::{StopMark, Whom};
use rustix::fd::OwnedFd;

impl Runs {
    /// Marks that a stop ladder is under way.
    pub(in crate::daemon) fn mark_stop(&mut self, run: RunId, mark: StopMark) {
        if let Some(live) = self.table.get_mut(&run) {
            live.stopping = true;
        }
        if let Some(dir) = self.dir(run) {
            if let Some(MarkPassed { mark, seen }) = mark.heavy {
                let _ = mark::write_heavy(&dir, mark, seen);
            }
            let _ = mark::write_stop(&dir, mark.deadline.0, mark.down.map(|of| of.0));
        }
    }

    /// Sends a signal.
    pub(in crate::daemon) fn signal(&self, run: RunId, signal: Signal, whom: Whom) {
        let Some(live) = self.table.get(&run) else { return };
        let send = |pidfd: &OwnedFd| {
            let _ = process::signal(pidfd, signal);
            // A process stopped by SIGSTOP takes no SIGTERM until it is continued.
            if live.stopping && signal != Signal::KILL {
                let _ = process::signal(pidfd, Signal::CONT);
            }
        };
        match whom {
            Whom::Main => {
                if let Some(pidfd) = &live.pidfd {
                    send(pidfd);
                }
            }
            Whom::Everyone => {
                let Some(dir) = self.dir(run) else { return };
                for (_, pidfd) in dir.members() {
                    send(&pidfd);
                }
            }
        }
    }

    /// Sends somebody's signal to the main process.
    ///
    /// # Errors
    /// In words: it is gone (its exit is on its way), or we may not (EPERM: it runs as somebody else, and we are not root).
    pub(in crate::daemon) fn deliver(&self, run: RunId, signal: Signal) -> Result<(), String> {
        let Some((pid, pidfd)) = self.table.get(&run).and_then(|live| Some((live.pid, live.pidfd.as_ref()?))) else {
            return Err("not running".to_owned());
        };
        process::signal(pidfd, signal).map_err(|e| format!("failed to send {signal} to process {pid}: {e}"))
    }

    /// Kills everything in the run, and its main process wherever it went.
    pub(in crate::daemon) fn kill(&self, run: RunId) {
        if let Some(dir) = self.dir(run) {
            let _ = dir.kill();
        }
        if let Some(pidfd) = self.table.get(&run).and_then(|l| l.pidfd.as_ref()) {
            let _ = process::signal(pidfd, Signal::KILL);
        }
    }
}
