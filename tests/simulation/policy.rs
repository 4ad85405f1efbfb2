//! The restart policy once more, computed from what was seen from outside.
//!
//! Owns the expectation. It must not share code with the core: two people who read the design should get the same numbers.
//! After a daemon's death only what records say is expected, since a start limit's window is then read from the journal.

use opm::model::exit::Sequel;
use opm::model::policy::{ErroredRetry, RestartPolicy};
use opm::model::{AppSpec, Cause, ExitRecord, ExitStatus, Generation, InstanceId, Moment, RunId};
use opm::supervise::Spawn;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Ledger {
    of: BTreeMap<InstanceId, Line>,
    started: BTreeMap<RunId, Moment>,
}

#[derive(Debug, Default, Clone)]
struct Line {
    generation: Generation,
    restarts: u32,
    failures: u32,
    recent: Vec<Moment>,
    errored: bool,
    probation: Option<RunId>,
    unsure: bool,
}

impl Ledger {
    pub fn daemon_died(&mut self) {
        self.of.values_mut().for_each(|line| line.unsure = true);
        self.started.clear();
    }

    pub fn executed(&mut self, run: RunId, now: Moment) {
        self.started.insert(run, now);
    }

    pub fn cleared(&mut self, id: InstanceId) {
        let line = self.of.entry(id).or_default();
        *line = Line { generation: line.generation, ..Line::default() };
    }

    pub fn spawned(&mut self, spawn: &Spawn) -> Result<(), String> {
        self.started.remove(&spawn.run);
        let line = self.of.entry(spawn.instance).or_default();
        if line.generation != spawn.generation {
            *line = Line { generation: spawn.generation, ..Line::default() };
        } else if line.errored {
            line.restarts += 1;
            line.probation = Some(spawn.run);
        }
        line.errored = false;
        let expected = (line.restarts, line.failures);
        if !line.unsure && expected != (spawn.restarts, spawn.failures) {
            return Err(format!("{expected:?} expected, {:?} counted", (spawn.restarts, spawn.failures)));
        }
        if line.unsure {
            (line.restarts, line.failures) = (spawn.restarts, spawn.failures);
        }
        Ok(())
    }

    /// A run ended: was it counted as it should be, and does the right thing follow?
    pub fn exited(&mut self, spec: &AppSpec, record: &ExitRecord, exited: Moment) -> Result<(), String> {
        let line = self.of.entry(record.instance).or_default();
        let probation = line.probation.take() == Some(record.run);
        match record.sequel {
            Sequel::Down | Sequel::Replaced => return Ok(()),
            Sequel::Finished | Sequel::Errored { .. } | Sequel::Restart { .. } => {}
        }
        if matches!(record.cause, Cause::StopOrder | Cause::Deadline) {
            return Err("what was ordered to end is not a crash".into());
        }
        let ran = record.status != ExitStatus::NeverRan;
        let uptime = if ran { exited.since(record.started) } else { Duration::ZERO };
        let known_start = self.started.get(&record.run).is_none_or(|at| *at == record.started);
        if !known_start && !line.unsure {
            return Err("uptime is not counted from exec".into());
        }
        let code = match record.status {
            ExitStatus::Code(code) => Some(code),
            ExitStatus::Signal { .. } | ExitStatus::NotObserved | ExitStatus::NeverRan => None,
        };
        let on_purpose = code.is_some_and(|code| spec.stop_exit_codes.contains(&code));
        // Its mark asks for a successor, whatever the policy, and to pass it is no failure.
        let heavy = record.cause == Cause::MemoryMark;
        let on_purpose = on_purpose && !heavy;
        let clean = on_purpose || heavy || code == Some(0);
        let healthy = uptime >= Duration::from_secs(30);
        let early = uptime < spec.min_uptime.0;
        if healthy {
            line.failures = 0;
            line.recent.clear();
        }
        let finishes = on_purpose || (clean && spec.restart != RestartPolicy::Always);
        if finishes && !heavy {
            return same(record.sequel == Sequel::Finished, "finished was expected");
        }
        if spec.restart == RestartPolicy::Never && !heavy {
            return same(record.sequel == Sequel::Errored { next: None }, "errored for good was expected");
        }
        if early {
            line.failures += 1;
        }
        let now = record.ended;
        let mut errored = false;
        if early || !clean {
            line.recent.push(now);
            line.recent.retain(|at| now.since(*at) < Duration::from_secs(60));
            errored = line.recent.len() >= spec.max_restarts as usize || (probation && !healthy);
        }
        let next = match spec.errored_retry {
            ErroredRetry::Every(span) => Some(now + span.0),
            ErroredRetry::Never => None,
        };
        if line.unsure {
            errored = matches!(record.sequel, Sequel::Errored { .. });
            line.failures = record.failures;
        }
        if errored {
            line.errored = true;
            return same(record.sequel == Sequel::Errored { next }, "errored was expected, with the next attempt");
        }
        line.restarts += 1;
        if line.unsure {
            line.restarts = record.restarts;
        }
        same(record.failures == line.failures, &format!("{} early failures were expected", line.failures))?;
        same(record.restarts == line.restarts, &format!("{} restarts were expected", line.restarts))?;
        let Sequel::Restart { at } = record.sequel else { return Err("a restart was expected".into()) };
        let delay = at.since(now);
        let (least, most) = match (spec.restart_delay, early) {
            (Some(fixed), _) => (fixed.0, fixed.0),
            (None, false) => (Duration::ZERO, Duration::ZERO),
            (None, true) => {
                let doubled = spec.backoff.initial.0.saturating_mul(2_u32.saturating_pow(line.failures - 1));
                let delay = doubled.min(spec.backoff.max.0);
                (delay * 9 / 10, delay * 11 / 10)
            }
        };
        same(delay >= least && delay <= most, &format!("a delay of {least:?} to {most:?} was expected, not {delay:?}"))
    }
}

fn same(holds: bool, expected: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(expected.to_owned()) }
}
