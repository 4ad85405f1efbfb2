//! What somebody asks for, and what they are told when it has happened.

use super::state::Detail;
use super::{AppId, AppName, AppSpec, Desired, EnvMap, InstanceState, LimitChange, Signal, Target};
use std::sync::Arc;

/// Something asked for that changes what is wanted, or acts on what runs. Targets are resolved before it gets here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Add these apps, all or none. The same spec under the same name is "already online" (and started if it is down).
    Create {
        /// The apps.
        apps: Vec<NewApp>,
        /// A different spec under a taken name replaces it instead of being refused.
        replace: bool,
        /// Apps that exist take the environment captured now.
        update_env: bool,
    },
    /// Start what is down, restart what is up. Never counted against the start limit.
    Start {
        /// Which.
        targets: Vec<Target>,
        /// Take this environment from now on.
        captured: Option<Arc<EnvMap>>,
        /// Leave alone what is up, instead of restarting it.
        leave_running: bool,
    },
    /// End it and want it down.
    Stop {
        /// Which.
        targets: Vec<Target>,
    },
    /// End it and start it anew, or start it if it is down.
    Restart {
        /// Which.
        targets: Vec<Target>,
        /// Take this environment from now on.
        captured: Option<Arc<EnvMap>>,
    },
    /// End it and forget it. Whole apps only.
    Delete {
        /// Which.
        targets: Vec<Target>,
    },
    /// Send a signal to the main process.
    Signal {
        /// Which.
        targets: Vec<Target>,
        /// The signal.
        signal: Signal,
    },
    /// Have the kernel hold everything in it still. Nothing wanted changes.
    Pause {
        /// Which.
        targets: Vec<Target>,
    },
    /// Have the kernel let go of it.
    Resume {
        /// Which.
        targets: Vec<Target>,
    },
    /// Set restart counters to zero, and forget failures. An instance in backoff or errored is tried at once.
    Reset {
        /// Which.
        targets: Vec<Target>,
    },
    /// Change what apps may use, from now on and at once. Whole apps only: limits are a part of the spec.
    Limit {
        /// Which.
        targets: Vec<Target>,
        /// What changes.
        change: Box<LimitChange>,
    },
    /// Add what a dump holds and start what it holds as up. Never deletes; an app that exists keeps its spec.
    Restore {
        /// The apps and what was wanted of them.
        apps: Vec<(NewApp, Desired)>,
    },
    /// Answer when each is online, or when each is stopped.
    Wait {
        /// Which.
        targets: Vec<Target>,
        /// `Up`: online and, where asked for, ready. `Down`: nothing lives.
        until: Desired,
    },
    /// End the daemon. Apps are stopped first (and stay wanted up), or kept alive for the next daemon.
    Shutdown {
        /// Leave them running.
        keep_apps: bool,
    },
}

/// An app to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApp {
    /// What is asked for.
    pub spec: Arc<AppSpec>,
    /// The environment it is asked for in.
    pub captured: Arc<EnvMap>,
}

/// What an order came to: one outcome per instance (or per app, where nothing is per instance), or a refusal of all of it.
pub type Answer = Result<Vec<Outcome>, Refusal>;

/// What an order came to for one instance or app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which app.
    pub app: AppId,
    /// Its name.
    pub name: AppName,
    /// Which instance; none where the whole app is meant.
    pub instance: Option<u32>,
    /// What happened.
    pub verdict: Verdict,
    /// What an order changed about its limits, in words.
    pub changes: Option<Arc<str>>,
    /// False: it happened, but could not be saved (the disk refused); it would not hold after a reboot. Tried again.
    pub saved: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A run was started.
    Started {
        /// Its main process.
        pid: u32,
    },
    /// Its run was ended and another started.
    Restarted {
        /// The new main process.
        pid: u32,
    },
    /// It was running already, as asked for.
    AlreadyOnline {
        /// Its main process.
        pid: u32,
    },
    /// It was added, and is not to be started (`--no-autostart`).
    Added,
    /// It finished: it ran to its end and policy asks for no successor.
    Finished,
    /// Its run was ended; nothing of it lives.
    Stopped,
    /// Nothing ran already.
    AlreadyStopped,
    /// It is forgotten.
    Deleted,
    /// The signal was sent.
    Signalled {
        /// To this process.
        pid: u32,
        /// It is paused: a handler runs when it is resumed.
        paused: bool,
    },
    /// The kernel holds everything in it still.
    Paused {
        /// Its main process.
        pid: u32,
    },
    /// It was paused already.
    AlreadyPaused {
        /// Its main process.
        pid: u32,
    },
    /// It was paused, and goes on.
    Resumed {
        /// Its main process.
        pid: u32,
    },
    /// It is under the limits that its spec asks for.
    Limited {
        /// Its main process; none where nothing runs, and the limits wait for the next run.
        pid: Option<u32>,
    },
    /// Its counters are zero.
    Reset,
    /// It exists with another spec, and keeps it.
    Kept,
    /// It did not work, and this is why.
    Failed(String),
    /// Accepted, not reached: this is how it stands.
    Pending {
        /// The state it is in.
        state: InstanceState,
        /// Why, where the word alone would mislead.
        detail: Option<Detail>,
    },
    /// A later order took its place.
    Superseded,
}

/// Why an order was not accepted. Nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The name is taken by an app with another spec.
    NameTaken {
        /// The name.
        name: AppName,
        /// The fields that differ.
        differences: Vec<Difference>,
    },
    /// The same name twice in one order.
    NamedTwice(AppName),
    /// No such app or instance (any more).
    Gone(String),
    /// The name is taken by an app that is deleted and of which something lives.
    Leaving(AppName),
    /// What was asked cannot be done to one instance alone.
    WholeAppsOnly {
        /// Whose instance.
        name: AppName,
        /// What was asked, as in "cannot be deleted".
        what: &'static str,
    },
    /// It could not be saved, so it was not done.
    NotSaved(String),
    /// The daemon is on its way out.
    ShuttingDown,
}

/// One field in which two specs differ, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// As it is.
    pub now: String,
    /// As it was asked for.
    pub asked: String,
}
