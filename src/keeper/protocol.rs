//! What keeper and daemon say to each other: one message a packet, a tag and little-endian numbers.
//!
//! Owns the bytes. It is versioned by the whole, see [`passed`]. What a reader would get wrong: a message may come from a
//! daemon of another version, or from one gone mad, so decoding never trusts a length, and what is not understood is passed over.

pub mod passed;

use crate::kernel::clone::{Ended, Wait};
use std::time::Duration;

/// Of this protocol.
pub const VERSION: u32 = 3;
/// The oldest version that this program still speaks, on either side.
pub const OLDEST: u32 = 3;
/// Of what a keeper writes down before it becomes a newer one. Raised if its lines can no longer be written so that an older
/// reader understands them.
pub const STATE_FORMAT: u64 = 1;

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
    /// The daemon ends so that the installed program may take its place.
    Reload(Reload),
    /// The daemon is no longer the program that the keeper is: become what the daemon is. It reads states up to this format.
    Renew(u64),
    /// The daemon was told to end, and its apps' grace periods are over in so many milliseconds.
    Stopping(u64),
    /// The answer to [`ToDaemon::Ping`].
    Alive,
}

/// An order to let the installed program take over, and how it came out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reload {
    /// What the client calls its order, by which it asks the next daemon.
    pub key: String,
    /// The version of the daemon that made room.
    pub from: String,
    /// Why the installed program did not take over; empty while it is not known, and if it did.
    pub failure: String,
}

impl Reload {
    fn bytes(&self, tag: u8) -> Vec<u8> {
        text(tag, &format!("{}\n{}\n{}", self.key, self.from, self.failure))
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut fields = text.splitn(3, '\n').map(str::to_owned);
        Some(Self { key: fields.next()?, from: fields.next()?, failure: fields.next()? })
    }
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
    /// Say that you are well, or be taken for hung.
    Ping,
    /// How the last reload came out. Said to every daemon before the end of what was kept.
    Reloaded(Reload),
    /// Why there had to be a daemon: how the one before ended. Not said to the first.
    Before(String),
}

/// A message of one text, which is cut if it is too long.
fn text(tag: u8, text: &str) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(text.as_bytes());
    bytes.truncate(crate::kernel::passing::LONGEST);
    bytes
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
            Self::Failed(why) => text(6, why),
            Self::Bye(keep_apps) => message(7, &[u64::from(*keep_apps)]),
            Self::Reload(reload) => reload.bytes(8),
            Self::Renew(format) => message(9, &[*format]),
            Self::Stopping(within) => message(21, &[*within]),
            Self::Alive => message(20, &[]),
        }
    }

    /// From bytes; none if they make no sense.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            6 => return Some(Self::Failed(String::from_utf8_lossy(rest).into_owned())),
            8 => return Reload::of(rest).map(Self::Reload),
            _ => {}
        }
        let numbers = numbers(rest)?;
        match (tag, &numbers[..]) {
            (1, &[run]) => Some(Self::Hold(run)),
            (2, &[run]) => Some(Self::Drop(run)),
            (3, &[run, pid]) => Some(Self::Main(run, pid.try_into().ok()?)),
            (4, &[run]) => Some(Self::Ack(run)),
            (5, &[]) => Some(Self::Ready),
            (7, &[keep_apps @ (0 | 1)]) => Some(Self::Bye(keep_apps == 1)),
            (9, &[format]) => Some(Self::Renew(format)),
            (20, &[]) => Some(Self::Alive),
            (21, &[within]) => Some(Self::Stopping(within)),
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
            Self::Exit(run, ended) => {
                let numbers: Vec<u64> = [*run].into_iter().chain(exit_numbers(ended)).collect();
                message(11, &numbers)
            }
            Self::End => message(12, &[]),
            Self::Ping => message(13, &[]),
            Self::Reloaded(reload) => reload.bytes(14),
            Self::Before(how) => text(15, how),
        }
    }

    /// From bytes; none if they make no sense.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match tag {
            14 => return Reload::of(rest).map(Self::Reloaded),
            15 => return Some(Self::Before(String::from_utf8_lossy(rest).into_owned())),
            _ => {}
        }
        let numbers = numbers(rest)?;
        match (tag, &numbers[..]) {
            (10, &[run]) => Some(Self::Held(run)),
            (11, &[run, ref ended @ ..]) => exit_of(ended).map(|ended| Self::Exit(run, ended)),
            (12, &[]) => Some(Self::End),
            (13, &[]) => Some(Self::Ping),
            _ => None,
        }
    }
}

/// An exit as numbers: pid, kind, value, microseconds of user and of system time, bytes.
pub(super) fn exit_numbers(e: &Ended) -> [u64; 6] {
    let (kind, value) = match e.wait {
        Wait::Code(code) => (0, code),
        Wait::Signal(signal, false) => (1, signal),
        Wait::Signal(signal, true) => (2, signal),
    };
    let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
    [u64::from(e.pid), kind, u64::from(value.cast_unsigned()), micros(e.user), micros(e.system), e.max_rss]
}

/// The reverse; none if they make no sense.
pub(super) fn exit_of(numbers: &[u64]) -> Option<Ended> {
    let &[pid, kind, value, user, system, max_rss] = numbers else { return None };
    let value = u32::try_from(value).ok()?.cast_signed();
    let wait = match kind {
        0 => Wait::Code(value),
        1 => Wait::Signal(value, false),
        2 => Wait::Signal(value, true),
        _ => return None,
    };
    let (user, system) = (Duration::from_micros(user), Duration::from_micros(system));
    Some(Ended { pid: pid.try_into().ok()?, wait, user, system, max_rss })
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
            ToKeeper::Reload(Reload { key: "k".into(), from: "0.1.0".into(), failure: String::new() }),
            ToKeeper::Renew(1),
            ToKeeper::Stopping(60_000),
            ToKeeper::Alive,
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
            ToDaemon::Ping,
            ToDaemon::Reloaded(Reload { key: "k".into(), from: "0.1.0".into(), failure: "two\nlines".into() }),
            ToDaemon::Before("it died (signal 9)".into()),
        ] {
            assert_eq!(ToDaemon::decode(&message.encode()), Some(message));
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(message) = ToKeeper::decode(&bytes) {
                prop_assert!(matches!(message, ToKeeper::Failed(_) | ToKeeper::Reload(_)) || message.encode() == bytes);
            }
            if let Some(message) = ToDaemon::decode(&bytes) {
                prop_assert!(matches!(message, ToDaemon::Reloaded(_) | ToDaemon::Before(_)) || message.encode() == bytes);
            }
        }
    }
}
