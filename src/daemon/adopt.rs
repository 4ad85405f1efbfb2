//! Adoption: what lives in the cgroup tree becomes what the core knows. The same after a crash, a restart and an upgrade.
//!
//! Reads the kernel, never a saved pid. What a reader would get wrong: `populated` is read *before* the marks. The other way
//! round, a child that marks itself and ends in between looks like a run that never got to exec, and would be started again.

use super::keeper_link::{KeeperLink, Kept};
use super::runs::Runs;
use crate::kernel::cgroup::RunDir;
use crate::kernel::clone::Ended;
use crate::kernel::epoll::Epoll;
use crate::kernel::launch::reopen_log_pipe;
use crate::kernel::mark::{self, MainMark, RunMark};
use crate::kernel::process;
use crate::model::{AppId, Generation, InstanceId, MarkPassed, Moment, RunId};
use crate::supervise::{Adopted, AdoptedMain, Freezer, Input, StopMark};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;

/// What adoption comes to.
#[derive(Default)]
pub(super) struct Found {
    /// For the core, before it converges.
    pub(super) adopted: Vec<Input>,
    /// For the core, after: what is already known to have ended.
    pub(super) ended: Vec<Input>,
    /// Log pipes to go on reading.
    pub(super) pipes: Vec<(RunId, InstanceId, [OwnedFd; 2])>,
    /// Runs that are over and recorded: to be drained and removed, without a word to the core.
    pub(super) leftovers: Vec<RunId>,
    /// Exit records that concern nobody any more.
    pub(super) stale: Vec<RunId>,
    /// The highest run seen.
    pub(super) highest: Option<RunId>,
    /// Runs whose program was executed, as far as their marks tell.
    pub(super) begun: Vec<Begun>,
}

/// The beginning of a run, as its marks tell it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    pub(super) instance: InstanceId,
    pub(super) run: RunId,
    pub(super) generation: Generation,
    pub(super) pid: u32,
    pub(super) at: Moment,
}

impl Found {
    /// Takes out the runs that the core must not hear of, since it would end them: who is hidden is neither wanted nor
    /// unwanted. They live on, unattended, until a daemon knows their app again.
    pub(super) fn set_aside(&mut self, hidden: impl Fn(AppId) -> bool) -> Vec<(InstanceId, RunId)> {
        let mut aside = Vec::new();
        self.adopted.retain(|input| {
            let Input::Adopted(found) = input else { return true };
            let hide = hidden(found.instance.app);
            if hide {
                aside.push((found.instance, found.run));
            }
            !hide
        });
        aside
    }
}

/// One run being looked at.
struct Candidate {
    run: RunId,
    instance: InstanceId,
    dir: RunDir,
    populated: bool,
    record: Option<Ended>,
}

/// Looks at every run there is a cgroup for. `recorded`: the last run of each instance whose end is in the journal.
///
/// # Errors
/// The tree cannot be read: then nothing is known, and nothing may be started.
pub(super) fn adopt(
    runs: &mut Runs,
    epoll: &Epoll,
    keeper: &KeeperLink,
    mut kept: Kept,
    recorded: &BTreeMap<InstanceId, RunId>,
) -> Result<Found, String> {
    let mut found = Found::default();
    let all = runs.tree().runs().map_err(|e| format!("failed to list {}: {e}", runs.tree().root().display()))?;
    for (app, index, number) in all {
        let (run, instance) = (RunId(number), InstanceId::new(AppId(app), index));
        found.highest = found.highest.max(Some(run));
        let Ok(dir) = runs.tree().open_run(app, index, number) else { continue };
        // Cannot be asked: then it counts as alive. Starting another beside it is the one mistake that must not be made.
        let populated = dir.populated().unwrap_or(true);
        let held = kept.pipes.remove(&run);
        let record = kept.exits.remove(&run);
        let candidate = Candidate { run, instance, dir, populated, record };
        let done = !populated && recorded.get(&instance).is_some_and(|last| *last >= run);
        let mark = RunMark::read(&candidate.dir);
        let main = MainMark::read(&candidate.dir);
        if let (Some(mark), Some(main), None) = (&mark, main, mark::read_failed(&candidate.dir)) {
            let (generation, at) = (Generation(mark.generation), Moment(mark.started));
            found.begun.push(Begun { instance, run, generation, pid: main.pid, at });
        }
        let pipes = held.or_else(|| reopen(mark.as_ref()?, main?.pid));
        let keep = if done {
            runs.adopted_leftover(run, instance);
            found.leftovers.push(run);
            true
        } else {
            consider(runs, epoll, keeper, &mut found, candidate, mark, main)
        };
        if let (true, Some(pipes)) = (keep, pipes) {
            found.pipes.push((run, instance, pipes));
        }
    }
    // What the keeper kept for runs without a cgroup: they were removed, so they were drained and recorded before.
    found.stale.extend(kept.exits.into_keys());
    for run in kept.pipes.into_keys() {
        keeper.drop_pipes(run);
    }
    found.highest = found.highest.max(recorded.values().max().copied());
    Ok(found)
}

/// What to tell the core about one run. False: it never was one, and is removed.
fn consider(
    runs: &mut Runs,
    epoll: &Epoll,
    keeper: &KeeperLink,
    found: &mut Found,
    candidate: Candidate,
    mark: Option<RunMark>,
    main: Option<MainMark>,
) -> bool {
    let Candidate { run, instance, dir, populated, record } = candidate;
    let Some(mark) = mark else {
        if !populated {
            // Made and not yet marked when the daemon died: nobody ever lived here.
            let _ = runs.tree().remove_run(instance.app.0, instance.index, run.0);
            return false;
        }
        found.adopted.push(adopted(run, instance, None, AdoptedMain::Unmarked, None, Freezer::Thawed, false));
        found.ended.extend(runs.adopted_unmarked(epoll, run, instance, &dir));
        return true;
    };
    let stopping = mark::read_stop(&dir).map(|(deadline, down)| StopMark {
        deadline: Moment(deadline),
        down: down.map(Generation),
        heavy: mark::read_heavy(&dir).map(|(mark, seen)| MarkPassed { mark, seen }),
    });
    // Where the controllers had been taken off, every run lost what it was under.
    let plain = !runs.tree().controllers().were_off() && !mark::read_limited(&dir);
    let ours = mark.keeper == keeper.keeper;
    let (living, zombie) = match main.and_then(|main| Some((main.pid, process::marked_main(main)?))) {
        Some((_, fd)) if process::has_ended(&fd) => (None, Some(fd)),
        living => (living, None),
    };
    // Between clone3 and its mark a child is alone in its cgroup.
    let living =
        living.or_else(|| <[_; 1]>::try_from(dir.members()).ok().filter(|_| main.is_none()).map(|[alone]| alone));
    if let (Some((pid, pidfd)), None) = (living, &record) {
        if main.is_none() {
            // Nobody looks at its marks again, and its end must not be that of a run that never began.
            let (generation, at) = (Generation(mark.generation), Moment(mark.started));
            found.begun.push(Begun { instance, run, generation, pid, at });
        }
        runs.adopted_alive(epoll, run, instance, pid, pidfd, ours);
        let freezer = runs.adopted_freezer(epoll, run, &dir);
        found.adopted.push(adopted(run, instance, Some(&mark), AdoptedMain::Alive { pid }, stopping, freezer, plain));
        return true;
    }
    if main.is_none() && !populated && record.is_none() && mark::read_failed(&dir).is_none() {
        // Marked, and its child never got as far as marking itself: nothing of the app ever ran.
        let _ = runs.tree().remove_run(instance.app.0, instance.index, run.0);
        return false;
    }
    found.adopted.push(adopted(run, instance, Some(&mark), AdoptedMain::Ended, stopping, Freezer::Thawed, plain));
    if let (Some(zombie), None, true) = (zombie, &record, ours) {
        // Ended just now: our keeper has not reaped it, so it will say how, and the pidfd's hang-up is the net.
        runs.adopted_zombie(epoll, run, instance, zombie);
        return true;
    }
    runs.adopted_ended(run, instance);
    match record {
        Some(ended) => found.ended.extend(runs.recorded(epoll, run, ended)),
        // Of our keeper's children a record is on its way; see `Runs::without_record`.
        None if ours => {}
        None => found.ended.extend(runs.exited(epoll, run, crate::model::ExitStatus::NotObserved, None)),
    }
    true
}

fn adopted(
    run: RunId,
    instance: InstanceId,
    mark: Option<&RunMark>,
    main: AdoptedMain,
    stopping: Option<StopMark>,
    freezer: Freezer,
    plain: bool,
) -> Input {
    Input::Adopted(Adopted {
        run,
        instance,
        name: mark.and_then(|m| m.name.as_deref()?.parse().ok()),
        generation: Generation(mark.map_or(0, |m| m.generation)),
        restarts: mark.map_or(0, |m| m.restarts),
        failures: mark.map_or(0, |m| m.failures),
        started: Moment(mark.map_or(0, |m| m.started)),
        main,
        stopping,
        freezer,
        plain,
    })
}

/// The log pipes of a run whose keeper is dead, through its main process.
fn reopen(mark: &RunMark, main: u32) -> Option<[OwnedFd; 2]> {
    Some([reopen_log_pipe(main, 1, mark.pipes[0])?, reopen_log_pipe(main, 2, mark.pipes[1])?])
}
