//! The table of runs that have a cgroup: what the daemon holds open for each, and how it learns what became of it.
//!
//! Owns descriptors and the translation of kernel readiness into inputs of the core. It must not decide what follows.
//! What a reader would get wrong: `Exited` is said when the keeper's record (or the kernel) says *how*; `Emptied` only when
//! `cgroup.events` says so, asked after the exit. Zombies do not count as members, so neither implies the other.

mod adopted;
mod freezer;
mod memory;
mod signals;

use super::keeper_link::KeeperLink;
use super::token::Token;
use crate::kernel::cgroup::{RunDir, Tree, still_populated};
use crate::kernel::clone::{Ended, Lent, PidfdExit, Wait, pidfd_exit};
use crate::kernel::epoll::Epoll;
use crate::kernel::launch::{self, Status, failure_text, read_status};
use crate::kernel::plan::Program;
use crate::kernel::slots::{Slot, Slots};
use crate::kernel::{counters, mark, process};
use crate::model::{ExitStatus, InstanceId, RunId, Signal, Usage};
use crate::supervise::Input;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::{HashMap, HashSet};

/// How far a run has got, as far as has been told to the core.
enum Phase {
    /// Between clone3 and exec: the status pipe, what it has said, what the child borrows until it says something, and until it ends.
    Launching(OwnedFd, Vec<u8>, Option<Slot>, Option<Lent>),
    /// It gave up before exec, for this reason; its end is awaited.
    GivenUp(String),
    /// Its program runs, or ran when we adopted it.
    Running,
    /// Nobody knows its main process; both ends of it are told when its cgroup is empty. Unwatched (out of descriptors) it stays
    /// unknown until the next daemon looks: better than to call it ended.
    Unmarked(Option<OwnedFd>),
    /// Its exit is told; its cgroup is not empty yet.
    Ended(Option<OwnedFd>),
    /// Everything is told.
    Over,
}

/// One run.
struct Live {
    instance: InstanceId,
    /// The main process; 0 where nobody knows which it is.
    pid: u32,
    pidfd: Option<OwnedFd>,
    /// A child of this keeper: its record will come, and says more than a pidfd can.
    ours: bool,
    /// A stop ladder is under way: a signal must also wake a stopped process.
    stopping: bool,
    /// What is waited for at its freezer.
    freezer: Option<freezer::Watch>,
    /// How its memory is watched.
    memory: Option<memory::Watch>,
    phase: Phase,
}

impl Live {
    fn new(instance: InstanceId, pid: u32, pidfd: Option<OwnedFd>, ours: bool, phase: Phase) -> Box<Self> {
        Box::new(Self { instance, pid, pidfd, ours, stopping: false, freezer: None, memory: None, phase })
    }
}

/// The table.
pub(super) struct Runs {
    tree: Tree,
    table: HashMap<RunId, Box<Live>>,
    /// Runs whose main process has ended by its pidfd, and how has not been told yet.
    dying: HashSet<RunId>,
    slots: Slots,
}

type Told = Vec<Input>;

impl Runs {
    pub(super) fn new(tree: Tree, slots: Slots) -> Self {
        Self { tree, table: HashMap::new(), dying: HashSet::new(), slots }
    }

    /// Makes the process of a prepared run, see [`launch::start`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn start(&mut self, prepared: launch::Prepared, program: Program) -> Result<launch::Launched, String> {
        launch::start(&self.tree, &mut self.slots, prepared, program)
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn instance(&self, run: RunId) -> Option<InstanceId> {
        self.table.get(&run).map(|l| l.instance)
    }

    fn dir(&self, run: RunId) -> Option<RunDir> {
        let at = self.table.get(&run)?.instance;
        self.tree.open_run(at.app.0, at.index, run.0).ok()
    }

    /// A run that was just cloned.
    pub(super) fn launched(
        &mut self,
        epoll: &Epoll,
        run: RunId,
        instance: InstanceId,
        child: launch::Launched,
    ) -> [OwnedFd; 2] {
        let launch::Launched { pid, pidfd, status, logs, slot, lent } = child;
        // A child that dies before its first word leaves the pipe open in its slot; then the pidfd is what tells.
        let _ = epoll.add(&pidfd, Token::Pidfd(run).encode());
        let _ = epoll.add(&status, Token::Status(run).encode());
        let phase = Phase::Launching(status, Vec::with_capacity(6), slot, lent);
        self.table.insert(run, Live::new(instance, pid, Some(pidfd), true, phase));
        logs
    }

    /// The exec-status pipe has something.
    pub(super) fn status_ready(&mut self, epoll: &Epoll, run: RunId) -> Told {
        let Some(live) = self.table.get_mut(&run) else { return vec![] };
        let Phase::Launching(pipe, so_far, slot, lent) = &mut live.phase else { return vec![] };
        let mut status = read_status(&*pipe, so_far);
        if !so_far.is_empty()
            && let Some(slot) = slot.take()
        {
            // It has a table of its own now. Our copy of its end goes, so the end of the pipe can come.
            self.slots.release(slot);
            status = read_status(&*pipe, so_far);
        }
        if status != Status::Underway {
            lent.take().into_iter().for_each(Lent::take_back);
        }
        let why = match status {
            Status::Underway => return vec![],
            Status::Executed => {
                epoll.remove(&*pipe);
                live.phase = Phase::Running;
                return vec![Input::Spawned { run, pid: live.pid }];
            }
            Status::Failed(stage, errno) => failure_text(stage, errno),
            Status::KilledAtBirth => "it was killed before its first instruction".to_owned(),
        };
        epoll.remove(&*pipe);
        // It is about to end; the pidfd says when it has, whoever reaps it.
        live.phase = Phase::GivenUp(why);
        vec![]
    }

    /// A child has ended that had not got to its program when we last looked. What there is to say of it is on its pipe; its
    /// pidfd stays ready, so its end is told in the next round.
    fn ended_early(&mut self, epoll: &Epoll, run: RunId) -> Told {
        let mut told = self.status_ready(epoll, run);
        if let Some(Phase::Launching(_, _, slot, _)) = self.table.get_mut(&run).map(|live| &mut live.phase)
            && let Some(slot) = slot.take()
        {
            // Not one word: it died before it had a table of its own, and our copy of its end is the last.
            self.slots.release(slot);
            told.extend(self.status_ready(epoll, run));
        }
        told
    }

    /// A pidfd is readable or has hung up.
    pub(super) fn pidfd_ready(&mut self, epoll: &Epoll, run: RunId, hangup: bool) -> Told {
        let Some(live) = self.table.get_mut(&run) else { return vec![] };
        let Some(pidfd) = &live.pidfd else { return vec![] };
        match &live.phase {
            Phase::Launching(..) => self.ended_early(epoll, run),
            Phase::GivenUp(why) => {
                let failure = why.clone();
                epoll.remove(pidfd);
                live.phase = Phase::Over;
                vec![Input::SpawnFailed { run, failure, of_the_spec: true }]
            }
            Phase::Running if live.ours && !hangup => {
                // It has ended, and how is on its way from the keeper. Hang-up, once it is reaped, is the net below that.
                epoll.remove(pidfd);
                let _ = epoll.add_hangup(pidfd, Token::Pidfd(run).encode());
                self.dying.insert(run);
                vec![]
            }
            Phase::Running => match pidfd_exit(pidfd.as_fd()) {
                PidfdExit::Known(wait) => self.exited(epoll, run, exit_status(wait), None),
                // A stranger's child, not reaped yet. When its parent will do that, if ever, is not ours to say.
                asked if !hangup => match (process::unreaped_exit(live.pid, pidfd), asked) {
                    (Some(wait), _) => self.exited(epoll, run, exit_status(wait), None),
                    (None, PidfdExit::Unsupported) => self.exited(epoll, run, ExitStatus::NotObserved, None),
                    // We may not be told: the kernel will say so at hang-up.
                    (None, PidfdExit::NotYet | PidfdExit::Known(_)) => {
                        epoll.remove(pidfd);
                        let _ = epoll.add_hangup(pidfd, Token::Pidfd(run).encode());
                        vec![]
                    }
                },
                PidfdExit::NotYet | PidfdExit::Unsupported => self.exited(epoll, run, ExitStatus::NotObserved, None),
            },
            Phase::Unmarked(_) | Phase::Ended(_) | Phase::Over => {
                epoll.remove(pidfd);
                vec![]
            }
        }
    }

    /// Whether a main process has ended of which the core has not been told. It is alive no more, and must not be called so.
    pub(super) fn somebody_is_dying(&self) -> bool {
        !self.dying.is_empty()
    }

    /// Whether that run is in the table.
    pub(super) fn knows(&self, run: RunId) -> bool {
        self.table.contains_key(&run)
    }

    /// The keeper has a record of how a run's main process ended.
    pub(super) fn recorded(&mut self, epoll: &Epoll, run: RunId, ended: Ended) -> Told {
        let mut told = self.status_ready(epoll, run);
        let Some(live) = self.table.get(&run) else { return told };
        match live.phase {
            Phase::Running => {
                let usage = Usage {
                    user_us: ended.user.as_micros().try_into().unwrap_or(u64::MAX),
                    system_us: ended.system.as_micros().try_into().unwrap_or(u64::MAX),
                    max_rss: process::beyond_ours(ended.max_rss),
                };
                told.extend(self.exited(epoll, run, exit_status(ended.wait), Some(usage)));
            }
            // A child that gave up is told by its pidfd; a second record says nothing new.
            Phase::Launching(..) | Phase::GivenUp(_) | Phase::Unmarked(_) | Phase::Ended(_) | Phase::Over => {}
        }
        told
    }

    /// The main process has ended in this way, and nobody will say more.
    pub(super) fn exited(&mut self, epoll: &Epoll, run: RunId, status: ExitStatus, usage: Option<Usage>) -> Told {
        let dir = self.dir(run);
        let Some(live) = self.table.get_mut(&run) else { return vec![] };
        if let Some(pidfd) = live.pidfd.take() {
            epoll.remove(&pidfd);
        }
        live.pid = 0;
        self.dying.remove(&run);
        if let Some(watch) = live.freezer.take() {
            watch.end(epoll);
        }
        if let Some(watch) = live.memory.take() {
            watch.end(epoll);
        }
        let Some(dir) = dir else {
            // The cgroup is gone already: systemd trims empty ones when the unit's main process dies.
            live.phase = Phase::Over;
            return vec![Input::Exited { run, status, usage, out_of_memory: false }, emptied(run, None)];
        };
        // A child adopted before its exec, which then gave up: its mark says so, and this is no exit of the app's.
        if let Some((stage, errno)) = mark::read_failed(&dir) {
            live.phase = Phase::Over;
            let failure = crate::kernel::plan::Stage::from_number(stage)
                .map_or_else(|| "it gave up before its program".to_owned(), |stage| failure_text(stage, errno));
            return vec![Input::SpawnFailed { run, failure, of_the_spec: true }];
        }
        let out_of_memory = counters::oom_kills(&dir) > 0;
        let mut told = vec![Input::Exited { run, status, usage, out_of_memory }];
        told.extend(Self::look_for_leftovers(epoll, live, run, &dir));
        told
    }

    /// Asks whether anything is left, and if so, watches until nothing is.
    fn look_for_leftovers(epoll: &Epoll, live: &mut Live, run: RunId, dir: &RunDir) -> Option<Input> {
        if !dir.populated().unwrap_or(true) {
            live.phase = Phase::Over;
            return Some(emptied(run, Some(dir)));
        }
        let events = dir.events().ok();
        if let Some(events) = &events {
            let _ = epoll.add_priority(events, Token::Events(run).encode());
            // Between the question and the watch it may have become empty.
            if !still_populated(events).unwrap_or(false) {
                epoll.remove(events);
                live.phase = Phase::Over;
                return Some(emptied(run, Some(dir)));
            }
        }
        live.phase = Phase::Ended(events);
        let left = dir.processes().map_or(1, |list| u32::try_from(list.len()).unwrap_or(u32::MAX)).max(1);
        Some(Input::LeftBehind { run, left })
    }

    /// cgroup.events has changed.
    pub(super) fn events_ready(&mut self, epoll: &Epoll, run: RunId) -> Told {
        let dir = self.dir(run);
        let Some(live) = self.table.get_mut(&run) else { return vec![] };
        let (events, exited) = match &live.phase {
            Phase::Ended(Some(events)) => (events, None),
            Phase::Unmarked(Some(events)) => {
                let exited = Input::Exited { run, status: ExitStatus::NotObserved, usage: None, out_of_memory: false };
                (events, Some(exited))
            }
            Phase::Launching(..)
            | Phase::GivenUp(_)
            | Phase::Running
            | Phase::Unmarked(None)
            | Phase::Ended(None)
            | Phase::Over => return vec![],
        };
        match still_populated(events) {
            Ok(true) => vec![],
            // ENODEV: the cgroup itself is gone.
            Ok(false) | Err(_) => {
                epoll.remove(events);
                live.phase = Phase::Over;
                exited.into_iter().chain([emptied(run, dir.as_ref())]).collect()
            }
        }
    }

    /// Runs of this keeper whose main process is gone without a record. The caller has heard the keeper out.
    pub(super) fn without_record(&self) -> Vec<RunId> {
        let gone = |l: &Live| l.pidfd.is_none() && matches!(l.phase, Phase::Running);
        self.table.iter().filter(|(_, l)| gone(l)).map(|(r, _)| *r).collect()
    }

    /// Lets go of a run that is over and drained: its descriptors are closed, and the keeper drops its pipes. Its cgroup stays,
    /// see [`Self::remove`]. Whose it was; none if it is not known (any more).
    pub(super) fn close(&mut self, epoll: &Epoll, keeper: &KeeperLink, run: RunId) -> Option<InstanceId> {
        self.stop_watching_freezer(epoll, run);
        self.stop_watching_memory(epoll, run);
        let live = self.table.remove(&run)?;
        self.dying.remove(&run);
        if let Some(pidfd) = &live.pidfd {
            epoll.remove(pidfd);
        }
        keeper.drop_pipes(run);
        Some(live.instance)
    }

    /// The cgroup of a run that is closed goes, and its instance's if it was the last in it: the app may be forgotten by now, which
    /// then could not take that one away.
    pub(super) fn remove(&self, instance: InstanceId, run: RunId) {
        let _ = self.tree.remove_run(instance.app.0, instance.index, run.0);
        self.tree.remove_instance(instance.app.0, instance.index);
    }
}

/// Nothing lives in it any more, so what it has used is final.
fn emptied(run: RunId, dir: Option<&RunDir>) -> Input {
    Input::Emptied { run, tally: dir.map(|dir| Box::new(counters::tally(dir))) }
}

fn exit_status(wait: Wait) -> ExitStatus {
    match wait {
        Wait::Code(code) => ExitStatus::Code(code),
        Wait::Signal(number, core) => {
            Signal::from_number(number).map_or(ExitStatus::NotObserved, |signal| ExitStatus::Signal { signal, core })
        }
    }
}
