//! Decisions: what to do about each instance, given what is wanted and what is so.
//!
//! Pure: no clock, no task, no system call, no randomness but a given seed. The same inputs at the same moments give the
//! same effects, byte for byte. It imports `model` and nothing else. See `DESIGN.md` in this folder.

mod adopt;
pub mod bug;
mod closing;
mod converge;
mod create;
mod differences;
pub mod effect;
pub mod input;
mod instance;
mod ladder;
mod ledger;
mod limits;
mod orders;
mod pause;
mod reports;
mod restart;
mod start;
mod status;
mod supervisor;
mod timers;
mod waiters;

pub use effect::{Change, Effect, Spawn, Whom};
pub use input::{Adopted, AdoptedMain, Freezer, Input, StopMark};
pub use restart::recent_failures;
pub use supervisor::Supervisor;

use crate::model::state::When;
use crate::model::{AppId, BootId, DesiredApp, ExitRecord, InstanceId, RunId};
use std::sync::Arc;

/// What a daemon starts from: desired state from the store, past facts from the journal.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// This boot.
    pub boot: BootId,
    /// Seeds the jitter of delays.
    pub seed: u64,
    /// What is wanted.
    pub apps: Vec<(AppId, DesiredApp)>,
    /// The id that the next new app gets.
    pub next_id: AppId,
    /// The last exit of each instance that had one.
    pub past: Vec<Past>,
    /// Past every run that lives or was recorded.
    pub next_run: RunId,
}

/// How an instance's last run ended, as the journal has it.
#[derive(Debug, Clone)]
pub struct Past {
    /// Whose.
    pub instance: InstanceId,
    /// The record.
    pub record: Arc<ExitRecord>,
    /// When: as a moment if it was in this boot. Only then does `record.sequel` still hold; after a reboot settled
    /// instances are started again, and backoffs are over.
    pub when: When,
    /// Failures within the start limit's window, oldest first; empty if in another boot.
    pub failures: Vec<crate::model::Moment>,
    /// Its counters were cleared after that exit (`Event::Cleared`): restarts and failures count as zero, and it is not settled.
    pub cleared: bool,
}
