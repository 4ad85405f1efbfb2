//! The way down: whom to ask, how long to wait, when to kill, when to admit that the kernel cannot.
//!
//! Owns the steps between "it shall end" and "it is over". It must not ask why, nor decide what follows. What a reader would
//! get wrong: killed is not gone. A run is over only when its main process was reported exited *and* its cgroup empty.

use super::bug::{self, Bug};
use super::effect::{Effect, Whom};
use super::input::StopMark;
use super::instance::Run;
use crate::model::policy::KillMode;
use crate::model::state::Detail;
use crate::model::{AppSpec, ExitStatus, Generation, MarkPassed, Moment, Signal, Usage};
use std::collections::VecDeque;
use std::time::Duration;

/// What a main process leaves behind gets this long, if its grace period is not shorter.
const SWEEP: Duration = Duration::from_secs(1);
/// What is not gone this long after it was killed is stuck in the kernel.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How an app wants to be ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    signal: Signal,
    grace: Duration,
    mode: KillMode,
}

impl Manner {
    /// As its spec says; as a spec says by default, where the app is forgotten and only its run is left.
    pub(super) fn of(spec: Option<&AppSpec>) -> Self {
        spec.map_or(Self { signal: Signal::TERM, grace: Duration::from_secs(10), mode: KillMode::Mixed }, |spec| Self {
            signal: spec.stop_signal,
            grace: spec.stop_timeout.0,
            mode: spec.kill_mode,
        })
    }
}

impl Manner {
    /// How long its way down takes at most, the kernel willing: what is left of the grace is the most that leftovers get.
    pub(super) fn longest(self) -> Duration {
        self.grace + SWEEP + STUCK_AFTER
    }
}

/// Why a run is on its way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody ordered it, or wants another in its place.
    Ordered,
    /// It passed its memory mark.
    Heavy(MarkPassed),
    /// Its main process ended.
    Itself,
}

/// How a main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub at: Moment,
    pub status: ExitStatus,
    pub usage: Option<Usage>,
    pub out_of_memory: bool,
}

/// What the main process of an ending run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Main {
    /// Its program is not known to have been executed.
    Unborn,
    /// It lives.
    Alive(u32),
    /// Adoption found it gone; how it ended will be reported.
    Gone,
    /// Nobody knows which it is.
    Unmarked,
    /// It ended.
    Exited(End),
}

/// How far down the ladder, with the one deadline of each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The main process ended; whether something is left will be known at once.
    Aftermath(Moment),
    /// The main process was asked.
    Asked(Moment),
    /// Everyone was asked.
    Swept(Moment),
    /// Killed.
    Killed(Moment),
    /// Killed, and still there.
    Stuck,
    /// `kill_mode = process`: what the main process left behind lives on.
    Left,
}

impl Stage {
    /// When the next step is due.
    pub(super) fn deadline(self) -> Option<Moment> {
        match self {
            Self::Aftermath(at) | Self::Asked(at) | Self::Swept(at) | Self::Killed(at) => Some(at),
            Self::Stuck | Self::Left => None,
        }
    }
}

/// A run on its way down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub run: Run,
    pub since: Moment,
    pub why: Why,
    pub main: Main,
    /// How many processes are left behind, as last reported.
    pub left: u32,
    pub stage: Stage,
    /// Its grace period is over: SIGKILL was sent.
    pub was_killed: bool,
    /// What is marked on its cgroup.
    pub mark: Option<StopMark>,
    /// A daemon before this one has recorded its end already.
    pub recorded: bool,
}

impl Ending {
    /// The first step of an end that it is asked for.
    pub(super) fn begun(
        run: Run,
        main: Main,
        why: Why,
        manner: Manner,
        down: Option<Generation>,
        now: Moment,
        out: &mut VecDeque<Effect>,
    ) -> Self {
        let heavy = match why {
            Why::Heavy(passed) => Some(passed),
            Why::Ordered | Why::Itself => None,
        };
        let mark = StopMark { deadline: now + manner.grace, down, heavy };
        out.push_back(Effect::MarkStop { run: run.id, mark });
        Self::resumed(run, main, mark, manner, now, out)
    }

    /// Goes on with an end that a daemon before this one began.
    pub(super) fn resumed(
        run: Run,
        main: Main,
        mark: StopMark,
        manner: Manner,
        now: Moment,
        out: &mut VecDeque<Effect>,
    ) -> Self {
        let mut ending = Self {
            run,
            since: now,
            why: mark.heavy.filter(|_| !bug::on(Bug::HeavyMarkIgnored)).map_or(Why::Ordered, Why::Heavy),
            main,
            left: 0,
            stage: Stage::Asked(mark.deadline),
            was_killed: false,
            mark: Some(mark),
            recorded: false,
        };
        ending.ask(manner, out);
        ending
    }

    /// The main process ended by itself.
    pub(super) fn itself(run: Run, main: Main, manner: Manner, now: Moment) -> Self {
        let stage = Stage::Aftermath(now + SWEEP.min(manner.grace));
        Self { run, since: now, why: Why::Itself, main, left: 0, stage, was_killed: false, mark: None, recorded: false }
    }

    /// An order wants its instance down while it is on its way: until now the mark may have said that another comes in its place.
    pub(super) fn want_down(&mut self, down: Option<Generation>, out: &mut VecDeque<Effect>) {
        match self.mark {
            Some(mark) if mark.down < down && !bug::on(Bug::MarkNotRaised) => {
                self.set_mark(StopMark { down, ..mark }, out);
            }
            Some(_) | None => {}
        }
    }

    fn set_mark(&mut self, mark: StopMark, out: &mut VecDeque<Effect>) {
        self.mark = Some(mark);
        out.push_back(Effect::MarkStop { run: self.run.id, mark });
    }

    /// Sends the stop signal to whom the mode says. A main process that is not known to run its own program yet is asked when
    /// it does: before that the signal would look like a failure to start.
    fn ask(&mut self, manner: Manner, out: &mut VecDeque<Effect>) {
        let Stage::Asked(deadline) = self.stage else { return };
        let whom = match (self.main, manner.mode) {
            (Main::Unborn | Main::Exited(_), _) => return,
            (Main::Gone | Main::Unmarked, _) | (Main::Alive(_), KillMode::Cgroup) => Whom::Everyone,
            (Main::Alive(_), KillMode::Mixed | KillMode::Process) => Whom::Main,
        };
        if whom == Whom::Everyone {
            self.stage = Stage::Swept(deadline);
        }
        self.tell(manner, whom, out);
    }

    /// Sends the stop signal, then has the freezer let go, whether or not it holds anything: it costs nothing, and who froze it
    /// may be somebody else. In this order, so that the signal is the first thing that a process meets; one that does not handle
    /// it dies frozen.
    fn tell(&self, manner: Manner, whom: Whom, out: &mut VecDeque<Effect>) {
        out.push_back(Effect::Signal { run: self.run.id, signal: manner.signal, whom });
        if !(bug::on(Bug::StopForgetsThaw) && self.why == Why::Ordered) {
            self.thaw(out);
        }
    }

    fn thaw(&self, out: &mut VecDeque<Effect>) {
        if !(bug::on(Bug::LeftoversStayFrozen) && self.why == Why::Itself) {
            out.push_back(Effect::Thaw { run: self.run.id, turn: None });
        }
    }

    /// `kill_mode = process`: what is left lives on, and is not held still for ever because the main process was.
    fn let_live(&mut self, out: &mut VecDeque<Effect>) {
        self.stage = Stage::Left;
        self.thaw(out);
    }

    /// Its program was executed only now.
    pub(super) fn spawned(&mut self, pid: u32, now: Moment, manner: Manner, out: &mut VecDeque<Effect>) {
        if self.main != Main::Unborn {
            return;
        }
        self.main = Main::Alive(pid);
        self.run.started = now;
        match self.stage {
            Stage::Asked(_) => self.ask(manner, out),
            // It was killed before it was born, so to speak; that may have missed it.
            Stage::Killed(_) | Stage::Stuck => out.push_back(Effect::Kill { run: self.run.id }),
            Stage::Aftermath(_) | Stage::Swept(_) | Stage::Left => {}
        }
    }

    /// Its main process ended.
    pub(super) fn exited(&mut self, end: End, manner: Manner, now: Moment) {
        if matches!(self.main, Main::Exited(_)) {
            return;
        }
        // For an unmarked run this says that all of it is gone; nobody was left behind on purpose.
        let unmarked = self.main == Main::Unmarked;
        self.main = Main::Exited(end);
        match (self.stage, manner.mode) {
            (Stage::Asked(_) | Stage::Killed(_) | Stage::Stuck, KillMode::Process) if !unmarked => {
                self.stage = Stage::Aftermath(now + SWEEP.min(manner.grace));
            }
            // The deadline stands; `left_behind` shortens it.
            (
                Stage::Aftermath(_) | Stage::Asked(_) | Stage::Swept(_) | Stage::Killed(_) | Stage::Stuck | Stage::Left,
                _,
            ) => {}
        }
    }

    /// The main process has ended and `left` others live.
    pub(super) fn left_behind(&mut self, left: u32, manner: Manner, now: Moment, out: &mut VecDeque<Effect>) {
        self.left = left;
        if !matches!(self.main, Main::Exited(_) | Main::Gone) || self.run.emptied {
            return;
        }
        match self.stage {
            Stage::Aftermath(_) if manner.mode == KillMode::Process => self.let_live(out),
            Stage::Aftermath(_) => self.sweep(now + SWEEP.min(manner.grace), manner, out),
            Stage::Asked(deadline) => {
                if !bug::on(Bug::LeftoversNotSwept) {
                    self.sweep(deadline.min(now + SWEEP), manner, out);
                }
            }
            Stage::Swept(_) | Stage::Killed(_) | Stage::Stuck | Stage::Left => {}
        }
    }

    /// Asks everyone who is left.
    fn sweep(&mut self, deadline: Moment, manner: Manner, out: &mut VecDeque<Effect>) {
        self.stage = Stage::Swept(deadline);
        // The mark says "ordered" to the next daemon. What ended by itself it finds without one, and sweeps again.
        if let Some(mark) = self.mark {
            self.set_mark(StopMark { deadline, ..mark }, out);
        }
        self.tell(manner, Whom::Everyone, out);
    }

    /// Takes the next step if its time has come.
    pub(super) fn deadline_passed(&mut self, now: Moment, manner: Manner, out: &mut VecDeque<Effect>) {
        if self.stage.deadline().is_none_or(|at| at > now) {
            return;
        }
        match self.stage {
            Stage::Aftermath(_) if manner.mode == KillMode::Process => self.let_live(out),
            Stage::Aftermath(_) => self.sweep(now + SWEEP.min(manner.grace), manner, out),
            Stage::Asked(_) if manner.mode == KillMode::Process && matches!(self.main, Main::Alive(_)) => {
                self.stage = Stage::Killed(now + STUCK_AFTER);
                self.was_killed = true;
                out.push_back(Effect::Signal { run: self.run.id, signal: Signal::KILL, whom: Whom::Main });
            }
            Stage::Asked(_) | Stage::Swept(_) => self.kill(now, out),
            Stage::Killed(_) => self.stage = Stage::Stuck,
            Stage::Stuck | Stage::Left => {}
        }
    }

    /// Kills everything.
    fn kill(&mut self, now: Moment, out: &mut VecDeque<Effect>) {
        self.stage = Stage::Killed(now + STUCK_AFTER);
        self.was_killed = true;
        if bug::on(Bug::KillForgotten) {
            return;
        }
        out.push_back(Effect::Kill { run: self.run.id });
    }

    /// Somebody asks again for what is stuck: it costs nothing to kill it again, and they get an answer in a bounded time.
    pub(super) fn again(&mut self, now: Moment, out: &mut VecDeque<Effect>) {
        if self.stage == Stage::Stuck {
            self.kill(now, out);
        }
    }

    /// Both reports came: nothing of it lives.
    pub(super) fn is_over(&self) -> bool {
        let exited = matches!(self.main, Main::Exited(_)) || bug::on(Bug::SuccessorBeforeExit);
        exited && (self.run.emptied || bug::on(Bug::SuccessorBesideLeftovers))
    }

    /// The memory mark that it passed, if that is why it ends.
    pub(super) fn passed(&self) -> Option<MarkPassed> {
        match self.why {
            Why::Heavy(passed) => Some(passed),
            Why::Ordered | Why::Itself => None,
        }
    }

    /// Why it takes so long, for people.
    pub(super) fn detail(&self) -> Option<Detail> {
        match (self.stage, self.main) {
            (Stage::Stuck, _) => Some(Detail::StuckInKernel),
            (_, Main::Exited(_) | Main::Gone) if self.left > 0 || self.stage == Stage::Left => {
                Some(Detail::MainExited { left: self.left })
            }
            (_, Main::Unmarked) => Some(Detail::Unmarked),
            (_, Main::Unborn | Main::Alive(_) | Main::Gone | Main::Exited(_)) => None,
        }
    }
}
