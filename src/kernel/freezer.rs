//! The freezer of a run's cgroup: asked through cgroup.freeze, answered through cgroup.events.
//!
//! Decides nothing. What a reader would get wrong: the write is a question. Frozen is what the kernel says is, later, and as long
//! as a member is in uninterruptible sleep it does not.

use super::cgroup::{RunDir, anew, says};
use rustix::fd::AsFd;
use rustix::io;

impl RunDir {
    /// Asks the freezer to hold everything in it and below, or to let go (cgroup.freeze, from 5.2). Frozen is what it says it is,
    /// later: each process is held on its way back from the kernel, and one in uninterruptible sleep is not there yet. A
    /// frozen process dies of SIGKILL and of signals that it does not handle; a handler runs after the thaw.
    ///
    /// # Errors
    /// openat(2), write(2).
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })
    }

    /// Whether it was asked to (cgroup.freeze). Frozen a cgroup may be without that, where one above is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_asked_to_freeze(&self) -> io::Result<bool> {
        Ok(self.read("cgroup.freeze")?.trim() == "1")
    }
}

/// Whether cgroup.events, read anew from its start, says that everything is frozen.
///
/// # Errors
/// As [`still_populated`](super::cgroup::still_populated).
pub fn is_frozen(events: impl AsFd) -> io::Result<bool> {
    anew(events).map(|text| says(&text, "frozen 1"))
}
