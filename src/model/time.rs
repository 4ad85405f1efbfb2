//! Points in time. Decisions use [`Moment`] only; [`Wall`] is for people and for records.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A point on CLOCK_BOOTTIME, in nanoseconds since boot: it goes on during suspend and never jumps (clock_gettime(2)).
/// Meaningful only together with the boot it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// Boot itself.
    pub const ZERO: Self = Self(0);

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A point on the wall clock: milliseconds since 1970 in UTC. For showing and recording; nothing is decided by it,
/// since an administrator may set that clock by a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub u64);

/// Which boot of the machine this is (`/proc/sys/kernel/random/boot_id`): what a [`Moment`] in a record is worth. Every record holds
/// one, and mostly the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub Arc<str>);
