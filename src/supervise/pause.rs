//! Pausing: a live run is held still by the kernel's freezer, and let go again.
//!
//! Owns how far a freeze or a thaw has got, and the two orders. It must not save anything: pausing is an act on a live run, and
//! the freezer itself is what remembers it. What a reader would get wrong: `paused` is a report of the kernel, not the order. In
//! between, which may be long (a process in uninterruptible sleep is not frozen), the instance is still `online`.

use super::bug::{self, Bug};
use super::effect::Effect;
use super::input::Freezer;
use super::instance::{Instance, State};
use super::ladder::Why;
use super::orders::minutes;
use super::status;
use super::supervisor::Supervisor;
use super::waiters::{Fate, Saving, Want};
use crate::model::{InstanceId, Moment, OrderId, OrderKey, Refusal, RunId, Target, Verdict};
use std::time::Duration;

/// Whoever waits for the freezer is told how it stands after this long.
const WITHIN: Duration = Duration::from_secs(5);

/// What the freezer does with a run. The turn says which question a report answers: each change that is asked for has its own,
/// and a run that was adopted is watched under turn 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frost {
    /// Nothing.
    Thawed,
    /// It was asked to hold it. `until`: when those who wait are told that it takes long; none once they were. `held`: it did
    /// something else than nothing before.
    Freezing { turn: u64, until: Option<Moment>, held: bool },
    /// It holds it.
    Frozen { turn: u64 },
    /// It was asked to let go.
    Thawing { turn: u64, until: Option<Moment>, held: bool },
}

impl Frost {
    /// As adoption found it.
    pub(super) fn found(freezer: Freezer) -> Self {
        if bug::on(Bug::FreezerNotAdopted) {
            return Self::Thawed;
        }
        match freezer {
            Freezer::Thawed => Self::Thawed,
            Freezer::Freezing => Self::Freezing { turn: 0, until: None, held: false },
            Freezer::Frozen => Self::Frozen { turn: 0 },
        }
    }

    /// When those who wait are told.
    pub(super) fn deadline(self) -> Option<Moment> {
        match self {
            Self::Thawed | Self::Frozen { .. } => None,
            Self::Freezing { until, .. } | Self::Thawing { until, .. } => until,
        }
    }

    /// They are told now, if it is time.
    pub(super) fn deadline_passed(&mut self, now: Moment) {
        match self {
            Self::Thawed | Self::Frozen { .. } => {}
            Self::Freezing { until, .. } | Self::Thawing { until, .. } => {
                *until = until.filter(|at| *at > now);
            }
        }
    }
}

impl Supervisor {
    /// Pause (`frozen`) and resume.
    pub(super) fn hold(
        &mut self,
        now: Moment,
        order: OrderId,
        key: Option<OrderKey>,
        targets: &[Target],
        frozen: bool,
    ) -> Result<(), Refusal> {
        let ids = self.resolve(targets)?;
        self.record_order(minutes(if frozen { "pause" } else { "resume" }, key, targets));
        let fate = |id: InstanceId| match self.instance(id).map(|instance| (&instance.state, status::words(instance))) {
            Some((State::Online { frost: Frost::Frozen { .. }, pid, .. }, _)) if frozen => {
                Fate::Known(Verdict::AlreadyPaused { pid: *pid })
            }
            Some((State::Online { .. }, _)) if frozen => Fate::Wants(Want::Paused),
            // It is asked to let go even of what we think runs: somebody else may have frozen it since.
            Some((State::Online { frost, .. }, _)) => Fate::Wants(Want::Resumed { again: *frost != Frost::Thawed }),
            Some((State::Starting(_) | State::Stopping(_) | State::Unknown(_), (state, _))) => {
                Fate::Known(Verdict::Failed(format!("it is {state}, not online")))
            }
            Some((State::Resting(_), _)) | None => Fate::Known(Verdict::Failed("not running".to_owned())),
        };
        let slots = ids.iter().filter_map(|id| self.slot(*id, fate(*id))).collect();
        self.open(now, order, Saving::NotNeeded, slots, None);
        Ok(())
    }

    /// Somebody begins to wait for the freezer: it is asked.
    pub(super) fn ask_freezer(&mut self, now: Moment, id: InstanceId, frozen: bool) {
        let turn = self.next_turn;
        let Some(instance) = self.instance_mut(id) else { return };
        let State::Online { run, frost, .. } = &mut instance.state else { return };
        match (*frost, frozen) {
            (Frost::Frozen { .. } | Frost::Freezing { until: Some(_), .. }, true)
            // Asked already: whoever comes later waits with the first, and puts off nobody's answer.
            | (Frost::Thawing { until: Some(_), .. }, false) => return,
            (Frost::Thawed | Frost::Freezing { .. } | Frost::Frozen { .. } | Frost::Thawing { .. }, _) => {}
        }
        let within = if bug::on(Bug::FreezerNeverLate) { WITHIN * 1000 } else { WITHIN };
        let (run, until, held) = (run.id, Some(now + within), *frost != Frost::Thawed);
        if frozen {
            *frost = Frost::Freezing { turn, until, held };
            self.out.push_back(Effect::Freeze { run, turn });
        } else {
            *frost = Frost::Thawing { turn, until, held };
            self.out.push_back(Effect::Thaw { run, turn: Some(turn) });
        }
        self.next_turn += 1;
        self.rearm(id);
    }

    /// The freezer has done as it was asked; or, of a run that it held, somebody else had it let go.
    pub(super) fn freezer_said(&mut self, now: Moment, run: RunId, turn: u64, frozen: bool) {
        let Some((id, frost)) = self.frost_of(run) else { return };
        let heard = |of: u64| of == turn || bug::on(Bug::OldTurnsHeard);
        match (*frost, frozen) {
            (Frost::Freezing { turn: of, .. }, true) if heard(of) => *frost = Frost::Frozen { turn: of },
            (
                Frost::Freezing { turn: of, .. } | Frost::Frozen { turn: of } | Frost::Thawing { turn: of, .. },
                false,
            ) if heard(of) => {
                *frost = Frost::Thawed;
                self.look_at_thawed(id);
            }
            (Frost::Thawed | Frost::Freezing { .. } | Frost::Frozen { .. } | Frost::Thawing { .. }, _) => return,
        }
        self.converge(now, id);
    }

    /// The freezer could not be asked. What it did before it does still; if that was anything it is not called paused, since nobody
    /// watches it now. Whoever waits is told why.
    pub(super) fn freezer_refused(&mut self, now: Moment, run: RunId, turn: u64, error: &str) {
        let Some((id, frost)) = self.frost_of(run) else { return };
        let (want_paused, held) = match *frost {
            Frost::Freezing { turn: of, held, .. } if of == turn => (true, held),
            Frost::Thawing { turn: of, held, .. } if of == turn => (false, held),
            Frost::Thawed | Frost::Freezing { .. } | Frost::Frozen { .. } | Frost::Thawing { .. } => return,
        };
        *frost = if held { Frost::Freezing { turn, until: None, held } } else { Frost::Thawed };
        let waits = |want| match want {
            Want::Paused => want_paused,
            Want::Resumed { .. } => !want_paused,
            Want::Running { .. } | Want::Gone | Want::Limited | Want::SeenOnline | Want::SeenStopped => false,
        };
        self.fail_waiters(id, waits, error);
        self.converge(now, id);
    }

    fn frost_of(&mut self, run: RunId) -> Option<(InstanceId, &mut Frost)> {
        let id = *self.runs.get(&run)?;
        match &mut self.instance_mut(id)?.state {
            State::Online { run: current, frost, .. } if current.id == run => Some((id, frost)),
            State::Online { .. } | State::Resting(_) | State::Starting(_) | State::Stopping(_) | State::Unknown(_) => {
                None
            }
        }
    }
}

/// What somebody who waits for the freezer is told now. `again`: what a resume is told is that it was resumed, and not that it
/// ran anyway.
pub(super) fn verdict(want_frozen: bool, again: bool, instance: &Instance) -> Option<Verdict> {
    let late = |until: Option<Moment>| {
        let (state, detail) = status::words(instance);
        until.is_none().then_some(Verdict::Pending { state, detail })
    };
    match &instance.state {
        State::Online { frost, pid, .. } => match (*frost, want_frozen) {
            (Frost::Frozen { .. }, true) => Some(Verdict::Paused { pid: *pid }),
            (Frost::Freezing { .. }, true) if bug::on(Bug::PausedSaidEarly) => Some(Verdict::Paused { pid: *pid }),
            (Frost::Freezing { until, .. }, true) | (Frost::Thawing { until, .. }, false) => late(until),
            (Frost::Thawed, false) if again => Some(Verdict::Resumed { pid: *pid }),
            (Frost::Thawed, false) => Some(Verdict::AlreadyOnline { pid: *pid }),
            (Frost::Thawed | Frost::Thawing { .. }, true) | (Frost::Freezing { .. } | Frost::Frozen { .. }, false) => {
                Some(Verdict::Superseded)
            }
        },
        State::Stopping(ending) if ending.why == Why::Ordered => Some(Verdict::Superseded),
        State::Resting(_) | State::Starting(_) | State::Stopping(_) | State::Unknown(_) => {
            Some(Verdict::Failed("it ended meanwhile".to_owned()))
        }
    }
}
