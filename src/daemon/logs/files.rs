//! The log files that are open for writing: few, and always those that their names lead to.
//!
//! Owns opening, setting aside and emptying. It must not move an app's bytes. What a reader would get wrong: the place to write
//! to is the file's length *now*, asked at every turn. Whoever empties a log file in place finds it filled from its start, not
//! after a hole; and after a crash the length says what the splice before it has done.

use super::index::Lane;
use super::indexing::{Found, Identity, Indexing};
use super::journald::Journald;
use super::lines::Scratch;
use super::place::Plan;
use super::series::{Packing, Series};
use crate::kernel::clock;
use crate::kernel::files::{Dir, FileError, Writing};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, StatxFlags};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Of how many logs it is remembered where they stand, so that opening them again is cheap.
const KNOWN_MOST: usize = 4096;

/// What was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Emptied {
    /// How many files.
    pub files: u32,
    /// How much they held.
    pub bytes: u64,
}

/// The logs that were written to.
#[derive(Debug)]
pub(super) struct LogFiles {
    known: BTreeMap<Series, Log>,
    /// Where spools are.
    spools: PathBuf,
    /// The one that is no file.
    pub(super) journald: Journald,
    pub(super) scratch: Scratch,
    /// Two descriptors for each that is open.
    open_most: usize,
    /// Counts up, to tell which was used last.
    turn: u64,
}

/// A log that was written to.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<OwnedFd>,
    pub(super) index: Indexing,
    used: u64,
    /// It could not be set aside at this size; not tried again before it is that much larger.
    stays: u64,
}

impl Log {
    pub(super) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Whether the file, which is this long, is to be set aside before more is written.
    pub(super) fn is_due(&self, size: u64, plan: &Plan, now: u64) -> bool {
        let large = plan.caps.size.limit().is_some_and(|most| size >= most.0);
        let begun = self.index.begun();
        let old = |age: u64| begun != 0 && now.saturating_sub(begun) >= age;
        let due =
            large || plan.caps.age.limit().is_some_and(|age| old(age.0.as_micros().try_into().unwrap_or(u64::MAX)));
        // Whoever asks tries until it is no longer due, so one that cannot be set aside must not be, for any reason.
        size > 0 && size >= self.stays && due
    }

    /// How much may be written before it is due, at least a byte.
    pub(super) fn room(&self, size: u64, plan: &Plan) -> usize {
        let most = plan.caps.size.limit().map_or(u64::MAX, |most| most.0.max(self.stays));
        usize::try_from(most.saturating_sub(size).max(1)).unwrap_or(usize::MAX)
    }

    /// Whether it is so much too large that the end of a line is waited for no longer.
    pub(super) fn is_overlong(&self, size: u64, plan: &Plan, by: u64) -> bool {
        plan.caps.size.limit().is_some_and(|most| size >= most.0.saturating_add(by))
    }

    /// Whether the last line in the file has its end.
    pub(super) fn ends_in_line(&self, size: u64) -> bool {
        let mut last = [0];
        match &self.file {
            Some(file) if size > 0 => matches!(rustix::io::pread(file, &mut last, size - 1), Ok(1)) && last[0] == b'\n',
            Some(_) | None => true,
        }
    }
}

/// How many logs are held open, each with its index, where a process may have so many descriptors in all.
pub(in crate::daemon) fn open_most(limit: u64) -> usize {
    usize::try_from(limit / 16).unwrap_or(usize::MAX).clamp(32, 512)
}

impl LogFiles {
    pub(super) fn new(spools: PathBuf, journald: &Path) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let open_most = open_most(limit);
        Self {
            known: BTreeMap::new(),
            spools,
            journald: Journald::new(journald),
            scratch: Scratch::default(),
            open_most,
            turn: 0,
        }
    }

    pub(super) fn spools(&self) -> &Path {
        &self.spools
    }

    /// The log, its file made if it is missing (and its folder too), and where to write.
    pub(super) fn open(&mut self, series: &Series, plan: &Plan) -> Result<(&mut Log, u64), FileError> {
        self.turn += 1;
        let size = match self.still_open(series)? {
            Some(size) => size,
            None => self.open_file(series, plan)?,
        };
        match self.known.get_mut(series) {
            Some(log) => {
                log.used = self.turn;
                Ok((log, size))
            }
            // Not reached: it was just looked at.
            None => Err(FileError::os("open", &series.path(), rustix::io::Errno::BADF)),
        }
    }

    fn still_open(&mut self, series: &Series) -> Result<Option<u64>, FileError> {
        let Some(log) = self.known.get_mut(series) else { return Ok(None) };
        let Some(file) = &log.file else { return Ok(None) };
        match rustix::fs::fstat(file) {
            // Perhaps an index can be made now.
            Ok(_) if log.index.is_blind() => {
                log.file = None;
                Ok(None)
            }
            // Removed: what is written there now, nobody will ever read.
            Ok(stat) if stat.st_nlink > 0 => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                if size < log.index.high() {
                    log.index.renumber(series, size, clock::wall_micros())?;
                }
                Ok(Some(size))
            }
            Ok(_) | Err(_) => {
                log.file = None;
                Ok(None)
            }
        }
    }

    fn open_file(&mut self, series: &Series, plan: &Plan) -> Result<u64, FileError> {
        // The folder is opened anew each time: it may have been removed, or renamed by whoever rotates logs by hand.
        let dir = folder(series)?;
        let (file, mut size) = dir.open_for_writing(series.name(), Writing::Update)?;
        let (identity, now) = (identity(&file), clock::wall_micros());
        if let Some(log) = self.known.get_mut(series)
            && log.index.is_of(identity, size)
            && log.index.wake(series).unwrap_or(false)
        {
            log.file = Some(file);
            self.make_room_for(series);
            return Ok(size);
        }
        let index = match Indexing::open(series, identity, size, plan, now) {
            Ok((index, Found::Same)) => index,
            Ok((index, Found::CutAt(at))) => {
                rustix::fs::ftruncate(&file, at).map_err(|e| FileError::os("cut", &series.path(), e))?;
                size = at;
                index
            }
            // The log is worth more than its index. On a full disk there is no telling which of the two failed first.
            Err(e) if e.is_full() => return Err(e),
            Err(_) => Indexing::blind(series, plan),
        };
        let suits = size == 0 || index.suits(plan);
        self.known.insert(series.clone(), Log { file: Some(file), index, used: self.turn, stays: 0 });
        self.make_room_for(series);
        if suits {
            return Ok(size);
        }
        // Another mode was asked for: a file holds lines of one kind.
        self.set_aside(series)?;
        self.known.remove(series);
        self.open_file(series, plan)
    }

    /// Closes the one that was not used for longest, if too many are open, and forgets what was not used for ages.
    fn make_room_for(&mut self, series: &Series) {
        let oldest = |known: &BTreeMap<Series, Log>, open: bool| {
            known
                .iter()
                .filter(|(other, log)| *other != series && (log.file.is_some() || !open))
                .min_by_key(|(_, log)| log.used)
                .map(|(other, _)| other.clone())
        };
        if self.known.values().filter(|log| log.file.is_some()).count() > self.open_most
            && let Some(log) = oldest(&self.known, true).and_then(|oldest| self.known.get_mut(&oldest))
        {
            log.file = None;
            log.index.sleep();
        }
        if self.known.len() > KNOWN_MOST
            && let Some(oldest) = oldest(&self.known, false)
        {
            self.known.remove(&oldest);
        }
    }

    /// Gives the file that is written the name of one that is not any more. The next byte begins another.
    ///
    /// A kill after the first rename leaves an index without its file; whoever opens the log next finishes the rest.
    pub(super) fn set_aside(&mut self, series: &Series) -> Result<(), FileError> {
        let Some(log) = self.known.get_mut(series) else { return Ok(()) };
        let dir = folder(series)?;
        let name = series.rotated(log.index.number(), Packing::None);
        if !dir.rename_aside(series.name(), &name)? {
            let taken = rustix::io::Errno::EXIST;
            return Err(FileError::os("set aside", &series.path(), taken));
        }
        log.file = None;
        log.stays = 0;
        log.index.set_aside(series, clock::wall_micros())
    }

    /// The same if it can be; if not, it grows on, and whoever is told knows why.
    pub(super) fn try_to_set_aside(&mut self, series: &Series, size: u64, plan: &Plan) -> Result<(), FileError> {
        let done = self.set_aside(series);
        if done.is_err()
            && let Some(log) = self.known.get_mut(series)
        {
            log.stays = size.saturating_add(plan.caps.size.limit().map_or(10 << 20, |most| most.0.max(1)));
        }
        done
    }

    /// A lane that committed lines is written byte for byte from here on. Behind its commits those bytes would be taken for what a
    /// crash left, and be cut off; so they begin another file, or at least another index.
    pub(super) fn leave_lines(&mut self, series: &Series, size: u64, lane: Lane) -> Result<(), FileError> {
        let Some(log) = self.known.get_mut(series) else { return Ok(()) };
        let Some(source) = log.index.forget(lane) else { return Ok(()) };
        let aside = if size > 0 { self.set_aside(series).is_ok() } else { false };
        match self.known.get_mut(series) {
            Some(log) if !aside => {
                let done = log.index.renumber(series, size, clock::wall_micros());
                done.inspect_err(|_| log.index.remember(lane, source))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Empties the file that is written. Those that were set aside are not ours.
    pub(super) fn empty(&mut self, series: &Series) -> Result<Emptied, FileError> {
        let mut emptied = Emptied::default();
        let dir = match Dir::foreign_if_there(series.folder()) {
            Ok(dir) => dir,
            Err(e) if e.is_missing() => return Ok(emptied),
            Err(e) => return Err(e),
        };
        match dir.open_for_reading(series.name()) {
            Ok((_, 0)) => {}
            Ok((_, size)) => {
                let (file, _) = dir.open_for_writing(series.name(), Writing::At)?;
                rustix::fs::ftruncate(&file, 0).map_err(|e| FileError::os("empty", &series.path(), e))?;
                emptied.files += 1;
                emptied.bytes += size;
            }
            Err(e) if e.is_missing() => {}
            Err(e) => return Err(e),
        }
        match self.known.get_mut(series) {
            Some(log) if log.file.is_some() => log.index.renumber(series, 0, clock::wall_micros())?,
            Some(_) | None => {
                self.known.remove(series);
                Indexing::renumber_closed(series, clock::wall_micros())?;
            }
        }
        Ok(emptied)
    }

    /// Somebody begins to write to it. If lines of another kind are asked for now, that is seen to when it is opened anew; not at
    /// each turn, since two apps may share a file in two modes.
    pub(super) fn suit(&mut self, series: &Series, plan: &Plan) {
        if self.known.get(series).is_some_and(|log| !log.index.suits(plan)) {
            self.known.remove(series);
        }
    }

    /// Nobody writes to it any more, as far as one knows: its descriptors are not kept.
    pub(super) fn close(&mut self, series: &Series) {
        if let Some(log) = self.known.get_mut(series) {
            log.file = None;
            log.index.sleep();
        }
    }

    /// Lets go of files that somebody renamed: the next bytes go where the name leads.
    pub(super) fn let_go_of_renamed(&mut self) {
        for (series, log) in &mut self.known {
            let same = match (&log.file, Dir::foreign_if_there(series.folder())) {
                (Some(file), Ok(dir)) => dir.still_names(series.name(), file),
                (Some(_), Err(_)) => false,
                (None, _) => continue,
            };
            if !same {
                log.file = None;
            }
        }
    }

    /// The last bytes that a run wrote to its log, at most `most`, and whether there were more.
    pub(super) fn last_bytes(
        &mut self,
        series: &Series,
        plan: &Plan,
        (lane, run): (Lane, u64),
        most: u64,
    ) -> Option<(Vec<u8>, bool)> {
        if !series.path().exists() {
            return None;
        }
        let (log, size) = self.open(series, plan).ok()?;
        let (begin, earlier) = log.index.run_begins(lane, run)?;
        let at = size.saturating_sub(most).max(begin.min(size));
        let mut bytes = vec![0; usize::try_from(size - at).ok()?];
        let read = rustix::io::pread(log.file.as_ref()?, &mut bytes, at).ok()?;
        bytes.truncate(read);
        Some((bytes, earlier || at > begin))
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.known.values().filter(|log| log.file.is_some()).count()
    }
}

fn folder(series: &Series) -> Result<Dir, FileError> {
    if series.is_foreign() { Dir::foreign(series.folder()) } else { Dir::make(series.folder()) }
}

fn identity(file: &OwnedFd) -> Identity {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME);
    stat.map_or(Identity { inode: 0, born: 0 }, |stat| {
        let knows = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        let born =
            u64::try_from(stat.stx_btime.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::from(stat.stx_btime.tv_nsec);
        Identity { inode: stat.stx_ino, born: if knows { born } else { 0 } }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end by panicking")]
    use super::*;
    use crate::model::{AppId, InstanceId};

    #[test]
    fn few_files_are_open_and_the_least_recently_used_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let mut files = LogFiles::new(dir.path().join("spool"), Path::new("/nowhere"));
        files.open_most = 64;
        let paths = crate::config::Paths {
            state: dir.path().into(),
            logs: dir.path().into(),
            runtime: dir.path().into(),
            config: dir.path().into(),
            home: None,
            system: false,
        };
        let plan = Plan::by_name(&paths, "web".parse().unwrap(), InstanceId::new(AppId(1), 0));
        let all: Vec<Series> = (0..200).map(|n| Series::own(dir.path(), &format!("{n}.log"))).collect();
        for series in &all {
            files.open(series, &plan).unwrap();
            files.open(&all[0], &plan).unwrap();
        }
        assert_eq!(files.count(), 64);
        assert!(files.known[&all[0]].file.is_some(), "the one in use stays");
        assert!(files.known[&all[199]].file.is_some());
        assert!(files.known[&all[1]].file.is_none());
    }
}
