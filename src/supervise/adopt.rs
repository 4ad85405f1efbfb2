//! A daemon's beginning: what lives, what is recorded and what is wanted become one picture.
//!
//! Owns that picture. It must not start or end anything: once the picture is there, each instance is looked at like on any
//! other day. What a reader would get wrong: the journal never says that something lives. A record only says how an instance
//! rests if no run of it was found.

use super::bug::{self, Bug};
use super::converge::rest;
use super::input::{Adopted, AdoptedMain};
use super::instance::{Counters, Instance, Rest, Run, State};
use super::ladder::{Ending, Main, Manner, Why};
use super::limits::Bounds;
use super::pause::Frost;
use super::supervisor::{App, Claim, Supervisor};
use super::{Effect, Past};
use crate::model::exit::Sequel;
use crate::model::state::When;
use crate::model::{AppName, Desired, Generation, InstanceId, Moment, RunId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What the journal has last of an instance, whether or not its app is still listed.
#[derive(Debug, Clone, Copy)]
struct Known {
    run: RunId,
    cleared: bool,
}

impl Supervisor {
    /// Builds the picture, then looks at every instance.
    pub(super) fn take_over(&mut self, now: Moment, past: Vec<Past>, adopted: Vec<Adopted>) {
        self.take_over_downs(now, &past, &adopted);
        let known: BTreeMap<InstanceId, Known> =
            past.iter().map(|past| (past.instance, Known { run: past.record.run, cleared: past.cleared })).collect();
        for past in past {
            if self.apps.contains_key(&past.instance.app) {
                self.remember(past);
            }
        }
        let mut found: BTreeMap<InstanceId, Vec<Adopted>> = BTreeMap::new();
        for run in adopted {
            self.next_run = self.next_run.max(RunId(run.run.0 + 1));
            if bug::on(Bug::EndedRunNotAdopted) && run.main == AdoptedMain::Ended {
                continue;
            }
            if bug::on(Bug::GhostsIgnored) && !self.apps.contains_key(&run.instance.app) {
                continue;
            }
            found.entry(run.instance).or_default().push(run);
        }
        for (id, mut runs) in found {
            let wanted = match self.goal(id) {
                super::converge::Goal::Up(generation) => Some(generation),
                super::converge::Goal::Down => None,
            };
            // The one to keep comes last: the newest of those that may go on as they are, else the newest.
            runs.sort_by_key(|run| (goes_on(run, wanted), run.run));
            let Some(first) = runs.pop() else { continue };
            let known = known.get(&id).copied();
            self.adopt(now, id, &first, known);
            for extra in runs {
                self.adopt_extra(now, id, &extra, known);
            }
        }
        let all: Vec<_> = self.apps.iter().map(|(id, app)| (*id, app.instances.len())).collect();
        for (app, count) in all {
            for index in 0..count {
                self.converge(now, InstanceId::new(app, index as u32));
            }
        }
    }

    /// Orders down that the daemon before had carried out, or begun to, and had not saved: the disk refused, or it died first.
    /// The kernel or the journal says so, and not the disk; it is put right, and saved from now on. An order to start that came
    /// later raised the generation, and stands.
    fn take_over_downs(&mut self, now: Moment, past: &[Past], adopted: &[Adopted]) {
        let this_boot = past.iter().filter(|past| matches!(past.when, When::Moment(_)));
        let recorded = this_boot.filter_map(|past| Some((past.instance, past.record.down?)));
        let marked = adopted.iter().filter_map(|run| Some((run.instance, run.stopping?.down?)));
        let recorded = recorded.filter(|_| !bug::on(Bug::DownRecordIgnored));
        let marked = marked.filter(|_| !bug::on(Bug::DownMarkIgnored));
        let mut unsaved = BTreeSet::new();
        for (id, at) in recorded.chain(marked) {
            let Some(Claim::Listed(desired)) = self.apps.get_mut(&id.app).map(|app| &mut app.claim) else { continue };
            let Some(wanted) = desired.instances.get_mut(id.index as usize) else { continue };
            if wanted.desired == Desired::Up && wanted.generation <= at {
                wanted.desired = Desired::Down;
                unsaved.insert(id.app);
            }
        }
        self.ledger.owe(unsaved.into_iter());
        self.save_again(now);
    }

    /// Takes over what a record says.
    fn remember(&mut self, past: Past) {
        let Past { instance: id, record, when, failures, cleared } = past;
        let this_boot = matches!(when, When::Moment(_));
        let instance = self.room_for(id, None);
        let of = if bug::on(Bug::OldRecordSettles) { Generation(u64::MAX) } else { record.generation };
        if this_boot {
            let clean = Counters { of: record.generation, ..Counters::default() };
            instance.counters = if cleared {
                clean
            } else {
                Counters { restarts: record.restarts, failures: record.failures, recent: failures, ..clean }
            };
            let rested = match record.sequel {
                Sequel::Errored { .. } | Sequel::Restart { .. } if cleared => Rest::Idle,
                Sequel::Finished if bug::on(Bug::SettledRunAgain) => Rest::Idle,
                sequel => rest(of, sequel),
            };
            instance.state = State::Resting(rested);
        }
        instance.last = Some((record, when));
    }

    /// Takes over a run.
    fn adopt(&mut self, now: Moment, id: InstanceId, found: &Adopted, known: Option<Known>) {
        let cleared = known.is_some_and(|known| known.cleared);
        let recorded = known.is_some_and(|known| known.run == found.run);
        let manner = self.manner(id);
        let mut out = VecDeque::new();
        let instance = self.room_for(id, found.name.as_ref());
        let mut run = as_found(found);
        let last = instance.last.as_ref().map(|(record, when)| (record.clone(), *when));
        let same_line = last.as_ref().filter(|(record, when)| {
            record.generation == found.generation && matches!(when, When::Moment(_)) && !cleared
        });
        run.probation = same_line.is_some_and(|(record, _)| matches!(record.sequel, Sequel::Errored { .. }));
        if !recorded {
            let recent = if same_line.is_some() { std::mem::take(&mut instance.counters.recent) } else { Vec::new() };
            instance.counters = if cleared {
                Counters { of: found.generation, ..Counters::default() }
            } else {
                Counters { of: found.generation, restarts: found.restarts, failures: found.failures, recent }
            };
        }
        instance.state = match (found.main, found.stopping.filter(|_| !bug::on(Bug::StopMarkIgnored))) {
            (AdoptedMain::Alive { pid }, None) => State::Online { run, pid, frost: Frost::found(found.freezer) },
            (AdoptedMain::Unmarked, None) => State::Unknown(run),
            (AdoptedMain::Ended, None) => State::Stopping(Box::new(Ending::itself(run, Main::Gone, manner, now))),
            (main, Some(mark)) => {
                let main = main_of(main);
                State::Stopping(Box::new(Ending::resumed(run, main, mark, manner, now, &mut out)))
            }
        };
        if let State::Stopping(ending) = &mut instance.state {
            ending.recorded = recorded;
        }
        self.runs.insert(found.run, id);
        self.out.extend(out);
    }

    /// Takes over a run that should not be beside another, and ends it.
    fn adopt_extra(&mut self, now: Moment, id: InstanceId, found: &Adopted, known: Option<Known>) {
        let manner = self.manner(id);
        let mut out = VecDeque::new();
        let instance = self.room_for(id, found.name.as_ref());
        let mut ending = extra(found, manner, now, &mut out);
        ending.recorded = known.is_some_and(|known| known.run == found.run);
        instance.extras.push(ending);
        self.runs.insert(found.run, id);
        self.out.extend(out);
    }

    /// The instance, made if there is none: a run is never overlooked because nobody knows its app.
    fn room_for(&mut self, id: InstanceId, name: Option<&AppName>) -> &mut Instance {
        let app = self.apps.entry(id.app).or_insert_with(|| Box::new(App::new(Claim::Ghost(name.cloned()))));
        let index = id.index as usize;
        app.make_room_for(index + 1);
        &mut app.instances[index]
    }
}

/// Whether a run may go on as it is.
fn goes_on(run: &Adopted, wanted: Option<Generation>) -> bool {
    matches!(run.main, AdoptedMain::Alive { .. })
        && run.stopping.is_none()
        && wanted.is_some_and(|wanted| run.generation >= wanted)
}

fn as_found(found: &Adopted) -> Run {
    let bounds = if found.plain { Bounds::Plain } else { Bounds::Unknown };
    Run::new(found.run, found.generation, found.started, bounds)
}

fn main_of(main: AdoptedMain) -> Main {
    match main {
        AdoptedMain::Alive { pid } => Main::Alive(pid),
        AdoptedMain::Ended => Main::Gone,
        AdoptedMain::Unmarked => Main::Unmarked,
    }
}

fn extra(found: &Adopted, manner: Manner, now: Moment, out: &mut VecDeque<Effect>) -> Ending {
    let run = as_found(found);
    match (found.main, found.stopping) {
        (AdoptedMain::Ended, None) => Ending::itself(run, Main::Gone, manner, now),
        (main, Some(mark)) => Ending::resumed(run, main_of(main), mark, manner, now, out),
        (main @ (AdoptedMain::Alive { .. } | AdoptedMain::Unmarked), None) => {
            Ending::begun(run, main_of(main), Why::Ordered, manner, None, now, out)
        }
    }
}
