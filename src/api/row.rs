//! What reads answer: rows, details, environments, the daemon's own status.

use crate::model::{AppSpec, RawText};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// One instance: a row of `opm ls`. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Row {
    /// The app's id.
    pub id: u32,
    /// The app's name.
    pub name: String,
    /// The app's namespace.
    pub namespace: String,
    /// The instance's number.
    pub instance: u32,
    /// starting, online, stopping, stopped, backoff, errored, paused, unknown.
    pub state: String,
    /// Why, where the word alone would mislead: `finished`, `main exited, 2 left`, `stuck in the kernel`, ...
    pub detail: Option<String>,
    /// up or down.
    pub desired: String,
    /// yes, no, or none where nobody asked.
    pub ready: String,
    /// The main process, while it lives.
    pub pid: Option<u32>,
    /// Since when it is in this state.
    pub since: Option<String>,
    /// Automatic restarts.
    pub restarts: u32,
    /// CPU time of the whole tree over the time since the previous read (else since start), in percent of one CPU.
    pub cpu_percent: Option<f64>,
    /// Memory of the whole tree; null when not known.
    pub memory_bytes: Option<u64>,
    /// What the live run is limited to, and how much of that it uses; of apps without limits only in `info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<InForce>,
    /// The live run.
    pub run: Option<u64>,
    /// Its cgroup directory.
    pub cgroup: Option<String>,
    /// How the run before ended; null before the first.
    pub last_exit: Option<LastExit>,
    /// When it will be tried again.
    pub next_attempt: Option<String>,
}

/// The limits that the kernel has for a run now, beside what it uses. Absent: no limit, or no controller that would know.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct InForce {
    /// memory.max; what is used is `memory_bytes` of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
    /// memory.high, which is also how a `max_memory_restart` is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high_bytes: Option<u64>,
    /// The most memory so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    /// Memory that is swapped out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// The most of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_max_bytes: Option<u64>,
    /// CPUs, as in `--cpus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Its share, where it is not the usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// The most of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u64>,
    /// Its share of disks, where it is not the usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u64>,
    /// Disks by their numbers, as the kernel says it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_max: Vec<String>,
    /// group or process: whom the kernel kills for want of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kill: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastExit {
    /// The exit code; null if a signal ended it, or nobody saw.
    pub code: Option<i32>,
    /// The signal as `SIGSEGV`; null if it exited.
    pub signal: Option<String>,
    /// Whether it left a core dump.
    pub core: bool,
    /// own_exit, signal, stop_order, deadline, out_of_memory, memory_mark, spawn_failed, not_observed.
    pub cause: String,
    /// The most memory that it used at a time, with everything it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    /// With out_of_memory its limit, with memory_mark the mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
    /// When.
    pub at: String,
}

/// Everything about one app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppInfo {
    /// The app's id.
    pub id: u32,
    /// What was asked for.
    #[schema(value_type = Object)]
    pub spec: Arc<AppSpec>,
    /// Its instances. Here `memory_bytes` is always given while something lives: by the controller, else summed.
    pub instances: Vec<Row>,
    /// Processes in each instance's tree, in the order of `instances`; null where not known.
    pub processes: Vec<Option<u32>>,
    /// Standard output of each instance.
    pub out_logs: Vec<String>,
    /// Standard error of each instance.
    pub err_logs: Vec<String>,
}

/// The environment the next run of an app gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppEnv {
    /// The app's id.
    pub id: u32,
    /// The app's name.
    pub name: String,
    /// The variables, sorted by name. Values of env files are read now, from the files.
    pub variables: Vec<EnvVar>,
    /// Env files that could not be read, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// One variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvVar {
    /// Its name.
    #[schema(value_type = String)]
    pub name: RawText,
    /// Its value.
    #[schema(value_type = String)]
    pub value: RawText,
    /// Where it comes from.
    pub source: EnvSource,
    /// The env file, where it comes from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub file: Option<RawText>,
}

/// Where a variable comes from; the later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvSource {
    /// From the environment of whoever started the app.
    Captured,
    /// From an env file.
    EnvFile,
    /// From `--env`.
    Declared,
    /// From opm itself: the few documented ones.
    Opm,
}

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DaemonStatus {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its keeper's process.
    pub keeper_pid: u32,
    /// Since when it serves.
    pub since: String,
    /// The cgroup that holds everything.
    pub cgroup_root: String,
    /// The controllers that limits can be enforced with.
    pub controllers: Vec<String>,
    /// How the daemon before this one ended; absent for the first under this keeper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// How many apps.
    pub apps: u32,
    /// How many instances.
    pub instances: u32,
    /// Where the daemon's own log is: a file, or `journal`. Absent where it speaks to somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What is wrong right now, in words: a disk that refuses, a state file that was unreadable.
    #[serde(default)]
    pub troubles: Vec<String>,
}

/// Somebody is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pong {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
}
