//! Adoption: what lives in the cgroup tree becomes what the core knows. The same after a crash, a restart and an upgrade.
//!
//! Reads the kernel, never a saved pid. What a reader would get wrong: `populated` is read *before* the marks. The other way
//! round, a child that marks itself and ends in between looks like a run that never got to exec, and would be started again.

use super::keeper_link::{KeeperLink, Kept};
use super::runs::Runs;
use super::shared_out::shared_out;
use crate::kernel::cgroup::{RunDir, Tree};
use crate::kernel::clone::Ended;
use crate::kernel::epoll::Epoll;
use crate::kernel::launch::reopen_log_pipe;
use crate::kernel::mark::{self, MainMark, RunMark};
use crate::kernel::{process, rlimit};
use crate::model::{AppId, Generation, InstanceId, MarkPassed, Moment, RunId};
use crate::supervise::{Adopted, AdoptedMain, Freezer, Input, StopMark};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;

/// Descriptors that are none of runs.
const ROOM_BESIDES: u64 = 512;

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

/// What the kernel says of one run.
struct Look {
    populated: bool,
    freezer: Freezer,
    /// cgroup.events, of a run that is watched through it.
    events: Option<OwnedFd>,
    mark: Option<RunMark>,
    main: Option<MainMark>,
    failed: bool,
    limited: bool,
    stopping: Option<StopMark>,
    /// The main process: who is alone in the cgroup, if it has not marked itself yet.
    living: Option<(u32, OwnedFd)>,
    /// The main process, which has ended and has not been reaped.
    zombie: Option<OwnedFd>,
}

/// What is not there any more is none. What cannot be had otherwise, mostly for want of descriptors, must not be taken for that.
fn if_there<T>(asked: Result<T, Errno>) -> io::Result<Option<T>> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

impl Look {
    fn at(dir: &RunDir) -> io::Result<Self> {
        // Cannot be asked: then it counts as alive. Starting another beside it is the one mistake that must not be made.
        let state = dir.state();
        let populated = state.map_or(true, |state| state.populated);
        let mark = RunMark::read(dir);
        let main = MainMark::read(dir);
        let (living, zombie) = match main {
            Some(main) => match process::marked_main(main)? {
                Some(fd) if process::has_ended(&fd) => (None, Some(fd)),
                fd => (fd.map(|fd| (main.pid, fd)), None),
            },
            None if mark.is_some() => (Self::alone(dir)?, None),
            None => (None, None),
        };
        let stopping = mark::read_stop(dir).map(|(deadline, down)| StopMark {
            deadline: Moment(deadline),
            down: down.map(Generation),
            heavy: mark::read_heavy(dir).map(|(mark, seen)| MarkPassed { mark, seen }),
        });
        let freezer = match (state.map(|state| state.frozen), dir.is_asked_to_freeze()) {
            (Ok(true), Ok(_)) => Freezer::Frozen,
            (Ok(false), Ok(true)) => Freezer::Freezing,
            (Ok(false), Ok(false)) | (Err(_), _) | (_, Err(_)) => Freezer::Thawed,
        };
        let watched = freezer != Freezer::Thawed || (mark.is_none() && populated);
        Ok(Self {
            populated,
            freezer,
            // Its directory is closed again: with thousands of runs there are not descriptors enough to keep all of them.
            events: if watched { if_there(dir.events())? } else { None },
            mark,
            main,
            failed: mark::read_failed(dir).is_some(),
            limited: mark::read_limited(dir),
            stopping,
            living,
            zombie,
        })
    }

    /// Between clone3 and its mark a child is alone in its cgroup. Who is listed again after opening is the one that was listed before.
    fn alone(dir: &RunDir) -> io::Result<Option<(u32, OwnedFd)>> {
        let listed = || Ok::<_, io::Error>(if_there(dir.processes())?.unwrap_or_default());
        let [pid] = listed()?[..] else { return Ok(None) };
        let Some(fd) = process::open(pid)? else { return Ok(None) };
        Ok((listed()? == [pid]).then_some((pid, fd)))
    }
}

/// All runs of an instance.
fn look_at(tree: &Tree, app: u32, index: u32) -> io::Result<Vec<(RunId, InstanceId, Look)>> {
    let mut looked = Vec::new();
    for number in tree.runs_of(app, index)? {
        if let Some(dir) = if_there(tree.open_run(app, index, number))? {
            looked.push((RunId(number), InstanceId::new(AppId(app), index), Look::at(&dir)?));
        }
    }
    Ok(looked)
}

/// One run being judged.
struct Candidate {
    run: RunId,
    instance: InstanceId,
    look: Look,
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
    let tree = runs.tree();
    let all = tree.instances().map_err(|e| format!("failed to list {}: {e}", tree.root().display()))?;
    // What stays open of each: two pipes and a pidfd.
    rlimit::make_room(keeper, 2 * kept.pipes.len() as u64 + all.len() as u64 + ROOM_BESIDES);
    let looked = shared_out(all, |(app, index)| {
        look_at(tree, app, index).map_err(|e| format!("failed to look at the runs of {app}.{index}: {e}"))
    });
    for (run, instance, look) in looked.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        found.highest = found.highest.max(Some(run));
        let held = kept.pipes.remove(&run);
        let record = kept.exits.remove(&run);
        let done = !look.populated && recorded.get(&instance).is_some_and(|last| *last >= run);
        if let (Some(mark), Some(main), false) = (&look.mark, look.main, look.failed) {
            let (generation, at) = (Generation(mark.generation), Moment(mark.started));
            found.begun.push(Begun { instance, run, generation, pid: main.pid, at });
        }
        let pipes = held.or_else(|| reopen(look.mark.as_ref()?, look.main?.pid));
        let keep = if done {
            runs.adopted_leftover(run, instance);
            found.leftovers.push(run);
            true
        } else {
            consider(runs, epoll, keeper, &mut found, Candidate { run, instance, look, record })
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
fn consider(runs: &mut Runs, epoll: &Epoll, keeper: &KeeperLink, found: &mut Found, candidate: Candidate) -> bool {
    let Candidate { run, instance, look, record } = candidate;
    let Look { populated, freezer, events, mark, main, failed, limited, stopping, living, zombie } = look;
    let Some(mark) = mark else {
        if !populated {
            // Made and not yet marked when the daemon died: nobody ever lived here.
            let _ = runs.tree().remove_run(instance.app.0, instance.index, run.0);
            return false;
        }
        found.adopted.push(adopted(run, instance, None, AdoptedMain::Unmarked, None, Freezer::Thawed, false));
        found.ended.extend(runs.adopted_unmarked(epoll, run, instance, events));
        return true;
    };
    // Where the controllers had been taken off, every run lost what it was under.
    let plain = !runs.tree().controllers().were_off() && !limited;
    let ours = mark.keeper == keeper.keeper;
    if let (Some((pid, pidfd)), None) = (living, &record) {
        if main.is_none() {
            // Nobody looks at its marks again, and its end must not be that of a run that never began.
            let (generation, at) = (Generation(mark.generation), Moment(mark.started));
            found.begun.push(Begun { instance, run, generation, pid, at });
        }
        runs.adopted_alive(epoll, run, instance, pid, pidfd, ours);
        runs.adopted_freezer(epoll, run, freezer, events);
        found.adopted.push(adopted(run, instance, Some(&mark), AdoptedMain::Alive { pid }, stopping, freezer, plain));
        return true;
    }
    if main.is_none() && !populated && record.is_none() && !failed {
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
