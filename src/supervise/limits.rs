//! Limits of what lives, kept as the spec asks for: at once after an edit, and again by a daemon that adopts. And the memory mark.
//!
//! Owns what is known of the limits of a run, the order that changes them, and what a look at a run's memory means. It must not
//! touch the kernel. What a reader would get wrong: nothing here reacts to an edit. `keep_limits` compares, like `converge` does, and asks
//! for what is missing; so an edit, an adoption and a run that was made from yesterday's spec are the same case.

use super::bug::{self, Bug};
use super::converge::Goal;
use super::differences::differences;
use super::effect::Effect;
use super::instance::{Rest, Run, State};
use super::ladder::{Ending, Main, Why};
use super::orders::minutes;
use super::pause::Frost;
use super::start::Draft;
use super::supervisor::{Claim, Phase, Supervisor};
use super::waiters::{Fate, Want};
use crate::model::order::Difference;
use crate::model::{
    AppSpec, Event, InstanceId, LimitChange, Limits, MarkPassed, Moment, OrderId, OrderKey, Refusal, RunId, Target,
};
use std::sync::Arc;
use std::time::Duration;

/// After a look that found nothing to do the next event is waited for only after this, doubling to the longest.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Which limits a run is under, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bounds {
    /// It was adopted, and nobody knows.
    Unknown,
    /// It was adopted, and none were ever written on it.
    Plain,
    /// Those of this spec were asked for.
    Asked { of: Arc<AppSpec>, turn: u64 },
    /// Those of this spec are in force.
    InForce(Arc<AppSpec>),
    /// Those of this spec could not be written. It is tried again when they change, or when somebody asks for them.
    Refused(Arc<AppSpec>),
}

impl Bounds {
    /// Whether there is nothing to ask for.
    fn are_those_of(&self, spec: &Arc<AppSpec>) -> bool {
        match self {
            Self::Unknown => bug::on(Bug::LimitsNotAdopted),
            Self::Plain => spec.has_no_limits(),
            Self::Asked { of, .. } | Self::InForce(of) | Self::Refused(of) => {
                Arc::ptr_eq(of, spec) || of.same_limits(spec) || bug::on(Bug::LaterLimitsForgotten)
            }
        }
    }
}

/// How a run with a memory mark is watched: an event of memory.high is told once, and then not again before a rest is over. What
/// happened during it is told then. So an app whose page cache stands at the mark, which makes events all the time, costs a look in 30 s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scale {
    /// How long the next rest is.
    rest: Duration,
    /// Since when an event is waited for.
    since: Moment,
    /// When it is waited for again; none while it is.
    until: Option<Moment>,
}

impl Scale {
    fn new(now: Moment) -> Self {
        Self { rest: FIRST_REST, since: now, until: None }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.until
    }

    /// A look found nothing to do.
    fn rest(&mut self, now: Moment) {
        if self.until.is_some() {
            return;
        }
        // It was quiet for so long that this is another story.
        if now.since(self.since) > LONGEST_REST {
            self.rest = FIRST_REST;
        }
        self.until = Some(now + self.rest);
        self.rest = LONGEST_REST.min(self.rest * 2);
    }

    /// Whether the rest is over now.
    fn is_over(&mut self, now: Moment) -> bool {
        let over = self.until.is_some_and(|at| at <= now);
        if over {
            (self.until, self.since) = (None, now);
        }
        over
    }
}

impl Supervisor {
    /// Changes what apps may use.
    pub(super) fn limit(
        &mut self,
        now: Moment,
        order: OrderId,
        key: Option<OrderKey>,
        targets: &[Target],
        change: &LimitChange,
    ) -> Result<(), Refusal> {
        let ids = self.resolve(targets)?;
        if let Some(target) = targets.iter().find(|target| target.instance.is_some())
            && let Some(desired) = self.newest(target.app)
        {
            return Err(Refusal::WholeAppsOnly { name: desired.spec.name.clone(), what: "limited by itself" });
        }
        let mut draft = Draft { minutes: minutes("limit", key.clone(), targets), ..Draft::default() };
        for app in draft.minutes.apps.clone() {
            let Some(mut put) = self.newest(app).cloned() else { continue };
            let mut changes = None;
            if !self.was_ordered(app, key.as_ref()) {
                let mut spec = (*put.spec).clone();
                let mut limits = spec.limits();
                limits.change(change);
                limits.put_into(&mut spec);
                let found = differences(&put.spec, &spec);
                if !found.is_empty() {
                    changes = in_words(&found);
                    put.spec = Arc::new(spec);
                    put.last_order.clone_from(&key);
                    draft.puts.insert(app, put);
                }
            }
            for id in ids.iter().filter(|id| id.app == app) {
                draft.slots.extend(self.slot(*id, Fate::Wants(Want::Limited)).map(|mut slot| {
                    slot.changes.clone_from(&changes);
                    slot
                }));
            }
        }
        self.carry_out(now, order, draft);
        Ok(())
    }

    /// Somebody asks for the limits of an instance: what could not be written is tried again.
    pub(super) fn ask_limits(&mut self, now: Moment, id: InstanceId) {
        if let Some(State::Online { run, .. }) = self.instance_mut(id).map(|instance| &mut instance.state)
            && matches!(run.bounds, Bounds::Refused(_))
        {
            run.bounds = Bounds::Unknown;
        }
        self.keep_limits(now, id);
    }

    /// Sees to it that a run that lives is under the limits of its spec, and that its mark is watched.
    pub(super) fn keep_limits(&mut self, now: Moment, id: InstanceId) {
        let turn = self.next_turn;
        let Some(app) = self.apps.get_mut(&id.app) else { return };
        let Claim::Listed(desired) = &app.claim else { return };
        let Some(instance) = app.instances.get_mut(id.index as usize) else { return };
        let State::Online { run, .. } = &mut instance.state else { return };
        let spec = &desired.spec;
        if !run.bounds.are_those_of(spec) {
            self.next_turn += 1;
            run.bounds = Bounds::Asked { of: spec.clone(), turn };
            run.scale = None;
            self.out.push_back(Effect::Limit { run: run.id, turn, limits: Box::new(spec.limits()) });
        } else if matches!(run.bounds, Bounds::InForce(_) | Bounds::Refused(_))
            && spec.max_memory_restart.is_some()
            && run.scale.is_none()
        {
            run.scale = Some(Box::new(Scale::new(now)));
            self.out.push_back(Effect::WatchMemory { run: run.id, look: false });
        }
    }

    /// Whether a run is under the limits of its spec.
    pub(super) fn is_limited(&self, id: InstanceId) -> bool {
        let spec = self.apps.get(&id.app).and_then(|app| app.desired()).map(|desired| &desired.spec);
        if let (Some(State::Online { run, .. }), Some(spec)) = (self.instance(id).map(|instance| &instance.state), spec)
        {
            return matches!(run.bounds, Bounds::InForce(_) | Bounds::Plain) && run.bounds.are_those_of(spec);
        }
        false
    }

    /// Limits were written, or could not be.
    pub(super) fn limited(&mut self, now: Moment, run: RunId, turn: u64, failure: Option<&str>) {
        let Some((id, run)) = self.online(run) else { return };
        let Bounds::Asked { of, turn: asked } = &run.bounds else { return };
        if *asked != turn {
            return;
        }
        let (of, number) = (of.clone(), run.id);
        // Before there was a limit, or while no daemon watched, it may have passed the mark already. That another limit could not be
        // written takes nothing away from the mark; where it cannot be watched, whoever watches says so.
        if of.max_memory_restart.is_some() && !bug::on(Bug::MarkNotLookedAt) {
            run.scale = Some(Box::new(Scale::new(now)));
            self.out.push_back(Effect::WatchMemory { run: number, look: true });
        }
        let Some((_, run)) = self.online(number) else { return };
        if let Some(error) = failure {
            run.bounds = Bounds::Refused(of);
            let newest = self.newest(id.app).map(|app| &app.spec);
            let name = newest.map(|spec| spec.name.to_string()).unwrap_or_default();
            let told = format!("{error}; {}", newest.map_or_else(String::new, |spec| saved_all_the_same(spec)));
            let message = format!("the limits of {name}:{} are not all in force (run {}): {error}", id.index, number.0);
            self.out.push_back(Effect::Record(Event::Trouble { message }));
            self.fail_waiters(id, |want| want == Want::Limited, &told);
        } else {
            run.bounds = Bounds::InForce(of);
        }
        self.converge(now, id);
    }

    /// How much memory a run holds. Past the mark it is replaced, gracefully.
    pub(super) fn weighed(&mut self, now: Moment, run: RunId, held: Option<u64>) {
        let closing = matches!(self.phase, Phase::Closing { .. });
        let Some((id, _)) = self.online(run) else { return };
        let (goal, manner) = (self.goal(id), self.manner(id));
        let Some(app) = self.apps.get_mut(&id.app) else { return };
        let mark = app.desired().and_then(|desired| desired.spec.max_memory_restart);
        let Some(instance) = app.instances.get_mut(id.index as usize) else { return };
        let State::Online { run, pid, frost } = &mut instance.state else { return };
        let Some(mark) = mark else {
            run.scale = None;
            return self.rearm(id);
        };
        let passed = held.filter(|held| *held > mark.0);
        // What is paused is kept as it is by order, and takes no more; nothing starts any more while the daemon closes.
        let may = *frost == Frost::Thawed && !closing && matches!(goal, Goal::Up(_));
        match passed.filter(|_| may) {
            Some(seen) => {
                let pid = *pid;
                let State::Online { run, .. } = std::mem::replace(&mut instance.state, State::Resting(Rest::Idle))
                else {
                    return;
                };
                // Slowed down as it is, its grace period would not be one.
                self.out.push_back(Effect::Unthrottle { run: run.id });
                let why = Why::Heavy(MarkPassed { mark: mark.0, seen });
                let ending = Ending::begun(run, Main::Alive(pid), why, manner, None, now, &mut self.out);
                instance.state = State::Stopping(Box::new(ending));
            }
            None => run.scale.get_or_insert_with(|| Box::new(Scale::new(now))).rest(now),
        }
        self.converge(now, id);
    }

    /// The rest after a look may be over.
    pub(super) fn watch_again(&mut self, now: Moment, id: InstanceId) {
        let Some(State::Online { run, .. }) = self.instance_mut(id).map(|instance| &mut instance.state) else { return };
        if run.scale.as_mut().is_some_and(|scale| scale.is_over(now)) && !bug::on(Bug::MarkLookedAtOnce) {
            let run = run.id;
            self.out.push_back(Effect::WatchMemory { run, look: false });
        }
    }

    /// It goes on: what it passed its mark with while it was paused is a reason now.
    pub(super) fn look_at_thawed(&mut self, id: InstanceId) {
        let Some(State::Online { run, .. }) = self.instance_mut(id).map(|instance| &mut instance.state) else { return };
        if run.scale.is_some() {
            let run = run.id;
            self.out.push_back(Effect::WatchMemory { run, look: true });
        }
    }

    fn online(&mut self, run: RunId) -> Option<(InstanceId, &mut Run)> {
        let id = *self.runs.get(&run)?;
        match &mut self.instance_mut(id)?.state {
            State::Online { run: current, .. } if current.id == run => Some((id, current)),
            State::Online { .. } | State::Resting(_) | State::Starting(_) | State::Stopping(_) | State::Unknown(_) => {
                None
            }
        }
    }
}

/// What follows from limits that are saved and could not be written: who was told that it failed would not expect it.
fn saved_all_the_same(spec: &AppSpec) -> String {
    // `oom_kill` can always be had, and is not taken off by "none".
    let asked = spec.limits().asked().into_iter().filter(|field| *field != "oom_kill");
    let flags: Vec<String> = asked.map(|field| format!("--{} none", field.replace('_', "-"))).collect();
    if flags.is_empty() {
        return "it is saved, and in force from the next run on".to_owned();
    }
    format!(
        "it is saved all the same, and the next run would not start with what cannot be had: 'opm limit {} {}' takes it off",
        spec.name,
        flags.join("' or '")
    )
}

/// Whether a difference can be made good on what lives.
pub(super) fn is_limit(difference: &Difference) -> bool {
    Limits::FIELDS.contains(&difference.field.as_str()) && !bug::on(Bug::LimitsReplaceRuns)
}

/// `memory_max 512M -> 1G, cpus none -> 2`.
pub(super) fn in_words<'a>(found: impl IntoIterator<Item = &'a Difference>) -> Option<Arc<str>> {
    let words: Vec<String> = found.into_iter().map(|d| format!("{} {} -> {}", d.field, d.now, d.asked)).collect();
    (!words.is_empty()).then(|| words.join(", ").into())
}
