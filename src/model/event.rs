//! What happened, for the world: the lines of the journal.

use super::{AppId, AppName, ExitRecord, Generation, InstanceId, OrderKey, RunId};
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
    },
    /// An app was added.
    Added {
        /// Its number.
        app: AppId,
        /// Its name.
        name: AppName,
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
    },
    /// Something went wrong that is nobody's exit.
    Trouble {
        /// In words.
        message: String,
    },
}
