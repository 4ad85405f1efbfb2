//! One stream of one run: its pipe, where its bytes go, and how they get there.
//!
//! Owns the moving of raw bytes, and the growing of busy pipes. It must not decide whose turn it is. What a reader would get
//! wrong: when the file cannot take bytes they stay in the pipe, and the app waits once that is full. Only [`Stream::give_up`] drops
//! any, and says how many.

use super::files::LogFiles;
use super::index::Lane;
use super::lines::Lines;
use super::place::{Plan, Sink};
use super::pump::LastBytes;
use super::series::Series;
use super::spool::Spool;
use crate::kernel::clock;
use crate::kernel::files::{FileError, write_all_at};
use crate::kernel::pump::{self, Moved};
use crate::model::RunId;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest pipe that a user may ask for by default (fs.pipe-max-size).
const PIPE_MOST: usize = 1 << 20;
/// At so many turns it must have been found at least half full, and never almost empty, before it is grown.
const BUSY_AFTER: u32 = 4;
/// How much is written to a file at once: the page cache takes it in pages as large as a write. What is smaller than 128 KiB often comes
/// out of memory that was used a moment ago. Larger pieces are cut out of free memory that a virtual machine may have handed back
/// to its host, and then each page of it costs five times as much.
const PIECE: usize = 64 << 10;
/// A file is set aside in the middle of a line only when it is so much too large.
const OVERLONG: u64 = 1 << 20;

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) run: RunId,
    pub(super) lane: Lane,
    pub(super) plan: Arc<Plan>,
    pub(super) pipe: OwnedFd,
    pub(super) state: State,
    /// The run is over; what is left in the pipe is all that comes.
    pub(super) finished: bool,
    way: Way,
    /// Of the pipe, in bytes.
    capacity: usize,
    /// At how many turns it was found at least half full since it was last found almost empty.
    busy: u32,
    /// How much it was grown by.
    pub(super) grown: usize,
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// In the epoll set.
    Watched,
    /// Not in the epoll set: so much comes that it is looked at after each breath.
    Busy,
    /// The file could not take bytes; tried again when the timer has run out.
    Stuck,
    /// In the epoll set, and what the full disk cannot take is dropped.
    Dropping,
    /// Not in the epoll set: it was not put there yet, or nobody can write to the pipe any more.
    Ended,
}

#[derive(Debug)]
enum Way {
    Splice,
    /// With what was read and not yet written.
    Copy(Vec<u8>),
    Lines(Box<Lines>),
    Nowhere,
}

/// What came of a turn.
#[derive(Debug, Default)]
pub(super) struct Poured {
    /// So many left the pipe.
    pub(super) bytes: u64,
    /// The pipe was found at least half full.
    pub(super) full: bool,
    /// These logs grew.
    pub(super) grew: Vec<Series>,
    /// Of these, a file was set aside.
    pub(super) rotated: Vec<Series>,
    /// The pipe has ended.
    pub(super) end: bool,
    /// From now on this stream is read and written instead of spliced.
    pub(super) gave_up_splicing: bool,
    /// Something that does not keep bytes from being written.
    pub(super) notice: Option<String>,
    /// Bytes were moved, but not all could be written.
    pub(super) stuck: Option<Stuck>,
}

impl Poured {
    pub(super) fn grown(&mut self, series: &Series) {
        if !self.grew.contains(series) {
            self.grew.push(series.clone());
        }
    }
}

/// Why bytes could not be moved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) why: String,
    /// For want of room, on the filesystem of this folder.
    pub(super) full: Option<PathBuf>,
    /// journald is behind; it will say when it is not.
    pub(super) behind: bool,
}

impl Stuck {
    pub(super) fn because(why: String) -> Self {
        Self { why, full: None, behind: false }
    }

    pub(super) fn file(series: &Series, error: &FileError) -> Self {
        Self::folder(series.folder(), error)
    }

    pub(super) fn folder(folder: &Path, error: &FileError) -> Self {
        Self { full: error.is_full().then(|| folder.to_owned()), ..Self::because(error.to_string()) }
    }

    pub(super) fn os(series: &Series, error: Errno) -> Self {
        Self::file(series, &FileError::os("write", &series.path(), error))
    }
}

impl Stream {
    pub(super) fn new(run: RunId, lane: Lane, plan: Arc<Plan>, pipe: OwnedFd) -> Self {
        let way = match if lane.err { &plan.err } else { &plan.out } {
            Sink::Raw(_) => Way::Splice,
            Sink::Lines(_) | Sink::Journald => Way::Lines(Box::new(Lines::new(run, lane, &plan))),
            Sink::Nowhere => Way::Nowhere,
        };
        let capacity = pump::capacity(&pipe);
        Self { run, lane, plan, pipe, state: State::Ended, finished: false, way, capacity, busy: 0, grown: 0 }
    }

    /// Whether its bytes are in a spool on their way, which it shares with others of its lane.
    pub(super) fn has_spool(&self) -> bool {
        match self.way {
            Way::Lines(_) => true,
            Way::Splice | Way::Copy(_) | Way::Nowhere => false,
        }
    }

    pub(super) fn sink(&self) -> &Sink {
        if self.lane.err { &self.plan.err } else { &self.plan.out }
    }

    /// The last bytes that this run wrote, at most `most`. None of another run's.
    pub(super) fn last_bytes(&self, files: &mut LogFiles, most: usize) -> LastBytes {
        match (&self.way, self.sink()) {
            (Way::Lines(lines), _) => lines.last_bytes(),
            (_, Sink::Raw(series)) => files
                .last_bytes(series, &self.plan, (self.lane, self.run.0), most as u64)
                .map_or_else(LastBytes::default, |(bytes, cut)| LastBytes { bytes, cut }),
            (_, Sink::Lines(_) | Sink::Journald | Sink::Nowhere) => LastBytes::default(),
        }
    }

    /// How many bytes are on their way.
    pub(super) fn waiting(&self) -> u64 {
        let rest = match &self.way {
            Way::Copy(rest) => rest.len() as u64,
            Way::Lines(lines) => lines.waiting(),
            Way::Splice | Way::Nowhere => 0,
        };
        pump::waiting(&self.pipe) + rest
    }

    /// Moves at most `most` bytes. Stops early when little was there: whoever watches the pipe says when there is more.
    ///
    /// # Errors
    /// The first byte could not be moved.
    pub(super) fn pour(&mut self, files: &mut LogFiles, most: u64) -> Result<Poured, Stuck> {
        let plan = Arc::clone(&self.plan);
        match (if self.lane.err { &plan.err } else { &plan.out }, &mut self.way) {
            (_, Way::Lines(lines)) => {
                let mut poured = lines.pour(&self.pipe, files, &plan, most)?;
                poured.full = poured.bytes >= self.half();
                Ok(poured)
            }
            (Sink::Raw(series), _) => self.pour_raw(files, series, most),
            (Sink::Lines(_) | Sink::Journald | Sink::Nowhere, _) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX).min(pump::waiting(&self.pipe) as usize);
                let bytes = pump::discard(&self.pipe, most) as u64;
                Ok(Poured { bytes, full: bytes >= self.half(), ..Poured::default() })
            }
        }
    }

    fn pour_raw(&mut self, files: &mut LogFiles, series: &Series, most: u64) -> Result<Poured, Stuck> {
        let mut poured = Poured::default();
        let now = clock::wall_micros();
        let (mut log, mut at) = files.open(series, &self.plan).map_err(|e| Stuck::file(series, &e))?;
        if log.index.committed(self.lane).is_some() {
            files.leave_lines(series, at, self.lane).map_err(|e| Stuck::file(series, &e))?;
            poured.rotated.push(series.clone());
            (log, at) = files.open(series, &self.plan).map_err(|e| Stuck::file(series, &e))?;
        }
        while poured.bytes < most {
            let mut left = usize::try_from(most - poured.bytes).unwrap_or(usize::MAX);
            if log.is_due(at, &self.plan, now) {
                // For the next bytes, not for a turn that comes after a flush that has moved them.
                if self.waiting() == 0 {
                    break;
                }
                if log.ends_in_line(at) || log.is_overlong(at, &self.plan, OVERLONG) {
                    match files.try_to_set_aside(series, at, &self.plan) {
                        Ok(()) => poured.rotated.push(series.clone()),
                        Err(e) => poured.notice = Some(e.to_string()),
                    }
                    (log, at) = match files.open(series, &self.plan) {
                        Ok(opened) => opened,
                        Err(_) if poured.bytes > 0 => break,
                        Err(e) => return Err(Stuck::file(series, &e)),
                    };
                    continue;
                }
                // The line in the file is ended there, if its end is in sight.
                left = left.min(pump::to_line_feed(&self.pipe).unwrap_or(left));
                if left == 0 {
                    break;
                }
            } else {
                left = left.min(log.room(at, &self.plan));
            }
            // Up to a round place, so that pages of that size fit.
            left = left.min(PIECE - at as usize % PIECE);
            // Before the bytes: what is written down of bytes that never come does no harm.
            log.index.from(self.lane, self.run.0, at, now);
            let Some(file) = log.file() else { break };
            let moved = match &mut self.way {
                Way::Copy(rest) => pump::copy(&self.pipe, file, at, rest),
                Way::Splice | Way::Lines(_) | Way::Nowhere => pump::splice(&self.pipe, file, at, left),
            };
            match moved {
                Ok(Moved::Bytes(n)) => {
                    let full = n as u64 >= self.half();
                    poured.bytes += n as u64;
                    // Of all pieces: a large pipe is never half emptied by one.
                    poured.full |= poured.bytes >= self.half();
                    at += n as u64;
                    poured.grown(series);
                    if !full && n < left {
                        break;
                    }
                }
                Ok(Moved::Nothing) => break,
                Ok(Moved::End) => {
                    poured.end = true;
                    break;
                }
                Ok(Moved::NotSpliceable) => {
                    self.way = Way::Copy(Vec::new());
                    poured.gave_up_splicing = true;
                }
                // What went before is in the file and must be told; the next turn fails at once.
                Err(_) if poured.bytes > 0 => break,
                Err(e) => return Err(Stuck::os(series, e)),
            }
        }
        Ok(poured)
    }

    /// With so many bytes in it, the pipe is half full.
    pub(super) fn half(&self) -> u64 {
        self.capacity as u64 / 2
    }

    /// Moves what is in the pipe now, all of it; not what comes meanwhile, or a busy app could keep us for ever. What was
    /// moved is told beside the failure that stopped it.
    pub(super) fn drain(&mut self, files: &mut LogFiles) -> (Poured, Result<(), Stuck>) {
        let all = pump::waiting(&self.pipe);
        let mut sum = Poured::default();
        if self.waiting() == 0 {
            return (sum, Ok(()));
        }
        loop {
            let poured = match self.pour(files, (all - sum.bytes.min(all)).max(1)) {
                Ok(poured) => poured,
                Err(why) => return (sum, Err(why)),
            };
            let none = poured.bytes == 0;
            sum.bytes += poured.bytes;
            poured.grew.iter().for_each(|series| sum.grown(series));
            sum.rotated.extend(poured.rotated);
            sum.gave_up_splicing |= poured.gave_up_splicing;
            sum.end |= poured.end;
            sum.notice = poured.notice.or(sum.notice);
            if let Some(stuck) = poured.stuck {
                return (sum, Err(stuck));
            }
            if none || sum.bytes >= all {
                return (sum, Ok(()));
            }
        }
    }

    /// The run is over: what is left is a line, with its line feed or without.
    pub(super) fn close(&mut self, files: &mut LogFiles) -> (Poured, Result<(), Stuck>) {
        if let Way::Lines(lines) = &mut self.way {
            lines.over();
        }
        let (poured, outcome) = self.drain(files);
        if outcome.is_ok()
            && self.waiting() == 0
            && let Way::Lines(lines) = &mut self.way
        {
            lines.clear(files);
        }
        (poured, outcome)
    }

    /// What a daemon before this one left half done. False: nothing.
    pub(super) fn take_over(&mut self, files: &mut LogFiles) -> Result<bool, Stuck> {
        match &mut self.way {
            Way::Lines(lines) => lines.take_over(files, &self.plan),
            Way::Splice | Way::Copy(_) => self.take_over_raw(files),
            Way::Nowhere => Ok(false),
        }
    }

    /// What a daemon before this one had cut into lines had it lived goes into the file as it is, since that is what is asked for now.
    fn take_over_raw(&mut self, files: &mut LogFiles) -> Result<bool, Stuck> {
        let plan = Arc::clone(&self.plan);
        let Sink::Raw(series) = (if self.lane.err { &plan.err } else { &plan.out }) else { return Ok(false) };
        if !Spool::exists(files.spools(), self.lane) {
            return Ok(false);
        }
        let fail = |e: &FileError| Stuck::file(series, e);
        let (log, _) = files.open(series, &plan).map_err(|e| fail(&e))?;
        let committed = log.index.committed(self.lane).unwrap_or(0);
        let spool = Spool::open(files.spools(), self.lane, committed).map_err(|e| fail(&e))?;
        let (mut rest, from) = (Vec::new(), committed.max(spool.noted()));
        spool.read(from, usize::MAX, &mut rest).map_err(|e| fail(&e))?;
        let size = files.open(series, &plan).map_err(|e| fail(&e))?.1;
        files.leave_lines(series, size, self.lane).map_err(|e| fail(&e))?;
        let (log, size) = files.open(series, &plan).map_err(|e| fail(&e))?;
        log.index.from(self.lane, self.run.0, size, clock::wall_micros());
        if let Some(file) = log.file() {
            write_all_at(file, &rest, size).map_err(|e| Stuck::os(series, e))?;
        }
        // Killed before this, the next daemon writes it once more.
        let _ = spool.remove();
        Ok(true)
    }

    /// Drops what is on its way, and says how much that was.
    pub(super) fn give_up(&mut self, files: &mut LogFiles) -> u64 {
        let rest = match &mut self.way {
            Way::Copy(rest) => std::mem::take(rest).len() as u64,
            Way::Lines(lines) => lines.give_up(files, &self.plan),
            Way::Splice | Way::Nowhere => 0,
        };
        rest + pump::discard(&self.pipe, pump::waiting(&self.pipe) as usize) as u64
    }

    /// Makes a busy pipe larger, if `budget` allows. A user's pipes share `pipe-user-pages-soft` (64 MiB), beyond which every
    /// *new* pipe of that user has two pages: so only busy ones grow, and not beyond half of that in sum.
    pub(super) fn grow_if_busy(&mut self, poured: &Poured, budget: &mut usize) {
        if poured.full {
            self.busy = self.busy.saturating_add(1);
        } else if poured.bytes < self.half() / 2 {
            // Between a quarter and half it is still on its way there: it was looked at earlier, since it had been full.
            self.busy = 0;
        }
        let wanted = (self.capacity * 4).min(PIPE_MOST);
        let more = wanted.saturating_sub(self.capacity);
        if self.busy < BUSY_AFTER || more == 0 || more > *budget {
            return;
        }
        self.busy = 0;
        if pump::grow(&self.pipe, wanted) {
            self.capacity = wanted;
            self.grown += more;
            *budget -= more;
        } else {
            // Not permitted: never ask again for this one.
            self.capacity = PIPE_MOST;
        }
    }
}
