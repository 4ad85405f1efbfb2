//! Everything a user asked for about one app, complete, every default filled in.

use super::policy::{Backoff, Cpus, ErroredRetry, KillMode, RestartPolicy, Rlimit};
use super::{AppName, ByteSize, Namespace, RawText, Signal, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The spec of an app. What is stored, sent and shown is this one shape; its field names are those of the flags of
/// `opm start` and of the files that list apps. Absent optional fields mean "not asked for". Unknown fields are refused.
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
    /// Processor time of each run (cpu.max).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// Processes and threads of each run (pids.max).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

fn is_false(b: &bool) -> bool {
    !b
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
            cpus: None,
            pids: None,
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
