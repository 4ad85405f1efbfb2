//! A kernel that can be asked what lives: runs, their main processes, what they leave behind, what is stuck.
//!
//! Owns the truth that everything the core says is held against. It must not know the core, nor report anything by itself: it
//! returns what happened, and the world decides when, whether and how often that is told.

use crate::rng::Rng;
use opm::model::{ExitStatus, Generation, InstanceId, Limits, Moment, RunId, Signal};
use opm::supervise::{Input, Whom};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What a program does, decided when it is spawned.
#[derive(Debug, Clone)]
pub struct Program {
    /// It cannot be executed.
    pub unspawnable: bool,
    /// It ends by itself after this long, like this; the flag: for want of memory.
    pub ends: Option<(Duration, ExitStatus, bool)>,
    /// It takes this long to end when asked; never, if none.
    pub obeys: Option<Duration>,
    /// Processes it leaves behind.
    pub children: u32,
    /// They end when asked.
    pub children_obey: bool,
    /// Its main process leaves the cgroup.
    pub escapes: bool,
    /// It has a handler for the stop signal, which does not run while it is frozen; without one the signal kills it frozen.
    pub handles: bool,
    /// It takes this long to be frozen when asked.
    pub freezes_after: Duration,
    /// For this long after it was killed the kernel cannot end it.
    pub stuck: Option<Duration>,
    /// After so long each its usage passes memory.high, and so much is held; the rest is page cache.
    pub grows: VecDeque<(Duration, u64)>,
}

impl Program {
    /// Runs for ever and ends when asked.
    pub fn steady() -> Self {
        Self {
            unspawnable: false,
            ends: None,
            obeys: Some(Duration::from_millis(20)),
            children: 0,
            children_obey: true,
            escapes: false,
            handles: true,
            freezes_after: Duration::from_millis(8),
            stuck: None,
            grows: VecDeque::new(),
        }
    }

    pub fn ending(after_ms: u64, status: ExitStatus) -> Self {
        Self { ends: Some((Duration::from_millis(after_ms), status, false)), ..Self::steady() }
    }

    pub fn random(rng: &mut Rng) -> Self {
        let code = ExitStatus::Code(*rng.pick(&[0, 0, 1, 1, 1, 7]));
        let segv = ExitStatus::Signal { signal: Signal::from_number(11).expect("a signal"), core: true };
        let kill = ExitStatus::Signal { signal: Signal::KILL, core: false };
        let (status, oom) = *rng.pick(&[(code, false), (code, false), (segv, false), (kill, true)]);
        let ends = match rng.below(10) {
            0..=3 => Some(Duration::from_millis(rng.below(900))),
            4..=5 => Some(Duration::from_millis(1_100 + rng.below(4_000))),
            6 => Some(Duration::from_millis(31_000 + rng.below(9_000))),
            _ => None,
        };
        Self {
            unspawnable: rng.chance(10),
            ends: ends.map(|after| (after, status, oom)),
            obeys: if rng.chance(80) { Some(rng.millis(1_500)) } else { None },
            children: if rng.chance(25) { 1 + rng.below(3) as u32 } else { 0 },
            children_obey: rng.chance(60),
            escapes: rng.chance(5),
            handles: rng.chance(70),
            freezes_after: if rng.chance(10) { rng.millis(20_000) } else { rng.millis(15) },
            stuck: rng.chance(8).then(|| Duration::from_millis(500 + rng.below(20_000))),
            grows: (0..rng.below(4)).map(|_| (rng.millis(3_000), 50 + rng.below(180))).collect(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Main {
    /// Between clone and exec.
    Newborn(u32),
    Alive(u32),
    /// How; whether for want of memory; whether it ever ran its program.
    Dead(ExitStatus, bool, bool),
}

/// One run as the kernel has it: its cgroup directory exists until it is retired.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: RunId,
    pub instance: InstanceId,
    pub name: opm::model::AppName,
    pub generation: Generation,
    pub restarts: u32,
    pub failures: u32,
    pub started: Moment,
    pub program: Program,
    pub main: Main,
    pub children: u32,
    pub inside: bool,
    pub mark: Option<opm::supervise::StopMark>,
    pub marked: bool,
    pub kill_due: Option<Moment>,
    /// What the freezer was asked, and what it does.
    pub freeze: bool,
    pub frozen: bool,
    /// Under which turn the daemon watches the freezer.
    pub turn: Option<u64>,
    /// Somebody else than the daemon thawed it.
    pub by_hand: bool,
    /// What would have happened had it not been frozen.
    pub put_off: Vec<Due>,
    /// The exit status is known to somebody.
    pub kept: bool,
    /// The limits that are written on its cgroup.
    pub limits: Limits,
    /// Others than those of a fresh run were ever written.
    pub limited: bool,
    /// How much memory it holds.
    pub held: u64,
    /// memory.events has changed since it was looked at; and somebody waits for that.
    pub events: bool,
    pub watched: bool,
}

impl Run {
    pub fn populated(&self) -> bool {
        self.children > 0 || (self.inside && self.main_lives())
    }

    pub fn main_lives(&self) -> bool {
        matches!(self.main, Main::Newborn(_) | Main::Alive(_))
    }

    pub fn lives(&self) -> bool {
        self.populated() || self.main_lives()
    }
}

/// Something the kernel will do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Exec,
    End,
    Obey,
    ChildrenObey,
    Killed,
    Frozen,
    /// Its usage passes memory.high.
    Grow,
}

#[derive(Debug, Default)]
pub struct Kernel {
    pub runs: BTreeMap<RunId, Run>,
    pub due: BTreeMap<(Moment, u64), (RunId, Due)>,
    serial: u64,
    next_pid: u32,
}

impl Kernel {
    fn later(&mut self, at: Moment, run: RunId, due: Due) {
        self.serial += 1;
        self.due.insert((at, self.serial), (run, due));
    }

    pub fn spawn(&mut self, now: Moment, spawn: &opm::supervise::Spawn, program: Program, exec_after: Duration) {
        self.next_pid += 1;
        let run = Run {
            id: spawn.run,
            instance: spawn.instance,
            name: spawn.app.spec.name.clone(),
            generation: spawn.generation,
            restarts: spawn.restarts,
            failures: spawn.failures,
            started: now,
            program,
            main: Main::Newborn(1000 + self.next_pid),
            children: 0,
            inside: true,
            mark: None,
            marked: true,
            kill_due: None,
            freeze: false,
            frozen: false,
            turn: None,
            by_hand: false,
            put_off: Vec::new(),
            kept: true,
            limits: spawn.app.spec.limits(),
            limited: spawn.app.spec.limits() != Limits::default(),
            held: 0,
            events: false,
            watched: false,
        };
        self.runs.insert(spawn.run, run);
        self.later(now + exec_after, spawn.run, Due::Exec);
    }

    pub fn live_of(&self, instance: InstanceId) -> impl Iterator<Item = &Run> {
        self.runs.values().filter(move |run| run.instance == instance && run.lives())
    }

    pub fn signal(&mut self, now: Moment, id: RunId, signal: Signal, whom: Whom) -> Vec<Input> {
        let Some(run) = self.runs.get(&id) else { return Vec::new() };
        let program = run.program.clone();
        if signal == Signal::KILL {
            return match whom {
                Whom::Main if program.stuck.is_none() => {
                    self.main_dies(id, ExitStatus::Signal { signal, core: false }, false)
                }
                Whom::Main => {
                    self.stuck_until(now, id);
                    Vec::new()
                }
                Whom::Everyone => self.kill(now, id),
            };
        }
        if signal != Signal::TERM {
            return Vec::new();
        }
        if let Some(after) = program.obeys {
            self.later(now + after, id, Due::Obey);
        }
        if whom == Whom::Everyone && program.children_obey {
            self.later(now + Duration::from_millis(5), id, Due::ChildrenObey);
        }
        Vec::new()
    }

    pub fn freeze(&mut self, now: Moment, id: RunId, turn: u64) -> Vec<Input> {
        let Some(run) = self.runs.get_mut(&id) else { return Vec::new() };
        (run.freeze, run.turn, run.by_hand) = (true, Some(turn), false);
        if run.frozen {
            return vec![Input::Frozen { run: id, turn }];
        }
        let at = now + run.program.freezes_after;
        self.later(at, id, Due::Frozen);
        Vec::new()
    }

    pub fn thaw(&mut self, now: Moment, id: RunId, turn: Option<u64>) -> Vec<Input> {
        let Some(run) = self.runs.get_mut(&id) else { return Vec::new() };
        (run.freeze, run.frozen, run.turn) = (false, false, None);
        for due in std::mem::take(&mut run.put_off) {
            self.later(now + Duration::from_millis(1), id, due);
        }
        turn.map(|turn| Input::Thawed { run: id, turn }).into_iter().collect()
    }

    /// Somebody writes 0 to the `cgroup.freeze` of all that is frozen, without asking the daemon.
    pub fn thawed_by_hand(&mut self, now: Moment) -> Vec<Input> {
        let frozen: Vec<RunId> = self.runs.values().filter(|run| run.frozen).map(|run| run.id).collect();
        let mut told = Vec::new();
        for id in frozen {
            let turn = self.runs.get_mut(&id).and_then(|run| {
                run.by_hand = true;
                run.turn
            });
            told.extend(self.thaw(now, id, turn));
        }
        told
    }

    /// Other limits are written on a run that lives. Where that makes usage pass memory.high, the next allocation is an event.
    pub fn limit(&mut self, id: RunId, limits: Limits) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.limited |= limits != Limits::default();
        (run.limits, run.watched) = (limits, false);
    }

    /// Whoever writes limits ends the watch first, however that goes.
    pub fn watch_ends(&mut self, id: RunId) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.watched = false;
        }
    }

    pub fn watch_memory(&mut self, id: RunId, look: bool) -> Vec<Input> {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.main_lives()) else { return Vec::new() };
        if look {
            run.events = false;
            return vec![Input::Weighed { run: id, held: Some(run.held) }];
        }
        run.watched = true;
        self.tell_of_memory(id)
    }

    fn tell_of_memory(&mut self, id: RunId) -> Vec<Input> {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.watched && run.events) else { return Vec::new() };
        (run.watched, run.events) = (false, false);
        vec![Input::Weighed { run: id, held: Some(run.held) }]
    }

    fn stuck_until(&mut self, now: Moment, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let after = run.program.stuck.unwrap_or_default();
        if run.kill_due.is_none() {
            run.kill_due = Some(now + after);
            self.later(now + after, id, Due::Killed);
        }
    }

    pub fn kill(&mut self, now: Moment, id: RunId) -> Vec<Input> {
        match self.runs.get(&id) {
            Some(run) if run.program.stuck.is_some() => {
                self.stuck_until(now, id);
                Vec::new()
            }
            Some(_) => self.all_die(id),
            None => Vec::new(),
        }
    }

    fn all_die(&mut self, id: RunId) -> Vec<Input> {
        let Some(run) = self.runs.get_mut(&id) else { return Vec::new() };
        let was_populated = run.populated();
        let main_lived = run.main_lives();
        run.children = 0;
        let mut told = Vec::new();
        if main_lived {
            told = self.main_dies(id, ExitStatus::Signal { signal: Signal::KILL, core: false }, false);
        }
        let said = told.iter().any(|i| matches!(i, Input::Emptied { .. } | Input::SpawnFailed { .. }));
        if was_populated && !said {
            told.push(Input::Emptied { run: id, tally: None });
        }
        told
    }

    fn main_dies(&mut self, id: RunId, status: ExitStatus, oom: bool) -> Vec<Input> {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.main_lives()) else { return Vec::new() };
        let ran = matches!(run.main, Main::Alive(_));
        let was_populated = run.populated();
        run.main = Main::Dead(status, oom, ran);
        let mut told = vec![if ran {
            Input::Exited { run: id, status, usage: None, out_of_memory: oom }
        } else {
            Input::SpawnFailed { run: id, failure: "killed at birth".into(), of_the_spec: false }
        }];
        if run.children > 0 {
            told.push(Input::LeftBehind { run: id, left: run.children });
        } else if was_populated && ran {
            told.push(Input::Emptied { run: id, tally: None });
        }
        told
    }

    /// Does what is due, and says what there is to report.
    pub fn step(&mut self, at: (Moment, u64)) -> Vec<Input> {
        let Some((id, due)) = self.due.remove(&at) else { return Vec::new() };
        let now = at.0;
        let Some(run) = self.runs.get_mut(&id) else { return Vec::new() };
        let works_frozen = match due {
            Due::Exec | Due::Grow => false,
            Due::End => run.program.ends.is_some_and(|(.., out_of_memory)| out_of_memory),
            Due::Obey | Due::ChildrenObey => !run.program.handles,
            Due::Killed | Due::Frozen => true,
        };
        if run.frozen && !works_frozen {
            run.put_off.push(due);
            return Vec::new();
        }
        match due {
            Due::Frozen if run.freeze && !run.frozen && run.lives() => {
                run.frozen = true;
                run.turn.map(|turn| Input::Frozen { run: id, turn }).into_iter().collect()
            }
            Due::Frozen => Vec::new(),
            Due::Exec => {
                let Main::Newborn(pid) = run.main else { return Vec::new() };
                if run.program.unspawnable {
                    run.main = Main::Dead(ExitStatus::Code(127), false, false);
                    let failure = "failed to execute /bin/app: no such file or directory".into();
                    return vec![Input::SpawnFailed { run: id, failure, of_the_spec: true }];
                }
                run.main = Main::Alive(pid);
                run.children = run.program.children;
                let mut told = vec![Input::Spawned { run: id, pid }];
                if run.program.escapes {
                    run.inside = false;
                    if !run.populated() {
                        told.push(Input::Emptied { run: id, tally: None });
                    }
                }
                let (ends, grows) = (run.program.ends, run.program.grows.clone());
                if let Some((after, ..)) = ends {
                    self.later(now + after, id, Due::End);
                }
                let mut at = now;
                for (after, _) in grows {
                    at = at + after;
                    self.later(at, id, Due::Grow);
                }
                told
            }
            Due::End => {
                let Some((_, status, oom)) = run.program.ends else { return Vec::new() };
                self.main_dies(id, status, oom)
            }
            Due::Obey if matches!(run.main, Main::Alive(_)) => self.main_dies(id, ExitStatus::Code(0), false),
            Due::Obey => Vec::new(),
            Due::ChildrenObey => {
                let had = run.children > 0;
                run.children = 0;
                if had && !run.populated() { vec![Input::Emptied { run: id, tally: None }] } else { Vec::new() }
            }
            Due::Killed => self.all_die(id),
            Due::Grow => {
                let Some((_, held)) = run.program.grows.pop_front() else { return Vec::new() };
                run.held = held;
                run.events |= run.limits.high().is_some();
                self.tell_of_memory(id)
            }
        }
    }
}
