//! How runs end: immutable records, kept in the journal, since the kernel forgets an exit code.

use super::{Generation, InstanceId, Moment, RunId, Signal};
use serde::{Deserialize, Serialize};

/// How a main process ended, as wait(2) says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// Which.
        signal: Signal,
        /// Whether it left a core dump.
        core: bool,
    },
    /// It ended while nobody who could know was looking. Counts as a failure; never a made-up 0.
    NotObserved,
    /// It never got as far as its program.
    NeverRan,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It exited by itself.
    OwnExit,
    /// A signal ended it that nobody sent to end it by `stop` and the like; whether opm sent it, the record's `sent` says.
    Signal,
    /// Somebody ordered it: stop, restart, delete, or a change of its spec.
    StopOrder,
    /// It was ordered to end, did not within its grace period, and was killed.
    Deadline,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// It passed the mark of `max_memory_restart`, and was asked to end.
    MemoryMark,
    /// It could not be started.
    SpawnFailed,
    /// It ended while nobody who could know was looking.
    NotObserved,
}

impl Cause {
    /// The word for it, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnExit => "own_exit",
            Self::Signal => "signal",
            Self::StopOrder => "stop_order",
            Self::Deadline => "deadline",
            Self::OutOfMemory => "out_of_memory",
            Self::MemoryMark => "memory_mark",
            Self::SpawnFailed => "spawn_failed",
            Self::NotObserved => "not_observed",
        }
    }
}

/// What a run used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// User CPU time of the main process and the children it waited for, microseconds (getrusage(2)).
    pub user_us: u64,
    /// System CPU time of the same, microseconds.
    pub system_us: u64,
    /// Largest resident set of any one of them, bytes. 0: not known, as it is where it was not above the daemon's own, in whose memory
    /// each begins.
    pub max_rss: u64,
}

/// What a run used as a whole, every process that it ever had, as its cgroup counted. Each is there only where the kernel and the
/// controllers that opm has could tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// CPU time, microseconds (cpu.stat; counted without a controller, too).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// The most memory at a time, bytes (memory.peak, from 5.19).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak: Option<u64>,
    /// The limit of that in its end, if it had one (memory.max).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// The most processes and threads at a time (pids.peak, newer kernels).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_peak: Option<u64>,
    /// The limit of that in its end, if it had one (pids.max).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u64>,
    /// The kernel killed something in it for want of memory (memory.events). It counts more than it kills: above 0 means that it did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub oom_kills: u64,
    /// So often it was refused another process, since it had as many as it may (pids.events).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pids_refused: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A run passed the mark of `max_memory_restart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkPassed {
    /// The mark, bytes.
    pub mark: u64,
    /// What was seen: memory that the kernel could not have taken back, bytes.
    pub seen: u64,
}

/// What policy made of an exit. Recorded, because the next daemon must not decide it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sequel {
    /// Settled: done on purpose, no successor.
    Finished,
    /// Settled: failed too often; tried again at that moment, if at all.
    Errored {
        /// The next attempt.
        next: Option<Moment>,
    },
    /// A successor comes at that moment.
    Restart {
        /// When.
        at: Moment,
    },
    /// It was ordered down.
    Down,
    /// It was ordered to be replaced.
    Replaced,
}

/// One run's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Whose.
    pub instance: InstanceId,
    /// Which run.
    pub run: RunId,
    /// The generation it was marked with.
    pub generation: Generation,
    /// When it was spawned.
    pub started: Moment,
    /// When its main process had ended and its cgroup was empty.
    pub ended: Moment,
    /// How.
    pub status: ExitStatus,
    /// Why.
    pub cause: Cause,
    /// Why it could not be started, where that is the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The signal that ended it was sent by opm, because somebody ordered that (`opm signal`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sent: bool,
    /// What it used, where anybody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What all of it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
    /// The mark that it passed, where that is the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mark: Option<MarkPassed>,
    /// Automatic restarts counted so far, the one that follows included.
    pub restarts: u32,
    /// Early failures in a row, this one included: the backoff's exponent.
    pub failures: u32,
    /// What comes next.
    pub sequel: Sequel,
    /// An order wanted it down, when this was the newest generation wanted. Not so when only the daemon ended: then the next one
    /// brings it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<Generation>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    /// Records are read for ever: what a version wrote that knew less, and what this one writes.
    #[test]
    fn what_a_run_used_as_a_whole_is_told_where_it_was_counted_and_nowhere_else() {
        let old = json!({"instance": {"app": 3, "index": 0}, "run": 7, "generation": 1, "started": 5, "ended": 9,
            "status": {"code": 1}, "cause": "own_exit", "restarts": 0, "failures": 0, "sequel": "down"});
        let mut record: ExitRecord = serde_json::from_value(old.clone()).unwrap();
        assert_eq!((record.tally, record.memory_mark), (None, None));
        assert_eq!(serde_json::to_value(&record).unwrap(), old);
        record.cause = Cause::MemoryMark;
        record.memory_mark = Some(MarkPassed { mark: 100, seen: 120 });
        record.tally = Some(Tally { cpu_us: Some(8), memory_peak: Some(130), pids_refused: 2, ..Tally::default() });
        let new = serde_json::to_value(&record).unwrap();
        assert_eq!(new["cause"], "memory_mark");
        assert_eq!(new["memory_mark"], json!({"mark": 100, "seen": 120}));
        assert_eq!(new["tally"], json!({"cpu_us": 8, "memory_peak": 130, "pids_refused": 2}));
        assert_eq!(serde_json::from_value::<ExitRecord>(new).unwrap(), record);
    }
}
