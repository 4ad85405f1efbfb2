//! A line, a piece of one, or word of missing bytes, with what is known of it.
//!
//! Owns the shape, and taking a stamp off. It must not read.

use super::position::Position;
use crate::daemon::logs::index::{Header, Kind, Lane, Record};
use crate::daemon::logs::stamp;
use crate::model::LogMode;

/// A line, a piece of one, or word of missing bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The line; of what is missing, why.
    pub(super) text: Vec<u8>,
    /// The line ends here.
    pub(super) complete: bool,
    /// It begins here.
    pub(super) begins: bool,
    /// So many bytes are missing; 0: nobody knows how many.
    pub(super) missing: Option<u64>,
    pub(super) lane: Option<Lane>,
    pub(super) run: Option<u64>,
    pub(super) time: Option<u64>,
    /// Its time, else that of its neighbours.
    pub(super) key: u64,
    pub(super) start: Position,
    pub(super) end: Position,
}

impl Piece {
    /// Word of bytes that are missing at a place.
    pub(super) fn missing(bytes: u64, why: String, start: Position, end: Position, key: u64) -> Self {
        Self {
            text: why.into_bytes(),
            complete: true,
            begins: true,
            missing: Some(bytes),
            lane: None,
            run: None,
            time: None,
            key,
            start,
            end,
        }
    }

    /// Takes the stamp off. It knows better than the index, which says when the first of several lines was captured.
    pub(super) fn unstamp(&mut self, header: &Header) {
        match header.mode {
            LogMode::Raw => {}
            LogMode::Time | LogMode::Json => {
                let line = stamp::unstamp(header.mode, &header.format, &self.text);
                self.time = line.time_us.or(self.time);
                self.run = line.run.or(self.run);
                self.complete = !line.partial;
                self.text = line.text.into_owned();
            }
        }
    }
}

/// Who wrote, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) lane: Lane,
    pub(super) run: u64,
    pub(super) time: u64,
}

impl Span {
    /// None: the record says something else.
    pub(super) fn of(record: Record) -> Option<Self> {
        match record.kind {
            Kind::From { run } => Some(Self { lane: record.lane, run, time: record.time }),
            Kind::Commit { .. } | Kind::Gap { .. } => None,
        }
    }

    /// Of the same lane and run.
    pub(super) fn is_of(self, other: Self) -> bool {
        (self.lane, self.run) == (other.lane, other.run)
    }
}
