//! A walk through one log, forward: its rotated files, the one that is written, and across rotations as they happen.
//!
//! Owns the way from file to file, and what of a file's end is given already. It must not wait: it gives what is there and says when that is all.
//! What a reader would get wrong: nothing is kept of what was read but the position, so a walk may let go of its file at any time;
//! and at the end of a file that is written no more, it is read once more before the next one, since what the name leads to was
//! looked at after the last read.

use super::content::{self, Content, Found};
use super::open::{End, Open};
use super::piece::{Piece, Span};
use super::position::Position;
use crate::daemon::logs::series::Series;

/// A walk.
pub(super) struct Walk {
    series: Series,
    /// What was given ends here.
    position: Position,
    open: Option<Open>,
    /// The line that was given in part, and who wrote it.
    under_way: Option<Option<Span>>,
    /// The file that the position is in.
    identity: Option<(u64, u64)>,
    key: u64,
    /// Give nothing that stands after the last line feed, as long as it may go on.
    whole: bool,
    /// Word of files that are gone, told next.
    lost: Option<Piece>,
}

impl Walk {
    pub(super) fn new(series: Series, position: Position, whole: bool) -> Self {
        Self { series, position, open: None, under_way: None, identity: None, key: 0, whole, lost: None }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Closes its file. It goes on all the same.
    pub(super) fn let_go(&mut self) {
        self.open = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The time of what comes next. None: that is all for now.
    pub(super) fn ready(&mut self) -> Result<Option<u64>, String> {
        self.prepare().map(|more| more.then_some(self.key))
    }

    /// The next piece. None: that is all for now.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, String> {
        loop {
            if !self.prepare()? {
                return Ok(None);
            }
            if let Some(lost) = self.lost.take() {
                return Ok(Some(lost));
            }
            if let Some(piece) = self.cut()? {
                return Ok(Some(piece));
            }
            if self.open.is_some() {
                return Ok(None);
            }
        }
    }

    /// Sees to it that what comes next is at hand. False: there is nothing yet.
    fn prepare(&mut self) -> Result<bool, String> {
        loop {
            if self.open.is_none() && !self.open()? {
                return Ok(false);
            }
            // Bytes before what the index says of them.
            let Some(open) = &mut self.open else { return Ok(false) };
            if self.lost.is_some() {
                return Ok(true);
            }
            if open.rest().is_empty() {
                open.fill(self.position.offset).map_err(|e| self.failed(&e))?;
            }
            let Some(open) = &mut self.open else { return Ok(false) };
            open.settle(self.position.offset);
            self.key = open.time().unwrap_or(self.key);
            if !open.rest().is_empty() {
                return Ok(true);
            }
            if !self.onward()? {
                return Ok(false);
            }
        }
    }

    /// Opens the file that the position is in. False: it was not begun yet.
    fn open(&mut self) -> Result<bool, String> {
        let (position, which) = match content::find(&self.series, self.position.number)? {
            Found::NotYet => return Ok(false),
            Found::Content(content) => {
                self.opened(content)?;
                return Ok(true);
            }
            Found::Anew(number) => (Position::start(number), None),
            Found::Gone(number) => {
                let (first, last) = (self.position.number, number - 1);
                let which = if first == last { format!("file {first}") } else { format!("files {first} to {last}") };
                (Position::start(number), Some(which))
            }
        };
        let Found::Content(content) = content::find(&self.series, position.number)? else { return Ok(false) };
        let start = std::mem::replace(&mut self.position, position);
        (self.under_way, self.identity) = (None, None);
        self.opened(content)?;
        let word = |which| format!("{which} of this log went before all was read");
        self.lost = which.map(|which| Piece::missing(0, word(which), start, position, self.key));
        Ok(true)
    }

    fn opened(&mut self, content: Content) -> Result<(), String> {
        let size = content.size().map_err(|e| self.failed(&e))?;
        let another = self.identity.is_some_and(|known| known != content.identity);
        if !content.finished && (another || size.is_some_and(|size| size < self.position.offset)) {
            // Put in the other's place by hand, or emptied.
            self.position = Position::start(content.number);
            self.under_way = None;
        }
        if self.key == 0 {
            self.key = content.modified;
        }
        // Packed, it is another file of the same content.
        self.identity = (!content.finished).then_some(content.identity);
        self.open = Some(Open::new(content, self.position.offset));
        Ok(())
    }

    /// Cuts the next piece off what is at hand. None: it may go on, or what was at hand is no more.
    fn cut(&mut self) -> Result<Option<Piece>, String> {
        loop {
            let Some(open) = &mut self.open else { return Ok(None) };
            let (length, end) = open.end(self.position.offset).map_err(|e| self.failed(&e))?;
            let Some(open) = &mut self.open else { return Ok(None) };
            let may_go_on = end == End::ThereIsNoMore && !open.content.finished && (self.whole || open.is_stamped());
            if !may_go_on {
                return Ok(self.give(length, end));
            }
            if !self.onward()? {
                return Ok(None);
            }
        }
    }

    /// Gives so many bytes of what is at hand, and goes beyond them and their end.
    fn give(&mut self, length: usize, end: End) -> Option<Piece> {
        let open = self.open.as_mut()?;
        let (complete, feed) = match end {
            End::LineFeed => (true, 1),
            // A run's last line ended with it.
            End::RunOver => (true, 0),
            End::Broken | End::TooLong | End::ThereIsNoMore => (false, 0),
        };
        let (start, span, gap) = (self.position, open.span, open.gap);
        let taken = length + feed;
        if taken > 0 {
            self.position = Position { offset: start.offset + taken as u64, number: start.number };
        }
        let mut piece = Piece {
            text: open.give(taken)[..length].to_vec(),
            complete,
            begins: self.under_way.is_none_or(|of| of.map(|s| (s.lane, s.run)) != span.map(|s| (s.lane, s.run))),
            missing: None,
            lane: span.map(|span| span.lane),
            run: span.map(|span| span.run).filter(|run| *run > 0),
            time: span.map(|span| span.time).filter(|time| *time > 0),
            key: self.key,
            start,
            end: self.position,
        };
        if let Some(lookup) = open.lookup().filter(|_| complete) {
            piece.unstamp(&lookup.header);
        }
        if let Some((bytes, record)) = gap {
            (piece.missing, piece.lane, piece.run) = (Some(bytes), Some(record.lane), None);
            piece.time = Some(record.time);
        }
        self.under_way = (!piece.complete).then_some(span);
        Some(piece)
    }

    /// All of a file is read. Whether there is another, or more in this one.
    fn onward(&mut self) -> Result<bool, String> {
        let Some(open) = &mut self.open else { return Ok(true) };
        if open.content.finished {
            self.position = Position::start(self.position.number + 1);
            (self.open, self.identity) = (None, None);
            return Ok(true);
        }
        let read = self.position.offset + open.rest().len() as u64;
        let size = open.content.size().map_err(|e| self.failed(&e))?;
        let now = content::current(&self.series)?;
        let Some(open) = &mut self.open else { return Ok(true) };
        let number = now.as_ref().filter(|now| now.identity == open.content.identity).map(|now| now.number);
        // Emptied in place; the worker gives such a file a new number, even if it has more again than was read.
        if size.is_some_and(|size| size < read) || number.is_some_and(|number| number > self.position.number) {
            self.position = Position::start(number.unwrap_or(self.position.number));
            (self.under_way, self.open) = (None, None);
            return Ok(true);
        }
        // Nothing is added to a file that was set aside, so what was added before that is read after this.
        open.content.finished = match now {
            Some(_) => number.is_none(),
            None => match content::find(&self.series, self.position.number)? {
                Found::Content(content) => content.finished,
                Found::Gone(_) => true,
                // Moved away by hand: as long as there is no other, it is written to.
                Found::NotYet | Found::Anew(_) => false,
            },
        };
        Ok(open.content.finished)
    }

    /// It is said to have grown. If it was emptied before that, it may be longer again than what was read of it.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let replaced = |open: &Open| open.lookup().is_some_and(|lookup| lookup.is_replaced(&self.series));
        if self.open.as_ref().is_some_and(|open| !open.content.finished && open.rest().is_empty() && replaced(open)) {
            self.onward()?;
        }
        Ok(())
    }

    fn failed(&self, e: &std::io::Error) -> String {
        format!("failed to read {}: {e}", self.series.path().display())
    }
}
