//! The end of the daemon, by order.
//!
//! Owns the last steps: bring everything down or let it be, answer everybody, quit. It must not change what is wanted: the
//! next daemon brings back what this one stopped. What a reader would get wrong: with `keep_apps` too, nothing is started any
//! more; what dies now is the next daemon's to start.

use super::bug::{self, Bug};
use super::effect::Effect;
use super::ledger::Ledger;
use super::supervisor::{Phase, Supervisor};
use super::waiters::{Fate, Minutes, Saving, Want};
use crate::model::{InstanceId, Moment, OrderId, OrderKey};
use std::time::Duration;

impl Supervisor {
    pub(super) fn shut_down(&mut self, now: Moment, order: OrderId, key: Option<OrderKey>, keep_apps: bool) {
        self.record_order(Minutes { verb: "shutdown", key, ..Minutes::default() });
        self.phase = Phase::Closing { keep_apps };
        let all: Vec<InstanceId> = self.instances().collect();
        let slots = if keep_apps {
            Vec::new()
        } else {
            let live = all.iter().filter(|id| self.instance(**id).is_some_and(|i| !i.is_gone()));
            live.filter_map(|id| self.slot(*id, Fate::Wants(Want::Gone))).collect()
        };
        // What the disk refused gets one more chance.
        self.save_again(now);
        for id in &all {
            if keep_apps {
                self.rearm(*id);
            } else {
                self.converge(now, *id);
            }
        }
        // It is answered last, after everybody else: `close_if_done` sees to it.
        self.open(now, order, Saving::Asked, slots, None);
    }

    fn instances(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.apps.iter().flat_map(|(id, app)| (0..app.instances.len()).map(|index| InstanceId::new(*id, index as u32)))
    }

    /// How long it takes at most until nothing lives, if everything were asked to end now.
    #[must_use]
    pub fn longest_way_down(&self) -> Duration {
        self.runs.values().map(|id| self.manner(*id).longest()).max().unwrap_or_default()
    }

    /// Ends the daemon if nothing is left to wait for.
    pub(super) fn close_if_done(&mut self) {
        let Phase::Closing { keep_apps } = self.phase else { return };
        let waits = |id: &InstanceId| self.instance(*id).is_some_and(|i| !i.is_gone() && !i.is_halted());
        if !Ledger::is_idle(&self.ledger) || (!keep_apps && self.runs.values().any(waits)) {
            return;
        }
        if !bug::on(Bug::QuitsInSilence) {
            self.answer_all();
        }
        self.out.push_back(Effect::Quit { keep_apps });
        self.phase = Phase::Closed;
    }
}
