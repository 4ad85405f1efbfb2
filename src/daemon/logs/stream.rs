//! One stream of one run: its pipe, its file, and how bytes get from one into the other.
//!
//! Owns the moving, and the growing of busy pipes. It must not decide whose turn it is. What a reader would get wrong: when
//! the file cannot take bytes they stay in the pipe, and the app waits once that is full; nothing is dropped here.

use super::files::LogFiles;
use super::pump::LastBytes;
use crate::kernel::files::Dir;
use crate::kernel::pump::{self, Moved};
use crate::model::RunId;
use rustix::fd::OwnedFd;
use std::sync::Arc;

/// The largest pipe that a user may ask for by default (fs.pipe-max-size).
const PIPE_MOST: usize = 1 << 20;
/// So many times in a row it must have been found at least half full before it is grown.
const BUSY_AFTER: u32 = 4;

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) run: RunId,
    /// The name of its file.
    pub(super) file: Arc<str>,
    pub(super) pipe: OwnedFd,
    pub(super) state: State,
    /// The run is over; what is left in the pipe is all that comes.
    pub(super) finished: bool,
    way: Way,
    /// Of the pipe, in bytes.
    capacity: usize,
    /// How often in a row it was found at least half full.
    busy: u32,
    /// How much it was grown by.
    pub(super) grown: usize,
    /// Standard error.
    pub(super) err: bool,
    /// How many bytes went into the file in this life of the daemon, and where in it they end. What an earlier daemon moved is not
    /// counted: where it began is not known, and what stands before may be another run's.
    written: u64,
    end: u64,
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// In the epoll set.
    Watched,
    /// The file could not take bytes; tried again when the timer has run out.
    Stuck,
    /// Nobody can write to the pipe any more.
    Ended,
}

#[derive(Debug)]
enum Way {
    Splice,
    /// With what was read and not yet written.
    Copy(Vec<u8>),
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Poured {
    pub(super) bytes: u64,
    /// The pipe has ended.
    pub(super) end: bool,
    /// From now on this stream is read and written instead of spliced.
    pub(super) gave_up_splicing: bool,
}

impl Stream {
    pub(super) fn new(run: RunId, file: Arc<str>, err: bool, pipe: OwnedFd) -> Self {
        let capacity = pump::capacity(&pipe);
        Self {
            run,
            file,
            pipe,
            state: State::Watched,
            finished: false,
            way: Way::Splice,
            capacity,
            busy: 0,
            grown: 0,
            err,
            written: 0,
            end: 0,
        }
    }

    /// The last bytes that this run wrote, at most `most`, by one read. None of another run's: no more than were counted, up to
    /// where they ended. A file that was emptied or replaced meanwhile has what it has.
    pub(super) fn last_bytes(&self, files: &LogFiles, most: usize) -> LastBytes {
        let wanted = self.written.min(most as u64);
        let read = || {
            let (file, size) = Dir::open(files.path()).ok()?.open_for_reading(&*self.file).ok()?;
            let end = self.end.min(size);
            let mut bytes = vec![0; usize::try_from(wanted.min(end)).ok()?];
            let got = rustix::io::pread(&file, &mut bytes, end - wanted.min(end)).ok()?;
            bytes.truncate(got);
            Some(bytes)
        };
        let bytes = if wanted == 0 { Vec::new() } else { read().unwrap_or_default() };
        LastBytes { cut: self.written > bytes.len() as u64, bytes }
    }

    /// How many bytes are on their way.
    pub(super) fn waiting(&self) -> u64 {
        let rest = match &self.way {
            Way::Splice => 0,
            Way::Copy(rest) => rest.len() as u64,
        };
        pump::waiting(&self.pipe) + rest
    }

    /// Moves at most `most` bytes into the file. Stops early when little was there: whoever watches the pipe says when
    /// there is more.
    ///
    /// # Errors
    /// The file could not take the first byte, in words.
    pub(super) fn pour(&mut self, files: &mut LogFiles, most: u64) -> Result<Poured, String> {
        let mut poured = Poured { bytes: 0, end: false, gave_up_splicing: false };
        let path = files.path().join(&*self.file);
        let (file, size) = files.open(&self.file).map_err(|e| e.to_string())?;
        while poured.bytes < most {
            let left = usize::try_from(most - poured.bytes).unwrap_or(usize::MAX);
            let at = size + poured.bytes;
            let moved = match &mut self.way {
                Way::Splice => pump::splice(&self.pipe, file, at, left),
                Way::Copy(rest) => pump::copy(&self.pipe, file, at, rest),
            };
            match moved {
                Ok(Moved::Bytes(n)) => {
                    poured.bytes += n as u64;
                    self.written += n as u64;
                    self.end = at + n as u64;
                    if n < self.capacity / 2 {
                        self.busy = 0;
                        break;
                    }
                    self.busy += 1;
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
                Err(e) => return Err(format!("failed to write {}: {e}", path.display())),
            }
        }
        Ok(poured)
    }

    /// Moves what is in the pipe now, all of it; not what comes meanwhile, or a busy app could keep us for ever. What was
    /// moved is told beside the failure that stopped it.
    pub(super) fn drain(&mut self, files: &mut LogFiles) -> (Poured, Result<(), String>) {
        let all = self.waiting();
        let mut sum = Poured { bytes: 0, end: false, gave_up_splicing: false };
        while sum.bytes < all {
            let poured = match self.pour(files, all - sum.bytes) {
                Ok(poured) => poured,
                Err(why) => return (sum, Err(why)),
            };
            sum.bytes += poured.bytes;
            sum.gave_up_splicing |= poured.gave_up_splicing;
            sum.end |= poured.end;
            if poured.bytes == 0 {
                break;
            }
        }
        (sum, Ok(()))
    }

    /// Makes a busy pipe larger, if `budget` allows. A user's pipes share `pipe-user-pages-soft` (64 MiB), beyond which every
    /// *new* pipe of that user has two pages: so only busy ones grow, and not beyond half of that in sum.
    pub(super) fn grow_if_busy(&mut self, budget: &mut usize) {
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
