//! Every effect, held against the kernel, the disk and what was ordered, before it is performed.
//!
//! Owns the invariants about what the core does. It must not change the world.

use super::Watch;
use crate::kernel::Kernel;
use crate::world::Store;
use opm::model::exit::Sequel;
use opm::model::{
    Answer, Cause, Desired, Event, InstanceId, MarkPassed, Moment, Order, OrderId, Refusal, RunId, Signal, Verdict,
};
use opm::supervise::{Effect, Supervisor, Whom};

impl Watch {
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
            Effect::MarkStop { run, mark } => {
                if let Some(run) = kernel.runs.get(run).filter(|run| run.marked) {
                    self.carried_out(run.instance);
                }
                self.to_begin.remove(run);
                // A ladder of the daemon before may be overdue by now; then it is due.
                self.marks.insert(*run, mark.deadline.max(now));
                match mark.heavy {
                    Some(passed) => self.passed_its_mark(kernel, *run, passed, core),
                    None => self.legitimate_end(kernel, *run, core),
                }
            }
            Effect::Signal { run, signal, whom } => {
                self.not_dead(*run, *whom);
                self.asked.insert(*run);
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
            Effect::Deliver { run, .. } => self.not_dead(*run, Whom::Main),
            Effect::Freeze { run, .. } => {
                if self.asked.contains(run) || self.marks.contains_key(run) {
                    self.fail("nothing on its way down is frozen", format!("run {}", run.0));
                }
            }
            Effect::Thaw { run, .. } => {
                if self.retired.contains(run) {
                    self.fail("no word to the freezer of what is retired", format!("run {}", run.0));
                }
            }
            Effect::Limit { run, .. } | Effect::WatchMemory { run, .. } => {
                if self.asked.contains(run) || self.marks.contains_key(run) {
                    self.fail("what is on its way down is not limited", format!("run {}", run.0));
                }
            }
            Effect::Unthrottle { run } => {
                if self.asked.contains(run) {
                    self.fail("it may have memory before it is asked to end", format!("run {}", run.0));
                }
            }
            Effect::Kill { run } => {
                self.not_dead(*run, Whom::Everyone);
                let again = !self.killed.insert(*run);
                if self.left.contains(run) && !self.swept.contains(run) && !again {
                    self.fail("leftovers are asked before they are killed", format!("run {}", run.0));
                }
            }
            Effect::Retire { run } => self.retired(kernel, *run),
            Effect::Record(event) => self.recorded(now, boot, kernel, event),
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

    /// If it is ordered down, that is now written where the next daemon finds it.
    fn carried_out(&mut self, id: InstanceId) {
        if let Some(since) = self.down_since.get(&id) {
            self.downed.insert(id, *since);
        }
    }

    fn spawned(&mut self, now: Moment, boot: u32, kernel: &Kernel, spawn: &opm::supervise::Spawn) {
        let id = spawn.instance;
        let text = |why: &str| format!("run {} of {id} generation {}: {why}", spawn.run.0, spawn.generation.0);
        if let Some(other) = kernel.live_of(id).next() {
            let how = text(&format!("run {} lives, main {:?}, {} others", other.id.0, other.main, other.children));
            self.fail("one live run per instance", how);
        }
        if let Some(other) = kernel
            .runs
            .values()
            .find(|run| run.lives() && run.marked && run.instance.app != id.app && run.name == spawn.app.spec.name)
        {
            self.fail("a name is taken until nothing of it lives", text(&format!("run {} lives", other.id.0)));
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
        if self.downed.get(&id).is_some_and(|since| spawn.generation <= *since) {
            self.fail("a stop outlives the daemon", text("it was stopped"));
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

    /// One that passes its memory mark is ended for that, and for nothing less.
    fn passed_its_mark(&mut self, kernel: &Kernel, run: RunId, passed: MarkPassed, core: Option<&Supervisor>) {
        let Some(found) = kernel.runs.get(&run) else { return };
        let spec =
            core.and_then(|core| core.apps().find(|(id, _)| *id == found.instance.app).map(|(_, app)| &app.spec));
        let mark = spec.and_then(|spec| spec.max_memory_restart).map(|mark| mark.0);
        if found.mark.is_none() && mark.is_none_or(|mark| passed.seen <= mark) {
            self.fail(
                "only what passed its mark is replaced",
                format!("run {} holds {}: {passed:?}", run.0, found.held),
            );
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

    fn recorded(&mut self, now: Moment, boot: u32, kernel: &Kernel, event: &Event) {
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
                let of = kernel.runs.get(&record.run).filter(|run| run.marked);
                let heavy = of.is_some_and(|run| run.mark.is_some_and(|mark| mark.heavy.is_some()));
                if of.is_some() && heavy != (record.cause == Cause::MemoryMark) {
                    let how = format!("run {}: {heavy}, {:?}", record.run.0, record.cause);
                    self.fail("what passed its mark ended for that", how);
                }
                self.carried_out(record.instance);
                self.last.insert(record.instance, (boot, record.clone(), false));
            }
            Event::Cleared { instance } => {
                if let Some((.., cleared)) = self.last.get_mut(instance) {
                    *cleared = true;
                }
                self.policy.cleared(*instance);
            }
            Event::Ordered { .. } | Event::Added { .. } | Event::Deleted { .. } => {}
            // The daemon's own to record.
            Event::LastWords(_) | Event::Changed { .. } | Event::DaemonStarted { .. } => {}
            Event::DaemonEnded { .. } | Event::Trouble { .. } => {}
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
                    if matches!(outcome.verdict, Verdict::Restarted { .. }) && given.to_resume.contains(&id) {
                        self.fail("a start lets what is paused go on", format!("order {}: {id}", order.0));
                    }
                    if matches!(outcome.verdict, Verdict::Restarted { .. }) && given.to_spare.contains(&id) {
                        self.fail("scaling leaves the others alone", format!("order {}: {id}", order.0));
                    }
                }
                (Verdict::Paused { .. } | Verdict::AlreadyPaused { .. }, Some(id)) => {
                    if let Some(run) = kernel.live_of(id).find(|run| super::is_moving(run)) {
                        self.fail("paused means frozen", format!("order {}: run {} of {id}", order.0, run.id.0));
                    }
                }
                (Verdict::Resumed { .. }, Some(id)) => {
                    if let Some(run) = kernel.live_of(id).find(|run| run.frozen && run.main_lives()) {
                        self.fail("resumed means thawed", format!("order {}: run {} of {id}", order.0, run.id.0));
                    }
                }
                _ => {}
            }
        }
    }
}
