//! Descriptors kept for the day on which there are no others: so that a daemon at its limit can still be asked what is wrong, and be ended.
//!
//! Owns nothing but those. What a reader would get wrong: a connection that cannot be accepted is not refused, it waits in the backlog, and
//! whoever made it waits with it.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::sync::{Mutex, PoisonError};

/// One for the connection, and some for what is read to answer it.
const KEPT: usize = 8;

/// Descriptors that stand for others.
pub(in crate::daemon) struct Spare(Mutex<Vec<OwnedFd>>);

impl Spare {
    /// Takes them.
    ///
    /// # Errors
    /// There are not as many.
    pub(in crate::daemon) fn keep() -> Result<Self, String> {
        let spare = Self(Mutex::new(Vec::with_capacity(KEPT)));
        spare.fill().map_err(|e| {
            format!("failed to keep descriptors for requests: {e}; raise its limit (LimitNOFILE=, ulimit -n)")
        })?;
        Ok(spare)
    }

    /// Takes as many of them as are missing and can be had.
    pub(super) fn fill(&self) -> rustix::io::Result<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() < KEPT {
            kept.push(rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
        }
        Ok(())
    }

    /// Gives them up for something that needs them now. Whether there were any.
    pub(super) fn give(&self) -> bool {
        !std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).is_empty()
    }
}
