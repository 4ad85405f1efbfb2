//! The core's face: what it is told comes in here, what it asks for goes out here.
//!
//! Owns the fields and the way in. It must not decide: each kind of input has a file of its own. What a reader would get
//! wrong: `apps` holds what is *acted upon*. A change that starts something is first in the ledger, and gets here when it is
//! durable; a change that ends something gets here at once.

use super::bug::{self, Bug};
use super::ledger::Ledger;
use super::timers::{Timer, Timers};
use super::waiters::Open;
use super::{Adopted, Beginning, Effect, Input, Past, instance::Instance};
use crate::model::{AppId, AppName, DesiredApp, InstanceId, InstanceStatus, Moment, OrderId, RunId};
use std::collections::{BTreeMap, VecDeque};

/// Room for so many effects is kept when all are done.
const EFFECTS_KEPT: usize = 256;

/// Decides what to do about each instance. Feed it with [`handle`](Self::handle), perform what
/// [`poll_effect`](Self::poll_effect) gives, wake it at [`next_deadline`](Self::next_deadline).
#[derive(Debug)]
pub struct Supervisor {
    /// Boxed: numbers are given in order, and a tree filled in order has room for eleven where there are seven.
    pub(super) apps: BTreeMap<AppId, Box<App>>,
    /// Whose every run is that is not over.
    pub(super) runs: BTreeMap<RunId, InstanceId>,
    pub(super) timers: Timers,
    pub(super) orders: BTreeMap<OrderId, Open>,
    pub(super) ledger: Ledger,
    pub(super) phase: Phase,
    pub(super) next_run: RunId,
    /// What the next question to a freezer is called.
    pub(super) next_turn: u64,
    pub(super) seed: u64,
    pub(super) out: VecDeque<Effect>,
}

/// An app: what is wanted of it, beside what its instances do.
#[derive(Debug)]
pub(super) struct App {
    pub claim: Claim,
    /// At least one per wanted instance; more while those beyond still live.
    pub instances: Vec<Instance>,
    /// Who waits for all of it to be gone.
    pub partings: Vec<Parting>,
}

/// Whether an app is still somebody's.
#[derive(Debug)]
pub(super) enum Claim {
    /// It is wanted like this.
    Listed(DesiredApp),
    /// It was deleted. It stays here until that is durable and nothing of it lives.
    Deleting { was: DesiredApp, durable: bool },
    /// Adoption found a run of an app that is forgotten; of that name, if the run was marked with one.
    Ghost(Option<AppName>),
}

/// An order that waits until all of an app is gone.
#[derive(Debug)]
pub(super) struct Parting {
    pub order: OrderId,
    pub slot: usize,
    /// The deletion could not be saved, and why: the app stays.
    pub unsaved: Option<String>,
}

/// What the daemon is about.
#[derive(Debug)]
pub(super) enum Phase {
    /// Adoption is under way; everything else waits for its end.
    Gathering { past: Vec<Past>, adopted: Vec<Adopted>, early: Vec<Input> },
    /// As always.
    Serving,
    /// An order ends the daemon.
    Closing { keep_apps: bool },
    /// It asked for its own end; nothing more is done.
    Closed,
}

impl App {
    pub(super) fn new(claim: Claim) -> Self {
        let mut app = Self { claim, instances: Vec::new(), partings: Vec::new() };
        app.make_room();
        app
    }

    /// What is wanted, if anything is.
    pub(super) fn desired(&self) -> Option<&DesiredApp> {
        match &self.claim {
            Claim::Listed(desired) => Some(desired),
            Claim::Deleting { .. } | Claim::Ghost(_) => None,
        }
    }

    /// What it is or was: how its runs are to be ended.
    pub(super) fn known_as(&self) -> Option<&DesiredApp> {
        match &self.claim {
            Claim::Listed(desired) | Claim::Deleting { was: desired, .. } => Some(desired),
            Claim::Ghost(_) => None,
        }
    }

    /// What it is called, if it is on its way out: its name is taken until nothing of it lives.
    pub(super) fn leaving_as(&self) -> Option<&AppName> {
        match &self.claim {
            Claim::Listed(_) => None,
            Claim::Deleting { was, .. } => Some(&was.spec.name),
            Claim::Ghost(_) if bug::on(Bug::GhostNamesFree) => None,
            Claim::Ghost(name) => name.as_ref(),
        }
    }

    /// As many instances as are wanted.
    pub(super) fn make_room(&mut self) {
        let wanted = self.desired().map_or(0, |d| d.instances.len());
        self.make_room_for(wanted);
    }

    /// At least so many, and no more room than that: a vector of its own accord has room for four, and most apps have one.
    pub(super) fn make_room_for(&mut self, count: usize) {
        let missing = count.saturating_sub(self.instances.len());
        self.instances.reserve_exact(missing);
        self.instances.extend(std::iter::repeat_with(Instance::new).take(missing));
    }
}

impl Supervisor {
    /// A core that begins with what a daemon found on disk. It decides nothing before [`Input::Converge`].
    #[must_use]
    pub fn new(beginning: Beginning) -> Self {
        // Which boot this is was asked when the records were read: each says whether it is of this one.
        let Beginning { boot: _, seed, apps, next_id, past, next_run } = beginning;
        Self {
            apps: apps.into_iter().map(|(id, desired)| (id, Box::new(App::new(Claim::Listed(desired))))).collect(),
            runs: BTreeMap::new(),
            timers: Timers::default(),
            orders: BTreeMap::new(),
            ledger: Ledger::new(next_id),
            phase: Phase::Gathering { past, adopted: Vec::new(), early: Vec::new() },
            next_run,
            next_turn: 1,
            seed,
            out: VecDeque::new(),
        }
    }

    /// Tells it something.
    pub fn handle(&mut self, now: Moment, input: Input) {
        match &mut self.phase {
            Phase::Gathering { past, adopted, early } => match input {
                Input::Adopted(run) => adopted.push(run),
                Input::Converge => {
                    let (past, adopted, early) = (std::mem::take(past), std::mem::take(adopted), std::mem::take(early));
                    self.phase = Phase::Serving;
                    self.take_over(now, past, adopted);
                    early.into_iter().for_each(|input| self.handle(now, input));
                }
                Input::Ordered { .. }
                | Input::Abandoned { .. }
                | Input::Persisted { .. }
                | Input::PersistFailed { .. }
                | Input::Spawned { .. }
                | Input::SpawnFailed { .. }
                | Input::Exited { .. }
                | Input::LeftBehind { .. }
                | Input::Frozen { .. }
                | Input::Thawed { .. }
                | Input::FreezerRefused { .. }
                | Input::Delivered { .. }
                | Input::Limited { .. }
                | Input::Weighed { .. }
                | Input::Emptied { .. } => early.push(input),
            },
            Phase::Serving | Phase::Closing { .. } => self.act(now, input),
            Phase::Closed => {}
        }
    }

    fn act(&mut self, now: Moment, input: Input) {
        match input {
            Input::Adopted(_) | Input::Converge => {}
            Input::Ordered { order, key, request } => self.ordered(now, order, key, request),
            Input::Abandoned { order } => self.abandon(order),
            Input::Persisted { write } => self.persisted(now, write),
            Input::PersistFailed { write, error } => self.persist_failed(now, write, &error),
            Input::Spawned { run, pid } => self.spawned(now, run, pid),
            Input::SpawnFailed { run, failure, of_the_spec: _ } => self.spawn_failed(now, run, failure),
            Input::Exited { run, status, usage, out_of_memory } => {
                self.exited(now, run, super::ladder::End { at: now, status, usage, out_of_memory });
            }
            Input::LeftBehind { run, left } => self.left_behind(now, run, left),
            Input::Emptied { run, tally } => self.emptied(now, run, tally),
            Input::Limited { run, turn, failure } => self.limited(now, run, turn, failure.as_deref()),
            Input::Weighed { run, held } => self.weighed(now, run, held),
            Input::Frozen { run, turn } => self.freezer_said(now, run, turn, true),
            Input::Thawed { run, turn } => self.freezer_said(now, run, turn, false),
            Input::FreezerRefused { run, turn, error } => self.freezer_refused(now, run, turn, &error),
            Input::Delivered { order, slot, failure } => self.delivered(order, slot as usize, failure),
        }
        self.close_if_done();
    }

    /// Its deadline has come. Harmless if it has not.
    pub fn handle_timeout(&mut self, now: Moment) {
        match self.phase {
            Phase::Gathering { .. } | Phase::Closed => return,
            Phase::Serving | Phase::Closing { .. } => {}
        }
        for timer in self.timers.due(now) {
            match timer {
                Timer::Save => self.save_again(now),
                Timer::Instance(id) => self.deadline_passed(now, id),
            }
        }
        self.close_if_done();
    }

    /// The next thing to do. In this order; until there is none.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let next = self.out.pop_front();
        // A thousand apps started at once is a burst; what it took is given back.
        if next.is_none() && self.out.capacity() > EFFECTS_KEPT {
            self.out = VecDeque::new();
        }
        next
    }

    /// When it wants to be woken, at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.phase {
            Phase::Gathering { .. } | Phase::Closed => None,
            Phase::Serving | Phase::Closing { .. } => self.timers.next(),
        }
    }

    /// What people see: a row per instance, by app and number.
    #[must_use]
    pub fn status(&self) -> Vec<InstanceStatus> {
        self.apps.iter().flat_map(|(id, app)| super::status::rows(*id, app)).collect()
    }

    /// What is wanted now, as far as it is acted upon.
    pub fn apps(&self) -> impl Iterator<Item = (AppId, &DesiredApp)> {
        self.apps.iter().filter_map(|(id, app)| app.desired().map(|desired| (*id, desired)))
    }

    /// Apps that are deleted and of which something lives, or may.
    pub fn leaving(&self) -> impl Iterator<Item = (AppId, &AppName)> {
        self.apps.iter().filter_map(|(id, app)| app.leaving_as().map(|name| (*id, name)))
    }

    /// The id that the next new app gets.
    #[must_use]
    pub fn next_id(&self) -> AppId {
        self.ledger.next_id
    }

    /// Whether something is wanted that is not on disk, since the disk refused it.
    #[must_use]
    pub fn has_unsaved(&self) -> bool {
        self.ledger.has_unsaved()
    }

    /// Nothing is under way: no order open, no write asked for, no run coming or going.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let still = |i: &Instance| match i.state {
            super::instance::State::Starting(_) => false,
            super::instance::State::Stopping(_) => i.is_halted(),
            super::instance::State::Resting(_)
            | super::instance::State::Online { .. }
            | super::instance::State::Unknown(_) => i.extras.is_empty() || i.is_halted(),
        };
        self.orders.is_empty()
            && self.out.is_empty()
            && self.ledger.is_idle()
            && self.apps.values().all(|app| app.instances.iter().all(still))
    }

    pub(super) fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.apps.get(&id.app).and_then(|app| app.instances.get(id.index as usize))
    }

    pub(super) fn instance_mut(&mut self, id: InstanceId) -> Option<&mut Instance> {
        self.apps.get_mut(&id.app).and_then(|app| app.instances.get_mut(id.index as usize))
    }
}
