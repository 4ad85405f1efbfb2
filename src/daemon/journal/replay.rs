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

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::daemon::journal::Journal;
    use crate::model::{BootId, Event, Wall};

    fn trouble(n: u64) -> Event {
        Event::Trouble { message: format!("{n} {}", "x".repeat(1000)) }
    }

    /// Writes these, each at a moment of its own.
    fn write(dir: &Path, numbers: std::ops::Range<u64>) {
        let boot = BootId("b".into());
        let (mut journal, _) = Journal::load(dir, &boot);
        for n in numbers {
            journal.queue(trouble(n), Wall(0), &boot, Moment(n * 1_000), None);
            journal.write(|_| {}).unwrap();
        }
    }

    /// All that comes now: the numbers, and `None` for a gap.
    fn read(replay: &mut Replay) -> Vec<Option<u64>> {
        let mut all = Vec::new();
        loop {
            let (pieces, end) = replay.more().unwrap();
            all.extend(pieces.into_iter().map(|piece| match piece {
                Piece::Line(Line { event: Event::Trouble { message }, .. }) => {
                    Some(message.split(' ').next().unwrap().parse().unwrap())
                }
                Piece::Line(other) => panic!("{other:?}"),
                Piece::Gap => None,
            }));
            if end {
                return all;
            }
        }
    }

    fn some(numbers: std::ops::Range<u64>) -> Vec<Option<u64>> {
        numbers.map(Some).collect()
    }

    #[test]
    fn a_follower_misses_nothing_and_gets_nothing_twice_over_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let mut replay = Replay::all(dir.path());
        assert_eq!(read(&mut replay), []);
        // Some 4,000 of them fill a file.
        let mut at = 0;
        for step in [1, 10, 3_000, 1_500, 1, 3_500, 2_600, 7] {
            write(dir.path(), at..at + step);
            assert_eq!(read(&mut replay), some(at..at + step), "from {at}");
            at += step;
        }
        assert_eq!(read(&mut replay), []);
    }

    #[test]
    fn a_cursor_goes_on_exactly_there_and_one_that_was_rotated_away_says_so() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0..100);
        let mut replay = Replay::all(dir.path());
        assert_eq!(read(&mut replay), some(0..100));
        let cursor = replay.cursor();
        write(dir.path(), 100..103);
        for _ in 0..2 {
            let mut again = Replay::after(dir.path(), cursor).unwrap();
            assert_eq!(read(&mut again), some(100..103));
        }
        write(dir.path(), 103..13_000);
        let mut late = Replay::after(dir.path(), cursor).unwrap();
        let lines = read(&mut late);
        assert_eq!(lines[0], None, "a gap, not silence");
        let first = lines[1].unwrap();
        assert!(first > 103 && lines[1..] == some(first..13_000), "and then all that there is");
    }

    #[test]
    fn a_cursor_of_another_journal_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0..50);
        let mut replay = Replay::all(dir.path());
        read(&mut replay);
        let cursor = replay.cursor();
        for numbers in [200..210, 200..300] {
            std::fs::remove_file(dir.path().join(CURRENT)).unwrap();
            write(dir.path(), numbers.clone());
            let mut again = Replay::after(dir.path(), cursor).unwrap();
            let wanted: Vec<_> = std::iter::once(None).chain(some(numbers)).collect();
            assert_eq!(read(&mut again), wanted);
        }
    }

    #[test]
    fn a_line_that_claims_the_last_number_there_is_does_not_stop_the_counting() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0..3);
        let path = dir.path().join(CURRENT);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen(r#""seq":3"#, r#""seq":18446744073709551615"#, 1)).unwrap();
        write(dir.path(), 3..5);
        assert_eq!(read(&mut Replay::all(dir.path())), some(0..2).into_iter().chain(some(3..5)).collect::<Vec<_>>());
    }

    #[test]
    fn damage_is_a_gap_and_a_torn_line_is_none() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0..3);
        let mut replay = Replay::all(dir.path());
        assert_eq!(read(&mut replay), some(0..3));
        let path = dir.path().join(CURRENT);
        let file = || std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file().write_all(br#"{"v":1,"seq":4,"at""#).unwrap();
        assert_eq!(read(&mut replay), []);
        write(dir.path(), 3..5);
        assert_eq!(read(&mut replay), some(3..5));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen(r#""seq":2"#, r#""seq":x"#, 1)).unwrap();
        assert_eq!(read(&mut Replay::all(dir.path())), [Some(0), None, Some(2), Some(3), Some(4)]);
    }
}
