//! Reading the journal as a stream that goes on: every line once, in order, across rotations and the deaths of daemons.
//!
//! Owns the place that was read to. It must not wait; the journal's bell says when there is more. What a reader would get
//! wrong: no file is held open between two reads, or a follower that sleeps would hold a deleted file on the disk. The place is a
//! hint, the number of the last line is the truth: from the wrong place, everything is read again and what was given is passed over.

use super::cursor::Cursor;
use super::line::{Line, NoLine};
use super::{CURRENT, PREVIOUS, read};
use crate::kernel::files::Dir;
use crate::model::Moment;
use rustix::fs::fstat;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// About so much is read at a time, so that memory stays bounded however long the journal is.
const AT_ONCE: u64 = 256 << 10;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) enum Piece {
    /// A line.
    Line(Line),
    /// Lines are missing here: rotated away, damaged, or of a journal that is gone.
    Gap,
}

/// A reader of the journal.
#[derive(Debug)]
pub(in crate::daemon) struct Replay {
    dir: PathBuf,
    last: Cursor,
    /// Whoever reads knows the last line, so that a missing one is to be told.
    continues: bool,
    /// The cursor it was asked to go on from is unknown here.
    lost: bool,
    place: Option<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    inode: u64,
    offset: u64,
}

impl Replay {
    /// All that there is.
    pub(in crate::daemon) fn all(dir: &Path) -> Self {
        let last = Cursor::of(0, Moment::ZERO);
        Self { dir: dir.to_owned(), last, continues: false, lost: false, place: None }
    }

    /// What comes after the cursor. If that is not of this journal: a gap, then all that there is.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(in crate::daemon) fn after(dir: &Path, cursor: Cursor) -> Result<Self, String> {
        let mut scan = Self::all(dir);
        let (mut same, mut other, mut highest) = (false, false, 0);
        loop {
            let (pieces, end) = scan.more()?;
            for piece in pieces {
                let Piece::Line(line) = piece else { continue };
                highest = highest.max(line.seq);
                if line.seq == cursor.seq && line.seq > 0 {
                    *if line.cursor() == cursor { &mut same } else { &mut other } = true;
                }
            }
            if end {
                break;
            }
        }
        let lost = cursor.seq > highest || (other && !same);
        let last = if lost { Cursor::of(0, Moment::ZERO) } else { cursor };
        Ok(Self { last, continues: true, lost, ..Self::all(dir) })
    }

    /// The last line that was given.
    pub(in crate::daemon) fn cursor(&self) -> Cursor {
        self.last
    }

    /// What follows, and whether that is all for now.
    ///
    /// # Errors
    /// It cannot be read.
    pub(in crate::daemon) fn more(&mut self) -> Result<(Vec<Piece>, bool), String> {
        let files = self.open()?;
        let mut pieces = Vec::new();
        if std::mem::take(&mut self.lost) {
            pieces.push(Piece::Gap);
            // Said once; what is missing between the journal that is gone and this one is said.
            self.continues = false;
        }
        let known = self.place.and_then(|place| {
            let at = files.iter().position(|(_, inode, size)| *inode == place.inode && *size >= place.offset)?;
            Some((at, place.offset))
        });
        let (first, offset) = known.unwrap_or((0, 0));
        let mut budget = AT_ONCE;
        for (at, (file, inode, _)) in files.iter().enumerate().skip(first) {
            let mut place = Place { inode: *inode, offset: if at == first { offset } else { 0 } };
            let mut strange = place.offset > 0;
            let mut file = file;
            let read = file.seek(SeekFrom::Start(place.offset)).and_then(|_| {
                read::lines_from(file, |line, bytes| {
                    // The number of a deleted file may have been given to another: then this is the middle of anything.
                    let expected = |l: &Line| l.seq == self.last.seq + 1 || (l.seq == 0 && self.last.seq == 0);
                    if std::mem::take(&mut strange) && !line.as_ref().is_ok_and(expected) {
                        place.offset = u64::MAX;
                        return ControlFlow::Break(());
                    }
                    place.offset += bytes;
                    if self.take(line, &mut pieces) {
                        budget = budget.saturating_sub(bytes);
                    }
                    if budget == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
            });
            read.map_err(|e| format!("failed to read the journal in {}: {e}", self.dir.display()))?;
            if place.offset == u64::MAX {
                self.place = None;
                return Ok((pieces, false));
            }
            self.place = Some(place);
            if budget == 0 {
                return Ok((pieces, false));
            }
        }
        Ok((pieces, true))
    }

    /// Whether the line is a new one.
    fn take(&mut self, line: Result<Line, NoLine>, pieces: &mut Vec<Piece>) -> bool {
        let Ok(line) = line else { return false };
        let follows = line.seq == self.last.seq + 1;
        // Lines without a number come before all that have one, and are of use to those only who want all.
        let known = if line.seq == 0 { self.continues || self.last.seq > 0 } else { line.seq <= self.last.seq };
        if known || (line.carried && self.continues && !follows) {
            return false;
        }
        if line.seq > 0 {
            if !follows && !line.carried && (self.continues || self.last.seq > 0) {
                pieces.push(Piece::Gap);
            }
            self.last = line.cursor();
            self.continues |= !line.carried;
        }
        pieces.push(Piece::Line(line));
        true
    }

    /// The files that there are, oldest first, with inode and size.
    fn open(&self) -> Result<Vec<(File, u64, u64)>, String> {
        let dir = match Dir::open(&self.dir) {
            Ok(dir) => dir,
            Err(e) if e.is_missing() => return Ok(Vec::new()),
            Err(e) => return Err(e.to_string()),
        };
        let one = |name| match dir.open_for_reading(name) {
            Ok((fd, size)) => Ok(fstat(&fd).ok().map(|stat| (File::from(fd), stat.st_ino, size))),
            Err(e) if e.is_missing() => Ok(None),
            Err(e) => Err(e.to_string()),
        };
        // The current one first, and looked at again at the end: a rotation in between would have us miss a file, or read
        // them in the wrong order. More than one rotation within these calls is not of this world; three are allowed for.
        for _ in 0..3 {
            let (current, previous) = (one(CURRENT)?, one(PREVIOUS)?);
            let same = matches!((&current, &previous), (Some((_, c, _)), Some((_, p, _))) if c == p);
            if !same && current.as_ref().is_none_or(|(file, ..)| dir.still_names(CURRENT, file)) {
                return Ok(previous.into_iter().chain(current).collect());
            }
        }
        Err(format!("failed to read the journal in {}: it is rotated all the time", self.dir.display()))
    }
}
