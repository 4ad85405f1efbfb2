//! What the event loop's epoll set reports readiness of, packed into its 64 bits.

use crate::model::RunId;

/// What a token of the event loop's epoll set is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The keeper said something.
    Keeper,
    /// A deadline has come.
    Alarm,
    /// A signal to the daemon.
    Signals,
    /// The exec-status pipe of a run.
    Status(RunId),
    /// The pidfd of a run's main process.
    Pidfd(RunId),
    /// cgroup.events of a run.
    Events(RunId),
    /// cgroup.events of a run, for its freezer.
    Freezer(RunId),
    /// memory.events of a run.
    Memory(RunId),
}

impl Token {
    pub(super) fn encode(self) -> u64 {
        let (kind, run) = match self {
            Self::Keeper => (0, 0),
            Self::Alarm => (1, 0),
            Self::Signals => (2, 0),
            Self::Status(run) => (3, run.0),
            Self::Pidfd(run) => (4, run.0),
            Self::Events(run) => (5, run.0),
            Self::Freezer(run) => (6, run.0),
            Self::Memory(run) => (7, run.0),
        };
        run << 3 | kind
    }

    pub(super) fn decode(token: u64) -> Option<Self> {
        let run = RunId(token >> 3);
        Some(match token & 7 {
            0 => Self::Keeper,
            1 => Self::Alarm,
            2 => Self::Signals,
            3 => Self::Status(run),
            4 => Self::Pidfd(run),
            5 => Self::Events(run),
            6 => Self::Freezer(run),
            7 => Self::Memory(run),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Keeper,
            Token::Alarm,
            Token::Signals,
            Token::Status(RunId(7)),
            Token::Pidfd(RunId(1 << 40)),
            Token::Events(RunId(0)),
            Token::Freezer(RunId(9)),
            Token::Memory(RunId(3)),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
    }
}
