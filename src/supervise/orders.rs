//! Orders about apps that exist: stop, delete, signal, reset, wait. Those that start something are in `start` and `create`.
//!
//! Owns what each order means. It must not wait for anything: what is not so yet becomes a waiter. What a reader would get
//! wrong: a stop is in force before it is saved, and is answered after both.

use super::bug::{self, Bug};
use super::effect::Effect;
use super::instance::{Rest, State};
use super::ledger::want_down;
use super::start::Asked;
use super::supervisor::{Claim, Parting, Phase, Supervisor};
use super::waiters::{Fate, Minutes, Saving, Slot, Want, verdict};
use super::{instance::Counters, status};
use crate::model::{
    AppId, Desired, Event, InstanceId, InstanceState, Moment, Order, OrderId, OrderKey, Refusal, Signal, Target,
    Verdict,
};
use std::collections::BTreeSet;

impl Supervisor {
    /// Takes an order.
    pub(super) fn ordered(&mut self, now: Moment, order: OrderId, key: Option<OrderKey>, request: Order) {
        if self.orders.contains_key(&order) {
            return;
        }
        if matches!(self.phase, Phase::Closing { .. }) {
            self.out.push_back(Effect::Reply { order, answer: Err(Refusal::ShuttingDown) });
            return;
        }
        let taken = match request {
            Order::Create { apps, replace, update_env } => self.create(now, order, key, &apps, replace, update_env),
            Order::Restore { apps } => self.restore(now, order, key, &apps),
            Order::Start { targets, captured, leave_running } => {
                let asked = if leave_running { Asked::Running } else { Asked::Started };
                self.start(now, order, key, &targets, captured, asked)
            }
            Order::Restart { targets, captured } => self.start(now, order, key, &targets, captured, Asked::Replaced),
            Order::Stop { targets } => self.stop(now, order, key, &targets),
            Order::Delete { targets } => self.delete(now, order, key, &targets),
            Order::Signal { targets, signal } => self.signal(now, order, key, &targets, signal),
            Order::Pause { targets } => self.hold(now, order, key, &targets, true),
            Order::Resume { targets } => self.hold(now, order, key, &targets, false),
            Order::Limit { targets, change } => self.limit(now, order, key, &targets, &change),
            Order::Reset { targets } => self.reset(now, order, key, &targets),
            Order::Wait { targets, until } => self.wait(now, order, &targets, until),
            Order::Shutdown { keep_apps } => {
                self.shut_down(now, order, key, keep_apps);
                Ok(())
            }
        };
        if let Err(refusal) = taken {
            self.out.push_back(Effect::Reply { order, answer: Err(refusal) });
        }
    }

    fn stop(&mut self, now: Moment, order: OrderId, key: Option<OrderKey>, targets: &[Target]) -> Result<(), Refusal> {
        let ids = self.resolve(targets)?;
        let mut changes = false;
        for target in targets {
            let Some(Claim::Listed(desired)) = self.apps.get_mut(&target.app).map(|app| &mut app.claim) else {
                continue;
            };
            let before = desired.clone();
            want_down(desired, *target);
            if *desired != before {
                desired.last_order.clone_from(&key);
                changes = true;
            }
        }
        let saving = self.bring_down(order, targets, changes);
        let fate = |id: InstanceId| {
            let gone = self.instance(id).is_none_or(super::instance::Instance::is_gone);
            if gone { Fate::Known(Verdict::AlreadyStopped) } else { Fate::Wants(Want::Gone) }
        };
        let slots = ids.iter().filter_map(|id| self.slot(*id, fate(*id))).collect();
        self.record_order(minutes("stop", key, targets));
        self.write(now);
        for id in &ids {
            self.ask_again(now, *id);
            if !bug::on(Bug::StopWaitsForDisk) {
                self.converge(now, *id);
            }
        }
        self.open(now, order, saving, slots, None);
        Ok(())
    }

    fn delete(
        &mut self,
        now: Moment,
        order: OrderId,
        key: Option<OrderKey>,
        targets: &[Target],
    ) -> Result<(), Refusal> {
        // One that is on its way out is waited for: the same order, sent again to the next daemon, finds it like that.
        let leaving = |app| self.apps.get(&app).is_some_and(|app| app.leaving_as().is_some());
        let listed: Vec<Target> = targets.iter().filter(|target| !leaving(target.app)).copied().collect();
        self.resolve(&listed)?;
        if let Some(target) = targets.iter().find(|target| target.instance.is_some())
            && let Some(desired) = self.newest(target.app)
        {
            return Err(Refusal::WholeAppsOnly { name: desired.spec.name.clone(), what: "deleted" });
        }
        let apps: Vec<AppId> = unique(targets.iter().map(|target| target.app));
        let mut slots = Vec::new();
        for id in &apps {
            let Some(app) = self.apps.get_mut(id) else { continue };
            let Some(was) = app.desired().cloned() else {
                let Some(name) = app.leaving_as().cloned() else { continue };
                let early = bug::on(Bug::GhostSaidDeleted);
                let fate = if early { Fate::Known(Verdict::Deleted) } else { Fate::Waiting };
                app.partings.push(Parting { order, slot: slots.len(), unsaved: None });
                slots.push(Slot { app: *id, name, instance: None, changes: None, fate });
                continue;
            };
            app.partings.push(Parting { order, slot: slots.len(), unsaved: None });
            slots.push(Slot {
                app: *id,
                name: was.spec.name.clone(),
                instance: None,
                changes: None,
                fate: Fate::Waiting,
            });
            app.claim = Claim::Deleting { was, durable: false };
            self.void_pending(*id);
        }
        let saving = self.bring_down(order, targets, true);
        self.record_order(minutes("delete", key, targets));
        self.write(now);
        self.open(now, order, saving, slots, None);
        for id in apps {
            for index in 0..self.apps.get(&id).map_or(0, |app| app.instances.len()) {
                let id = InstanceId::new(id, index as u32);
                self.ask_again(now, id);
                self.converge(now, id);
            }
            self.see_off(id);
        }
        Ok(())
    }

    /// What is stuck is killed once more when somebody orders it down once more.
    fn ask_again(&mut self, now: Moment, id: InstanceId) {
        let Some(app) = self.apps.get_mut(&id.app) else { return };
        let Some(instance) = app.instances.get_mut(id.index as usize) else { return };
        if let State::Stopping(ending) = &mut instance.state {
            ending.again(now, &mut self.out);
        }
        for extra in &mut instance.extras {
            extra.again(now, &mut self.out);
        }
    }

    fn signal(
        &mut self,
        now: Moment,
        order: OrderId,
        key: Option<OrderKey>,
        targets: &[Target],
        signal: Signal,
    ) -> Result<(), Refusal> {
        let ids = self.resolve(targets)?;
        self.record_order(minutes("signal", key, targets));
        let mut slots = Vec::new();
        for id in ids {
            let to = self.instance(id).and_then(|i| Some((i.run()?.id, status::main_pid(i)?)));
            let slot = slots.len() as u32;
            let fate = match to {
                Some((run, pid)) => {
                    self.out.push_back(Effect::Deliver { order, slot, run, signal });
                    let paused = self.instance(id).is_some_and(|i| status::words(i).0 == InstanceState::Paused);
                    Fate::Sent(Verdict::Signalled { pid, paused })
                }
                None => Fate::Known(Verdict::Failed("not running".to_owned())),
            };
            slots.extend(self.slot(id, fate));
        }
        self.open(now, order, Saving::NotNeeded, slots, None);
        Ok(())
    }

    /// Nothing wanted changes, so nothing is saved: it works on a full disk too.
    fn reset(&mut self, now: Moment, order: OrderId, key: Option<OrderKey>, targets: &[Target]) -> Result<(), Refusal> {
        let ids = self.resolve(targets)?;
        self.record_order(minutes("reset", key, targets));
        let slots = ids.iter().filter_map(|id| self.slot(*id, Fate::Known(Verdict::Reset))).collect();
        for id in ids {
            self.out.push_back(Effect::Record(Event::Cleared { instance: id }));
            let Some(instance) = self.instance_mut(id) else { continue };
            let of = instance.counters.of;
            if bug::on(Bug::ResetKeepsFailures) {
                instance.counters.restarts = 0;
            } else {
                instance.counters = Counters { of, ..Counters::default() };
            }
            match &mut instance.state {
                State::Resting(rest @ (Rest::Backoff(..) | Rest::Errored(..))) => *rest = Rest::Idle,
                State::Starting(run) | State::Online { run, .. } | State::Unknown(run) => run.probation = false,
                State::Stopping(ending) => ending.run.probation = false,
                State::Resting(Rest::Idle | Rest::Finished(_)) => {}
            }
            self.converge(now, id);
        }
        self.open(now, order, Saving::NotNeeded, slots, None);
        Ok(())
    }

    fn wait(&mut self, now: Moment, order: OrderId, targets: &[Target], until: Desired) -> Result<(), Refusal> {
        let ids = self.resolve(targets)?;
        let want = match until {
            Desired::Up => Want::SeenOnline,
            Desired::Down => Want::SeenStopped,
        };
        let mut slots = Vec::new();
        for id in ids {
            let now_so = self.instance(id).and_then(|instance| verdict(want, instance, self.goal(id), false));
            let fate = match now_so {
                Some(Verdict::Started { pid }) => Fate::Known(Verdict::AlreadyOnline { pid }),
                Some(Verdict::Stopped) => Fate::Known(Verdict::AlreadyStopped),
                Some(other) => Fate::Known(other),
                None => Fate::Wants(want),
            };
            slots.extend(self.slot(id, fate));
        }
        self.open(now, order, Saving::NotNeeded, slots, None);
        Ok(())
    }

    /// An outcome to be, for one instance. A forgotten app has no name to answer under, and gets none.
    pub(super) fn slot(&self, id: InstanceId, fate: Fate) -> Option<Slot> {
        let named = self.newest(id.app).or_else(|| self.apps.get(&id.app).and_then(|app| app.known_as()))?;
        Some(Slot { app: id.app, name: named.spec.name.clone(), instance: Some(id.index), changes: None, fate })
    }

    /// The instances that are meant, each once, in the order they were named.
    pub(super) fn resolve(&self, targets: &[Target]) -> Result<Vec<InstanceId>, Refusal> {
        let mut ids = Vec::new();
        for target in targets {
            let desired = self.apps.get(&target.app).and_then(|app| app.desired());
            let Some(desired) = desired else { return Err(Refusal::Gone(format!("no app has the id {}", target.app))) };
            let count = desired.instances.len() as u32;
            match target.instance {
                None => ids.extend((0..count).map(|index| InstanceId::new(target.app, index))),
                Some(index) if index < count => ids.push(InstanceId::new(target.app, index)),
                Some(index) => {
                    let name = &desired.spec.name;
                    return Err(Refusal::Gone(format!("app '{name}' has no instance {index}; it has {count}")));
                }
            }
        }
        Ok(unique(ids.into_iter()))
    }

    /// Ends what waits for an app to be gone, if it is; forgets an app that is deleted.
    pub(super) fn see_off(&mut self, id: AppId) {
        let Some(app) = self.apps.get_mut(&id) else { return };
        if app.partings.is_empty() && matches!(app.claim, Claim::Listed(_)) {
            return;
        }
        let gone = app.instances.iter().all(|i| i.is_gone());
        // It could not be deleted, and somebody has started it since: it need not be gone any more.
        if app.desired().is_some_and(|desired| desired.instances.iter().any(|i| i.desired == Desired::Up)) {
            for Parting { order, slot, .. } in std::mem::take(&mut app.partings) {
                self.settle(order, slot, Verdict::Superseded);
            }
            return;
        }
        if !gone && !app.instances.iter().all(|i| i.is_gone() || i.is_halted()) {
            return;
        }
        let stuck = app.instances.iter().find(|i| i.is_halted()).map(status::words);
        let forget = gone && matches!(app.claim, Claim::Ghost(_) | Claim::Deleting { durable: true, .. });
        if gone && !forget && matches!(app.claim, Claim::Deleting { .. }) {
            return;
        }
        let partings = std::mem::take(&mut app.partings);
        let name = app.desired().map(|d| &d.spec.name).or(app.leaving_as()).cloned();
        let instances = app.instances.len() as u32;
        if forget {
            self.forget(id, name, instances);
        }
        for Parting { order, slot, unsaved } in partings {
            let verdict = match (&stuck, unsaved) {
                (Some((state, detail)), _) => Verdict::Pending { state: *state, detail: detail.clone() },
                (None, Some(error)) => Verdict::Failed(format!("stopped, not deleted: {error}")),
                (None, None) => Verdict::Deleted,
            };
            self.settle(order, slot, verdict);
        }
    }

    fn forget(&mut self, id: AppId, name: Option<crate::model::AppName>, instances: u32) {
        let Some(app) = self.apps.remove(&id) else { return };
        for (instance, index) in app.instances.iter().zip(0..) {
            let timer = super::timers::Timer::Instance(InstanceId::new(id, index));
            self.timers.move_to(timer, instance.armed, None);
        }
        if let Some(name) = name {
            self.out.push_back(Effect::Record(Event::Deleted { app: id, name }));
        }
        self.out.push_back(Effect::Forget { app: id, instances });
        for waiter in app.instances.into_iter().flat_map(|instance| instance.waiters) {
            self.settle(waiter.order, waiter.slot as usize, Verdict::Superseded);
        }
    }
}

pub(super) fn minutes(verb: &'static str, key: Option<OrderKey>, targets: &[Target]) -> Minutes {
    Minutes { verb, key, apps: unique(targets.iter().map(|target| target.app)), added: Vec::new() }
}

/// Each once, in the order of first appearance.
fn unique<T: Copy + Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.filter(|item| seen.insert(*item)).collect()
}
