//! Everything a user asked for about one app, complete, every default filled in.

use super::limits::{IoMax, OomKill, Weight};
use super::log::{Cap, LogCaps, LogCompress, LogDrop, LogMode, LogSink};
use super::policy::{Backoff, Cpus, ErroredRetry, KillMode, RestartPolicy, Rlimit};
use super::{AppName, ByteSize, Namespace, RawText, Signal, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The spec of an app. What is stored, sent and shown is this one shape; its field names are those of the flags of
/// `opm start` and of the files that list apps. Absent optional fields mean "not asked for"; what is said of logs is left out
/// where it is the default, since hardly anybody says anything. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSpec {
    /// The app's name.
    pub name: AppName,
    /// Its group.
    #[serde(default)]
    pub namespace: Namespace,
    /// The script or program: an absolute path, or a bare name looked up in the app's PATH at each spawn.
    pub script: RawText,
    /// What runs the script: a bare name looked up in the app's PATH at each spawn, or a path. None: the script itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<RawText>,
    /// Arguments of the interpreter, before the script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interpreter_args: Vec<RawText>,
    /// Arguments of the script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<RawText>,
    /// Working directory, absolute; the logical path, so that a `current` symlink is followed at each spawn.
    pub cwd: RawText,
    /// Variables declared for this app; they win over the env files, which win over what was captured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "super::raw::map")]
    pub env: BTreeMap<RawText, RawText>,
    /// Files of variables, absolute paths, read at every spawn; their values are stored nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_file: Vec<RawText>,
    /// Of the captured environment, keep only PATH, HOME, USER, LANG, SHELL and TZ.
    #[serde(default, skip_serializing_if = "is_false")]
    pub env_clean: bool,
    /// How many instances.
    #[serde(default = "one")]
    pub instances: u32,
    /// Run as this user (name or number). Needs a daemon that runs as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Run as this group (name or number) instead of the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// File mode creation mask; the daemon's own (0022) when not given. Decimal on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Scheduling priority, -20 to 19 (setpriority(2)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
    /// Resource limits by name: `nofile`, `core`, `nproc`, ... (setrlimit(2)).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rlimit: BTreeMap<String, Rlimit>,
    /// When a run gets a successor.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// This many failures within 60 s make the instance errored.
    #[serde(default = "ten")]
    pub max_restarts: u32,
    /// A run at least this long is followed at once; a shorter one is a failure and backs off.
    #[serde(default = "default_min_uptime")]
    pub min_uptime: Span,
    /// A fixed delay before every successor, instead of at once and instead of the backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_delay: Option<Span>,
    /// The growing delay after early failures.
    #[serde(default)]
    pub backoff: Backoff,
    /// What an errored instance does next.
    #[serde(default)]
    pub errored_retry: ErroredRetry,
    /// What asks the app to end.
    #[serde(default = "default_stop_signal")]
    pub stop_signal: Signal,
    /// How long it may take before it is killed.
    #[serde(default = "default_stop_timeout")]
    pub stop_timeout: Span,
    /// Whom the stop reaches.
    #[serde(default)]
    pub kill_mode: KillMode,
    /// Exit codes that mean "done on purpose": no successor, whatever the policy. As in PM2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_exit_codes: Vec<i32>,
    /// Start it when it is added. False: only register it.
    #[serde(default = "yes")]
    pub autostart: bool,
    /// Forget it at the next boot of the machine.
    #[serde(default, skip_serializing_if = "is_false")]
    pub transient: bool,
    /// The kernel's hard limit on the memory of each run (memory.max).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<ByteSize>,
    /// Above this the kernel slows each run down and takes back what it can (memory.high).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<ByteSize>,
    /// The swap space of each run (memory.swap.max).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swap_max: Option<ByteSize>,
    /// A run that holds more memory than this, its caches aside, is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_restart: Option<ByteSize>,
    /// Whom the kernel kills for want of memory (memory.oom.group).
    #[serde(default, skip_serializing_if = "is_default")]
    pub oom_kill: OomKill,
    /// Processor time of each run (cpu.max).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// Its share of busy processors (cpu.weight).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<Weight>,
    /// Processes and threads of each run (pids.max).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Its share of busy disks (io.weight).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<Weight>,
    /// How much it may read and write, by device (io.max).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub io_max: Vec<IoMax>,
    /// Where its output goes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_sink: LogSink,
    /// What stands in its log files.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_mode: LogMode,
    /// How the time before a line is written (strftime(3)); ISO 8601 in UTC, with microseconds, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_format: Option<String>,
    /// The file for standard output, an absolute path; several instances get their number before its extension, unless they
    /// share it. `/dev/null` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_file: Option<RawText>,
    /// The same for standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_file: Option<RawText>,
    /// One more, which gets the lines of both. A bare name is one in opm's own folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_file: Option<RawText>,
    /// All instances write into the same files.
    #[serde(default, skip_serializing_if = "is_false")]
    pub merge_logs: bool,
    /// A log file this large is set aside, and another begun.
    #[serde(default = "default_log_max_size", skip_serializing_if = "is_default_log_max_size")]
    pub log_max_size: Cap<ByteSize>,
    /// So is one that was begun this long ago; and what was set aside this long ago goes.
    #[serde(default = "default_log_max_age", skip_serializing_if = "is_default_log_max_age")]
    pub log_max_age: Cap<Span>,
    /// So many of each log that were set aside are kept.
    #[serde(default = "default_log_keep", skip_serializing_if = "is_default_log_keep")]
    pub log_keep: Cap<u32>,
    /// All log files of the app together; the oldest go first.
    #[serde(default = "default_log_total", skip_serializing_if = "is_default_log_total")]
    pub log_total: Cap<ByteSize>,
    /// How log files are packed that were set aside.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_compress: LogCompress,
    /// What becomes of output that a full disk cannot take.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_drop: LogDrop,
}

fn is_false(b: &bool) -> bool {
    !b
}
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
macro_rules! default_caps {
    ($($default:ident, $is_default:ident: $field:ident $type:ty;)+) => {$(
        fn $default() -> Cap<$type> {
            LogCaps::default().$field
        }
        fn $is_default(cap: &Cap<$type>) -> bool {
            *cap == $default()
        }
    )+};
}
default_caps! {
    default_log_max_size, is_default_log_max_size: size ByteSize;
    default_log_max_age, is_default_log_max_age: age Span;
    default_log_keep, is_default_log_keep: keep u32;
    default_log_total, is_default_log_total: total ByteSize;
}
fn yes() -> bool {
    true
}
fn one() -> u32 {
    1
}
fn ten() -> u32 {
    10
}
fn default_min_uptime() -> Span {
    Span::millis(1000)
}
fn default_stop_signal() -> Signal {
    Signal::TERM
}
fn default_stop_timeout() -> Span {
    Span::millis(10_000)
}

impl AppSpec {
    /// A spec with every default, for `script` in `cwd`.
    #[must_use]
    pub fn new(name: AppName, script: RawText, cwd: RawText) -> Self {
        Self {
            name,
            namespace: Namespace::default(),
            script,
            interpreter: None,
            interpreter_args: Vec::new(),
            args: Vec::new(),
            cwd,
            env: BTreeMap::new(),
            env_file: Vec::new(),
            env_clean: false,
            instances: 1,
            user: None,
            group: None,
            umask: None,
            nice: None,
            rlimit: BTreeMap::new(),
            restart: RestartPolicy::default(),
            max_restarts: ten(),
            min_uptime: default_min_uptime(),
            restart_delay: None,
            backoff: Backoff::default(),
            errored_retry: ErroredRetry::default(),
            stop_signal: default_stop_signal(),
            stop_timeout: default_stop_timeout(),
            kill_mode: KillMode::default(),
            stop_exit_codes: Vec::new(),
            autostart: true,
            transient: false,
            memory_max: None,
            memory_high: None,
            memory_swap_max: None,
            max_memory_restart: None,
            oom_kill: OomKill::default(),
            cpus: None,
            cpu_weight: None,
            pids: None,
            io_weight: None,
            io_max: Vec::new(),
            log_sink: LogSink::default(),
            log_mode: LogMode::default(),
            log_format: None,
            out_file: None,
            error_file: None,
            log_file: None,
            merge_logs: false,
            log_max_size: default_log_max_size(),
            log_max_age: default_log_max_age(),
            log_keep: default_log_keep(),
            log_total: default_log_total(),
            log_compress: LogCompress::default(),
            log_drop: LogDrop::default(),
        }
    }

    /// How much of its logs is kept.
    #[must_use]
    pub fn log_caps(&self) -> LogCaps {
        LogCaps {
            size: self.log_max_size,
            age: self.log_max_age,
            keep: self.log_keep,
            total: self.log_total,
            compress: self.log_compress,
        }
    }

    /// What is executed: interpreter, its arguments, script, arguments.
    #[must_use]
    pub fn argv(&self) -> Vec<&RawText> {
        self.interpreter
            .iter()
            .chain(&self.interpreter_args)
            .chain(std::iter::once(&self.script))
            .chain(&self.args)
            .collect()
    }
}
