//! What keeper and daemon say to each other: one message a packet, a tag and little-endian numbers.
//!
//! Owns the bytes. It is versioned by the whole: the keeper passes [`VERSION`] to each daemon it starts. What a reader would
//! get wrong: a message may come from a daemon of another version, or from one gone mad, so decoding never trusts a length.

use crate::kernel::clone::{Ended, Wait};
use std::time::Duration;

/// Of this protocol.
pub const VERSION: u32 = 2;

/// The environment variable in which the daemon finds what the keeper passes it, see [`Passed`].
pub const PASSED: &str = "OPM_KEEPER";

/// What the daemon tells the keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToKeeper {
    /// Keep these two reading ends (they come with the message) until told to drop them. Said before the process exists.
    Hold(u64),
    /// The run is over and its pipes are drained.
    Drop(u64),
    /// That process is the run's main one: known even if it leaves its cgroup.
    Main(u64, u32),
    /// The run's exit record is in the journal.
    Ack(u64),
    /// The daemon serves.
    Ready,
    /// The daemon cannot start, and this is why.
    Failed(String),
    /// The daemon ends by order: end too. True: apps were left running.
    Bye(bool),
}

/// What the keeper tells the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToDaemon {
    /// These two reading ends (they come with the message) were kept for that run.
    Held(u64),
    /// That run's main process ended. Sent to every daemon anew until one acknowledges it.
    Exit(u64, Ended),
    /// All that was kept has been said. What follows is news.
    End,
}

fn message(tag: u8, numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + numbers.len() * 8);
    bytes.push(tag);
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// The numbers after the tag; none if their length is odd.
fn numbers(bytes: &[u8]) -> Option<Vec<u64>> {
    let chunks = bytes.chunks_exact(8);
    if !chunks.remainder().is_empty() {
        return None;
    }
    chunks.map(|c| c.try_into().ok().map(u64::from_le_bytes)).collect()
}

impl ToKeeper {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hold(run) => message(1, &[*run]),
            Self::Drop(run) => message(2, &[*run]),
            Self::Main(run, pid) => message(3, &[*run, u64::from(*pid)]),
            Self::Ack(run) => message(4, &[*run]),
            Self::Ready => message(5, &[]),
            Self::Failed(text) => {
                let mut bytes = vec![6];
                bytes.extend_from_slice(text.as_bytes());
                bytes.truncate(crate::kernel::passing::LONGEST);
                bytes
            }
            Self::Bye(keep_apps) => message(7, &[u64::from(*keep_apps)]),
        }
    }

    /// From bytes; none if they make no sense.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        if *tag == 6 {
            return Some(Self::Failed(String::from_utf8_lossy(rest).into_owned()));
        }
        let numbers = numbers(rest)?;
        match (tag, &numbers[..]) {
            (1, &[run]) => Some(Self::Hold(run)),
            (2, &[run]) => Some(Self::Drop(run)),
            (3, &[run, pid]) => Some(Self::Main(run, pid.try_into().ok()?)),
            (4, &[run]) => Some(Self::Ack(run)),
            (5, &[]) => Some(Self::Ready),
            (7, &[keep_apps @ (0 | 1)]) => Some(Self::Bye(keep_apps == 1)),
            _ => None,
        }
    }
}

impl ToDaemon {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Held(run) => message(10, &[*run]),
            Self::Exit(run, e) => {
                let (kind, value) = match e.wait {
                    Wait::Code(code) => (0, code),
                    Wait::Signal(signal, false) => (1, signal),
                    Wait::Signal(signal, true) => (2, signal),
                };
                let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
                let value = u64::from(value.cast_unsigned());
                message(11, &[*run, u64::from(e.pid), kind, value, micros(e.user), micros(e.system), e.max_rss])
            }
            Self::End => message(12, &[]),
        }
    }

    /// From bytes; none if they make no sense.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let numbers = numbers(rest)?;
        match (tag, &numbers[..]) {
            (10, &[run]) => Some(Self::Held(run)),
            (11, &[run, pid, kind, value, user, system, max_rss]) => {
                let value = u32::try_from(value).ok()?.cast_signed();
                let wait = match kind {
                    0 => Wait::Code(value),
                    1 => Wait::Signal(value, false),
                    2 => Wait::Signal(value, true),
                    _ => return None,
                };
                let pid = pid.try_into().ok()?;
                let (user, system) = (Duration::from_micros(user), Duration::from_micros(system));
                Some(Self::Exit(run, Ended { pid, wait, user, system, max_rss }))
            }
            (12, &[]) => Some(Self::End),
            _ => None,
        }
    }
}

/// What the keeper passes to a daemon in [`PASSED`]: descriptor numbers, and who the keeper is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Of the protocol.
    pub version: u32,
    /// The control socket.
    pub control: i32,
    /// The API's listening socket.
    pub listener: i32,
    /// The lock's open file description, shared so that it is free only when both are gone.
    pub lock: i32,
    /// The keeper's pid, for the check after the parent-death signal is set.
    pub keeper_pid: u32,
    /// The keeper's start time, for the marks.
    pub keeper_start: u64,
    /// The soft limit on descriptors before the keeper raised it: what apps get.
    pub soft_descriptors: u64,
}

impl Passed {
    /// As the variable's value.
    #[must_use]
    pub fn encode(&self) -> String {
        format!(
            "{} {} {} {} {} {} {}",
            self.version,
            self.control,
            self.listener,
            self.lock,
            self.keeper_pid,
            self.keeper_start,
            self.soft_descriptors
        )
    }

    /// From the variable's value.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut fields = text.split(' ').map(|f| f.parse::<u64>().ok());
        let mut next = || fields.next().flatten();
        Some(Self {
            version: next()?.try_into().ok()?,
            control: next()?.try_into().ok()?,
            listener: next()?.try_into().ok()?,
            lock: next()?.try_into().ok()?,
            keeper_pid: next()?.try_into().ok()?,
            keeper_start: next()?,
            soft_descriptors: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_message_survives_the_wire() {
        for message in [
            ToKeeper::Hold(1),
            ToKeeper::Drop(u64::MAX),
            ToKeeper::Main(7, 4242),
            ToKeeper::Ack(3),
            ToKeeper::Ready,
            ToKeeper::Failed("no room".into()),
            ToKeeper::Bye(true),
        ] {
            assert_eq!(ToKeeper::decode(&message.encode()), Some(message));
        }
        let ended = Ended {
            pid: 9,
            wait: Wait::Signal(11, true),
            user: Duration::from_micros(5),
            system: Duration::from_micros(6),
            max_rss: 7,
        };
        for message in [
            ToDaemon::Held(2),
            ToDaemon::Exit(2, ended),
            ToDaemon::Exit(3, Ended { wait: Wait::Code(-1), ..ended }),
            ToDaemon::End,
        ] {
            assert_eq!(ToDaemon::decode(&message.encode()), Some(message));
        }
        let passed = Passed {
            version: 1,
            control: 3,
            listener: 4,
            lock: 5,
            keeper_pid: 6,
            keeper_start: 7,
            soft_descriptors: 8,
        };
        assert_eq!(Passed::decode(&passed.encode()), Some(passed));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".*") {
            if let Some(message) = ToKeeper::decode(&bytes) {
                prop_assert!(matches!(message, ToKeeper::Failed(_)) || message.encode() == bytes);
            }
            let _ = ToDaemon::decode(&bytes);
            let _ = Passed::decode(&text);
        }
    }
}
