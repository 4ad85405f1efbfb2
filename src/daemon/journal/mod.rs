//! The event journal: what happened, in JSON lines, bounded to two files. An exit code's only home.
//!
//! Owns `events/`. It must not decide anything, and no liveness is ever derived from it. What a reader would get wrong: it is
//! not fsynced. It must survive the daemon, which a write(2) does, not a power cut: after a reboot settled apps are started
//! anyway. But a power cut may tear its last line, so a line is only ever begun at the start of one. See `DESIGN.md`.

mod carried;
mod cursor;
mod history;
mod line;
mod read;
mod replay;

pub(super) use cursor::Cursor;
pub(super) use line::Line;
pub(super) use replay::{Piece, Replay};

use crate::kernel::files::{Dir, FileError, Writing, write_all};
use crate::model::{Before, BootId, Event, ExitRecord, InstanceId, Moment, RunId, Wall};
use crate::supervise::Past;
pub use history::Deletion;
use history::History;
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

const CURRENT: &str = "current.jsonl";
const PREVIOUS: &str = "previous.jsonl";
const NEW: &str = "current.jsonl.new";
/// A file this long is rotated.
const ROTATE_AT: u64 = 4 << 20;
/// The most events that wait for a disk.
const OWED_MOST: usize = 4096;
/// Room for so many is kept when all are written.
const OWED_KEPT: usize = 64;

/// What a daemon begins with.
#[derive(Debug)]
pub struct LoadedJournal {
    /// The last exit of each instance that had one. Its failures are still to be told from `recent`, by who knows the specs.
    pub past: Vec<Past>,
    /// The exits in this boot that may count against each instance's start limit, oldest first.
    pub recent: BTreeMap<InstanceId, Vec<Arc<ExitRecord>>>,
    /// The highest run that was recorded.
    pub highest_run: Option<RunId>,
    /// What became of the daemon before.
    pub before: Before,
    /// The highest run of each instance of which it is known that it began.
    pub started: BTreeMap<InstanceId, RunId>,
    /// The highest run of each instance of which it is known how it ended. Of deleted apps too: their last run's cgroup is removed
    /// after the deletion is recorded, and a daemon that finds it in between is not to record its end again.
    pub ended: BTreeMap<InstanceId, RunId>,
    /// The last orders to delete, by their keys, and the names of what they deleted as far as that is known.
    pub deletions: Vec<Deletion>,
    /// What people must be told.
    pub troubles: Vec<String>,
}

/// The journal, and what it still owes to the disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    open: Option<Open>,
    history: History,
    owed: VecDeque<Owed>,
    dropped: u64,
    rotate_at: u64,
    /// The number of the last line. Whoever follows is told through this, and reads the files: a slow one costs nothing.
    written: watch::Sender<u64>,
}

#[derive(Debug)]
struct Owed {
    line: Line,
    ack: Option<RunId>,
}

/// The file that is written to.
#[derive(Debug)]
struct Open {
    dir: Dir,
    file: OwnedFd,
    size: u64,
    /// Its last line is not whole.
    torn: bool,
    /// Length at which it is rotated: more than the usual after a rotation that failed or carried a lot over.
    rotate_at: u64,
}

impl Journal {
    /// Reads the journal in `dir` (made when first written to), and is ready to go on with it. Damage is no error: what
    /// cannot be understood is left out and said.
    #[must_use]
    pub fn load(dir: &Path, boot: &BootId) -> (Self, LoadedJournal) {
        let mut history = History::default();
        let mut troubles = Vec::new();
        let (mut started, mut ended) = (BTreeMap::new(), BTreeMap::new());
        let highest = |of: &mut BTreeMap<InstanceId, RunId>, instance: InstanceId, run: RunId| {
            of.entry(instance).and_modify(|highest| *highest = run.max(*highest)).or_insert(run);
        };
        match Dir::make(dir) {
            Ok(dir) => {
                // Neighbours are mostly of one boot, and hold its name together.
                let mut last = boot.clone();
                for name in [PREVIOUS, CURRENT] {
                    let read = read::lines(&dir, name, |mut line| {
                        if line.boot == last {
                            line.boot = last.clone();
                        } else {
                            last = line.boot.clone();
                        }
                        if let Event::Started { instance, run, .. } = &line.event {
                            highest(&mut started, *instance, *run);
                        } else if let Event::Exited(record) = &line.event {
                            highest(&mut ended, record.instance, record.run);
                        }
                        history.note(&line);
                    });
                    if let Err(trouble) = read {
                        troubles.push(trouble);
                    }
                }
            }
            Err(e) => troubles.push(e.to_string()),
        }
        let loaded = LoadedJournal {
            past: history.past(boot),
            recent: history.recent(boot),
            highest_run: history.highest_run(),
            before: history.before(boot),
            started,
            ended,
            deletions: history.deletions(),
            troubles,
        };
        let path = dir.to_owned();
        let written = watch::Sender::new(history.highest_seq());
        (Self { path, open: None, history, owed: VecDeque::new(), dropped: 0, rotate_at: ROTATE_AT, written }, loaded)
    }

    /// Rings whenever lines were written; they are to be read with a [`Replay`].
    #[must_use]
    pub fn bell(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Takes an event to be written by the next [`Journal::write`]. Bounded: while the disk refuses, other events give way
    /// to exits, and the oldest exits to newer ones (unacknowledged, so the keeper still has them).
    pub fn queue(&mut self, event: Event, at: Wall, boot: &BootId, moment: Moment, ack: Option<RunId>) {
        if self.owed.len() >= OWED_MOST {
            let least = self.owed.iter().position(|o| !matches!(o.line.event, Event::Exited(_))).unwrap_or(0);
            self.owed.remove(least);
            self.dropped += 1;
        }
        self.owed.push_back(Owed { line: Line { seq: 0, carried: false, at, boot: boot.clone(), moment, event }, ack });
    }

    /// Whether something is not written yet.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Writes what is owed, in order; `recorded` is told of each exit that asked for it.
    ///
    /// # Errors
    /// The rest is still owed, and this is why.
    pub fn write(&mut self, mut recorded: impl FnMut(RunId)) -> Result<(), String> {
        while let Some(owed) = self.owed.front_mut() {
            // What could not be written whole is written again under the same number, and read once.
            owed.line.seq = self.history.highest_seq() + 1;
            if self.dropped > 0 {
                let message = format!("{} events could not be written and were dropped", self.dropped);
                let line = Line { event: Event::Trouble { message }, ..owed.line.clone() };
                self.append(&line.to_text()?).map_err(|e| e.to_string())?;
                self.dropped = 0;
                self.history.note(&line);
                continue;
            }
            let text = owed.line.to_text()?;
            self.append(&text).map_err(|e| e.to_string())?;
            if let Some(Owed { line, ack }) = self.owed.pop_front() {
                self.history.note(&line);
                self.written.send_replace(line.seq);
                if let Some(run) = ack {
                    recorded(run);
                }
            }
        }
        // A thousand apps started at once is a burst; what it took is given back.
        if self.owed.capacity() > OWED_KEPT {
            self.owed = VecDeque::new();
        }
        Ok(())
    }

    /// One line, in one write(2).
    fn append(&mut self, text: &str) -> Result<(), FileError> {
        let mut open = match self.open.take() {
            // Somebody removed it: what is written there now, no daemon will ever read.
            Some(open) if open.dir.still_names(CURRENT, &open.file) => open,
            Some(_) | None => self.open_current()?,
        };
        if open.size >= open.rotate_at {
            open = self.rotate(open)?;
        }
        let text = if open.torn { format!("\n{text}") } else { text.to_owned() };
        let written = write_all(&open.file, text.as_bytes());
        // A part of the line may be there; the next one must not be glued to it.
        open.torn = written.is_err();
        open.size += text.len() as u64;
        let failed = written.err().map(|e| open.dir.error("write", CURRENT, e));
        self.open = Some(open);
        failed.map_or(Ok(()), Err)
    }

    fn open_current(&self) -> Result<Open, FileError> {
        let dir = Dir::make(&self.path)?;
        let (file, size) = dir.open_for_writing(CURRENT, Writing::Append)?;
        let torn = size > 0 && !read::ends_with_line_feed(&dir, CURRENT, size);
        Ok(Open { dir, file, size, torn, rotate_at: self.rotate_at })
    }

    /// Begins a new file with the lines that must outlive the oldest one. A crash between the two renames leaves no current
    /// file and all lines in the previous one.
    fn rotate(&self, mut open: Open) -> Result<Open, FileError> {
        let carried = self.history.carried();
        let begun = open
            .dir
            .create(NEW, carried.as_bytes())
            .and_then(|_| open.dir.rename(CURRENT, PREVIOUS))
            .and_then(|()| open.dir.rename(NEW, CURRENT));
        let size = carried.len() as u64;
        if begun.is_err() && open.dir.still_names(CURRENT, &open.file) {
            // A disk without room for the lines carried over may have room for one more here. Try again a while later.
            let _ = open.dir.remove(NEW);
            open.rotate_at = open.size + self.rotate_at / 16;
            return Ok(open);
        }
        let mut new = self.open_current()?;
        // Very many instances would otherwise fill a file by what they carry over, and rotate at every line.
        new.rotate_at = self.rotate_at.max(size.saturating_mul(2));
        Ok(new)
    }
}
