//! Changes of what is wanted, on their way to the disk.
//!
//! Owns the order *durable, then acted upon* for whatever starts something, and the opposite for whatever ends something. It
//! must not decide what to change. What a reader would get wrong: one write is asked for at a time. What is ordered meanwhile
//! gathers in the next one, so that a hundred orders cost two writes, and a refused write is undone without unpicking others.
//!
//! ```text
//!   order to start --> overlay, queued --> flight --Persisted-----> apps (acted upon)
//!                                               \--PersistFailed-> refused: overlay dropped, queued ones as well
//!   order to end ----> apps at once; queued --> flight --PersistFailed--> unsaved: with every next write, and by timer
//! ```

use super::bug::{self, Bug};
use super::effect::{Change, Effect};
use super::supervisor::{App, Claim, Supervisor};
use super::timers::Timer;
use super::waiters::{Minutes, Saving};
use crate::model::{AppId, Desired, DesiredApp, Event, InstanceId, Moment, OrderId, Refusal, Target, WriteId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Ledger {
    /// The id that the next new app gets.
    pub next_id: AppId,
    next_write: u64,
    /// Apps as they will be wanted when all that is under way is durable.
    overlay: BTreeMap<AppId, DesiredApp>,
    /// Apps of which the disk has, or may have, something else than what is acted upon.
    unsaved: BTreeSet<AppId>,
    queued: Batch,
    flight: Option<Flight>,
    retry: Option<Moment>,
    pause: Duration,
}

/// What the next write will hold.
#[derive(Debug, Default)]
struct Batch {
    orders: Vec<OrderId>,
    /// Apps with changes that wait for it.
    ups: BTreeSet<AppId>,
    /// What was ordered down and is in force already.
    downs: Vec<Target>,
}

/// The write that was asked for.
#[derive(Debug)]
struct Flight {
    write: WriteId,
    orders: Vec<OrderId>,
    change: Change,
}

impl Flight {
    fn touched(&self) -> impl Iterator<Item = AppId> + '_ {
        self.change.put.iter().map(|(id, _)| *id).chain(self.change.removed.iter().copied())
    }
}

impl Ledger {
    pub(super) fn new(next_id: AppId) -> Self {
        Self {
            next_id,
            next_write: 1,
            overlay: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            queued: Batch::default(),
            flight: None,
            retry: None,
            pause: FIRST_PAUSE,
        }
    }

    /// No write is under way or waiting for one.
    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_none()
            && self.queued.orders.is_empty()
            && self.queued.ups.is_empty()
            && self.queued.downs.is_empty()
    }

    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Apps as they will be wanted, where that differs from how they are.
    pub(super) fn overlay(&self) -> impl Iterator<Item = (AppId, &DesiredApp)> {
        self.overlay.iter().map(|(id, desired)| (*id, desired))
    }

    /// How an app will be wanted, if that is under way.
    pub(super) fn pending(&self, app: AppId) -> Option<&DesiredApp> {
        self.overlay.get(&app)
    }

    /// How an app is in the write under way.
    pub(super) fn in_flight(&self, app: AppId) -> Option<&DesiredApp> {
        self.flight.as_ref()?.change.put.iter().find(|(id, _)| *id == app).map(|(_, desired)| desired)
    }

    /// The disk has something else of these apps than what is acted upon.
    pub(super) fn owe(&mut self, apps: impl Iterator<Item = AppId>) {
        self.unsaved.extend(apps);
    }

    /// Whether the disk does not yet have what is known of this app.
    fn owes(&self, app: AppId) -> bool {
        self.unsaved.contains(&app)
            || self.queued.ups.contains(&app)
            || self.queued.downs.iter().any(|target| target.app == app)
            || self.flight.as_ref().is_some_and(|flight| flight.touched().any(|id| id == app))
    }
}

impl Supervisor {
    /// How an app will be wanted when all that is under way is durable.
    pub(super) fn newest(&self, app: AppId) -> Option<&DesiredApp> {
        let acted_upon = self.apps.get(&app).and_then(|app| app.desired());
        self.ledger.pending(app).or(acted_upon)
    }

    /// Takes in an order that starts things. It comes into force when it is durable; if it changes nothing, at once or with
    /// what it depends on.
    pub(super) fn submit(&mut self, order: OrderId, puts: Vec<(AppId, DesiredApp)>, minutes: &Minutes) -> Saving {
        let ledger = &mut self.ledger;
        if puts.is_empty() {
            return if minutes.apps.iter().any(|app| ledger.queued.ups.contains(app)) {
                ledger.queued.orders.push(order);
                Saving::Asked
            } else if let Some(flight) = &mut ledger.flight
                && minutes.apps.iter().any(|app| ledger.overlay.contains_key(app))
            {
                flight.orders.push(order);
                Saving::Asked
            } else {
                Saving::NotNeeded
            };
        }
        for (app, desired) in puts {
            ledger.queued.ups.insert(app);
            ledger.overlay.insert(app, desired);
        }
        ledger.queued.orders.push(order);
        Saving::Asked
    }

    /// Applies an order that ends things, and sees to it that it is saved. Says whether there is anything to save.
    pub(super) fn bring_down(&mut self, order: OrderId, targets: &[Target], changes: bool) -> Saving {
        if !changes && !targets.iter().any(|target| self.ledger.owes(target.app)) {
            return Saving::NotNeeded;
        }
        for target in targets {
            if let Some(pending) = self.ledger.overlay.get_mut(&target.app) {
                want_down(pending, *target);
            }
        }
        self.ledger.queued.downs.extend_from_slice(targets);
        self.ledger.queued.orders.push(order);
        Saving::Asked
    }

    /// What was under way for an app is void: it is deleted.
    pub(super) fn void_pending(&mut self, app: AppId) {
        self.ledger.overlay.remove(&app);
    }

    /// Asks for the next write, if there is something to write and none is under way.
    pub(super) fn write(&mut self, now: Moment) {
        if self.ledger.flight.is_none()
            && !(self.ledger.queued.orders.is_empty()
                && self.ledger.queued.downs.is_empty()
                && self.ledger.queued.ups.is_empty())
        {
            self.write_now(now);
        }
    }

    fn write_now(&mut self, now: Moment) {
        let batch = std::mem::take(&mut self.ledger.queued);
        let mut touched = batch.ups;
        touched.extend(batch.downs.iter().map(|target| target.app));
        touched.extend(&self.ledger.unsaved);
        let mut change = Change { put: Vec::new(), removed: Vec::new(), next_id: self.ledger.next_id };
        for app in touched {
            match (self.apps.get(&app).map(|a| &a.claim), self.newest(app)) {
                (Some(Claim::Listed(_)) | None, Some(desired)) => change.put.push((app, desired.clone())),
                (Some(Claim::Deleting { .. } | Claim::Ghost(_)), _) | (_, None) => change.removed.push(app),
            }
        }
        let write = WriteId(self.ledger.next_write);
        self.ledger.next_write += 1;
        self.out.push_back(Effect::Persist { write, change: change.clone() });
        if bug::on(Bug::ActsBeforeDurable) {
            self.come_into_force(now, change.put.clone());
        }
        self.ledger.flight = Some(Flight { write, orders: batch.orders, change });
    }

    /// Its time to be tried again has come.
    pub(super) fn save_again(&mut self, now: Moment) {
        self.retry_at(None);
        if self.ledger.flight.is_none() && self.ledger.has_unsaved() {
            self.write_now(now);
        }
    }

    fn retry_at(&mut self, at: Option<Moment>) {
        let old = std::mem::replace(&mut self.ledger.retry, at);
        self.timers.move_to(Timer::Save, old, at);
    }

    /// A write is durable: what it holds comes into force.
    pub(super) fn persisted(&mut self, now: Moment, write: WriteId) {
        let Some(flight) = self.ledger.flight.take_if(|flight| flight.write == write) else { return };
        self.retry_at(None);
        self.ledger.pause = FIRST_PAUSE;
        let touched: Vec<AppId> = flight.touched().collect();
        for app in &touched {
            self.ledger.unsaved.remove(app);
        }
        for (app, desired) in flight.change.put {
            self.put_in_force(app, desired);
            if !self.ledger.queued.ups.contains(&app) {
                self.ledger.overlay.remove(&app);
            }
        }
        for app in flight.change.removed {
            if let Some(Claim::Deleting { durable, .. }) = self.apps.get_mut(&app).map(|a| &mut a.claim) {
                *durable = true;
            }
        }
        self.write(now);
        for order in flight.orders {
            self.in_force(now, order, Saving::Saved);
        }
        self.look_at(now, touched);
    }

    /// What a seeded bug does: act on what is not durable.
    fn come_into_force(&mut self, now: Moment, put: Vec<(AppId, DesiredApp)>) {
        let touched = put.iter().map(|(app, _)| *app).collect();
        for (app, desired) in put {
            self.put_in_force(app, desired);
        }
        self.look_at(now, touched);
    }

    /// From now on an app is acted upon as `desired`, but for what was ordered down since that was written.
    fn put_in_force(&mut self, app: AppId, mut desired: DesiredApp) {
        for target in self.ledger.queued.downs.iter().filter(|target| target.app == app) {
            want_down(&mut desired, *target);
        }
        let app = self.apps.entry(app).or_insert_with(|| Box::new(App::new(Claim::Ghost(None))));
        match &mut app.claim {
            // Should the removal be refused, it stays as the disk has it: a generation is given once.
            Claim::Deleting { was, .. } => *was = desired,
            claim @ (Claim::Listed(_) | Claim::Ghost(_)) => *claim = Claim::Listed(desired),
        }
        app.make_room();
    }

    /// A write failed. What would have started something is refused, with all that was ordered since, which may build on it;
    /// what ended something stays in force, and is tried again.
    pub(super) fn persist_failed(&mut self, now: Moment, write: WriteId, error: &str) {
        let Some(flight) = self.ledger.flight.take_if(|flight| flight.write == write) else { return };
        if bug::on(Bug::RollbackForgotten) {
            self.ledger.flight = Some(flight);
            return self.persisted(now, write);
        }
        if !self.ledger.has_unsaved() {
            let message = format!("failed to save what is wanted: {error}");
            self.out.push_back(Effect::Record(Event::Trouble { message }));
        }
        let touched: Vec<AppId> = flight.touched().collect();
        if !bug::on(Bug::UnsavedForgotten) {
            self.ledger.unsaved.extend(&touched);
        }
        for app in &flight.change.removed {
            self.keep_after_all(*app, error);
        }
        self.ledger.overlay.clear();
        self.ledger.queued.ups.clear();
        let waiting = std::mem::take(&mut self.ledger.queued.orders);
        let (refused, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|order| self.needs_saving(*order));
        self.ledger.queued.orders = still;
        let pause = self.ledger.pause;
        self.ledger.pause = LONGEST_PAUSE.min(pause * 2);
        self.retry_at(self.ledger.has_unsaved().then(|| now + pause));
        self.write(now);
        for order in flight.orders.into_iter().chain(refused) {
            if self.needs_saving(order) {
                self.reply(order, Err(Refusal::NotSaved(error.to_owned())));
            } else {
                self.in_force(now, order, Saving::Refused);
            }
        }
        self.look_at(now, touched);
    }

    /// Whether an order comes into force only when it is durable.
    fn needs_saving(&self, order: OrderId) -> bool {
        self.orders.get(&order).is_some_and(|open| open.on_saved.is_some())
    }

    /// An app that was to be forgotten could not be: it stays, wanted down.
    fn keep_after_all(&mut self, app: AppId, error: &str) {
        let Some(app) = self.apps.get_mut(&app) else { return };
        if let Claim::Deleting { was, durable } = &mut app.claim {
            if bug::on(Bug::DeletedUnsaved) {
                *durable = true;
                return;
            }
            let mut was = was.clone();
            was.instances.iter_mut().for_each(|i| i.desired = Desired::Down);
            app.claim = Claim::Listed(was);
            for parting in &mut app.partings {
                parting.unsaved = Some(error.to_owned());
            }
        }
    }

    /// An order is in force: it is recorded, and its waiters wait.
    fn in_force(&mut self, now: Moment, order: OrderId, saving: Saving) {
        let Some(open) = self.orders.get_mut(&order) else { return };
        open.saving = saving;
        match open.on_saved.take() {
            Some(minutes) => {
                self.record_order(minutes);
                self.attach(now, order);
            }
            None => self.answer_if_complete(order),
        }
    }

    /// Writes into the journal that an order was accepted, and what it added.
    pub(super) fn record_order(&mut self, minutes: Minutes) {
        let Minutes { verb, key, apps, added } = minutes;
        self.out.push_back(Effect::Record(Event::Ordered { verb: verb.to_owned(), apps, key, asked: None }));
        for (app, name) in added {
            self.out.push_back(Effect::Record(Event::Added { app, name }));
        }
    }

    /// Looks at all instances of these apps.
    fn look_at(&mut self, now: Moment, apps: Vec<AppId>) {
        for app in apps {
            let count = self.apps.get(&app).map_or(0, |a| a.instances.len());
            for index in 0..count {
                self.converge(now, InstanceId::new(app, index as u32));
            }
            self.see_off(app);
        }
    }
}

/// Wants an app, or one instance of it, down.
pub(super) fn want_down(desired: &mut DesiredApp, target: Target) {
    for (instance, index) in desired.instances.iter_mut().zip(0..) {
        if target.instance.is_none_or(|wanted| wanted == index) {
            instance.desired = Desired::Down;
        }
    }
}
