//! Orders that start or restart apps that exist.
//!
//! Owns what "start" means in each state. It must not start anything: it raises the generation of what is wanted, and that is
//! acted upon when it is durable. What a reader would get wrong: raising the generation is what makes an order survive a
//! daemon's death. A new daemon finds a run or a record of an older one, and does what was ordered.

use super::bug::{self, Bug};
use super::instance::{Rest, State};
use super::pause::Frost;
use super::supervisor::Supervisor;
use super::waiters::{Fate, Minutes, NOT_BESIDE_UNKNOWN, Slot, Want};
use crate::model::{
    AppId, Desired, DesiredApp, EnvMap, Generation, InstanceId, Moment, OrderId, OrderKey, Refusal, Target, Verdict,
};
use std::collections::{BTreeMap, btree_map::Entry};
use std::sync::Arc;

/// How much is asked of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// That it runs. What runs is left alone.
    Running,
    /// That it is started; what runs is replaced.
    Started,
    /// That it is replaced, whatever it does.
    Replaced,
}

/// Changes of what is wanted that an order needs, gathered before any is made: an order is carried out whole or not at all.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub puts: BTreeMap<AppId, DesiredApp>,
    pub slots: Vec<Slot>,
    pub minutes: Minutes,
}

impl Supervisor {
    /// Start and restart.
    pub(super) fn start(
        &mut self,
        now: Moment,
        order: OrderId,
        key: Option<OrderKey>,
        targets: &[Target],
        captured: Option<Arc<EnvMap>>,
        asked: Asked,
    ) -> Result<(), Refusal> {
        let ids = self.resolve(targets)?;
        let restart = asked == Asked::Replaced;
        let verb = if restart { "restart" } else { "start" };
        let mut draft = Draft { minutes: super::orders::minutes(verb, key.clone(), targets), ..Draft::default() };
        let sent_before: Vec<AppId> =
            draft.minutes.apps.iter().copied().filter(|app| self.was_ordered(*app, key.as_ref())).collect();
        for id in ids {
            if sent_before.contains(&id.app) {
                self.expect_running(&mut draft, id, restart);
                continue;
            }
            let new_env = self.take_env(&mut draft, id.app, captured.as_ref(), key.as_ref());
            let asked = if new_env { Asked::Replaced } else { asked };
            self.plan(&mut draft, id, asked, key.as_ref());
        }
        self.carry_out(now, order, draft);
        Ok(())
    }

    /// Whether this very order changed this app last, or is about to.
    pub(super) fn was_ordered(&self, app: AppId, key: Option<&OrderKey>) -> bool {
        let sent = key.is_some() && !bug::on(Bug::KeyIgnored);
        sent && self.newest(app).is_some_and(|desired| desired.last_order.as_ref() == key)
    }

    /// Puts the environment into the draft if it is another one. Says whether it is.
    fn take_env(&self, draft: &mut Draft, app: AppId, env: Option<&Arc<EnvMap>>, key: Option<&OrderKey>) -> bool {
        let Some(env) = env else { return false };
        let Some(newest) = self.newest(app) else { return false };
        if newest.captured == *env {
            return false;
        }
        let put = draft.puts.entry(app).or_insert_with(|| newest.clone());
        put.captured = env.clone();
        put.last_order = key.cloned();
        true
    }

    /// Plans what one instance needs, and what is to be waited for.
    pub(super) fn plan(&self, draft: &mut Draft, id: InstanceId, asked: Asked, key: Option<&OrderKey>) {
        let newest = draft.puts.get(&id.app).or_else(|| self.newest(id.app));
        let Some(wanted) = newest.and_then(|d| d.instances.get(id.index as usize)).copied() else {
            // A change under way takes this instance away.
            draft.slots.extend(self.slot(id, Fate::Known(Verdict::Superseded)));
            return;
        };
        let state = self.instance(id).map(|instance| &instance.state);
        let acted_upon = self.acted_upon(id) == Some(wanted.generation);
        let up = wanted.desired == Desired::Up;
        let (renew, again) = match (state, asked) {
            (Some(State::Unknown(_)), _) => {
                // A spec that changes in the same order holds for its next run, whenever that may be.
                let generation = self.fresh(id, wanted.generation);
                let put = draft.puts.get_mut(&id.app).and_then(|d| d.instances.get_mut(id.index as usize));
                if let Some(instance) = put {
                    instance.generation = generation;
                }
                draft.slots.extend(self.slot(id, Fate::Known(Verdict::Failed(NOT_BESIDE_UNKNOWN.to_owned()))));
                return;
            }
            // What is paused runs, and is to run on: replacing it would throw away what the pause was to keep.
            (Some(State::Online { run, frost, .. }), Asked::Running | Asked::Started)
                if *frost != Frost::Thawed
                    && up
                    && acted_upon
                    && run.generation >= wanted.generation
                    && !bug::on(Bug::StartReplacesPaused) =>
            {
                draft.slots.extend(self.slot(id, Fate::Wants(Want::Resumed { again: true })));
                return;
            }
            (Some(State::Online { run, pid, .. }), Asked::Running)
                if up && acted_upon && run.generation >= wanted.generation =>
            {
                draft.slots.extend(self.slot(id, Fate::Known(Verdict::AlreadyOnline { pid: *pid })));
                return;
            }
            (Some(State::Online { .. }), Asked::Started | Asked::Replaced) if acted_upon => (true, up),
            // Started already, and not there yet: it is the same wish.
            (Some(State::Starting(run)), Asked::Running | Asked::Started)
                if up && run.generation >= wanted.generation =>
            {
                (false, false)
            }
            (Some(State::Stopping(ending)), Asked::Running | Asked::Started)
                if up && ending.run.generation < wanted.generation =>
            {
                (false, false)
            }
            (Some(State::Resting(Rest::Idle)), Asked::Running | Asked::Started) if up && acted_upon => (false, false),
            (Some(_) | None, Asked::Running | Asked::Started) if up && !acted_upon => (false, false),
            (Some(State::Starting(_) | State::Online { .. }), _) => (true, true),
            (Some(State::Resting(_) | State::Stopping(_)) | None, _) => (true, false),
        };
        let generation = if renew { self.fresh(id, wanted.generation) } else { wanted.generation };
        if renew {
            let put = match draft.puts.entry(id.app) {
                Entry::Occupied(put) => put.into_mut(),
                Entry::Vacant(none) => match self.newest(id.app) {
                    Some(newest) => none.insert(newest.clone()),
                    None => return,
                },
            };
            put.last_order = key.cloned();
            if let Some(instance) = put.instances.get_mut(id.index as usize) {
                instance.desired = Desired::Up;
                instance.generation = generation;
            }
        }
        draft.slots.extend(self.slot(id, Fate::Wants(Want::Running { generation, again })));
    }

    /// The order was sent before: only waits for what it asked for.
    pub(super) fn expect_running(&self, draft: &mut Draft, id: InstanceId, again: bool) {
        let wanted = self.newest(id.app).and_then(|d| d.instances.get(id.index as usize));
        let generation = wanted.map(|w| w.generation).unwrap_or_default();
        draft.slots.extend(self.slot(id, Fate::Wants(Want::Running { generation, again })));
    }

    /// The generation that is acted upon.
    pub(super) fn acted_upon(&self, id: InstanceId) -> Option<Generation> {
        let desired = self.apps.get(&id.app).and_then(|app| app.desired());
        desired.and_then(|d| d.instances.get(id.index as usize)).map(|wanted| wanted.generation)
    }

    /// A generation past everything known of an instance.
    pub(super) fn fresh(&self, id: InstanceId, wanted: Generation) -> Generation {
        let known = self.instance(id).map(|i| i.newest_generation()).unwrap_or_default();
        wanted.max(known).next()
    }

    /// Hands a draft in.
    pub(super) fn carry_out(&mut self, now: Moment, order: OrderId, draft: Draft) {
        let Draft { puts, slots, minutes } = draft;
        let saving = self.submit(order, puts.into_iter().collect(), &minutes);
        if saving == super::waiters::Saving::NotNeeded {
            self.record_order(minutes);
            self.open(now, order, saving, slots, None);
        } else {
            self.open(now, order, saving, slots, Some(minutes));
            self.write(now);
        }
    }
}
