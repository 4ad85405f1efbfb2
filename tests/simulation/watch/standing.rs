//! How things stand between steps, and in the end.
//!
//! Owns the invariants about what the core shows. It must not change the world.

use super::Watch;
use crate::kernel::Kernel;
use crate::world::Store;
use opm::model::policy::{ErroredRetry, RestartPolicy};
use opm::model::state::{Detail, When};
use opm::model::{AppId, Desired, DesiredApp, InstanceState, Moment, Order};
use opm::supervise::Supervisor;
use std::collections::BTreeMap;
use std::time::Duration;

impl Watch {
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
        if let Some(run) = kernel.runs.values().find(|run| run.lives() && run.freeze && self.asked.contains(&run.id)) {
            self.fail("who is asked to end is thawed", format!("run {}", run.id.0));
        }
        // Five seconds, and what the answer of another instance of the same order may be late.
        let soon = Duration::from_secs(5 + 1);
        let late_pause = self.open.iter().find(|(_, given)| {
            matches!(given.request, Order::Pause { .. } | Order::Resume { .. }) && now.since(given.at) > soon
        });
        if let Some((order, given)) = late_pause {
            let how = format!("order {} waits since {}", order.0, given.at.0);
            self.fail("a pause is answered in time", how);
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
                (
                    Desired::Up,
                    InstanceState::Starting | InstanceState::Online | InstanceState::Paused | InstanceState::Unknown,
                ) => true,
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
                (Desired::Down, _) => false,
            };
            if !fine {
                self.fail("wanted up is alive, in flight, timed or settled; wanted down is down", format!("{row:?}"));
            }
            if row.state == InstanceState::Paused
                && let Some(run) = kernel.live_of(id).find(|run| super::is_moving(run))
            {
                self.fail("paused means frozen", format!("run {}: {row:?}", run.id.0));
            }
            if matches!(row.state, InstanceState::Online | InstanceState::Paused) && row.pid.is_none() {
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
            let lives = matches!(row.state, InstanceState::Online | InstanceState::Paused);
            let expected = usize::from(row.desired == Desired::Up && lives);
            let settled = matches!(row.state, InstanceState::Stopped | InstanceState::Errored) || expected == 1;
            if (live != expected || !settled) && row.state != InstanceState::Unknown {
                self.fail("at rest, observed equals desired", format!("{live} live: {row:?}"));
            }
            let paused = row.state == InstanceState::Paused;
            if row.state != InstanceState::Unknown && kernel.live_of(row.instance).any(|run| run.freeze != paused) {
                self.fail("at rest, what is frozen is shown as paused", format!("{row:?}"));
            }
        }
        for row in core.status().iter().filter(|row| matches!(row.state, InstanceState::Online | InstanceState::Paused))
        {
            let Some(limits) = apps.get(&row.instance.app).map(|app| app.spec.limits()) else { continue };
            for run in kernel.live_of(row.instance) {
                if run.limits != limits {
                    let how = format!("run {} of {}: {:?}, not {limits:?}", run.id.0, run.instance, run.limits);
                    self.fail("at rest, what lives is under its limits", how);
                }
                let passed = limits.max_memory_restart.is_some_and(|mark| run.held > mark.0);
                if passed && row.state == InstanceState::Online {
                    let how = format!("run {} of {} holds {}", run.id.0, run.instance, run.held);
                    self.fail("at rest, what passed its mark is replaced", how);
                }
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
