//! Why an instance is as it is: the facts, for people to read as a story and for programs as they are.

use super::{EventLine, Exit, OrderBody, Row};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One instance, or one app that was deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The app's id.
    pub id: u32,
    /// The app's name.
    pub name: String,
    /// The instance's number; null for an app that was deleted.
    pub instance: Option<u32>,
    /// As in `ls`; `deleted` for an app that was forgotten.
    pub state: String,
    /// As `ls` has it; null for an app that was deleted.
    pub row: Option<Row>,
    /// How the live run came to be; the last one, where none lives.
    pub started: Option<StartedBecause>,
    /// The order that wants it as it is, where it is down, paused, on its way down, or deleted by order.
    pub order: Option<OrderAt>,
    /// The last exit.
    pub exit: Option<ExitAt>,
    /// What counts against the start limit.
    pub failures: Failures,
    /// What the policy says, where the app exists.
    pub policy: Option<Policy>,
    /// When what is left of a stopping run is killed.
    pub kill_at: Option<String>,
    /// What the kernel says of a live run, asked now.
    pub now: Option<Now>,
    /// What happened to it, oldest first.
    pub story: Vec<EventLine>,
    /// There is more than `story` tells, or the journal no longer holds it.
    pub cut: bool,
}

/// An order, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderAt {
    /// When.
    pub at: String,
    /// Which.
    #[serde(flatten)]
    pub order: OrderBody,
}

/// An exit, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitAt {
    /// When.
    pub at: String,
    /// Of which run.
    pub run: u64,
    /// How.
    #[serde(flatten)]
    pub exit: Exit,
}

/// Why a run was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartedBecause {
    /// When.
    pub at: String,
    /// Which run.
    pub run: u64,
    /// Its main process then.
    pub pid: u32,
    /// By what.
    #[serde(flatten)]
    pub because: Because,
}

/// What started a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Because {
    /// Somebody ordered it.
    Order {
        /// Who and what.
        order: OrderAt,
    },
    /// The run before ended, and the policy asks for a successor.
    Restart {
        /// How it ended.
        after: ExitAt,
    },
    /// It was errored, and its time to be tried again had come.
    Retry {
        /// How the run before ended.
        after: ExitAt,
    },
    /// The daemon started it after its own start: it was wanted up.
    Daemon {
        /// When the daemon began.
        daemon_at: String,
    },
    /// The journal does not say (any more).
    #[serde(other)]
    Unknown,
}

/// What counts against the start limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Failures {
    /// So many failures within the window that ended with the last exit.
    pub count: u32,
    /// The window, seconds.
    pub window_seconds: u64,
    /// All of them ended in the same way.
    pub alike: bool,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// always, on-failure, never.
    pub restart: String,
    /// So many failures within the window make it errored.
    pub max_restarts: u32,
    /// The signal that asks it to end.
    pub stop_signal: String,
    /// How long it may take for that, milliseconds.
    pub stop_timeout_ms: u64,
}

/// What the kernel says of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Now {
    /// Who lives in its cgroup; at most 20 of them.
    pub processes: Vec<Process>,
    /// How many there are.
    pub count: u32,
    /// Memory of all of them, where there is a memory controller.
    pub memory_bytes: Option<u64>,
    /// Their limit.
    pub memory_max_bytes: Option<u64>,
    /// Processes and threads, where there is a pids controller.
    pub pids: Option<u64>,
    /// Their limit.
    pub pids_max: Option<u64>,
    /// How many the kernel has killed for want of memory.
    pub oom_kills: Option<u64>,
    /// So often it was refused another process, at the limit of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_refused: Option<u64>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The name of its program.
    pub command: Option<String>,
}
