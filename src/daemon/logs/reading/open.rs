//! A file that is open: what was read of it, and what its index says of that.
//!
//! Owns the finding of a line's end. It must not know another file. What a reader would get wrong: bytes first, then what the index
//! says of them, since it is written before they are.

use super::content::Content;
use super::lookup::{Along, Lookup};
use super::piece::Span;
use crate::daemon::logs::index::{Kind, Record};
use crate::model::LogMode;
use std::io;

/// A line longer than this comes in pieces.
pub const PIECE_MOST: usize = 1 << 20;
/// How much is read at first, and later on. Of a walk among thousands little may be wanted before it has to let go.
const FIRST: usize = 8 << 10;
const BLOCK: usize = 64 << 10;

/// A file that is open, read on from some position.
pub(super) struct Open {
    pub(super) content: Content,
    along: Option<Along>,
    /// What was read; up to `given` it was given.
    held: Vec<u8>,
    given: usize,
    /// How much of the rest was searched for an end.
    searched: usize,
    /// Who wrote the next byte.
    pub(super) span: Option<Span>,
    /// Who wrote what follows what was searched, if that is another record.
    ahead: Option<Span>,
    /// The next line is word of a gap, and this its record.
    pub(super) gap: Option<(u64, Record)>,
    /// How much is read next.
    block: usize,
}

/// How a piece ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its line.
    LineFeed,
    /// With its run.
    RunOver,
    /// Something else is between it and the rest of the line: bytes of another stream, or a gap.
    Broken,
    /// It is as long as a piece may be.
    TooLong,
    /// With what is there.
    ThereIsNoMore,
}

impl Open {
    pub(super) fn new(mut content: Content, offset: u64) -> Self {
        let along = content.index.take().map(|lookup| lookup.along(offset));
        let (along, before) = along.map_or((None, None), |(along, before)| (Some(along), before));
        let span = before.and_then(Span::of);
        Self { content, along, held: Vec::new(), given: 0, searched: 0, span, ahead: None, gap: None, block: FIRST }
    }

    /// What was read and not given.
    pub(super) fn rest(&self) -> &[u8] {
        &self.held[self.given..]
    }

    pub(super) fn lookup(&self) -> Option<&Lookup> {
        self.along.as_ref().map(|along| &along.lookup)
    }

    pub(super) fn is_stamped(&self) -> bool {
        self.lookup().is_some_and(|lookup| match lookup.header.mode {
            LogMode::Raw => false,
            LogMode::Time | LogMode::Json => true,
        })
    }

    /// Reads more, after dropping what was given; false at the end of what may be read. `offset`: of the rest.
    pub(super) fn fill(&mut self, offset: u64) -> io::Result<bool> {
        self.held.drain(..self.given);
        self.given = 0;
        let at = offset + self.held.len() as u64;
        let room = PIECE_MOST.saturating_sub(self.held.len()).min(self.block) as u64;
        self.block = BLOCK;
        let most = self.content.end(self.lookup())?.saturating_sub(at).min(room) as usize;
        let before = self.held.len();
        self.held.resize(before + most, 0);
        let read = self.content.read_at(&mut self.held[before..], at);
        self.held.truncate(before + *read.as_ref().unwrap_or(&0));
        if let Some(along) = &mut self.along {
            along.bytes_were_read();
        }
        read.map(|n| n > 0)
    }

    /// Takes note of what the index says about the byte at the position.
    pub(super) fn settle(&mut self, offset: u64) {
        let Some(along) = &mut self.along else { return };
        while let Some(record) = along.peek().filter(|record| record.offset <= offset) {
            along.advance();
            match record.kind {
                // Also in the place of a gap whose words were cut off again.
                Kind::From { .. } => (self.span, self.gap) = (Span::of(record), None),
                Kind::Gap { bytes } if record.offset == offset => self.gap = Some((bytes, record)),
                Kind::Commit { .. } | Kind::Gap { .. } => {}
            }
        }
    }

    /// When the next byte was captured, as far as that is known.
    pub(super) fn time(&self) -> Option<u64> {
        let time = self.gap.map(|(_, record)| record.time).or(self.span.map(|span| span.time));
        time.filter(|time| *time > 0)
    }

    /// How long the next piece is, without its line feed, and how it ends. Reads as much as that takes.
    pub(super) fn end(&mut self, offset: u64) -> io::Result<(usize, End)> {
        loop {
            let record = self.along.as_mut().and_then(Along::peek);
            let rest = &self.held[self.given..];
            let until = record.map_or(rest.len(), |r| rest.len().min(r.offset.saturating_sub(offset) as usize));
            let until = until.max(self.searched);
            if let Some(found) = rest[self.searched..until].iter().position(|b| *b == b'\n') {
                return Ok((self.searched + found, End::LineFeed));
            }
            self.searched = until;
            if let Some(record) = record.filter(|_| until < rest.len()) {
                // The record is of a byte in the midst of the line.
                match record.kind {
                    Kind::From { .. } => {
                        let (now, next) = (self.ahead.or(self.span), Span::of(record));
                        if let (Some(now), Some(next)) = (now, next)
                            && !now.is_of(next)
                        {
                            return Ok((until, if now.lane == next.lane { End::RunOver } else { End::Broken }));
                        }
                        self.ahead = next;
                    }
                    Kind::Commit { .. } => {}
                    Kind::Gap { .. } => return Ok((until, End::Broken)),
                }
                if let Some(along) = &mut self.along {
                    along.advance();
                }
            } else if rest.len() >= PIECE_MOST {
                return Ok((until, End::TooLong));
            } else if !self.fill(offset)? {
                return Ok((until, End::ThereIsNoMore));
            }
        }
    }

    /// Goes beyond so many bytes.
    pub(super) fn give(&mut self, length: usize) -> &[u8] {
        let from = self.given;
        self.given += length;
        self.searched = 0;
        self.span = self.ahead.take().or(self.span);
        self.gap = None;
        &self.held[from..self.given]
    }
}
