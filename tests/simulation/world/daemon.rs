//! Daemons that die and daemons that begin.
//!
//! Owns what is lost with a daemon, and what the next one is told: disk, journal, and what lives. It must not perform effects.

use super::{Life, World, not_observed};
use crate::kernel::Main;
use opm::model::state::When;
use opm::model::{AppId, BootId, Event, ExitRecord, InstanceId, Moment, RunId, Wall};
use opm::supervise::{Adopted, AdoptedMain, Beginning, Freezer, Input, Past, Supervisor};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl World {
    /// The daemon dies, with what it was about to do.
    pub fn kill_daemon(&mut self) {
        self.trace.push(format!("{} DAEMON DIES", self.now.0 / 1_000_000));
        self.end_life();
        self.core = None;
        self.mail.clear();
        self.watch.daemon_died();
        for (_, change) in std::mem::take(&mut self.writes).into_values() {
            if !self.disk_refuses && self.rng.chance(50) {
                self.apply(&change);
            }
        }
        if self.rng.chance(self.faults.keeper_dies_too) {
            for run in self.kernel.runs.values_mut().filter(|run| !run.main_lives()) {
                run.kept = false;
            }
        }
        for run in self.kernel.runs.values_mut() {
            let can_lose = run.inside && matches!(run.main, Main::Alive(_));
            if can_lose && self.rng.chance(self.faults.marks_lost) {
                run.marked = false;
                self.watch.mark_lost(run.instance);
            }
        }
        if self.rng.chance(self.faults.reboot) {
            return self.reboot();
        }
        let down = if self.rng.chance(20) { self.rng.millis(40_000) } else { self.rng.millis(2_000) };
        self.restart_at = Some(self.now + down);
    }

    /// Everything that lives is gone, and the clock begins anew.
    pub fn reboot(&mut self) {
        if self.core.is_some() {
            self.end_life();
        }
        self.core = None;
        self.mail.clear();
        self.writes.clear();
        self.kernel.runs.clear();
        self.kernel.due.clear();
        self.boot += 1;
        self.now = Moment(2_000_000_000);
        self.restart_at = Some(self.now + Duration::from_secs(1));
        self.watch.rebooted();
        self.trace.push("REBOOT".into());
    }

    pub(super) fn end_life(&mut self) {
        while let Some(effect) = self.core.as_mut().and_then(Supervisor::poll_effect) {
            self.life.effects.push_str(&format!("{effect:?}\n"));
        }
        let Life { beginning, told, effects } = std::mem::take(&mut self.life);
        let Some(mut again) = beginning.map(Supervisor::new) else { return };
        let mut replayed = String::new();
        for (now, input) in told {
            match input {
                Some(input) => again.handle(now, input),
                None => again.handle_timeout(now),
            }
            while let Some(effect) = again.poll_effect() {
                replayed.push_str(&format!("{effect:?}\n"));
            }
        }
        if replayed != effects {
            self.watch.fail("determinism", "the same inputs gave other effects");
        }
    }

    /// A daemon begins: reads the disk and the journal, finds what lives, and converges.
    pub fn start_daemon(&mut self) {
        let past = self.past();
        let recorded = self.journal.iter().filter_map(|(_, event)| match event {
            Event::Exited(record) => Some(record.run.0),
            _ => None,
        });
        let next_run = RunId(recorded.chain(self.kernel.runs.keys().map(|run| run.0)).max().unwrap_or(0) + 1);
        let beginning = Beginning {
            boot: BootId(format!("boot-{}", self.boot).into()),
            seed: 42,
            apps: self.store.apps.iter().map(|(id, app)| (*id, app.clone())).collect(),
            next_id: AppId(self.store.next_id),
            past,
            next_run,
        };
        self.trace.push(format!("{} DAEMON STARTS", self.now.0 / 1_000_000));
        self.life = Life { beginning: Some(beginning.clone()), ..Life::default() };
        self.core = Some(Supervisor::new(beginning));
        self.quit = None;
        let runs: Vec<_> = self.kernel.runs.values().cloned().collect();
        let mut told = Vec::new();
        for run in &runs {
            let main = match (run.marked || !run.populated(), run.main) {
                (false, _) => AdoptedMain::Unmarked,
                (true, Main::Newborn(pid) | Main::Alive(pid)) => AdoptedMain::Alive { pid },
                (true, Main::Dead(..)) => AdoptedMain::Ended,
            };
            let readable = main != AdoptedMain::Unmarked;
            let freezer = match main {
                AdoptedMain::Alive { .. } if run.frozen => Freezer::Frozen,
                AdoptedMain::Alive { .. } if run.freeze => Freezer::Freezing,
                AdoptedMain::Alive { .. } | AdoptedMain::Ended | AdoptedMain::Unmarked => Freezer::Thawed,
            };
            if let Some(run) = self.kernel.runs.get_mut(&run.id) {
                run.turn = (freezer != Freezer::Thawed).then_some(0);
                run.watched = false;
            }
            let adopted = Adopted {
                run: run.id,
                instance: run.instance,
                name: readable.then(|| run.name.clone()),
                generation: if readable { run.generation } else { opm::model::Generation(0) },
                restarts: if readable { run.restarts } else { 0 },
                failures: if readable { run.failures } else { 0 },
                started: if readable { run.started } else { Moment(0) },
                main,
                stopping: run.mark.filter(|_| readable),
                freezer,
                plain: readable && !run.limited,
            };
            self.tell(Some(Input::Adopted(adopted)));
            if main == AdoptedMain::Unmarked {
                continue;
            }
            match run.main {
                Main::Dead(_, _, false) => {
                    told.push(Input::SpawnFailed { run: run.id, failure: "left as a mark".into(), of_the_spec: true });
                }
                Main::Dead(status, out_of_memory, true) if run.kept && run.marked => {
                    told.push(Input::Exited { run: run.id, status, usage: None, out_of_memory });
                }
                Main::Dead(..) => told.push(not_observed(run.id)),
                Main::Newborn(_) | Main::Alive(_) => {}
            }
            match (run.main, run.populated()) {
                (Main::Dead(_, _, true), true) => told.push(Input::LeftBehind { run: run.id, left: run.children }),
                (Main::Dead(_, _, true) | Main::Alive(_), false) => {
                    told.push(Input::Emptied { run: run.id, tally: None })
                }
                (Main::Dead(_, _, false), _) | (Main::Newborn(_) | Main::Alive(_), _) => {}
            }
        }
        self.tell(Some(Input::Converge));
        self.watch.taken_over(&self.store, self.core.as_ref());
        for input in told {
            let serial = self.serial();
            let soon = self.now + self.rng.millis(10);
            self.mail.insert((soon, serial), input);
        }
    }

    pub(super) fn past(&self) -> Vec<Past> {
        let mut last: BTreeMap<InstanceId, (u32, Arc<ExitRecord>, bool)> = BTreeMap::new();
        let mut lines: BTreeMap<InstanceId, Vec<Arc<ExitRecord>>> = BTreeMap::new();
        for (boot, event) in &self.journal {
            match event {
                Event::Exited(record) => {
                    last.insert(record.instance, (*boot, record.clone(), false));
                    if *boot == self.boot {
                        lines.entry(record.instance).or_default().push(record.clone());
                    }
                }
                Event::Cleared { instance } => {
                    lines.remove(instance);
                    if let Some((.., cleared)) = last.get_mut(instance) {
                        *cleared = true;
                    }
                }
                _ => {}
            }
        }
        last.into_iter()
            .map(|(instance, (boot, record, cleared))| {
                let when = if boot == self.boot { When::Moment(record.ended) } else { When::Wall(Wall(0)) };
                let spec = self.store.apps.get(&instance.app).map(|app| app.spec.clone());
                let records = lines.get(&instance).map(Vec::as_slice).unwrap_or_default();
                let failures = spec
                    .map(|spec| opm::supervise::recent_failures(&spec, records.iter().map(|r| &**r), self.now))
                    .unwrap_or_default();
                Past { instance, record, when, failures, cleared }
            })
            .collect()
    }
}
