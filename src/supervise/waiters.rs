//! Orders that wait for something to come true, and what they are told.
//!
//! Owns open orders and the truth of what is said about them. It must not change what is wanted or what runs. What a reader
//! would get wrong: nothing tells a waiter that it was satisfied or superseded. It is held against its instance whenever that
//! changes, and what it is told follows from how things stand then.

use super::bug::{self, Bug};
use super::converge::Goal;
use super::effect::Effect;
use super::instance::{Instance, Rest, State};
use super::ladder::Main;
use super::pause::{self, Frost};
use super::status;
use super::supervisor::Supervisor;
use crate::model::{
    Answer, AppId, AppName, ExitRecord, ExitStatus, Generation, InstanceId, Moment, OrderId, OrderKey, Outcome,
    Refusal, Verdict,
};
use std::sync::Arc;

/// What is to come true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// A run of this generation or a later one was executed. `again`: in the place of another.
    Running { generation: Generation, again: bool },
    /// Nothing lives.
    Gone,
    /// The freezer holds it.
    Paused,
    /// The freezer has let go of it. `again`: it held it before.
    Resumed { again: bool },
    /// What runs is under the limits of its spec.
    Limited,
    /// Somebody only waits until it is online.
    SeenOnline,
    /// Somebody only waits until nothing lives and nothing will by itself.
    SeenStopped,
}

/// Who waits for an instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub order: OrderId,
    pub slot: u32,
    pub want: Want,
}

/// Where an order stands with the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Saving {
    /// Nothing of it has to be saved.
    NotNeeded,
    /// It was asked for.
    Asked,
    /// It is durable.
    Saved,
    /// It is in force, and not durable.
    Refused,
}

/// What is said for the journal when an order that waits for the disk comes into force.
#[derive(Debug, Clone, Default)]
pub(super) struct Minutes {
    pub verb: &'static str,
    pub key: Option<OrderKey>,
    pub apps: Vec<AppId>,
    pub added: Vec<(AppId, AppName)>,
}

/// An order that is not answered.
#[derive(Debug)]
pub(super) struct Open {
    /// Its client is gone.
    pub abandoned: bool,
    pub saving: Saving,
    pub slots: Vec<Slot>,
    /// How many of them are not known.
    pub unknown: usize,
    /// It comes into force when it is durable; until then it is refused if it cannot be saved.
    pub on_saved: Option<Minutes>,
}

/// One outcome to be.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub app: AppId,
    pub name: AppName,
    pub instance: Option<u32>,
    /// What the order changes about its limits, in words.
    pub changes: Option<Arc<str>>,
    pub fate: Fate,
}

/// How an outcome stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// This is to be waited for, once the order is in force.
    Wants(Want),
    /// It is being waited for.
    Waiting,
    /// This is so if a signal can be sent, which is being done.
    Sent(Verdict),
    /// It is known.
    Known(Verdict),
}

impl Supervisor {
    /// Puts an order among the open ones; its waiters wait from now on unless it first has to be saved.
    pub(super) fn open(
        &mut self,
        now: Moment,
        order: OrderId,
        saving: Saving,
        slots: Vec<Slot>,
        on_saved: Option<Minutes>,
    ) {
        let in_force = on_saved.is_none();
        let unknown = slots.iter().filter(|slot| !matches!(slot.fate, Fate::Known(_))).count();
        self.orders.insert(order, Open { abandoned: false, saving, slots, unknown, on_saved });
        if in_force {
            self.attach(now, order);
        }
    }

    /// Makes an order's slots wait for their instances. Who waits for the freezer has it asked: a `start` that resumes does so
    /// only here, when it is in force.
    pub(super) fn attach(&mut self, now: Moment, order: OrderId) {
        let Some(open) = self.orders.get_mut(&order) else { return };
        let mut waiting = Vec::new();
        for (slot, at) in open.slots.iter_mut().zip(0_u32..) {
            if let (Fate::Wants(want), Some(index)) = (&slot.fate, slot.instance) {
                waiting.push((InstanceId::new(slot.app, index), Waiter { order, slot: at, want: *want }));
                slot.fate = Fate::Waiting;
            }
        }
        for (id, waiter) in waiting {
            match waiter.want {
                Want::Paused => self.ask_freezer(now, id, true),
                Want::Resumed { .. } => self.ask_freezer(now, id, false),
                Want::Limited => self.ask_limits(now, id),
                Want::Running { .. } | Want::Gone | Want::SeenOnline | Want::SeenStopped => {}
            }
            if let Some(instance) = self.instance_mut(id) {
                instance.waiters.push(waiter);
                self.answer_waiters(id);
            } else {
                self.settle(order, waiter.slot as usize, Verdict::Superseded);
            }
        }
        self.answer_if_complete(order);
    }

    /// Holds those who wait for an instance against how it stands.
    pub(super) fn answer_waiters(&mut self, id: InstanceId) {
        if self.instance(id).is_none_or(|instance| instance.waiters.is_empty()) {
            return;
        }
        let (goal, limited) = (self.goal(id), self.is_limited(id));
        let Some(instance) = self.instance_mut(id) else { return };
        let waiters = std::mem::take(&mut instance.waiters);
        let mut answered = Vec::new();
        let mut still = Vec::new();
        for waiter in waiters {
            match verdict(waiter.want, instance, goal, limited) {
                Some(Verdict::Superseded) if bug::on(Bug::SupersededForgotten) => {}
                Some(verdict) => answered.push((waiter, verdict)),
                None => still.push(waiter),
            }
        }
        instance.waiters = still;
        for (waiter, verdict) in answered {
            self.settle(waiter.order, waiter.slot as usize, verdict);
        }
    }

    /// What these wait for at an instance does not come true, and this is why.
    pub(super) fn fail_waiters(&mut self, id: InstanceId, these: impl Fn(Want) -> bool, error: &str) {
        let Some(instance) = self.instance_mut(id) else { return };
        let told: Vec<Waiter> = instance.waiters.extract_if(.., |waiter| these(waiter.want)).collect();
        for waiter in told {
            self.settle(waiter.order, waiter.slot as usize, Verdict::Failed(error.to_owned()));
        }
    }

    /// An outcome is known.
    pub(super) fn settle(&mut self, order: OrderId, slot: usize, verdict: Verdict) {
        let Some(open) = self.orders.get_mut(&order) else { return };
        let Some(slot) = open.slots.get_mut(slot) else { return };
        if !matches!(slot.fate, Fate::Known(_)) {
            open.unknown -= 1;
        }
        slot.fate = Fate::Known(verdict);
        self.answer_if_complete(order);
    }

    /// A signal was sent, or could not be.
    pub(super) fn delivered(&mut self, order: OrderId, slot: usize, failure: Option<String>) {
        let fate = self.orders.get(&order).and_then(|open| open.slots.get(slot)).map(|slot| &slot.fate);
        if let Some(Fate::Sent(verdict)) = fate {
            let verdict = failure.map_or_else(|| verdict.clone(), Verdict::Failed);
            self.settle(order, slot, verdict);
        }
    }

    /// Replies if everything is known and the disk has answered.
    pub(super) fn answer_if_complete(&mut self, order: OrderId) {
        let Some(open) = self.orders.get(&order) else { return };
        if open.unknown > 0 || open.saving == Saving::Asked || open.on_saved.is_some() {
            return;
        }
        let answer = Ok(open.slots.iter().map(|slot| self.outcome(slot, &open.saving)).collect());
        self.reply(order, answer);
    }

    fn outcome(&self, slot: &Slot, saving: &Saving) -> Outcome {
        let verdict = match &slot.fate {
            Fate::Known(verdict) => verdict.clone(),
            Fate::Wants(_) | Fate::Waiting | Fate::Sent(_) => self.standing(slot),
        };
        // It was so when it became known, but another order has started it again since, and a reply must be true.
        let lives = slot.instance.is_some_and(|index| {
            self.instance(InstanceId::new(slot.app, index)).is_some_and(|instance| !instance.is_gone())
        });
        let verdict = match verdict {
            Verdict::Stopped | Verdict::AlreadyStopped if lives && !bug::on(Bug::StoppedSaidEarly) => {
                Verdict::Superseded
            }
            verdict => verdict,
        };
        let verdict = self.still_so(slot, verdict);
        let saved = *saving != Saving::Refused;
        let changes = slot.changes.clone();
        Outcome { app: slot.app, name: slot.name.clone(), instance: slot.instance, verdict, changes, saved }
    }

    /// The same for the freezer, which does what it was asked last: `paused` is never said of what was resumed since.
    fn still_so(&self, slot: &Slot, verdict: Verdict) -> Verdict {
        let paused = match verdict {
            Verdict::Paused { .. } | Verdict::AlreadyPaused { .. } => true,
            Verdict::Resumed { .. } => false,
            other => return other,
        };
        let instance = slot.instance.and_then(|index| self.instance(InstanceId::new(slot.app, index)));
        match instance.map(|instance| pause::verdict(paused, true, instance)) {
            Some(Some(Verdict::Paused { .. } | Verdict::Resumed { .. })) => verdict,
            Some(Some(now)) => now,
            Some(None) | None => Verdict::Superseded,
        }
    }

    /// How it stands, for an order that can wait no longer.
    fn standing(&self, slot: &Slot) -> Verdict {
        let index = slot.instance.unwrap_or(0);
        self.instance(InstanceId::new(slot.app, index)).map_or(Verdict::Superseded, |instance| {
            let (state, detail) = status::words(instance);
            Verdict::Pending { state, detail }
        })
    }

    /// Answers an order, and has done with it.
    pub(super) fn reply(&mut self, order: OrderId, answer: Answer) {
        let abandoned = if bug::on(Bug::RepliesTwice) {
            self.orders.get(&order).is_some_and(|open| open.abandoned)
        } else {
            self.orders.remove(&order).is_some_and(|open| open.abandoned)
        };
        if !abandoned {
            self.out.push_back(Effect::Reply { order, answer });
        }
    }

    /// Answers as things stand whoever still waits; the daemon ends.
    pub(super) fn answer_all(&mut self) {
        let open: Vec<OrderId> = self.orders.keys().copied().collect();
        for order in open {
            let Some(open) = self.orders.get(&order) else { continue };
            let answer = if open.on_saved.is_some() {
                Err(Refusal::ShuttingDown)
            } else {
                Ok(open.slots.iter().map(|slot| self.outcome(slot, &open.saving)).collect())
            };
            self.reply(order, answer);
        }
    }

    /// Nobody waits for the reply any more. Whoever only waited is forgotten; what was ordered is carried out.
    pub(super) fn abandon(&mut self, order: OrderId) {
        let Some(open) = self.orders.get_mut(&order) else { return };
        open.abandoned = true;
        if open.on_saved.is_some() || open.saving == Saving::Asked {
            return;
        }
        let ids: Vec<InstanceId> =
            open.slots.iter().filter_map(|s| s.instance.map(|index| InstanceId::new(s.app, index))).collect();
        for id in ids {
            if let Some(instance) = self.instance_mut(id) {
                instance.waiters.retain(|waiter| waiter.order != order);
            }
        }
        self.orders.remove(&order);
    }
}

/// What somebody who wants this is told now; nothing if they have to wait on.
/// `limited`: what runs is under the limits of its spec.
pub(super) fn verdict(want: Want, instance: &Instance, goal: Goal, limited: bool) -> Option<Verdict> {
    match want {
        Want::Running { generation, again } => running(generation, again, instance, goal),
        Want::Gone if instance.is_gone() => Some(Verdict::Stopped),
        Want::Gone if main_has_ended(instance) && bug::on(Bug::StoppedSaidEarly) => Some(Verdict::Stopped),
        Want::Gone => instance.is_halted().then(|| pending(instance)),
        Want::Paused => pause::verdict(true, true, instance),
        Want::Resumed { again } => pause::verdict(false, again, instance),
        Want::Limited => match &instance.state {
            State::Online { pid, .. } => limited.then_some(Verdict::Limited { pid: Some(*pid) }),
            // It is looked at again when its program runs: it may have been made from the spec before.
            State::Starting(_) => None,
            State::Resting(_) | State::Stopping(_) => Some(Verdict::Limited { pid: None }),
            State::Unknown(_) => Some(Verdict::Failed(NOT_TOUCHED.to_owned())),
        },
        Want::SeenOnline => match &instance.state {
            State::Online { pid, frost: Frost::Thawed, .. } => Some(Verdict::Started { pid: *pid }),
            // It is as little online as one that is starting.
            State::Online { .. } => None,
            State::Resting(Rest::Finished(_)) => Some(Verdict::Finished),
            State::Resting(Rest::Errored(_, None)) => Some(Verdict::Failed(how_it_ended(instance))),
            State::Resting(Rest::Idle | Rest::Backoff(..) | Rest::Errored(_, Some(_)))
            | State::Starting(_)
            | State::Stopping(_)
            | State::Unknown(_) => None,
        },
        Want::SeenStopped => match (&instance.state, goal) {
            (State::Resting(_), Goal::Down)
            | (State::Resting(Rest::Finished(_) | Rest::Errored(_, None)), Goal::Up(_))
                if instance.extras.is_empty() =>
            {
                Some(Verdict::Stopped)
            }
            (
                State::Resting(_) | State::Starting(_) | State::Online { .. } | State::Stopping(_) | State::Unknown(_),
                Goal::Up(_) | Goal::Down,
            ) => None,
        },
    }
}

fn running(wanted: Generation, again: bool, instance: &Instance, goal: Goal) -> Option<Verdict> {
    if goal == Goal::Down {
        return Some(Verdict::Superseded);
    }
    match &instance.state {
        State::Online { run, pid, .. } if run.generation >= wanted => {
            Some(if again { Verdict::Restarted { pid: *pid } } else { Verdict::Started { pid: *pid } })
        }
        State::Resting(rest) if instance.extras.is_empty() && rest.holds_for(wanted) => Some(match rest {
            Rest::Finished(_) => Verdict::Finished,
            Rest::Idle | Rest::Backoff(..) | Rest::Errored(..) => Verdict::Failed(how_it_ended(instance)),
        }),
        State::Unknown(_) => Some(Verdict::Failed(NOT_BESIDE_UNKNOWN.to_owned())),
        State::Resting(_) | State::Starting(_) | State::Online { .. } | State::Stopping(_) => {
            instance.is_halted().then(|| pending(instance))
        }
    }
}

/// Why nothing is started where an unmarked run lives.
pub(super) const NOT_BESIDE_UNKNOWN: &str = "processes that opm cannot identify live in its cgroup; stop it first";

/// Why its limits are not changed where an unmarked run lives.
const NOT_TOUCHED: &str = "processes that opm cannot identify live in its cgroup; their limits are as they were";

fn pending(instance: &Instance) -> Verdict {
    let (state, detail) = status::words(instance);
    Verdict::Pending { state, detail }
}

fn main_has_ended(instance: &Instance) -> bool {
    matches!(&instance.state, State::Stopping(ending) if matches!(ending.main, Main::Exited(_)))
}

/// Why it does not run, for whoever waited for it.
fn how_it_ended(instance: &Instance) -> String {
    let Some((record, _)) = &instance.last else { return "it did not start".to_owned() };
    let ExitRecord { failure, status, .. } = &**record;
    match (failure, status) {
        (Some(failure), _) => failure.clone(),
        (None, ExitStatus::Code(code)) => format!("it exited with code {code}"),
        (None, ExitStatus::Signal { signal, .. }) => format!("it was ended by {signal}"),
        (None, ExitStatus::NotObserved | ExitStatus::NeverRan) => "it ended unobserved".to_owned(),
    }
}
