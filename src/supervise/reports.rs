//! What is reported about runs: spawned, exited, left behind, emptied.
//!
//! Owns the meaning of each report in each state. It must not decide what follows an end; `over` does. What a reader would
//! get wrong: a report may come late, twice, or before the one it should follow. One about a run that is over finds no
//! instance here and is dropped; the others only ever add to what is known.

use super::bug::{self, Bug};
use super::effect::Effect;
use super::instance::{Instance, State};
use super::ladder::{End, Ending, Main, Manner};
use super::pause::Frost;
use super::supervisor::Supervisor;
use crate::model::{Event, ExitStatus, InstanceId, Moment, RunId, Tally};

impl Supervisor {
    /// Its program was executed.
    pub(super) fn spawned(&mut self, now: Moment, run: RunId, pid: u32) {
        let Some((id, manner, instance)) = find(self, run) else { return };
        let generation = match &mut instance.state {
            State::Starting(current) => {
                current.started = now;
                let (generation, run) = (current.generation, current.clone());
                instance.state = State::Online { run, pid, frost: Frost::Thawed };
                generation
            }
            State::Stopping(ending) if ending.main == Main::Unborn => {
                let mut asked = std::collections::VecDeque::new();
                ending.spawned(pid, now, manner, &mut asked);
                let generation = ending.run.generation;
                self.out.extend(asked);
                generation
            }
            State::Resting(_) | State::Online { .. } | State::Stopping(_) | State::Unknown(_) => return,
        };
        self.out.push_back(Effect::Record(Event::Started { instance: id, run, generation, pid }));
        self.converge(now, id);
    }

    /// It never got to its program, and nothing of it lives.
    pub(super) fn spawn_failed(&mut self, now: Moment, run: RunId, failure: String) {
        let Some((id, manner, instance)) = find(self, run) else { return };
        let end = End { at: now, status: ExitStatus::NeverRan, usage: None, out_of_memory: false };
        if let Some(at) = instance.extras.iter().position(|e| e.run.id == run) {
            let mut extra = instance.extras.swap_remove(at);
            extra.main = Main::Exited(end);
            return self.extra_over(now, id, &extra);
        }
        let ending = match std::mem::replace(&mut instance.state, State::Resting(super::instance::Rest::Idle)) {
            // Adoption takes a child for the app that it is about to become, so this may come for what looks alive.
            State::Starting(run) | State::Online { run, .. } | State::Unknown(run) => {
                Ending::itself(run, Main::Exited(end), manner, now)
            }
            State::Stopping(mut ending) if !matches!(ending.main, Main::Exited(_)) => {
                ending.main = Main::Exited(end);
                *ending
            }
            other @ (State::Resting(_) | State::Stopping(_)) => {
                instance.state = other;
                return;
            }
        };
        self.over(now, id, ending, Some(failure));
    }

    /// Its main process ended.
    pub(super) fn exited(&mut self, now: Moment, run: RunId, end: End) {
        let Some((id, manner, instance)) = find(self, run) else { return };
        if let Some(extra) = instance.extras.iter_mut().find(|e| e.run.id == run) {
            extra.exited(end, manner, now);
            return self.if_over(now, id, run);
        }
        match std::mem::replace(&mut instance.state, State::Resting(super::instance::Rest::Idle)) {
            State::Starting(run) | State::Online { run, .. } | State::Unknown(run) => {
                instance.state = State::Stopping(Box::new(Ending::itself(run, Main::Exited(end), manner, now)));
            }
            State::Stopping(mut ending) => {
                ending.exited(end, manner, now);
                instance.state = State::Stopping(ending);
            }
            resting @ State::Resting(_) => instance.state = resting,
        }
        self.if_over(now, id, run);
    }

    /// Its main process ended, and others live.
    pub(super) fn left_behind(&mut self, now: Moment, run: RunId, left: u32) {
        let Some((id, manner, instance)) = find(self, run) else { return };
        let mut asked = std::collections::VecDeque::new();
        match &mut instance.state {
            State::Stopping(ending) if ending.run.id == run => ending.left_behind(left, manner, now, &mut asked),
            State::Resting(_) | State::Starting(_) | State::Online { .. } | State::Stopping(_) | State::Unknown(_) => {}
        }
        for extra in instance.extras.iter_mut().filter(|e| e.run.id == run) {
            extra.left_behind(left, manner, now, &mut asked);
        }
        self.out.extend(asked);
        self.converge(now, id);
        self.see_off(id.app);
    }

    /// Its cgroup is empty.
    pub(super) fn emptied(&mut self, now: Moment, run: RunId, tally: Option<Box<Tally>>) {
        let Some((id, _, instance)) = find(self, run) else { return };
        let first = match &mut instance.state {
            State::Resting(_) => None,
            State::Starting(current) | State::Online { run: current, .. } | State::Unknown(current) => Some(current),
            State::Stopping(ending) => Some(&mut ending.run),
        };
        let all = first.into_iter().chain(instance.extras.iter_mut().map(|extra| &mut extra.run));
        for current in all.filter(|current| current.id == run || bug::on(Bug::LateReportsHeard)) {
            current.emptied = true;
            current.tally = tally.clone().or(current.tally.take());
        }
        self.if_over(now, id, run);
    }

    /// Ends the run if both reports have come.
    fn if_over(&mut self, now: Moment, id: InstanceId, run: RunId) {
        let Some(instance) = self.instance_mut(id) else { return };
        if let Some(at) = instance.extras.iter().position(|e| e.run.id == run && e.is_over()) {
            let extra = instance.extras.swap_remove(at);
            return self.extra_over(now, id, &extra);
        }
        match std::mem::replace(&mut instance.state, State::Resting(super::instance::Rest::Idle)) {
            State::Stopping(ending) if ending.is_over() => self.over(now, id, *ending, None),
            other @ (State::Resting(_)
            | State::Starting(_)
            | State::Online { .. }
            | State::Stopping(_)
            | State::Unknown(_)) => {
                instance.state = other;
                self.converge(now, id);
                self.see_off(id.app);
            }
        }
    }
}

/// The instance whose run it is, if the run is not over.
fn find(core: &mut Supervisor, run: RunId) -> Option<(InstanceId, Manner, &mut Instance)> {
    let id = *core.runs.get(&run)?;
    let manner = core.manner(id);
    let instance = core.instance_mut(id)?;
    let is_its = instance.run().is_some_and(|r| r.id == run)
        || instance.extras.iter().any(|e| e.run.id == run)
        || bug::on(Bug::LateReportsHeard);
    is_its.then_some((id, manner, instance))
}
