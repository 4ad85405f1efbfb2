//! How an instance stands: what is wanted beside what is observed, never mixed.

use super::{ExitRecord, Generation, InstanceId, Moment, RunId, Wall};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What is wanted of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// It should run.
    Up,
    /// It should not.
    Down,
}

/// Whether an instance says that it can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// It has said so.
    Yes,
    /// It has not said so yet.
    No,
    /// Nobody asked it to.
    None,
}

/// What an instance is doing, in the words that people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// A run is being made: its program has not been executed yet.
    Starting,
    /// Its main process is alive.
    Online,
    /// A run is on its way down: asked to end, or its main process ended and others are left.
    Stopping,
    /// Nothing runs, and nothing will by itself.
    Stopped,
    /// Nothing runs; the next attempt has a time.
    Backoff,
    /// It failed too often. Unless told not to, it is tried again at long intervals.
    Errored,
    /// Frozen by order.
    Paused,
    /// Something lives there that opm cannot identify; nothing is started beside it.
    Unknown,
}

impl InstanceState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Online => "online",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Backoff => "backoff",
            Self::Errored => "errored",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a state is as it is, where the word alone would mislead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// Stopped because it did its work: policy asks for no successor.
    Finished,
    /// Stopping: the main process exited and this many others live.
    MainExited {
        /// How many are left, as far as known.
        left: u32,
    },
    /// Stopping: killed, and the kernel cannot end it (uninterruptible sleep).
    StuckInKernel,
    /// Backoff or errored: it could not even be executed, and this is why.
    CannotStart(String),
    /// Online: it was asked to be paused, and not all of it stands still yet (uninterruptible sleep).
    Freezing,
    /// Online: it was paused, and was asked to go on.
    Thawing,
    /// Unknown: processes live in the run's cgroup, and nothing says which is the main one.
    Unmarked,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::MainExited { left } => write!(f, "main exited, {left} left"),
            Self::StuckInKernel => f.write_str("stuck in the kernel"),
            Self::Freezing => f.write_str("being paused"),
            Self::Thawing => f.write_str("being resumed"),
            Self::CannotStart(why) => f.write_str(why),
            Self::Unmarked => f.write_str("processes of an unmarked run"),
        }
    }
}

/// When something was: exact within this boot, by the wall clock of the record otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In this boot.
    Moment(Moment),
    /// In an earlier one.
    Wall(Wall),
}

/// One row of what people see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceStatus {
    /// Which instance.
    pub instance: InstanceId,
    /// What is wanted.
    pub desired: Desired,
    /// What it is doing.
    pub state: InstanceState,
    /// Why, where the word alone would mislead.
    pub detail: Option<Detail>,
    /// Whether it says that it can do its work.
    pub ready: Ready,
    /// The live run.
    pub run: Option<RunId>,
    /// Its main process, while that lives.
    pub pid: Option<u32>,
    /// Since when it is in this state; none when nobody knows.
    pub since: Option<When>,
    /// Of the live run; else what the next run will carry.
    pub generation: Generation,
    /// Automatic restarts since the last order or reset.
    pub restarts: u32,
    /// How the run before ended.
    pub last_exit: Option<(Arc<ExitRecord>, When)>,
    /// When it will be tried again.
    pub next_attempt: Option<Moment>,
}
