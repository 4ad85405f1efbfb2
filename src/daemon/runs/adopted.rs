//! Runs that were there before this daemon.
//!
//! Owns how they get into the table; what they are is judged by whoever looked at them (`adopt`).

use super::super::token::Token;
use super::{Live, Phase, Runs, Told};
use crate::kernel::epoll::Epoll;
use crate::model::{InstanceId, RunId};
use rustix::fd::OwnedFd;

impl Runs {
    /// A run that adoption found with its main process alive.
    pub(in crate::daemon) fn adopted_alive(
        &mut self,
        epoll: &Epoll,
        run: RunId,
        instance: InstanceId,
        pid: u32,
        pidfd: OwnedFd,
        ours: bool,
    ) {
        let _ = epoll.add(&pidfd, Token::Pidfd(run).encode());
        self.table.insert(run, Live::new(instance, pid, Some(pidfd), ours, Phase::Running));
    }

    /// A run that adoption found with its main process ended and not yet reaped by our keeper, whose record is to come.
    pub(in crate::daemon) fn adopted_zombie(
        &mut self,
        epoll: &Epoll,
        run: RunId,
        instance: InstanceId,
        pidfd: OwnedFd,
    ) {
        let _ = epoll.add(&pidfd, Token::Pidfd(run).encode());
        self.table.insert(run, Live::new(instance, 0, Some(pidfd), true, Phase::Running));
    }

    /// A run that adoption found ended, of which the core is to hear.
    pub(in crate::daemon) fn adopted_ended(&mut self, run: RunId, instance: InstanceId) {
        self.adopted_without_main(run, instance, Phase::Running);
    }

    /// A run that adoption found over and recorded: there is nothing to tell, only to tidy.
    pub(in crate::daemon) fn adopted_leftover(&mut self, run: RunId, instance: InstanceId) {
        self.adopted_without_main(run, instance, Phase::Over);
    }

    /// A run that adoption found alive without a mark that says who its main process is. Told only when nothing lives any more.
    /// `events`: its cgroup.events.
    pub(in crate::daemon) fn adopted_unmarked(
        &mut self,
        epoll: &Epoll,
        run: RunId,
        instance: InstanceId,
        events: Option<OwnedFd>,
    ) -> Told {
        if let Some(events) = &events {
            let _ = epoll.add_priority(events, Token::Events(run).encode());
        }
        self.adopted_without_main(run, instance, Phase::Unmarked(events));
        self.events_ready(epoll, run)
    }

    fn adopted_without_main(&mut self, run: RunId, instance: InstanceId, phase: Phase) {
        self.table.insert(run, Live::new(instance, 0, None, false, phase));
    }
}
