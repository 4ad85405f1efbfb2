//! What must always hold. Every effect and every step is held against the kernel, the disk and what was ordered.
//!
//! Owns the invariants. It must not look into the core beyond its public face. What a reader would get wrong: these are written
//! from the design, not from the code; where both compute the same number they do so apart.

mod effects;
mod standing;

use crate::policy::Ledger as Policy;
use crate::world::Store;
use opm::model::exit::Sequel;
use opm::model::policy::KillMode;
use opm::model::{
    AppId, Desired, ExitRecord, Generation, InstanceId, InstanceState, Moment, Order, OrderId, OrderKey, RunId,
};
use opm::supervise::{Change, Input, Supervisor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug, Default)]
pub struct Watch {
    /// The first thing that did not hold: which invariant, and how.
    pub broken: Option<(&'static str, String)>,
    /// Every way an instance was ever durably wanted up.
    ever_up: BTreeSet<(InstanceId, Generation, String)>,
    highest: BTreeMap<InstanceId, Generation>,
    /// The same before the last write, which may be refused.
    before: BTreeMap<InstanceId, Generation>,
    /// The same, of what reached the disk.
    highest_durable: BTreeMap<InstanceId, Generation>,
    /// Ordered down at a time when this was the highest generation.
    down_since: BTreeMap<InstanceId, Generation>,
    /// In this boot, whatever became of the daemon: the highest generation that a stop was carried out at, or begun at.
    downed: BTreeMap<InstanceId, Generation>,
    /// The same of what was ordered at all.
    ever_down: BTreeMap<InstanceId, Generation>,
    /// Instances of which a run's marks were ever lost.
    unmarked: BTreeSet<InstanceId>,
    names: BTreeMap<AppId, String>,
    /// Apps whose leftovers were ever to be let be.
    main_only: BTreeSet<AppId>,
    open: BTreeMap<OrderId, Given>,
    replied: BTreeSet<OrderId>,
    /// Per life of the daemon: what it was told of runs.
    exited: BTreeMap<RunId, Moment>,
    emptied: BTreeSet<RunId>,
    left: BTreeSet<RunId>,
    swept: BTreeSet<RunId>,
    killed: BTreeSet<RunId>,
    /// Sent a stop signal by a ladder.
    asked: BTreeSet<RunId>,
    marks: BTreeMap<RunId, Moment>,
    recorded: BTreeSet<RunId>,
    retired: BTreeSet<RunId>,
    runs: BTreeMap<RunId, (InstanceId, Generation, Arc<opm::model::AppSpec>)>,
    executed: BTreeMap<u32, InstanceId>,
    last: BTreeMap<InstanceId, (u32, Arc<ExitRecord>, bool)>,
    policy: Policy,
    closing: bool,
    /// A write is under way.
    writing: bool,
    /// Adoption is complete.
    converged: bool,
    /// Stops of live instances that the current step must begin.
    to_begin: BTreeSet<RunId>,
}

/// Not frozen, though nobody but the daemon thawed it.
fn is_moving(run: &crate::kernel::Run) -> bool {
    !run.frozen && !run.by_hand && run.main_lives()
}

#[derive(Debug)]
struct Given {
    request: Order,
    at: Moment,
    /// What was the highest generation of what it orders down.
    since: BTreeMap<InstanceId, Generation>,
    /// Instances that ran and were wanted up when a create only changed how many there are.
    to_spare: Vec<InstanceId>,
    /// Instances that were paused when they were to be started as they are.
    to_resume: Vec<InstanceId>,
    /// It was sent before: nothing may be raised.
    again: Option<BTreeMap<InstanceId, Generation>>,
}

impl Watch {
    pub fn fail(&mut self, invariant: &'static str, how: impl Into<String>) {
        if self.broken.is_none() {
            self.broken = Some((invariant, how.into()));
        }
    }

    // --- what happens to the core ---------------------------------------------------------------------------------------

    pub fn order_given(
        &mut self,
        store: &Store,
        core: Option<&Supervisor>,
        at: Moment,
        order: OrderId,
        request: &Order,
        key: Option<&OrderKey>,
    ) {
        let Some(core) = core else { return };
        let rows = core.status();
        let mut given = Given {
            request: request.clone(),
            at,
            since: BTreeMap::new(),
            to_spare: Vec::new(),
            to_resume: Vec::new(),
            again: None,
        };
        let whole = |targets: &[opm::model::Target]| -> Vec<InstanceId> {
            let hit = |id: InstanceId| {
                targets.iter().any(|t| t.app == id.app && t.instance.is_none_or(|index| index == id.index))
            };
            rows.iter().map(|row| row.instance).filter(|id| hit(*id)).collect()
        };
        match request {
            Order::Stop { targets } | Order::Delete { targets } if !self.closing => {
                let valid = targets.iter().all(|t| {
                    let app = core.apps().find(|(id, _)| *id == t.app);
                    app.is_some_and(|(_, a)| t.instance.is_none_or(|i| (i as usize) < a.instances.len()))
                        && (t.instance.is_none() || matches!(request, Order::Stop { .. }))
                });
                if valid {
                    for id in whole(targets) {
                        let highest = self.highest.get(&id).copied().unwrap_or_default();
                        self.down_since.insert(id, highest);
                        let wanted = core.apps().find(|(app, _)| *app == id.app);
                        let wanted =
                            wanted.and_then(|(_, app)| app.instances.get(id.index as usize)).map(|w| w.generation);
                        self.ever_down.insert(id, highest.max(wanted.unwrap_or_default()));
                        given.since.insert(id, highest);
                        let row = rows.iter().find(|row| row.instance == id);
                        if let Some(row) = row.filter(|row| row.state == InstanceState::Online) {
                            self.to_begin.extend(row.run);
                        }
                        // On its way already, to be replaced: from now on its mark says that it is ordered down.
                        let replaced =
                            row.filter(|row| row.state == InstanceState::Stopping && row.desired == Desired::Up);
                        let replaced = replaced.and_then(|row| row.run);
                        let said = self.downed.get(&id).is_some_and(|at| *at >= highest) || self.unmarked.contains(&id);
                        if let Some(run) = replaced.filter(|run| self.marks.contains_key(run) && !said) {
                            self.to_begin.insert(run);
                        }
                    }
                }
            }
            Order::Start { targets, captured: None, .. } if !self.writing => {
                let hit = whole(targets);
                let paused = rows.iter().filter(|row| row.state == InstanceState::Paused);
                given.to_resume.extend(paused.map(|row| row.instance).filter(|id| hit.contains(id)));
            }
            Order::Shutdown { keep_apps } if !self.closing => {
                self.closing = true;
                if !keep_apps {
                    let online = rows.iter().filter(|row| row.state == InstanceState::Online);
                    self.to_begin.extend(online.filter_map(|row| row.run));
                }
            }
            Order::Create { apps, replace: true, update_env: false } => {
                for new in apps {
                    let now = core.apps().find(|(_, app)| app.spec.name == new.spec.name);
                    if let Some((id, app)) = now
                        && let Some(durable) = store.apps.get(&id)
                        && durable == app
                    {
                        let mut scaled = opm::model::AppSpec { instances: new.spec.instances, ..(*app.spec).clone() };
                        new.spec.limits().put_into(&mut scaled);
                        let online = rows.iter().filter(|r| r.instance.app == id && r.state == InstanceState::Online);
                        if scaled == *new.spec && !self.writing {
                            given.to_spare.extend(online.map(|r| r.instance));
                        }
                    }
                }
            }
            _ => {}
        }
        let durable_key = |app: AppId| store.apps.get(&app).and_then(|a| a.last_order.as_ref());
        let targets = match request {
            Order::Start { targets, .. } | Order::Restart { targets, .. } => targets.as_slice(),
            _ => &[],
        };
        let settled = core.apps().all(|(id, app)| store.apps.get(&id) == Some(app));
        if key.is_some() && settled && !targets.is_empty() && targets.iter().all(|t| durable_key(t.app) == key) {
            given.again = Some(self.highest.clone());
        }
        self.open.insert(order, given);
    }

    /// The step that took it is done.
    pub fn order_taken(&mut self, order: OrderId, _core: Option<&Supervisor>) {
        if let Some(again) = self.open.get(&order).and_then(|given| given.again.as_ref())
            && *again != self.highest
        {
            self.fail("an order sent again changes nothing", format!("order {}", order.0));
        }
        if let Some(run) = self.to_begin.pop_first() {
            self.fail("the way down does not wait", format!("run {} was not asked to end", run.0));
        }
    }

    pub fn abandoned(&mut self, order: OrderId) {
        self.open.remove(&order);
        self.replied.insert(order);
    }

    pub fn told(&mut self, now: Moment, input: &Input) {
        self.converged |= matches!(input, Input::Converge);
        self.writing &= !matches!(input, Input::Persisted { .. } | Input::PersistFailed { .. });
        match input {
            Input::Exited { run, .. } | Input::SpawnFailed { run, .. } => {
                self.exited.entry(*run).or_insert(now);
                if matches!(input, Input::SpawnFailed { .. }) {
                    self.emptied.insert(*run);
                }
            }
            Input::Emptied { run, .. } => {
                self.emptied.insert(*run);
            }
            Input::LeftBehind { run, .. } if self.exited.contains_key(run) => {
                self.left.insert(*run);
            }
            Input::PersistFailed { .. } => {
                self.highest = self.before.clone();
                // What was refused may be given again, to whoever starts it next.
                let given = self.open.values_mut().flat_map(|given| &mut given.since);
                let noted = self.down_since.iter_mut().chain(&mut self.downed).chain(&mut self.ever_down);
                for (id, since) in noted.chain(given) {
                    *since = (*since).min(self.highest.get(id).copied().unwrap_or_default());
                }
            }
            Input::Adopted(found) => {
                if let opm::supervise::AdoptedMain::Alive { pid } = found.main {
                    self.executed.insert(pid, found.instance);
                }
                if let Some(mark) = found.stopping {
                    self.marks.insert(found.run, mark.deadline.max(now));
                }
            }
            _ => {}
        }
    }

    pub fn durable(&mut self, store: &Store, change: &Change) {
        for (id, app) in &change.put {
            let name = app.spec.name.to_string();
            if self.names.insert(*id, name.clone()).is_some_and(|before| before != name) {
                self.fail("ids are never reused", format!("id {id} now means {name}"));
            }
            if app.spec.kill_mode == KillMode::Process {
                self.main_only.insert(*id);
            }
            for (wanted, index) in app.instances.iter().zip(0..) {
                for highest in [&mut self.highest_durable, &mut self.highest] {
                    let highest = highest.entry(InstanceId::new(*id, index)).or_default();
                    *highest = wanted.generation.max(*highest);
                }
                if wanted.desired == Desired::Up {
                    self.ever_up.insert((InstanceId::new(*id, index), wanted.generation, format!("{:?}", app.spec)));
                }
            }
        }
        if change.next_id.0 < store.next_id || change.put.iter().any(|(id, _)| id.0 >= change.next_id.0) {
            self.fail("ids are never reused", format!("next id {} after {}", change.next_id, store.next_id));
        }
    }

    pub fn daemon_died(&mut self) {
        self.exited.clear();
        self.emptied.clear();
        self.left.clear();
        self.killed.clear();
        self.asked.clear();
        self.marks.clear();
        self.open.clear();
        self.down_since.clear();
        self.to_begin.clear();
        self.highest = self.highest_durable.clone();
        self.closing = false;
        self.converged = false;
        self.writing = false;
        self.policy.daemon_died();
    }

    /// What the next daemon would have gone by is gone.
    pub fn mark_lost(&mut self, id: InstanceId) {
        self.downed.remove(&id);
        self.unmarked.insert(id);
    }

    /// A daemon has begun: what it acts upon is what is on disk, but for stops that were not saved.
    pub fn taken_over(&mut self, store: &Store, core: Option<&Supervisor>) {
        let Some(core) = core else { return };
        let apps: BTreeMap<_, _> = core.apps().collect();
        for (app, saved) in &store.apps {
            for (wanted, index) in saved.instances.iter().zip(0_u32..) {
                let id = InstanceId::new(*app, index);
                let now = apps.get(app).and_then(|app| app.instances.get(index as usize));
                let ordered = self.ever_down.get(&id).is_some_and(|at| *at >= wanted.generation);
                if now != Some(wanted) && !ordered {
                    self.fail("nothing but an order changes what is wanted", format!("{id}: {wanted:?}, now {now:?}"));
                }
            }
        }
    }

    pub fn rebooted(&mut self) {
        self.daemon_died();
        self.policy = Policy::default();
        self.downed.clear();
        self.ever_down.clear();
        self.unmarked.clear();
        for (_, record, _) in self.last.values_mut() {
            let mut old = (**record).clone();
            old.sequel = Sequel::Down;
            *record = Arc::new(old);
        }
        self.runs.clear();
    }
}
