//! What is to be said to the daemon, and saying it as far as there is room.
//!
//! What a reader would get wrong: the outbox holds what a message is about, not the message. What has become untrue or needless
//! by the time there is room is not said.

use super::Keeper;
use super::protocol::ToDaemon;
use rustix::fd::{AsFd, OwnedFd};
use std::io;

/// Something to be said to the daemon, as soon as there is room.
pub(super) enum Out {
    Before,
    Reloaded,
    Held(u64),
    Exit(u64),
    End,
    Ping,
}

impl Keeper {
    /// What every new daemon is told: everything kept, then everything that happened, then "that was all".
    pub(super) fn introduce(&mut self) {
        self.outbox = [Out::Before, Out::Reloaded].into();
        self.outbox.extend(self.held.keys().map(|run| Out::Held(*run)));
        self.outbox.extend(self.exits.unacknowledged().map(Out::Exit));
        self.outbox.push_back(Out::End);
        self.say();
    }

    /// Says what there is to say, as far as there is room. Never waits: a daemon that does not listen must not keep us from
    /// hearing signals, and from noticing its death.
    pub(super) fn say(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        while let Some(next) = self.outbox.front() {
            let sent = match next {
                Out::End => send(&daemon.control, &ToDaemon::End, &[]),
                Out::Ping => send(&daemon.control, &ToDaemon::Ping, &[]),
                Out::Before => match &self.before {
                    Some(how) => send(&daemon.control, &ToDaemon::Before(how.clone()), &[]),
                    None => Ok(()),
                },
                Out::Reloaded => match &self.reload {
                    Some(reload) => send(&daemon.control, &ToDaemon::Reloaded(reload.clone()), &[]),
                    None => Ok(()),
                },
                Out::Held(run) => match self.held.get(run) {
                    Some(pair) => send(&daemon.control, &ToDaemon::Held(*run), pair),
                    None => Ok(()),
                },
                Out::Exit(run) => match self.exits.get(*run) {
                    Some(ended) => send(&daemon.control, &ToDaemon::Exit(*run, ended), &[]),
                    None => Ok(()),
                },
            };
            match sent {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // Anything else means that it is dying; the next one is told everything anew.
                Ok(()) | Err(_) => self.outbox.pop_front(),
            };
        }
    }
}

fn send(control: &OwnedFd, message: &ToDaemon, fds: &[OwnedFd]) -> io::Result<()> {
    use rustix::fd::AsRawFd;
    let numbers: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    crate::kernel::passing::send(control.as_fd(), &message.encode(), &numbers, false)
}
