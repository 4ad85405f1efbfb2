//! What happened, for the world: the lines of the journal.
//!
//! Owns the shape of each event on disk. What a reader would get wrong: lines of every version that was ever released load for
//! ever, so a field is only ever added, and with a default.

use super::{AppId, AppName, ExitRecord, Generation, InstanceId, OrderKey, RawText, RunId, Signal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Something that happened. Past facts only: no liveness is ever derived from one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run's program was executed.
    Started {
        /// Whose.
        instance: InstanceId,
        /// Which run.
        run: RunId,
        /// Its generation.
        generation: Generation,
        /// Its main process.
        pid: u32,
    },
    /// A run ended.
    Exited(Arc<ExitRecord>),
    /// The last lines that a run wrote to its standard error, where it did not end by order.
    LastWords(Arc<LastWords>),
    /// The counters of an instance were set to zero: what came before counts no more.
    Cleared {
        /// Whose.
        instance: InstanceId,
    },
    /// An order was accepted.
    Ordered {
        /// What was asked: `start`, `stop`, ...
        verb: String,
        /// Of which apps.
        apps: Vec<AppId>,
        /// How the client calls it.
        key: Option<OrderKey>,
        /// Who asked, and what was meant beyond the apps. None: nobody did (a signal to the daemon), or an older version wrote this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Box<Asked>>,
    },
    /// An app was added.
    Added {
        /// Its number.
        app: AppId,
        /// Its name.
        name: AppName,
    },
    /// An app got another spec.
    Changed {
        /// Its number.
        app: AppId,
        /// Its name.
        name: AppName,
        /// The fields of the spec that differ. Never their values: those may be secrets.
        fields: Vec<String>,
    },
    /// An app was forgotten.
    Deleted {
        /// Its number.
        app: AppId,
        /// Its name.
        name: AppName,
    },
    /// A daemon began to serve.
    DaemonStarted {
        /// Of which version.
        version: String,
        /// What became of the daemon before it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Before>,
        /// Why this one was started, in words: how the one before ended, as the keeper saw it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A daemon ended by order.
    DaemonEnded {
        /// The apps were left running for the next one.
        keep_apps: bool,
    },
    /// Something went wrong that is nobody's exit.
    Trouble {
        /// In words.
        message: String,
    },
}

/// What became of the daemon before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// There was none, as far as the journal goes back.
    None,
    /// It ended by order.
    Ended,
    /// It died: it was killed, or crashed.
    Died,
    /// The machine was booted since.
    Rebooted,
}

/// Who asked for something, and what was meant beyond the apps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// Whoever sent the order.
    pub by: Asker,
    /// The only instances that were meant; empty where whole apps were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<InstanceId>,
    /// With `signal`: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
}

/// A client, as the kernel told who it is when it connected (SO_PEERCRED, unix(7)). No arguments: they may be secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asker {
    /// Its user. Names are looked up when they are shown: a user database must not hold up an order.
    pub uid: u32,
    /// Its process; 0 where the kernel did not say.
    pub pid: u32,
    /// The name of its program: `opm`, `curl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The name of the program that started it: `bash`, `cron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The user that logged in, where it is another (sudo): `/proc/PID/loginuid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<u32>,
}

/// The last lines that a run wrote to its standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWords {
    /// Whose.
    pub instance: InstanceId,
    /// Which run.
    pub run: RunId,
    /// The lines, oldest first, without their line feeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<RawText>,
    /// The same lines as this run before it wrote; they are not written again. A crash loop says the same thing for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<RunId>,
    /// It wrote more before these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}
