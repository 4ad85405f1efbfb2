//! The hands: performs what the core asks for. Processes, signals, cgroups here and now; disks through the store's thread.
//!
//! Decides nothing. What a reader would get wrong: the order inside `launch`. The keeper holds the log pipes *before* the
//! process exists, or what it writes in its first moments could be lost with us.

use super::adopt::Begun;
use super::handle::{Handle, Mail};
use super::keeper_link::KeeperLink;
use super::last_words::Mourning;
use super::limiter::Limiter;
use super::logs::files::open_most;
use super::logs::keeping::{KeepHandle, Known};
use super::logs::place::Plan;
use super::logs::pump::{self, LastBytes, PumpHandle};
use super::program::{self, Own};
use super::runs::Runs;
use super::store::{Command, StoreHandle};
use crate::config::Paths;
use crate::kernel::clock;
use crate::kernel::controllers::Lacking;
use crate::kernel::epoll::Epoll;
use crate::kernel::launch::{self, Place};
use crate::kernel::limits;
use crate::kernel::mark::RunMark;
use crate::kernel::plan::Program;
use crate::model::{AppName, AppSpec, DesiredApp, Event, InstanceId, Limits, NewApp, RunId, Wall};
use crate::supervise::{Effect, Input, Spawn, Supervisor};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Descriptors that an instance takes in the daemon: its process and two pipes. Where it has a memory mark, that takes one more.
pub(super) const FDS_PER_INSTANCE: u64 = 3;

/// Descriptors that may not go to instances, of so many in all: those of logs and their indexes that are held open, and 256 for
/// everything else.
pub(super) fn descriptors_reserved(limit: u64) -> u64 {
    256 + 2 * open_most(limit) as u64
}

/// Everything that effects are performed with.
pub(super) struct Hands {
    pub(super) epoll: Epoll,
    pub(super) runs: Runs,
    pub(super) keeper: KeeperLink,
    pub(super) store: StoreHandle,
    pub(super) pump: PumpHandle,
    pub(super) handle: Handle,
    pub(super) limiter: Limiter,
    pub(super) own: Own,
    pub(super) root_user: bool,
    pub(super) paths: Paths,
    pub(super) keep: KeepHandle,
    // Trees, since a hash table keeps the room of its fullest day: of a start of all apps at once.
    /// Runs whose program is still being put together, off the loop.
    pub(super) unborn: BTreeSet<RunId>,
    /// Runs that the core is done with and whose pipes are being drained.
    pub(super) draining: BTreeSet<RunId>,
    /// Of which of them the last words are wanted.
    pub(super) mourning: Mourning,
    /// Runs whose end is on its way to the journal.
    pub(super) unrecorded: BTreeSet<RunId>,
    /// Runs that are drained, and wait for their end to be in the journal.
    pub(super) drained: BTreeMap<RunId, InstanceId>,
}

impl Hands {
    /// Performs one effect. Some: what there is to tell the core at once.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Persist { write, change } => {
                for (id, app) in &change.put {
                    self.keep.seen(*id, Known::of(&self.paths, &app.spec));
                }
                self.store.send(Command::Persist { write, change });
            }
            Effect::Spawn(spawn) => return self.spawn(spawn),
            // Whoever put it together may hang on a dead file server for ever; stopping does not wait for that.
            Effect::MarkStop { run, .. } if self.unborn.remove(&run) => {
                let failure = "it was ordered down before it had begun".to_owned();
                return Some(Input::SpawnFailed { run, failure, of_the_spec: false });
            }
            Effect::MarkStop { run, mark } => self.runs.mark_stop(run, mark),
            Effect::Signal { run, signal, whom } => self.runs.signal(run, signal, whom),
            Effect::Deliver { order, slot, run, signal } => {
                let failure = self.runs.deliver(run, signal).err();
                if failure.is_none() {
                    self.mourning.sent(run, signal);
                }
                return Some(Input::Delivered { order, slot, failure });
            }
            Effect::Freeze { run, turn } => return self.runs.freeze(&self.epoll, run, turn),
            Effect::Thaw { run, turn } => return self.runs.thaw(&self.epoll, run, turn),
            Effect::Limit { run, turn, limits } => return self.limit(run, turn, limits),
            Effect::WatchMemory { run, look } => match self.runs.watch_memory(&self.epoll, run, look) {
                Ok(told) => return told,
                Err(trouble) => self.record(trouble),
            },
            Effect::Unthrottle { run } => self.runs.unthrottle(&self.epoll, run),
            Effect::Kill { run } => self.runs.kill(run),
            Effect::Retire { run } => self.retire(run),
            Effect::Record(mut event) => {
                self.mourning.note(&mut event);
                self.record(event);
            }
            Effect::Forget { app, instances } => {
                self.keep.forget(app);
                for index in 0..instances {
                    self.runs.tree().remove_instance(app.0, index);
                }
            }
            // The loop's own.
            Effect::Reply { .. } | Effect::Quit { .. } => {}
        }
        None
    }

    /// Has a run that lives be under other limits. None: it is told later, or the run is gone.
    fn limit(&mut self, run: RunId, turn: u64, limits: Box<Limits>) -> Option<Input> {
        self.runs.stop_watching_memory(&self.epoll, run);
        let InstanceId { app, index } = self.runs.instance(run)?;
        let path = self.runs.tree().run_path(app.0, index, run.0);
        self.limiter.limit(run, turn, path, limits)
    }

    /// A run began, at the moment that its mark tells, and no daemon has lived to write it down.
    pub(super) fn record_start(&self, begun: Begun) {
        let Begun { instance, run, generation, pid, at } = begun;
        let ago = u64::try_from(clock::now().since(at).as_millis()).unwrap_or(0);
        let wall = Wall(clock::wall().0.saturating_sub(ago));
        let event = Event::Started { instance, run, generation, pid };
        self.store.send(Command::Record { event, wall, moment: at, ack: None });
    }

    pub(super) fn record(&mut self, event: Event) {
        let ack = match &event {
            Event::Exited(record) => Some(record.run),
            Event::Started { .. }
            | Event::LastWords(_)
            | Event::Cleared { .. }
            | Event::Ordered { .. }
            | Event::Added { .. }
            | Event::Changed { .. }
            | Event::Deleted { .. }
            | Event::DaemonStarted { .. }
            | Event::DaemonEnded { .. }
            | Event::Trouble { .. } => None,
        };
        self.unrecorded.extend(ack);
        self.store.send(Command::Record { event, wall: clock::wall(), moment: clock::now(), ack });
    }

    /// Has the dump written; `done` is told how it went.
    pub(super) fn save(&self, apps: Vec<DesiredApp>, done: Box<dyn FnOnce(Result<(), String>) + Send>) {
        self.store.send(Command::Save { apps, done });
    }

    fn spawn(&mut self, spawn: Box<Spawn>) -> Option<Input> {
        if !program::needs_waiting(&spawn.app.spec) {
            let program = program::program(&spawn.app, spawn.instance.index, self.own);
            return self.launch(&spawn, program);
        }
        let (handle, own, run) = (self.handle.clone(), self.own, spawn.run);
        // A thread for each, and not one of the few that reads share: those that hang must not make `opm ls` hang.
        let thread =
            std::thread::Builder::new().name("opm-program".to_owned()).stack_size(256 << 10).spawn(move || {
                let program = program::program(&spawn.app, spawn.instance.index, own).map(Box::new);
                handle.send(Mail::Programmed(spawn, program));
            });
        match thread {
            Ok(_) => {
                self.unborn.insert(run);
                None
            }
            Err(e) => {
                Some(Input::SpawnFailed { run, failure: format!("failed to make a thread: {e}"), of_the_spec: false })
            }
        }
    }

    /// The program that was put together off the loop. None: nobody waits for it any more, or all is well.
    pub(super) fn programmed(&mut self, spawn: &Spawn, program: Result<Program, String>) -> Option<Input> {
        if self.unborn.remove(&spawn.run) { self.launch(spawn, program) } else { None }
    }

    /// Makes the run. Some: it could not be.
    pub(super) fn launch(&mut self, spawn: &Spawn, program: Result<Program, String>) -> Option<Input> {
        let run = spawn.run;
        let failed = |failure: String, of_the_spec| Some(Input::SpawnFailed { run, failure, of_the_spec });
        let program = match program {
            Ok(program) => program,
            Err(e) => return failed(e, true),
        };
        let InstanceId { app, index } = spawn.instance;
        let place = Place { app: app.0, instance: index, run: run.0 };
        let mark = RunMark {
            generation: spawn.generation.0,
            restarts: spawn.restarts,
            failures: spawn.failures,
            started: clock::now().0,
            keeper: self.keeper.keeper,
            pipes: [0, 0],
            name: Some(spawn.app.spec.name.to_string()),
        };
        let prepared = match launch::prepare(self.runs.tree(), place, mark, &program) {
            Ok(prepared) => prepared,
            Err(e) => return failed(e, false),
        };
        self.keeper.hold(run, &prepared.logs);
        match self.runs.start(prepared, program) {
            Ok(child) => {
                super::failpoint::named("after_clone");
                self.keeper.main(run, child.pid);
                let logs = self.runs.launched(&self.epoll, run, spawn.instance, child);
                let plan = Box::new(Plan::new(&self.paths, &spawn.app.spec, spawn.instance));
                self.pump.send(pump::Command::Add { run, plan, streams: logs });
                None
            }
            Err(e) => {
                self.keeper.drop_pipes(run);
                failed(e, false)
            }
        }
    }

    /// Drains what the run left in its pipes; its cgroup stays until that is done, as the sign that there was something.
    pub(super) fn retire(&mut self, run: RunId) {
        if self.runs.instance(run).is_none() || !self.draining.insert(run) {
            return;
        }
        let handle = self.handle.clone();
        let last_words = self.mourning.wanted(run);
        let done = Box::new(move |last| handle.send(Mail::Drained(run, last)));
        self.pump.send(pump::Command::Finish { run, last_words, done });
    }

    /// The pipes of a run are drained: what it said last is recorded, if it did not end by order.
    pub(super) fn last_words(&mut self, run: RunId, last: &LastBytes) {
        if let Some(instance) = self.runs.instance(run)
            && let Some(words) = self.mourning.words(instance, run, last)
        {
            self.record(Event::LastWords(words.into()));
        }
    }

    /// Its cgroup goes, unless its end is not in the journal yet. A daemon that died in between would leave a record with the
    /// keeper that concerns no cgroup: the next one would take it for an old story, and the exit would be forgotten.
    pub(super) fn drained(&mut self, run: RunId) {
        self.draining.remove(&run);
        let Some(instance) = self.runs.close(&self.epoll, &self.keeper, run) else { return };
        if self.unrecorded.contains(&run) {
            self.drained.insert(run, instance);
        } else {
            super::failpoint::named("remove");
            self.runs.remove(instance, run);
        }
    }

    /// The end of the run is in the journal.
    pub(super) fn recorded(&mut self, run: RunId) {
        self.unrecorded.remove(&run);
        self.keeper.acknowledge(run);
        if let Some(instance) = self.drained.remove(&run) {
            super::failpoint::named("remove");
            self.runs.remove(instance, run);
        }
    }

    /// The loop is over: what it would have been told does not come. Where another daemon follows, it looks at the runs whose
    /// end may not be recorded.
    pub(super) fn let_go_of_the_rest(&mut self, another_follows: bool) {
        for run in std::mem::take(&mut self.draining) {
            self.drained(run);
        }
        if !another_follows {
            std::mem::take(&mut self.drained).into_iter().for_each(|(run, instance)| self.runs.remove(instance, run));
        }
    }

    /// Whether this machine and this daemon can do what the spec asks for.
    pub(super) fn check(&self, spec: &AppSpec) -> Result<(), Lacking> {
        let no = |why: String| Err(Lacking { why, mend: None });
        if !self.root_user && (spec.user.is_some() || spec.group.is_some()) {
            return no("to run an app as another user, opm itself must run as root".to_owned());
        }
        for file in [&spec.out_file, &spec.error_file, &spec.log_file].into_iter().flatten() {
            let file = Path::new(file.as_os_str());
            let own = [&self.paths.state, &self.paths.runtime, &self.paths.logs.join("index")];
            let is_own = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"opm-daemon.log"));
            if own.into_iter().any(|folder| file.starts_with(folder)) || is_own && file.starts_with(&self.paths.logs) {
                return no(format!("{} is where opm keeps its own; an app cannot log there", file.display()));
            }
        }
        self.check_limits(&spec.limits())
    }

    /// Whether these limits can be meant, and enforced here.
    pub(super) fn check_limits(&self, asked: &Limits) -> Result<(), Lacking> {
        asked.check().map_err(|why| Lacking { why, mend: None })?;
        limits::check(asked, self.runs.tree().controllers())
    }

    /// Whether there are descriptors for that many more instances: refused now, not EMFILE later.
    pub(super) fn check_room<'a>(
        &self,
        core: &Supervisor,
        asked: impl Iterator<Item = &'a NewApp>,
    ) -> Result<(), (String, String)> {
        let have: HashMap<_, _> = core.apps().map(|(_, app)| (&app.spec.name, descriptors(&app.spec))).collect();
        let more = more_descriptors(&have, asked.map(|app| (&app.spec.name, descriptors(&app.spec))));
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let room = limit.saturating_sub(descriptors_reserved(limit));
        let all = more + have.values().sum::<u64>();
        if more == 0 || all <= room {
            return Ok(());
        }
        let instances = room / FDS_PER_INSTANCE;
        let message = format!(
            "all instances together would need {all} descriptors, and this daemon has {room} for them (room for {instances} instances)"
        );
        Err((message, "raise LimitNOFILE= of the opm unit (or ulimit -n), and restart the daemon".to_owned()))
    }
}

/// How many descriptors all instances of an app take.
fn descriptors(spec: &AppSpec) -> u64 {
    u64::from(spec.instances) * (FDS_PER_INSTANCE + u64::from(spec.max_memory_restart.is_some()))
}

/// How many are asked for beyond those that are taken. An app that exists counts only with what it grows by, so that the
/// same file can be given again however full it is.
fn more_descriptors<'a>(have: &HashMap<&AppName, u64>, asked: impl Iterator<Item = (&'a AppName, u64)>) -> u64 {
    asked.map(|(name, wanted)| wanted.saturating_sub(have.get(name).copied().unwrap_or(0))).sum()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn apps_that_exist_take_room_only_for_what_they_grow_by() {
        let (web, api): (AppName, AppName) = ("web".parse().unwrap(), "api".parse().unwrap());
        let have = HashMap::from([(&web, 4)]);
        assert_eq!(more_descriptors(&have, [(&web, 4)].into_iter()), 0, "the same again");
        assert_eq!(more_descriptors(&have, [(&web, 6), (&api, 3)].into_iter()), 5);
        assert_eq!(more_descriptors(&have, [(&web, 1)].into_iter()), 0);
    }
}
