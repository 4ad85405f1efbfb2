//! The daemon that lives, as the keeper sees it: a child with a program, a control socket and perhaps a deadline.
//!
//! What a reader would get wrong: it is not reaped before the keeper has taken note of its end, so its pid is its own.

use super::binary::Binary;
use crate::kernel::clone::Wait;
use nix::sys::signal::Signal;
use rustix::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

/// The daemon that lives now.
pub(super) struct Daemon {
    pub(super) pid: u32,
    pub(super) control: OwnedFd,
    pub(super) binary: Rc<Binary>,
    /// Another program has served, and serves again if this one does not.
    pub(super) trial: bool,
    pub(super) ready: bool,
    /// It has served for a while when it gets there.
    pub(super) proven_at: Option<Instant>,
    /// It has to be ready, or gone, by then.
    pub(super) deadline: Option<Instant>,
    /// Why it ends, as far as it or we have said so.
    pub(super) why: Option<String>,
}

impl Daemon {
    pub(super) fn new(pid: u32, control: OwnedFd, binary: Rc<Binary>, trial: bool) -> Self {
        Self { pid, control, binary, trial, ready: false, proven_at: None, deadline: None, why: None }
    }

    /// It serves, and has not shown yet that it goes on.
    pub(super) fn is_new(&self) -> bool {
        !self.ready || self.proven_at.is_some()
    }

    pub(super) fn made_ready(self) -> Self {
        Self { ready: true, ..self }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid.cast_signed()), signal);
    }
}

/// How it ended.
pub(super) fn in_words(how: Wait) -> String {
    match how {
        Wait::Code(code) => format!("it exited with code {code}"),
        Wait::Signal(signal, core) => {
            let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |s| s.to_string());
            format!("{name} ended it{}", if core { ", with a core dump" } else { "" })
        }
    }
}
