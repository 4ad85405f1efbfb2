//! The world around one core: clock, kernel, disk, journal, clients, and what goes wrong.
//!
//! Owns time and every fault. It must not judge: that is `watch`. What a reader would get wrong: a daemon's death loses the
//! core, every report on its way and every effect not yet performed, and nothing else.

mod daemon;
mod text;

use crate::kernel::{Kernel, Program};
use crate::rng::Rng;
use crate::watch::Watch;
use opm::model::{
    Answer, AppId, DesiredApp, Event, ExitStatus, InstanceId, Moment, Order, OrderId, OrderKey, RunId, WriteId,
};
use opm::supervise::{Beginning, Change, Effect, Input, Supervisor};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use text::{brief, short};

/// What may go wrong, in percent (or per mille where it says so).
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub late: u64,
    pub twice: u64,
    /// Per mille of effects before which the daemon dies.
    pub death: u64,
    /// Per daemon death.
    pub keeper_dies_too: u64,
    /// Per daemon death and run.
    pub marks_lost: u64,
    /// Per daemon death.
    pub reboot: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Store {
    pub apps: BTreeMap<AppId, DesiredApp>,
    pub next_id: u32,
}

pub struct World {
    pub rng: Rng,
    pub faults: Faults,
    pub now: Moment,
    pub boot: u32,
    pub core: Option<Supervisor>,
    pub kernel: Kernel,
    pub store: Store,
    pub disk_refuses: bool,
    /// No limit of what lives can be written.
    pub limits_refused: bool,
    pub journal: Vec<(u32, Event)>,
    pub answers: BTreeMap<OrderId, Answer>,
    pub watch: Watch,
    /// What the next runs do, by app's script; then what anything else does.
    pub programs: BTreeMap<String, VecDeque<Program>>,
    pub calm: bool,
    pub quit: Option<bool>,
    pub restart_at: Option<Moment>,
    /// Everything performed, as text: for stories that fail.
    pub trace: Vec<String>,
    pub effects: Vec<Effect>,
    mail: BTreeMap<(Moment, u64), Input>,
    writes: BTreeMap<(Moment, u64), (WriteId, Change)>,
    serial: u64,
    next_order: u64,
    life: Life,
}

/// What one core was told and answered, to be played again.
#[derive(Default)]
struct Life {
    beginning: Option<Beginning>,
    told: Vec<(Moment, Option<Input>)>,
    effects: String,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            faults: Faults::default(),
            now: Moment(1_000_000_000),
            boot: 1,
            core: None,
            kernel: Kernel::default(),
            store: Store { apps: BTreeMap::new(), next_id: 0 },
            disk_refuses: false,
            limits_refused: false,
            journal: Vec::new(),
            answers: BTreeMap::new(),
            watch: Watch::default(),
            programs: BTreeMap::new(),
            calm: false,
            quit: None,
            restart_at: None,
            trace: Vec::new(),
            effects: Vec::new(),
            mail: BTreeMap::new(),
            writes: BTreeMap::new(),
            serial: 0,
            next_order: 1,
            life: Life::default(),
        };
        world.start_daemon();
        world
    }

    fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    // --- orders -------------------------------------------------------------------------------------------------------

    pub fn order(&mut self, request: Order, key: Option<&str>) -> OrderId {
        let order = OrderId(self.next_order);
        self.next_order += 1;
        self.trace.push(format!("{} order {} {} key {key:?}", self.now.0 / 1_000_000, order.0, brief(&request)));
        if self.core.is_some() {
            let key = key.map(|k| OrderKey(k.to_owned()));
            self.watch.order_given(&self.store, self.core.as_ref(), self.now, order, &request, key.as_ref());
            self.tell(Some(Input::Ordered { order, key, request }));
            self.watch.order_taken(order, self.core.as_ref());
        }
        order
    }

    pub fn abandon(&mut self, order: OrderId) {
        self.watch.abandoned(order);
        self.tell(Some(Input::Abandoned { order }));
    }

    // --- time ---------------------------------------------------------------------------------------------------------

    /// Lets this much time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.watch.broken.is_none() && self.step(until) {}
        self.now = self.now.max(until);
    }

    pub fn secs(&mut self, secs: u64) {
        self.pass(Duration::from_secs(secs));
    }

    /// Does the next thing that is due until then. False: there is none.
    fn step(&mut self, until: Moment) -> bool {
        let deadline = self.core.as_ref().and_then(Supervisor::next_deadline);
        let kernel = self.kernel.due.keys().next().copied();
        let mail = self.mail.keys().next().copied();
        let write = self.writes.keys().next().copied();
        let times = [deadline, kernel.map(|k| k.0), mail.map(|k| k.0), write.map(|k| k.0), self.restart_at];
        let Some(next) = times.into_iter().flatten().min().filter(|at| *at <= until) else { return false };
        self.now = self.now.max(next);
        if let Some(at) = kernel.filter(|k| k.0 == next) {
            let told = self.kernel.step(at);
            self.report(told);
        } else if let Some(at) = write.filter(|k| k.0 == next) {
            self.finish_write(at);
        } else if let Some(at) = mail.filter(|k| k.0 == next) {
            if let Some(input) = self.mail.remove(&at) {
                self.tell(Some(input));
            }
        } else if self.restart_at == Some(next) {
            self.restart_at = None;
            self.start_daemon();
        } else {
            self.tell(None);
        }
        true
    }

    /// Puts what happened on its way to the daemon, if there is one.
    fn report(&mut self, told: Vec<Input>) {
        // What happened together is told in its order, unless something is late.
        let soon = self.rng.millis(3);
        for input in told {
            for input in self.as_seen(input) {
                self.trace.push(format!("{} kernel {input:?}", self.now.0 / 1_000_000));
                if self.core.is_none() {
                    continue;
                }
                let late = if self.rng.chance(self.faults.late) { self.rng.millis(1_500) } else { soon };
                let serial = self.serial();
                self.mail.insert((self.now + late, serial), input.clone());
                if self.rng.chance(self.faults.twice) {
                    let later = self.now + late + self.rng.millis(4_000);
                    let serial = self.serial();
                    self.mail.insert((later, serial), input);
                }
            }
        }
    }

    /// What of it can be seen: nobody knows which process of an unmarked run is the main one.
    fn as_seen(&self, input: Input) -> Vec<Input> {
        let run = match &input {
            Input::Exited { run, .. } | Input::LeftBehind { run, .. } | Input::Emptied { run, .. } => *run,
            _ => return vec![input],
        };
        match self.kernel.runs.get(&run) {
            Some(known) if !known.marked => match input {
                Input::Emptied { .. } => vec![not_observed(run), input],
                _ => Vec::new(),
            },
            _ => vec![input],
        }
    }

    fn finish_write(&mut self, at: (Moment, u64)) {
        let Some((write, change)) = self.writes.remove(&at) else { return };
        if self.disk_refuses {
            self.trace.push(format!("{} disk refuses {}", self.now.0 / 1_000_000, write.0));
            return self.tell(Some(Input::PersistFailed { write, error: "no space left on device".into() }));
        }
        self.apply(&change);
        self.tell(Some(Input::Persisted { write }));
    }

    fn apply(&mut self, change: &Change) {
        self.watch.durable(&self.store, change);
        for (id, app) in &change.put {
            self.store.apps.insert(*id, app.clone());
        }
        for id in &change.removed {
            self.store.apps.remove(id);
        }
        self.store.next_id = self.store.next_id.max(change.next_id.0);
    }

    pub fn tell(&mut self, input: Option<Input>) {
        let Some(core) = &mut self.core else { return };
        if let Some(input) = &input {
            self.watch.told(self.now, input);
        }
        self.life.told.push((self.now, input.clone()));
        match input {
            Some(input) => core.handle(self.now, input),
            None => core.handle_timeout(self.now),
        }
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(effect) = self.core.as_mut().and_then(Supervisor::poll_effect) {
            self.life.effects.push_str(&format!("{effect:?}\n"));
            if self.rng.below(1000) < self.faults.death && !self.calm {
                return self.kill_daemon();
            }
            self.trace.push(format!("{}   -> {}", self.now.0 / 1_000_000, short(&effect)));
            self.effects.push(effect.clone());
            self.watch.effect(self.now, self.boot, &self.kernel, &self.store, self.core.as_ref(), &effect);
            match effect {
                Effect::Persist { write, change } => {
                    let at = (self.now + self.rng.millis(30), self.serial());
                    self.writes.insert(at, (write, change));
                }
                Effect::Spawn(spawn) => {
                    let script = spawn.app.spec.script.lossy().into_owned();
                    let program = match self.programs.get_mut(&script).and_then(VecDeque::pop_front) {
                        Some(program) => program,
                        None if self.calm => Program::steady(),
                        None => Program::random(&mut self.rng),
                    };
                    let exec_after = self.rng.millis(20);
                    self.kernel.spawn(self.now, &spawn, program, exec_after);
                }
                Effect::MarkStop { run, mark } => {
                    if let Some(run) = self.kernel.runs.get_mut(&run) {
                        let before = run.mark;
                        let down = mark.down.or(before.and_then(|mark| mark.down));
                        let heavy = mark.heavy.or(before.and_then(|mark| mark.heavy));
                        run.mark = Some(opm::supervise::StopMark { down, heavy, ..mark });
                    }
                }
                Effect::Signal { run, signal, whom } => {
                    let told = self.kernel.signal(self.now, run, signal, whom);
                    self.report(told);
                }
                Effect::Deliver { order, slot, run, signal } => {
                    let told = self.kernel.signal(self.now, run, signal, opm::supervise::Whom::Main);
                    self.report(told);
                    let failure = self.rng.chance(10).then(|| "operation not permitted".into());
                    let at = (self.now, self.serial());
                    self.mail.insert(at, Input::Delivered { order, slot, failure });
                }
                Effect::Freeze { run, turn } | Effect::Thaw { run, turn: Some(turn) }
                    if self.faults.late > 0 && self.rng.chance(4) =>
                {
                    if let Some(run) = self.kernel.runs.get_mut(&run) {
                        run.turn = None;
                    }
                    let refused = Input::FreezerRefused { run, turn, error: "too many open files".into() };
                    let at = (self.now, self.serial());
                    self.mail.insert(at, refused);
                }
                Effect::Freeze { run, turn } => {
                    let told = self.kernel.freeze(self.now, run, turn);
                    self.report(told);
                }
                Effect::Thaw { run, turn } => {
                    let told = self.kernel.thaw(self.now, run, turn);
                    self.report(told);
                }
                Effect::Limit { run, turn, limits } => {
                    // Sometimes not at all.
                    let refused = self.limits_refused || (self.faults.late > 0 && self.rng.chance(4));
                    if refused {
                        self.kernel.watch_ends(run);
                    } else {
                        self.kernel.limit(run, *limits);
                    }
                    let failure = refused.then(|| "no such device".into());
                    self.report(vec![Input::Limited { run, turn, failure }]);
                }
                Effect::WatchMemory { run, look } => {
                    let told = self.kernel.watch_memory(run, look);
                    self.report(told);
                }
                Effect::Unthrottle { run } => {
                    if let Some(run) = self.kernel.runs.get_mut(&run) {
                        (run.watched, run.limits.memory_high, run.limits.max_memory_restart) = (false, None, None);
                    }
                }
                Effect::Kill { run } => {
                    let told = self.kernel.kill(self.now, run);
                    self.report(told);
                }
                Effect::Retire { run } => {
                    self.kernel.runs.remove(&run);
                }
                Effect::Record(event) => self.journal.push((self.boot, event)),
                Effect::Reply { order, answer } => {
                    self.answers.insert(order, answer);
                }
                Effect::Forget { .. } => {}
                Effect::Quit { keep_apps } => {
                    self.quit = Some(keep_apps);
                    self.end_life();
                    self.core = None;
                    self.mail.clear();
                    self.watch.daemon_died();
                    return;
                }
            }
        }
        self.watch.after(self.now, &self.kernel, self.core.as_ref());
    }

    // --- for stories --------------------------------------------------------------------------------------------------

    /// From now on nothing goes wrong any more, and what runs goes on running.
    pub fn calm_down(&mut self) {
        self.calm = true;
        self.faults = Faults::default();
        self.disk_refuses = false;
        self.kernel.due.retain(|_, (_, due)| *due != crate::kernel::Due::End && *due != crate::kernel::Due::Grow);
        let left: Vec<RunId> = self.kernel.runs.keys().copied().collect();
        for id in left {
            let Some(run) = self.kernel.runs.get_mut(&id) else { continue };
            run.program.ends = None;
            run.put_off.retain(|due| *due != crate::kernel::Due::End && *due != crate::kernel::Due::Grow);
            run.program.unspawnable = false;
            let was_populated = run.populated();
            run.children = 0;
            if was_populated && !run.populated() {
                self.report(vec![Input::Emptied { run: id, tally: None }]);
            }
        }
    }

    /// Somebody thaws what is paused, past the daemon.
    pub fn thawed_by_hand(&mut self) {
        self.trace.push(format!("{} THAWED BY HAND", self.now.0 / 1_000_000));
        let told = self.kernel.thawed_by_hand(self.now);
        self.report(told);
    }

    /// Somebody sends SIGKILL to a main process, past the daemon.
    pub fn killed_from_outside(&mut self, run: RunId) {
        let told = self.kernel.signal(self.now, run, opm::model::Signal::KILL, opm::supervise::Whom::Main);
        self.report(told);
    }

    pub fn live(&self, instance: InstanceId) -> usize {
        self.kernel.live_of(instance).count()
    }

    pub fn answer(&self, order: OrderId) -> &Answer {
        match self.answers.get(&order) {
            Some(answer) => answer,
            None => panic!("order {} is not answered {:?}\n{}", order.0, self.watch.broken, self.story()),
        }
    }

    pub fn story(&self) -> String {
        self.trace[self.trace.len().saturating_sub(160)..].join("\n")
    }
}

fn not_observed(run: RunId) -> Input {
    Input::Exited { run, status: ExitStatus::NotObserved, usage: None, out_of_memory: false }
}
