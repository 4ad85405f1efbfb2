//! Orders that add apps: create and restore. Both may be given any number of times.
//!
//! Owns what happens when a name is taken. It must not end or start anything itself. What a reader would get wrong: whether
//! two specs are the same is asked of every field; the environment an app was started in is no part of its spec.

use super::bug::{self, Bug};
use super::differences::differences;
use super::limits::{in_words, is_limit};
use super::start::{Asked, Draft};
use super::supervisor::Supervisor;
use super::waiters::{Fate, Slot, Want};
use crate::model::order::{Difference, NewApp};
use crate::model::{
    AppId, AppName, AppSpec, Desired, DesiredApp, DesiredInstance, Generation, InstanceId, Moment, OrderId, OrderKey,
    Refusal, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Supervisor {
    pub(super) fn create(
        &mut self,
        now: Moment,
        order: OrderId,
        key: Option<OrderKey>,
        apps: &[NewApp],
        replace: bool,
        update_env: bool,
    ) -> Result<(), Refusal> {
        let names = self.names(apps.iter())?;
        let mut draft = Draft::default();
        let mut next_id = self.ledger.next_id;
        draft.minutes.verb = "create";
        draft.minutes.key.clone_from(&key);
        for new in apps {
            let Some(id) = names.get(&new.spec.name).copied() else {
                let wanted = if new.spec.autostart { Desired::Up } else { Desired::Down };
                add(&mut draft, &mut next_id, new, wanted, key.as_ref());
                continue;
            };
            let Some(now_wanted) = self.newest(id) else {
                return Err(Refusal::Leaving(new.spec.name.clone()));
            };
            draft.minutes.apps.push(id);
            if self.was_ordered(id, key.as_ref()) {
                self.expect_all(&mut draft, id);
                continue;
            }
            let differences = differences(&now_wanted.spec, &new.spec);
            if !differences.is_empty() && !replace {
                return Err(Refusal::NameTaken { name: new.spec.name.clone(), differences });
            }
            // How many there are and what they may use can be changed under those that run.
            let scaled = |d: &Difference| d.field == "instances" && !bug::on(Bug::ScalingTouchesAll);
            let leaves_runs = differences.iter().all(|d| scaled(d) || is_limit(d));
            let new_env = new.captured != now_wanted.captured;
            let renewed = !leaves_runs || (update_env && new_env);
            if !differences.is_empty() || renewed {
                let mut put = now_wanted.clone();
                put.last_order.clone_from(&key);
                put.spec = new.spec.clone();
                if renewed {
                    put.captured = new.captured.clone();
                }
                self.resize(id, &mut put, &new.spec);
                draft.puts.insert(id, put);
            }
            let first = draft.slots.len();
            self.plan_all(&mut draft, id, &new.spec, renewed, key.as_ref());
            if let Some(changes) = in_words(differences.iter().filter(|d| is_limit(d))) {
                // What would be told to be online already is to be online under other limits.
                for slot in draft.slots.iter_mut().skip(first) {
                    if matches!(slot.fate, Fate::Known(Verdict::AlreadyOnline { .. })) {
                        slot.fate = Fate::Wants(Want::Limited);
                        slot.changes = Some(changes.clone());
                    }
                }
            }
        }
        self.ledger.next_id = next_id;
        self.carry_out(now, order, draft);
        Ok(())
    }

    pub(super) fn restore(
        &mut self,
        now: Moment,
        order: OrderId,
        key: Option<OrderKey>,
        apps: &[(NewApp, Desired)],
    ) -> Result<(), Refusal> {
        let names = self.names(apps.iter().map(|(new, _)| new))?;
        let mut draft = Draft::default();
        let mut next_id = self.ledger.next_id;
        draft.minutes.verb = "restore";
        draft.minutes.key.clone_from(&key);
        for (new, dumped) in apps {
            let Some(id) = names.get(&new.spec.name).copied() else {
                add(&mut draft, &mut next_id, new, *dumped, key.as_ref());
                continue;
            };
            let name = new.spec.name.clone();
            let Some(now_wanted) = self.newest(id) else {
                let fate = Fate::Known(Verdict::Failed("it is being deleted".to_owned()));
                draft.slots.push(Slot { app: id, name, instance: None, changes: None, fate });
                continue;
            };
            draft.minutes.apps.push(id);
            let kept = !differences(&now_wanted.spec, &new.spec).is_empty();
            let first = draft.slots.len();
            for (wanted, index) in now_wanted.instances.clone().iter().zip(0..) {
                self.restore_instance(&mut draft, InstanceId::new(id, index), wanted.desired, *dumped, key.as_ref());
            }
            if kept {
                draft.slots.truncate(first);
                draft.slots.push(Slot {
                    app: id,
                    name,
                    instance: None,
                    changes: None,
                    fate: Fate::Known(Verdict::Kept),
                });
            }
        }
        self.ledger.next_id = next_id;
        self.carry_out(now, order, draft);
        Ok(())
    }

    /// An instance that exists: started if it is down and the dump has it up; else left as it is.
    fn restore_instance(
        &self,
        draft: &mut Draft,
        id: InstanceId,
        wanted: Desired,
        dumped: Desired,
        key: Option<&OrderKey>,
    ) {
        if wanted == Desired::Down && dumped == Desired::Up {
            return self.plan(draft, id, Asked::Running, key);
        }
        let Some(instance) = self.instance(id) else {
            // Somebody is adding it just now.
            return self.expect_running(draft, id, false);
        };
        let (state, detail) = super::status::words(instance);
        let verdict = match &instance.state {
            super::instance::State::Online { pid, frost: super::pause::Frost::Frozen { .. }, .. } => {
                Verdict::AlreadyPaused { pid: *pid }
            }
            super::instance::State::Online { pid, .. } => Verdict::AlreadyOnline { pid: *pid },
            super::instance::State::Resting(super::instance::Rest::Finished(_)) => Verdict::Finished,
            super::instance::State::Resting(super::instance::Rest::Idle) if wanted == Desired::Down => {
                Verdict::AlreadyStopped
            }
            super::instance::State::Starting(_) | super::instance::State::Resting(super::instance::Rest::Idle)
                if wanted == Desired::Up =>
            {
                return self.expect_running(draft, id, false);
            }
            super::instance::State::Starting(_)
            | super::instance::State::Resting(_)
            | super::instance::State::Stopping(_)
            | super::instance::State::Unknown(_) => Verdict::Pending { state, detail },
        };
        draft.slots.extend(self.slot(id, Fate::Known(verdict)));
    }

    /// Whose each name is. Refuses an order that names one twice.
    fn names<'a>(&self, apps: impl Iterator<Item = &'a NewApp>) -> Result<BTreeMap<AppName, AppId>, Refusal> {
        let mut asked = BTreeSet::new();
        for new in apps {
            if !asked.insert(new.spec.name.clone()) {
                return Err(Refusal::NamedTwice(new.spec.name.clone()));
            }
        }
        let listed = self.apps().chain(self.ledger.overlay()).map(|(id, desired)| (&desired.spec.name, id));
        let all = self.leaving().map(|(id, name)| (name, id)).chain(listed);
        Ok(all.filter(|(name, _)| asked.contains(*name)).map(|(name, id)| (name.clone(), id)).collect())
    }

    /// As many instances as `spec` says. New ones are past everything that instances of their number ever were.
    fn resize(&self, id: AppId, put: &mut DesiredApp, spec: &AppSpec) {
        let highest = put.instances.iter().map(|i| i.generation).max().unwrap_or_default();
        let count = spec.instances as usize;
        put.instances.truncate(count);
        for index in put.instances.len()..count {
            let generation = self.fresh(InstanceId::new(id, index as u32), highest);
            let desired = if spec.autostart { Desired::Up } else { Desired::Down };
            put.instances.push(DesiredInstance { desired, generation });
        }
    }

    /// What every instance of an app that exists is to do after a create.
    fn plan_all(&self, draft: &mut Draft, id: AppId, spec: &Arc<AppSpec>, renewed: bool, key: Option<&OrderKey>) {
        let Some(wanted) = draft.puts.get(&id).or_else(|| self.newest(id)).map(|d| d.instances.clone()) else { return };
        let known = self.newest(id).map_or(0, |d| d.instances.len());
        for (wanted, index) in wanted.iter().zip(0..) {
            let id = InstanceId::new(id, index);
            if wanted.desired == Desired::Down && !spec.autostart {
                draft.slots.extend(self.slot(id, Fate::Known(Verdict::Added)));
            } else if index as usize >= known {
                // Added by this very order: nothing to raise.
                draft
                    .slots
                    .extend(self.slot(id, Fate::Wants(Want::Running { generation: wanted.generation, again: false })));
            } else {
                self.plan(draft, id, if renewed { Asked::Replaced } else { Asked::Running }, key);
            }
        }
    }

    /// The order was sent before.
    fn expect_all(&self, draft: &mut Draft, id: AppId) {
        let Some(wanted) = self.newest(id).map(|d| d.instances.clone()) else { return };
        for (wanted, index) in wanted.iter().zip(0..) {
            let id = InstanceId::new(id, index);
            match wanted.desired {
                Desired::Up => self.expect_running(draft, id, false),
                Desired::Down => draft.slots.extend(self.slot(id, Fate::Known(Verdict::Added))),
            }
        }
    }
}

/// A new app.
fn add(draft: &mut Draft, next_id: &mut AppId, new: &NewApp, desired: Desired, key: Option<&OrderKey>) {
    let id = *next_id;
    *next_id = AppId(id.0 + 1);
    let generation = Generation(1);
    let count = new.spec.instances;
    let instances = vec![DesiredInstance { desired, generation }; count as usize];
    let put =
        DesiredApp { spec: new.spec.clone(), captured: new.captured.clone(), instances, last_order: key.cloned() };
    let name = &new.spec.name;
    let slot = |instance, fate| Slot { app: id, name: name.clone(), instance, changes: None, fate };
    if desired == Desired::Up && count > 0 {
        let fate = Fate::Wants(Want::Running { generation, again: false });
        draft.slots.extend((0..count).map(|index| slot(Some(index), fate.clone())));
    } else {
        draft.slots.push(slot(None, Fate::Known(Verdict::Added)));
    }
    draft.minutes.apps.push(id);
    draft.minutes.added.push((id, name.clone()));
    draft.puts.insert(id, put);
}
