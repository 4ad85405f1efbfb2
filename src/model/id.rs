//! Numbers that identify things. Each is its own type, so that a run is never mistaken for an app.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An app's number: given once, never reused, never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppId(pub u32);

/// One incarnation of an instance, from spawn to empty cgroup. Numbered past every live and every recorded run, and
/// unique among all apps, so that a late report can never be taken for another run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// Raised durably by restart, reload and spec edits; a live run marked with an older one is ended and replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One of the N copies of an app, written `3.0` in the cgroup tree and `web:0` by people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId {
    /// The app.
    pub app: AppId,
    /// The copy's number, from 0.
    pub index: u32,
}

impl InstanceId {
    /// Instance `index` of `app`.
    #[must_use]
    pub fn new(app: AppId, index: u32) -> Self {
        Self { app, index }
    }
}

/// An order's number within one life of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

/// A write's number within one life of the daemon: `Effect::Persist` names it, `Input::Persisted` answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// What a client calls its order by, so that it may send it again after a broken connection. Chosen at random by the
/// client; at most 64 printable characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderKey(pub String);

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app, self.index)
    }
}
