//! What must always hold. Every effect and every step is held against the kernel, the disk and what was ordered.
//!
//! Owns the invariants. It must not look into the core beyond its public face. What a reader would get wrong: these are written
//! from the design, not from the code; where both compute the same number they do so apart.

use crate::kernel::Kernel;
use crate::policy::Ledger as Policy;
use crate::world::Store;
use opm::model::exit::Sequel;
use opm::model::policy::{ErroredRetry, KillMode, RestartPolicy};
use opm::model::state::{Detail, When};
use opm::model::{
    Answer, AppId, Desired, DesiredApp, Event, ExitRecord, Generation, InstanceId, InstanceState, Moment, Order,
    OrderId, OrderKey, Refusal, RunId, Signal, Verdict,
};
use opm::supervise::{Change, Effect, Input, Supervisor, Whom};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

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

#[derive(Debug)]
struct Given {
    request: Order,
    at: Moment,
    /// What was the highest generation of what it orders down.
    since: BTreeMap<InstanceId, Generation>,
    /// Instances that ran and were wanted up when a create only changed how many there are.
    to_spare: Vec<InstanceId>,
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
        let mut given =
            Given { request: request.clone(), at, since: BTreeMap::new(), to_spare: Vec::new(), again: None };
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
                        given.since.insert(id, highest);
                        let row = rows.iter().find(|row| row.instance == id);
                        if let Some(row) = row.filter(|row| row.state == InstanceState::Online) {
                            self.to_begin.extend(row.run);
                        }
                    }
                }
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
                        let scaled = opm::model::AppSpec { instances: new.spec.instances, ..(*app.spec).clone() };
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
            Input::Emptied { run } => {
                self.emptied.insert(*run);
            }
            Input::LeftBehind { run, .. } if self.exited.contains_key(run) => {
                self.left.insert(*run);
            }
            Input::PersistFailed { .. } => {
                self.highest = self.before.clone();
                for (id, since) in &mut self.down_since {
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

    pub fn rebooted(&mut self) {
        self.daemon_died();
        self.policy = Policy::default();
        for (_, record, _) in self.last.values_mut() {
            let mut old = (**record).clone();
            old.sequel = Sequel::Down;
            *record = Arc::new(old);
        }
        self.runs.clear();
    }

    // --- what the core does ---------------------------------------------------------------------------------------------

    pub fn effect(
        &mut self,
        now: Moment,
        boot: u32,
        kernel: &Kernel,
        store: &Store,
        core: Option<&Supervisor>,
        effect: &Effect,
    ) {
        match effect {
            Effect::Persist { change, .. } => {
                self.before = self.highest.clone();
                self.writing = true;
                for (id, app) in &change.put {
                    for (wanted, index) in app.instances.iter().zip(0..) {
                        let highest = self.highest.entry(InstanceId::new(*id, index)).or_default();
                        *highest = wanted.generation.max(*highest);
                    }
                }
            }
            Effect::Spawn(spawn) => self.spawned(now, boot, kernel, spawn),
            Effect::MarkStop { run, deadline } => {
                self.to_begin.remove(run);
                self.marks.insert(*run, *deadline);
                self.legitimate_end(kernel, *run, core);
            }
            Effect::Signal { run, signal, whom } => {
                self.not_dead(*run, *whom);
                match whom {
                    Whom::Everyone => {
                        self.swept.insert(*run);
                    }
                    Whom::Main if *signal == Signal::KILL => {
                        self.killed.insert(*run);
                    }
                    Whom::Main => {}
                }
            }
            Effect::Kill { run } => {
                self.not_dead(*run, Whom::Everyone);
                self.killed.insert(*run);
                if self.left.contains(run) && !self.swept.contains(run) {
                    self.fail("leftovers are asked before they are killed", format!("run {}", run.0));
                }
            }
            Effect::Retire { run } => self.retired(kernel, *run),
            Effect::Record(event) => self.recorded(now, boot, event),
            Effect::Reply { order, answer } => self.reply(kernel, store, core, *order, answer),
            Effect::Forget { app, .. } => {
                if store.apps.contains_key(app) {
                    self.fail("forgotten means gone from the disk", format!("app {app}"));
                }
                if kernel.runs.values().any(|run| run.instance.app == *app) {
                    self.fail("forgotten means nothing lives", format!("app {app}"));
                }
            }
            Effect::Quit { keep_apps } => {
                if let Some((order, given)) = self.open.first_key_value() {
                    self.fail("every order is answered", format!("order {} at the end: {:?}", order.0, given.request));
                }
                let waits =
                    |run: &&crate::kernel::Run| run.lives() && !self.killed.contains(&run.id) && run.main_lives();
                if !keep_apps && let Some(run) = kernel.runs.values().find(waits) {
                    self.fail("stopped means nothing lives", format!("run {} at the end of the daemon", run.id.0));
                }
                if !self.closing {
                    self.fail("nothing but an order ends the daemon", "it quit");
                }
            }
        }
    }

    fn spawned(&mut self, now: Moment, boot: u32, kernel: &Kernel, spawn: &opm::supervise::Spawn) {
        let id = spawn.instance;
        let text = |why: &str| format!("run {} of {id} generation {}: {why}", spawn.run.0, spawn.generation.0);
        if let Some(other) = kernel.live_of(id).next() {
            let how = text(&format!("run {} lives, main {:?}, {} others", other.id.0, other.main, other.children));
            self.fail("one live run per instance", how);
        }
        if kernel.runs.values().any(|run| run.instance == id) {
            self.fail("a successor waits until its predecessor is retired", text("one is not"));
        }
        if self.runs.contains_key(&spawn.run) {
            self.fail("runs are numbered once", text("again"));
        }
        if !self.ever_up.contains(&(id, spawn.generation, format!("{:?}", spawn.app.spec))) {
            self.fail("durable before started", text("never durable like this"));
        }
        if self.down_since.get(&id).is_some_and(|since| spawn.generation <= *since) {
            self.fail("nothing starts while wanted down", text("it was ordered down"));
        }
        if self.closing {
            self.fail("nothing starts while the daemon closes", text(""));
        }
        if let Some((of, record, cleared)) = self.last.get(&id)
            && *of == boot
            && record.generation >= spawn.generation
        {
            match record.sequel {
                Sequel::Finished => self.fail("what has settled is not run again", text("finished")),
                Sequel::Errored { next } if !cleared && next.is_none_or(|at| now < at) => {
                    self.fail("what has settled is not run again", text("errored"));
                }
                Sequel::Restart { at } if !cleared && now < at => {
                    self.fail("a backoff is waited for", text("too early"))
                }
                Sequel::Errored { .. } | Sequel::Restart { .. } | Sequel::Down | Sequel::Replaced => {}
            }
        }
        if let Err(how) = self.policy.spawned(spawn) {
            self.fail("restarts are counted", text(&how));
        }
        self.runs.insert(spawn.run, (id, spawn.generation, spawn.app.spec.clone()));
    }

    /// A run that lives is only ended because it is not wanted, or another is.
    fn legitimate_end(&mut self, kernel: &Kernel, run: RunId, core: Option<&Supervisor>) {
        let Some((id, generation, _)) = self.runs.get(&run) else { return };
        if self.closing || !kernel.runs.get(&run).is_some_and(crate::kernel::Run::main_lives) {
            return;
        }
        // Two that adoption found of one instance are one too many.
        if kernel.live_of(*id).count() > 1 {
            return;
        }
        let wanted = core.and_then(|core| core.apps().find(|(app, _)| *app == id.app).map(|(_, app)| app.clone()));
        let wanted = wanted.and_then(|app| app.instances.get(id.index as usize).copied());
        if wanted.is_some_and(|w| w.desired == Desired::Up && w.generation <= *generation) {
            self.fail("what is wanted is left alone", format!("run {} of {id} is ended", run.0));
        }
    }

    fn not_dead(&mut self, run: RunId, whom: Whom) {
        let dead = match whom {
            Whom::Main => self.exited.contains_key(&run),
            Whom::Everyone => self.exited.contains_key(&run) && self.emptied.contains(&run),
        };
        if dead || self.retired.contains(&run) {
            self.fail("no signal to what is reported dead", format!("run {}", run.0));
        }
    }

    fn retired(&mut self, kernel: &Kernel, run: RunId) {
        if !self.retired.insert(run) {
            self.fail("a run is retired once", format!("run {}", run.0));
        }
        if !self.recorded.contains(&run) {
            self.fail("recorded before retired", format!("run {}", run.0));
        }
        if kernel.runs.get(&run).is_some_and(crate::kernel::Run::lives) {
            self.fail("only the dead are retired", format!("run {}", run.0));
        }
    }

    fn recorded(&mut self, now: Moment, boot: u32, event: &Event) {
        match event {
            Event::Started { instance, run, pid, .. } => {
                self.executed.insert(*pid, *instance);
                self.policy.executed(*run, now);
            }
            Event::Exited(record) => {
                if !self.recorded.insert(record.run) {
                    self.fail("one record per run", format!("run {}", record.run.0));
                }
                let exited = self.exited.get(&record.run).copied();
                let spec = self.runs.get(&record.run).map(|(_, _, spec)| spec.clone());
                if exited.is_none() || !self.emptied.contains(&record.run) {
                    self.fail("over means exited and empty", format!("run {}", record.run.0));
                }
                if let (Some(exited), Some(spec)) = (exited, spec)
                    && let Err(how) = self.policy.exited(&spec, record, exited)
                {
                    self.fail("policy", format!("run {}: {how}; {record:?}", record.run.0));
                }
                self.last.insert(record.instance, (boot, record.clone(), false));
            }
            Event::Cleared { instance } => {
                if let Some((.., cleared)) = self.last.get_mut(instance) {
                    *cleared = true;
                }
                self.policy.cleared(*instance);
            }
            Event::Ordered { .. } | Event::Added { .. } | Event::Deleted { .. } => {}
            Event::DaemonStarted { .. } | Event::Trouble { .. } => {}
        }
    }

    fn reply(&mut self, kernel: &Kernel, store: &Store, core: Option<&Supervisor>, order: OrderId, answer: &Answer) {
        if !self.replied.insert(order) {
            return self.fail("every order is answered once", format!("order {} twice", order.0));
        }
        let Some(given) = self.open.remove(&order) else { return };
        let outcomes = match answer {
            Ok(outcomes) => outcomes,
            Err(Refusal::NotSaved(_)) => {
                if let Order::Create { apps, .. } = &given.request {
                    let core = core.map(|core| core.apps().map(|(id, _)| id).collect::<Vec<_>>()).unwrap_or_default();
                    let names: Vec<_> = apps.iter().map(|new| new.spec.name.to_string()).collect();
                    let new = core.iter().find(|id| !store.apps.contains_key(id) && !self.names.contains_key(id));
                    if let Some(new) = new {
                        self.fail("refused means not done", format!("{names:?}: app {new} is there"));
                    }
                }
                return;
            }
            Err(_) => return,
        };
        for outcome in outcomes {
            let id = outcome.instance.map(|index| InstanceId::new(outcome.app, index));
            match (&outcome.verdict, id) {
                (Verdict::Stopped | Verdict::AlreadyStopped, Some(id)) => {
                    if let Some(run) = kernel.live_of(id).next() {
                        self.fail(
                            "stopped means nothing lives",
                            format!("order {}: run {} of {id} lives", order.0, run.id.0),
                        );
                    }
                    let wanted = store.apps.get(&id.app).and_then(|app| app.instances.get(id.index as usize));
                    let is_stop = matches!(given.request, Order::Stop { .. });
                    let still = |w: &opm::model::DesiredInstance| {
                        w.desired == Desired::Up && given.since.get(&id).is_some_and(|since| w.generation <= *since)
                    };
                    if is_stop && outcome.saved && wanted.is_some_and(still) {
                        self.fail("saved means saved", format!("order {}: {id} is still wanted up on disk", order.0));
                    }
                }
                (Verdict::Deleted, _) => {
                    if kernel.runs.values().any(|run| run.instance.app == outcome.app && run.lives()) {
                        self.fail("deleted means nothing lives", format!("app {}", outcome.app));
                    }
                    if store.apps.contains_key(&outcome.app) {
                        self.fail("deleted means gone from the disk", format!("app {}", outcome.app));
                    }
                }
                (Verdict::Started { pid } | Verdict::Restarted { pid } | Verdict::AlreadyOnline { pid }, Some(id)) => {
                    if self.executed.get(pid) != Some(&id) {
                        self.fail("started means executed", format!("order {}: {id} pid {pid}", order.0));
                    }
                    if !self.names.contains_key(&id.app) {
                        self.fail("durable before answered", format!("order {}: app {}", order.0, id.app));
                    }
                    if matches!(outcome.verdict, Verdict::Restarted { .. }) && given.to_spare.contains(&id) {
                        self.fail("scaling leaves the others alone", format!("order {}: {id}", order.0));
                    }
                }
                _ => {}
            }
        }
    }

    // --- how things stand -----------------------------------------------------------------------------------------------

    /// After every step, when all effects are performed.
    pub fn after(&mut self, now: Moment, kernel: &Kernel, core: Option<&Supervisor>) {
        let Some(core) = core.filter(|_| self.converged) else { return };
        for run in kernel.runs.values().filter(|run| run.lives()) {
            let Some(deadline) = self.marks.get(&run.id) else { continue };
            // The mode is that of the spec now: it may have been changed since the run began.
            let process = self.main_only.contains(&run.instance.app);
            let main_only = process && !run.main_lives();
            if now > *deadline + Duration::from_millis(1) && !self.killed.contains(&run.id) && !main_only {
                self.fail("what does not end in time is killed", format!("run {} was due at {}", run.id.0, deadline.0));
            }
        }
        let late = Duration::from_secs(3 + 1 + 5 + 3);
        let late_stop = self.open.iter().find(|(_, given)| {
            matches!(given.request, Order::Stop { .. } | Order::Delete { .. }) && now.since(given.at) > late
        });
        if let Some((order, given)) = late_stop {
            let how = format!("order {} waits since {}", order.0, given.at.0);
            self.fail("a stop is answered in time", how);
        }
        if self.closing || core.next_deadline().is_some_and(|at| at < now) {
            return;
        }
        let apps: BTreeMap<AppId, DesiredApp> = core.apps().map(|(id, app)| (id, app.clone())).collect();
        for row in core.status() {
            let id = row.instance;
            let spec = apps.get(&id.app).map(|app| &app.spec);
            let holds = row
                .last_exit
                .as_ref()
                .is_some_and(|(record, when)| record.generation >= row.generation && matches!(when, When::Moment(_)));
            let fine = match (row.desired, row.state) {
                (_, InstanceState::Stopping) | (Desired::Down, InstanceState::Stopped) => true,
                (Desired::Up, InstanceState::Starting | InstanceState::Online | InstanceState::Unknown) => true,
                (Desired::Up, InstanceState::Stopped) => row.detail == Some(Detail::Finished) && holds,
                (Desired::Up, InstanceState::Backoff) => holds && row.next_attempt.is_some_and(|at| at >= now),
                (Desired::Up, InstanceState::Errored) => match row.next_attempt {
                    Some(at) => holds && at >= now,
                    None => {
                        holds
                            && spec.is_some_and(|spec| {
                                spec.restart == RestartPolicy::Never || spec.errored_retry == ErroredRetry::Never
                            })
                    }
                },
                (Desired::Down, _) | (Desired::Up, InstanceState::Paused) => false,
            };
            if !fine {
                self.fail("wanted up is alive, in flight, timed or settled; wanted down is down", format!("{row:?}"));
            }
            if row.state == InstanceState::Online && row.pid.is_none() {
                self.fail("online means a main process", format!("{row:?}"));
            }
        }
    }

    /// When all is calm and time has passed.
    pub fn at_rest(&mut self, kernel: &Kernel, store: &Store, core: &Supervisor) {
        for (order, given) in &self.open {
            if !matches!(given.request, Order::Wait { .. }) {
                let how = format!("order {} {:?} is open", order.0, given.request);
                return self.fail("every order is answered", how);
            }
        }
        let apps: BTreeMap<AppId, DesiredApp> = core.apps().map(|(id, app)| (id, app.clone())).collect();
        if apps != store.apps {
            self.fail("what is acted upon is on disk", format!("{apps:?}\n on disk {:?}", store.apps));
        }
        for row in core.status() {
            let live = kernel.live_of(row.instance).count();
            let expected = usize::from(row.desired == Desired::Up && row.state == InstanceState::Online);
            let settled = matches!(row.state, InstanceState::Stopped | InstanceState::Errored) || expected == 1;
            if (live != expected || !settled) && row.state != InstanceState::Unknown {
                self.fail("at rest, observed equals desired", format!("{live} live: {row:?}"));
            }
        }
        for run in kernel.runs.values() {
            let known =
                apps.get(&run.instance.app).is_some_and(|app| (run.instance.index as usize) < app.instances.len());
            if !known {
                self.fail("at rest, nothing lives that nobody wants", format!("run {} of {}", run.id.0, run.instance));
            }
            if !run.lives() {
                self.fail("at rest, every dead run is retired", format!("run {}", run.id.0));
            }
        }
    }
}
