//! Wanted against observed: the one place where an instance's next step is decided.
//!
//! Owns the comparison, the spawn and the end of a run. It must not look at orders: those change what is wanted and then
//! come here. What a reader would get wrong: this may be called for any instance at any time, any number of times. If there
//! is nothing to do it does nothing, so callers need not know whether there is.

use super::bug::{self, Bug};
use super::instance::{Rest, Run, State};
use super::ladder::{End, Ending, Main, Manner, Why};
use super::limits::Bounds;
use super::restart::{self, Ended};
use super::supervisor::{Claim, Phase, Supervisor};
use super::timers::Timer;
use super::{Effect, Spawn};
use crate::model::exit::Sequel;
use crate::model::state::When;
use crate::model::{
    AppSpec, Cause, Desired, DesiredApp, Event, ExitRecord, ExitStatus, Generation, InstanceId, Moment, RunId, Signal,
};
use std::sync::Arc;

/// What is wanted of an instance, all things considered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Down,
    Up(Generation),
}

impl Supervisor {
    /// What is wanted of it. An instance of no app, or beyond the wanted number, is wanted down.
    pub(super) fn goal(&self, id: InstanceId) -> Goal {
        if matches!(self.phase, Phase::Closing { keep_apps: false, .. }) {
            return Goal::Down;
        }
        let desired = self.apps.get(&id.app).and_then(|app| app.desired());
        match desired.and_then(|d| d.instances.get(id.index as usize)) {
            Some(wanted) if wanted.desired == Desired::Up => Goal::Up(wanted.generation),
            Some(_) | None => Goal::Down,
        }
    }

    /// The newest generation at which an order wants it down, if one does; the end of the daemon is none. What is on its way to
    /// the disk and would have started it counts, since it may get there although it is void; not so if it was ordered later.
    pub(super) fn ordered_down(&self, id: InstanceId) -> Option<Generation> {
        let of = |desired: &DesiredApp| desired.instances.get(id.index as usize).copied();
        let acted_upon = match &self.apps.get(&id.app)?.claim {
            Claim::Listed(desired) => {
                of(desired).filter(|w| w.desired == Desired::Down || bug::on(Bug::ShutdownIsAnOrder))
            }
            Claim::Deleting { was, .. } => of(was),
            Claim::Ghost(_) => None,
        }?;
        let pending = self.ledger.pending(id.app).and_then(of);
        let in_flight = self.ledger.in_flight(id.app).and_then(of);
        let later = pending.is_some_and(|wanted| wanted.desired == Desired::Up);
        let void = pending.into_iter().chain(in_flight).filter(|_| !later);
        void.chain([acted_upon]).map(|wanted| wanted.generation).max()
    }

    pub(super) fn manner(&self, id: InstanceId) -> Manner {
        Manner::of(self.apps.get(&id.app).and_then(|app| app.known_as()).map(|d| &*d.spec))
    }

    /// Takes the next step of an instance, if there is one.
    pub(super) fn converge(&mut self, now: Moment, id: InstanceId) {
        let goal = self.goal(id);
        let closing = matches!(self.phase, Phase::Closing { .. }) && !bug::on(Bug::StartsWhileClosing);
        let manner = self.manner(id);
        let down = if goal == Goal::Down { self.ordered_down(id) } else { None };
        let Some(app) = self.apps.get_mut(&id.app) else { return };
        let Some(instance) = app.instances.get_mut(id.index as usize) else { return };
        if let State::Stopping(ending) = &mut instance.state {
            ending.want_down(down, &mut self.out);
        }
        match (&instance.state, goal) {
            (State::Resting(rest), Goal::Up(generation)) => {
                let due = rest.deadline().is_some_and(|at| at <= now);
                if closing || (rest.holds_for(generation) && !due) {
                    // It stays as it is.
                } else if instance.extras.is_empty() {
                    self.spawn(now, id, generation);
                } else {
                    instance.state = State::Resting(Rest::Idle);
                }
            }
            (State::Resting(rest), Goal::Down) => {
                if bug::on(Bug::BackoffOutlivesStop) {
                    if rest.deadline().is_some_and(|at| at <= now) && !closing {
                        self.spawn(now, id, Generation(0));
                    }
                } else {
                    instance.state = State::Resting(Rest::Idle);
                }
            }
            (State::Starting(run) | State::Online { run, .. }, Goal::Up(generation))
                if run.generation >= generation || bug::on(Bug::GenerationIgnored) => {}
            (State::Starting(_) | State::Online { .. }, Goal::Up(_) | Goal::Down) | (State::Unknown(_), Goal::Down) => {
                let (run, main) = match std::mem::replace(&mut instance.state, State::Resting(Rest::Idle)) {
                    State::Starting(run) => (run, Main::Unborn),
                    State::Online { run, pid, .. } => (run, Main::Alive(pid)),
                    State::Unknown(run) => (run, Main::Unmarked),
                    // Excluded by the pattern above; were it not, the state would stay.
                    other @ (State::Resting(_) | State::Stopping(_)) => {
                        instance.state = other;
                        return;
                    }
                };
                let ending = Ending::begun(run, main, Why::Ordered, manner, down, now, &mut self.out);
                instance.state = State::Stopping(Box::new(ending));
            }
            (State::Unknown(_), Goal::Up(_)) | (State::Stopping(_), Goal::Up(_) | Goal::Down) => {}
        }
        self.keep_limits(now, id);
        self.answer_waiters(id);
        self.rearm(id);
    }

    /// Asks for a run. `rest` says whether policy wants it (then it counts as an automatic restart) or an order.
    fn spawn(&mut self, now: Moment, id: InstanceId, generation: Generation) {
        let Some(app) = self.apps.get_mut(&id.app) else { return };
        let Some(desired) = app.desired().cloned() else { return };
        let Some(instance) = app.instances.get_mut(id.index as usize) else { return };
        let mut probation = false;
        if instance.counters.of != generation && !bug::on(Bug::OrdersCount) {
            instance.counters = super::instance::Counters { of: generation, ..Default::default() };
        } else if let State::Resting(Rest::Errored(..)) = instance.state {
            instance.counters.restarts = instance.counters.restarts.saturating_add(1);
            probation = true;
        }
        let run = self.next_run;
        self.next_run = RunId(run.0 + 1);
        self.runs.insert(run, id);
        let bounds = Bounds::InForce(desired.spec.clone());
        instance.state = State::Starting(Run { probation, ..Run::new(run, generation, now, bounds) });
        self.out.push_back(Effect::Spawn(Box::new(Spawn {
            run,
            instance: id,
            generation,
            restarts: instance.counters.restarts,
            failures: instance.counters.failures,
            app: desired,
        })));
    }

    /// A run is over: record it, let go of it, and see what follows.
    pub(super) fn over(&mut self, now: Moment, id: InstanceId, ending: Ending, failure: Option<String>) {
        let goal = self.goal(id);
        let down = if goal == Goal::Down { self.ordered_down(id) } else { None };
        let Some(app) = self.apps.get_mut(&id.app) else { return };
        let spec = app.known_as().map(|d| d.spec.clone());
        let Some(instance) = app.instances.get_mut(id.index as usize) else { return };
        if ending.recorded && !bug::on(Bug::RecordedTwice) {
            return self.over_again(now, id, &ending);
        }
        let Ending { run, why, main, .. } = &ending;
        let end = match main {
            Main::Exited(end) => *end,
            Main::Unborn | Main::Alive(_) | Main::Gone | Main::Unmarked => {
                End { at: now, status: ExitStatus::NotObserved, usage: None, out_of_memory: false }
            }
        };
        let counts = instance.counters.of == run.generation;
        let sequel = match goal {
            Goal::Down => Sequel::Down,
            Goal::Up(generation) if run.generation < generation || *why == Why::Ordered => Sequel::Replaced,
            Goal::Up(_) => {
                let uptime =
                    if end.status == ExitStatus::NeverRan { 0 } else { end.at.since(run.started).as_nanos() as u64 };
                let ended = Ended {
                    run: run.id,
                    status: end.status,
                    uptime: std::time::Duration::from_nanos(uptime),
                    probation: run.probation,
                    heavy: ending.passed().is_some(),
                };
                decide(spec.as_deref(), ended, &mut instance.counters, self.seed, now)
            }
        };
        let record = Arc::new(ExitRecord {
            instance: id,
            run: run.id,
            generation: run.generation,
            started: run.started,
            ended: now,
            status: end.status,
            cause: cause(*why, &end, &ending),
            failure,
            sent: false,
            usage: end.usage,
            tally: run.tally.as_deref().copied(),
            memory_mark: ending.passed(),
            restarts: if counts { instance.counters.restarts } else { 0 },
            failures: if counts { instance.counters.failures } else { 0 },
            sequel,
            down: down.max(ending.mark.filter(|_| down.is_some()).and_then(|mark| mark.down)),
        });
        instance.state = State::Resting(rest(run.generation, sequel));
        self.let_go(&ending, record.clone());
        if let Some(instance) = self.instance_mut(id) {
            instance.last = Some((record, When::Moment(now)));
        }
        self.answer_waiters(id);
        self.converge(now, id);
        self.see_off(id.app);
    }

    /// A run is over whose end the daemon before this one had recorded, and had decided what follows.
    fn over_again(&mut self, now: Moment, id: InstanceId, ending: &Ending) {
        if let Some(instance) = self.instance_mut(id) {
            let sequel = instance.last.as_ref().map_or(Sequel::Replaced, |(record, _)| record.sequel);
            instance.state = State::Resting(rest(ending.run.generation, sequel));
        }
        self.out.push_back(Effect::Retire { run: ending.run.id });
        self.runs.remove(&ending.run.id);
        self.converge(now, id);
        self.see_off(id.app);
    }

    /// One of several runs of an instance is over. It says nothing about the instance.
    pub(super) fn extra_over(&mut self, now: Moment, id: InstanceId, ending: &Ending) {
        let Main::Exited(end) = ending.main else { return };
        let (sequel, down) = match self.goal(id) {
            Goal::Down => (Sequel::Down, self.ordered_down(id)),
            Goal::Up(_) => (Sequel::Replaced, None),
        };
        let run = &ending.run;
        if ending.recorded {
            self.out.push_back(Effect::Retire { run: run.id });
            self.runs.remove(&run.id);
            self.converge(now, id);
            return self.see_off(id.app);
        }
        let record = Arc::new(ExitRecord {
            instance: id,
            run: run.id,
            generation: run.generation,
            started: run.started,
            ended: now,
            status: end.status,
            cause: cause(ending.why, &end, ending),
            failure: None,
            sent: false,
            usage: end.usage,
            tally: run.tally.as_deref().copied(),
            memory_mark: ending.passed(),
            restarts: 0,
            failures: 0,
            sequel,
            down: down.max(ending.mark.filter(|_| down.is_some()).and_then(|mark| mark.down)),
        });
        self.let_go(ending, record);
        self.converge(now, id);
        self.see_off(id.app);
    }

    /// Records the end of a run, and forgets the run.
    fn let_go(&mut self, ending: &Ending, record: Arc<ExitRecord>) {
        let run = ending.run.id;
        self.out.push_back(Effect::Record(Event::Exited(record)));
        if !bug::on(Bug::RetireForgotten) {
            self.out.push_back(Effect::Retire { run });
        }
        if !bug::on(Bug::LateReportsHeard) {
            self.runs.remove(&run);
        }
    }

    /// The deadline of an instance has come.
    pub(super) fn deadline_passed(&mut self, now: Moment, id: InstanceId) {
        let manner = self.manner(id);
        let Some(app) = self.apps.get_mut(&id.app) else { return };
        let Some(instance) = app.instances.get_mut(id.index as usize) else { return };
        let first = match &mut instance.state {
            State::Stopping(ending) => Some(&mut **ending),
            State::Online { frost, .. } => {
                frost.deadline_passed(now);
                None
            }
            State::Resting(_) | State::Starting(_) | State::Unknown(_) => None,
        };
        for ending in first.into_iter().chain(&mut instance.extras) {
            ending.deadline_passed(now, manner, &mut self.out);
        }
        self.watch_again(now, id);
        self.converge(now, id);
        self.see_off(id.app);
    }

    /// Keeps the index of deadlines true. While the daemon closes nothing starts, so rests have no end.
    pub(super) fn rearm(&mut self, id: InstanceId) {
        let closing = matches!(self.phase, Phase::Closing { .. });
        let Some(instance) = self.apps.get_mut(&id.app).and_then(|app| app.instances.get_mut(id.index as usize)) else {
            return;
        };
        let due = match instance.state {
            State::Resting(_) if closing => instance.extras.iter().filter_map(|e| e.stage.deadline()).min(),
            State::Resting(_) | State::Starting(_) | State::Online { .. } | State::Stopping(_) | State::Unknown(_) => {
                instance.deadline()
            }
        };
        let old = std::mem::replace(&mut instance.armed, due);
        self.timers.move_to(Timer::Instance(id), old, due);
    }
}

/// Asks the policy. A run of an app that nobody wants has none, and gets no successor.
fn decide(
    spec: Option<&AppSpec>,
    ended: Ended,
    counters: &mut super::instance::Counters,
    seed: u64,
    now: Moment,
) -> Sequel {
    spec.map_or(Sequel::Down, |spec| restart::after(spec, ended, counters, seed, now))
}

/// How an instance rests after `sequel`.
pub(super) fn rest(of: Generation, sequel: Sequel) -> Rest {
    match sequel {
        Sequel::Finished => Rest::Finished(of),
        Sequel::Errored { next } => Rest::Errored(of, next),
        Sequel::Restart { at } => Rest::Backoff(of, at),
        Sequel::Down | Sequel::Replaced => Rest::Idle,
    }
}

/// Why a run ended. What was ordered to end is never called a crash, however it went.
fn cause(why: Why, end: &End, ending: &Ending) -> Cause {
    let kill = Signal::KILL;
    let killed = matches!(end.status, ExitStatus::Signal { signal, .. } if signal == kill);
    match (why, end.status) {
        (Why::Heavy(_), _) => Cause::MemoryMark,
        (Why::Ordered, _) if killed && ending.was_killed => Cause::Deadline,
        (Why::Ordered, ExitStatus::NeverRan) => Cause::SpawnFailed,
        (Why::Ordered, ExitStatus::Code(_) | ExitStatus::Signal { .. } | ExitStatus::NotObserved) => Cause::StopOrder,
        // A main process that ends otherwise has outlived whatever was killed in its run; the record's tally tells of that.
        (Why::Itself, ExitStatus::Signal { .. }) if killed && end.out_of_memory => Cause::OutOfMemory,
        (Why::Itself, ExitStatus::Code(_)) => Cause::OwnExit,
        (Why::Itself, ExitStatus::Signal { .. }) => Cause::Signal,
        (Why::Itself, ExitStatus::NotObserved) => Cause::NotObserved,
        (Why::Itself, ExitStatus::NeverRan) => Cause::SpawnFailed,
    }
}
