//! Events on the wire: what happened, one line each, with a cursor to go on from.
//!
//! What a reader would get wrong: a cursor is opaque. It outlives the daemon and the rotation of the journal; one whose line is no
//! longer there is answered with a `gap`, never with silence.

use crate::model::{Before, RawText};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Selectors, comma separated; everything, the daemon's own events too, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<String>,
    /// A cursor (what comes after it) or an RFC 3339 time. The header `last-event-id` says the same, and wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Begin with so many of the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Go on with what happens from now on.
    #[serde(default)]
    pub follow: bool,
}

/// The version of [`EventLine`]; raised if a field ever changes its meaning.
pub const EVENT_VERSION: u32 = 1;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventLine {
    /// [`EVENT_VERSION`].
    pub v: u32,
    /// Where to go on from.
    pub cursor: String,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// A run's program was executed.
    Started {
        /// Whose.
        #[serde(flatten)]
        of: Whose,
        /// Which run.
        run: u64,
        /// Its generation.
        generation: u64,
        /// Its main process.
        pid: u32,
    },
    /// A run ended.
    Exited {
        /// Whose.
        #[serde(flatten)]
        of: Whose,
        /// Which run.
        run: u64,
        /// How, why, and what follows.
        exit: Exit,
    },
    /// The last lines that it wrote to standard error, where it did not end by order.
    LastWords {
        /// Whose.
        #[serde(flatten)]
        of: Whose,
        /// Which run.
        run: u64,
        /// The lines; bytes that are not UTF-8 as `{"hex": "..."}`.
        #[serde(default)]
        #[schema(value_type = Vec<String>)]
        lines: Vec<RawText>,
        /// The same as those of this run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        same_as: Option<u64>,
        /// It wrote more before these.
        #[serde(default)]
        cut: bool,
    },
    /// Its counters were set to zero.
    Cleared {
        /// Whose.
        #[serde(flatten)]
        of: Whose,
    },
    /// An order was accepted.
    Ordered(OrderBody),
    /// An app was added.
    Added(AppRef),
    /// An app got another spec.
    Changed {
        /// Which.
        #[serde(flatten)]
        app: AppRef,
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// An app was forgotten.
    Deleted(AppRef),
    /// A daemon began to serve.
    DaemonStarted {
        /// Its version.
        version: String,
        /// What became of the one before: none, ended, died, rebooted.
        #[schema(value_type = Option<String>)]
        before: Option<Before>,
        /// How the one before ended, in words, where the keeper saw it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A daemon ended by order.
    DaemonEnded {
        /// The apps were left running.
        keep_apps: bool,
    },
    /// Something went wrong that is nobody's exit.
    Trouble {
        /// In words.
        message: String,
    },
    /// Events are missing here: rotated away, or of a journal that is gone.
    Gap,
    /// Something that this version does not know.
    #[serde(other)]
    Other,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Whose {
    /// The app's id.
    pub id: u32,
    /// Its name, where it is still known.
    pub name: Option<String>,
    /// The instance's number.
    pub instance: u32,
}

/// An app, or one instance of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppRef {
    /// Its id.
    pub id: u32,
    /// Its name, where it is still known.
    pub name: Option<String>,
    /// Only this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u32>,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderBody {
    /// start, stop, restart, create, delete, signal, reset, restore, shutdown, ...
    pub verb: String,
    /// About what.
    pub apps: Vec<AppRef>,
    /// How its client called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whose; null for a signal to the daemon, and where an older version wrote the journal.
    pub by: Option<By>,
    /// With `signal`: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

/// Who ordered something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct By {
    /// The user of the process.
    pub uid: u32,
    /// Its name, where it has one.
    pub user: Option<String>,
    /// The process; 0 where not known.
    pub pid: u32,
    /// The name of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The name of the program that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The user that logged in, where it is another (sudo): its name, else its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exit {
    /// The exit code; null if a signal ended it, or nobody saw.
    pub code: Option<i32>,
    /// The signal as `SIGSEGV`; null if it exited.
    pub signal: Option<String>,
    /// Whether it left a core dump.
    pub core: bool,
    /// own_exit, signal, stop_order, deadline, out_of_memory, memory_mark, spawn_failed, not_observed.
    pub cause: String,
    /// With memory_mark: the mark and what was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mark: Option<MemoryMark>,
    /// The signal was sent with `opm signal`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sent: bool,
    /// Why it could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// How long it ran, milliseconds.
    pub ran_ms: u64,
    /// Largest resident set of any one of its processes, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rss_bytes: Option<u64>,
    /// What all of it used, where the kernel told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// Automatic restarts so far, the next one included.
    pub restarts: u32,
    /// Early failures in a row.
    pub failures: u32,
    /// What follows: finished, errored, restart, down, replaced.
    pub next: String,
    /// When, if it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
}

/// A run passed the mark of `max_memory_restart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemoryMark {
    /// The mark.
    pub mark_bytes: u64,
    /// What it held then, its page cache aside.
    pub seen_bytes: u64,
}

/// What a run used with everything it started. A field is absent where the kernel or its controllers could not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Used {
    /// CPU time, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// The most memory at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    /// Its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
    /// The most processes and threads at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_peak: Option<u64>,
    /// Their limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u64>,
    /// Above 0: the kernel killed something in it for want of memory. No count of processes.
    #[serde(default)]
    pub oom_kills: u64,
    /// So often it was refused another process, at the limit of them.
    #[serde(default)]
    pub pids_refused: u64,
}
