//! Writing an index beside its log, and finding out what happened to both while nobody looked.
//!
//! Owns the order of the writes. It must not write to the log. What a reader would get wrong: what a SIGKILL may leave. A record
//! of bytes that never came is followed by another of the same place. Bytes of a framed lane behind its last commit were not
//! committed, and are cut off. A rotation is finished by whoever finds it half done: see [`Indexing::set_aside`].

mod found;

pub(super) use found::Found;

use super::index::{HEADER, Header, Index, Kind, Lane, RECORD, Record};
use super::place::Plan;
use super::series::Series;
use crate::kernel::files::{Dir, FileError, Writing, write_all_at};
use crate::model::AppId;
use found::{commits, highest, uncommitted, was_set_aside};
use rustix::fd::OwnedFd;

/// A new record only after so long, or so many bytes: it is what the time of a line is known to.
const SPARSE_MICROS: u64 = 10_000;
const SPARSE_BYTES: u64 = 64 << 10;

/// A file, by what the kernel calls it. An inode's number is given again; with its time of birth it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) inode: u64,
    pub(super) born: u64,
}

/// The index of a log that is written, as far as its writer must know it.
#[derive(Debug)]
pub(super) struct Indexing {
    header: Header,
    /// Closed while the log is.
    fd: Option<OwnedFd>,
    /// Where the next record goes.
    end: u64,
    last: Option<Record>,
    from: Option<Record>,
    /// When the first bytes came, in us; 0: none have.
    begun: u64,
    commits: Vec<(Lane, u64)>,
}

impl Indexing {
    /// The index of the log whose file is open, made if there is none. `size`: of the file.
    pub(super) fn open(
        series: &Series,
        file: Identity,
        size: u64,
        plan: &Plan,
        now: u64,
    ) -> Result<(Self, Found), FileError> {
        let dir = Dir::make(series.indices())?;
        let fresh = |number| Header {
            inode: file.inode,
            born: file.born,
            number,
            max_age: plan.caps.age.limit().map_or(0, |age| u64::try_from(age.0.as_millis()).unwrap_or(0)),
            mode: plan.mode,
            format: plan.format.clone().unwrap_or_default(),
            app: plan.name.to_string(),
        };
        let old = match read(&dir, &series.index())? {
            // Killed between the two last steps of a rotation.
            None => match read(&dir, &unborn(series))? {
                Some(index) => {
                    dir.rename(unborn(series), series.index())?;
                    Some(index)
                }
                None => None,
            },
            some => some,
        };
        let Some(index) = old else {
            // Nothing is known: of a log of an earlier version, or one whose index somebody removed.
            let mut new = Self::begin(&dir, series, fresh(highest(series) + 1), &[], 0, now)?;
            if size > 0 {
                new.from(Lane { app: AppId(u32::MAX), instance: 0, err: false }, 0, 0, 0);
            }
            return Ok((new, Found::Same));
        };
        let commits = commits(&index.records);
        let (inode, number) = (index.header.inode, index.header.number);
        let high = index.records.last().map_or(0, |record| record.offset);
        let is_ours = inode == file.inode && (index.header.born == file.born || index.header.born == 0);
        // An empty file may become one of another kind.
        if is_ours && size >= high && (size > 0 || is_as_asked(&index.header, plan)) {
            let (fd, length) = dir.open_for_writing(series.index(), Writing::Update)?;
            let whole = length.saturating_sub(HEADER as u64) / RECORD as u64;
            let found = uncommitted(&index.records, &commits, size);
            return Ok((Self::of(index, fd, HEADER as u64 + whole * RECORD as u64, commits), found));
        }
        if inode == 0 && size == 0 {
            // Of a file that was not there yet, and here it is. In place: a reader may have this index open.
            return Self::born(&dir, series, fresh(number), index, commits).map(|born| (born, Found::Same));
        }
        // It is of a file that is elsewhere now (or was emptied). If we set it aside ourselves, it goes along with it.
        if !is_ours && inode != 0 && was_set_aside(series, number, inode) {
            let new = Self::succeed(&dir, series, fresh(number + 1), &commits, size, now)?;
            return Ok((new, Found::Same));
        }
        let next = if inode == 0 { number } else { number + 1 };
        Ok((Self::begin(&dir, series, fresh(next), &commits, size, now)?, Found::Same))
    }

    fn born(
        dir: &Dir,
        series: &Series,
        header: Header,
        index: Index,
        commits: Vec<(Lane, u64)>,
    ) -> Result<Self, FileError> {
        let (fd, length) = dir.open_for_writing(series.index(), Writing::Update)?;
        write_all_at(&fd, &header.encode(), 0).map_err(|e| dir.error("write", series.index(), e))?;
        let whole = length.saturating_sub(HEADER as u64) / RECORD as u64;
        Ok(Self::of(Index { header, ..index }, fd, HEADER as u64 + whole * RECORD as u64, commits))
    }

    /// With nothing on disk, for a log that is to be written although its index cannot be.
    pub(super) fn blind(series: &Series, plan: &Plan) -> Self {
        let header = Header {
            inode: 0,
            born: 0,
            number: highest(series) + 1,
            max_age: 0,
            mode: plan.mode,
            format: plan.format.clone().unwrap_or_default(),
            app: plan.name.to_string(),
        };
        Self { header, fd: None, end: 0, last: None, from: None, begun: 0, commits: Vec::new() }
    }

    fn of(index: Index, fd: OwnedFd, end: u64, commits: Vec<(Lane, u64)>) -> Self {
        let is_from = |record: &&Record| matches!(record.kind, Kind::From { .. });
        Self {
            last: index.records.last().copied(),
            from: index.records.iter().rev().find(is_from).copied(),
            begun: index.records.iter().find(is_from).map_or(0, |record| record.time),
            header: index.header,
            fd: Some(fd),
            end,
            commits,
        }
    }

    /// A new index in the place of whatever is there, in one step. What was committed for each lane is carried over.
    fn begin(
        dir: &Dir,
        series: &Series,
        header: Header,
        commits: &[(Lane, u64)],
        offset: u64,
        now: u64,
    ) -> Result<Self, FileError> {
        let (new, fd) = Self::write_new(dir, series, header, commits, offset, now)?;
        dir.rename(unborn(series), series.index())?;
        Ok(Self { fd: Some(fd), ..new })
    }

    /// The same, after the old one was given the name that belongs to the file that was set aside. Killed in between, there is
    /// none, and the new one under its other name: [`Self::open`] finds it.
    fn succeed(
        dir: &Dir,
        series: &Series,
        header: Header,
        commits: &[(Lane, u64)],
        offset: u64,
        now: u64,
    ) -> Result<Self, FileError> {
        let old = series.rotated_index(header.number - 1);
        let (new, fd) = Self::write_new(dir, series, header, commits, offset, now)?;
        dir.rename(series.index(), old)?;
        dir.rename(unborn(series), series.index())?;
        Ok(Self { fd: Some(fd), ..new })
    }

    fn write_new(
        dir: &Dir,
        series: &Series,
        header: Header,
        commits: &[(Lane, u64)],
        offset: u64,
        time: u64,
    ) -> Result<(Self, OwnedFd), FileError> {
        let mut bytes = header.encode().to_vec();
        let record =
            |(lane, source): &(Lane, u64)| Record { kind: Kind::Commit { source: *source }, lane: *lane, offset, time };
        commits.iter().for_each(|commit| bytes.extend_from_slice(&record(commit).encode()));
        let name = unborn(series);
        drop(dir.create(&name, &bytes)?);
        let (fd, end) = dir.open_for_writing(&name, Writing::Update)?;
        let last = commits.last().map(record);
        Ok((Self { header, fd: None, end, last, from: None, begun: 0, commits: commits.to_vec() }, fd))
    }

    /// The file was renamed to what it is called once it is set aside: its index follows, and one for the next file is begun, which
    /// is made by its first byte.
    pub(super) fn set_aside(&mut self, series: &Series, now: u64) -> Result<(), FileError> {
        let header = Header { inode: 0, born: 0, number: self.header.number + 1, ..self.header.clone() };
        if self.header.inode == 0 {
            // Blind: there is none to follow.
            self.header = header;
            return Ok(());
        }
        let dir = Dir::make(series.indices())?;
        *self = Self::succeed(&dir, series, header, &self.commits, 0, now)?;
        Ok(())
    }

    /// The file is not what it was (emptied, or another): what was said of it is no longer true.
    pub(super) fn renumber(&mut self, series: &Series, size: u64, now: u64) -> Result<(), FileError> {
        let header = Header { number: self.header.number + 1, ..self.header.clone() };
        *self = Self::begin(&Dir::make(series.indices())?, series, header, &self.commits, size, now)?;
        Ok(())
    }

    /// The same of a log that is not open.
    pub(super) fn renumber_closed(series: &Series, now: u64) -> Result<(), FileError> {
        let dir = Dir::make(series.indices())?;
        let Some(index) = read(&dir, &series.index())? else { return Ok(()) };
        let header = Header { number: index.header.number + 1, ..index.header };
        Self::begin(&dir, series, header, &commits(&index.records), 0, now).map(drop)
    }

    /// Whether this is still the file that it is the index of, as far as one can see.
    pub(super) fn is_of(&self, file: Identity, size: u64) -> bool {
        (self.header.inode, self.header.born) == (file.inode, file.born) && size >= self.high()
    }

    /// Whether the file holds what the plan asks for.
    pub(super) fn suits(&self, plan: &Plan) -> bool {
        is_as_asked(&self.header, plan)
    }

    /// There is nothing on disk, and never was.
    pub(super) fn is_blind(&self) -> bool {
        self.end == 0
    }

    pub(super) fn number(&self) -> u64 {
        self.header.number
    }

    /// When the first bytes came, in us; 0: none have.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// The file is at least this long, if nobody emptied it.
    pub(super) fn high(&self) -> u64 {
        self.last.map_or(0, |record| record.offset)
    }

    pub(super) fn committed(&self, lane: Lane) -> Option<u64> {
        self.commits.iter().find(|(of, _)| *of == lane).map(|(_, source)| *source)
    }

    /// Bytes are about to be written at `offset`. That it cannot be written down loses nothing but that.
    pub(super) fn from(&mut self, lane: Lane, run: u64, offset: u64, now: u64) {
        let kind = Kind::From { run };
        if let Some(last) = &self.from
            && (last.kind, last.lane) == (kind, lane)
            && (now == last.time
                || now.checked_sub(last.time).is_some_and(|passed| passed < SPARSE_MICROS)
                    && offset - last.offset.min(offset) < SPARSE_BYTES)
        {
            return;
        }
        let record = Record { kind, lane, offset, time: now };
        if self.append(record).is_ok() {
            self.from = Some(record);
            if self.begun == 0 {
                self.begun = now;
            }
        }
    }

    /// Bytes are missing at `offset`. What comes next is told of anew.
    pub(super) fn gap(&mut self, lane: Lane, bytes: u64, offset: u64, now: u64) {
        let _ = self.append(Record { kind: Kind::Gap { bytes }, lane, offset, time: now });
        self.from = None;
    }

    /// What was made of the lane's bytes up to `source` is in the file, up to `offset`.
    pub(super) fn commit(&mut self, lane: Lane, source: u64, offset: u64, now: u64) -> Result<(), FileError> {
        let record = Record { kind: Kind::Commit { source }, lane, offset, time: now };
        match self.last {
            // Only the last one counts, and a write of one record is whole or not there.
            Some(Record { kind: Kind::Commit { .. }, lane: of, .. }) if of == lane => {
                self.end -= RECORD as u64;
                self.append(record).inspect_err(|_| self.end += RECORD as u64)?;
            }
            Some(_) | None => self.append(record)?,
        }
        self.remember(lane, source);
        Ok(())
    }

    /// The same without writing it down, for bytes that are dropped because nothing can be written.
    pub(super) fn remember(&mut self, lane: Lane, source: u64) {
        match self.commits.iter_mut().find(|(of, _)| *of == lane) {
            Some((_, place)) => *place = source,
            None => self.commits.push((lane, source)),
        }
    }

    /// Says no more what was committed for a lane, from the next file or the next number on.
    pub(super) fn forget(&mut self, lane: Lane) -> Option<u64> {
        let place = self.commits.iter().position(|(of, _)| *of == lane)?;
        Some(self.commits.remove(place).1)
    }

    fn append(&mut self, record: Record) -> Result<(), FileError> {
        let fail = |e| FileError::os("write the index of", std::path::Path::new(&self.header.app), e);
        let fd = self.fd.as_ref().ok_or_else(|| fail(rustix::io::Errno::BADF))?;
        // Aligned, so that it lies in one page here, too: the kernel could stop between two of ours as well.
        write_all_at(fd, &Aligned(record.encode()).0, self.end).map_err(fail)?;
        self.end += RECORD as u64;
        self.last = Some(record);
        Ok(())
    }

    /// Lets go of the descriptor, until [`Self::wake`].
    pub(super) fn sleep(&mut self) {
        self.fd = None;
    }

    /// Opens it again, if it is what it was.
    pub(super) fn wake(&mut self, series: &Series) -> Result<bool, FileError> {
        let (fd, length) = Dir::open(series.indices())?.open_for_writing(series.index(), Writing::Update)?;
        self.fd = Some(fd);
        Ok(length == self.end)
    }

    /// Where the bytes of a run begin in the file, and whether there are earlier ones. Of a run that wrote much, not from its
    /// beginning. None: it wrote nothing into this file.
    pub(super) fn run_begins(&self, lane: Lane, run: u64) -> Option<(u64, bool)> {
        let fd = self.fd.as_ref()?;
        let at = self.end.saturating_sub(4096).max(HEADER as u64);
        let mut bytes = vec![0; usize::try_from(self.end - at).ok()?];
        let read = rustix::io::pread(fd, &mut bytes, at).ok()?;
        let (records, _) = bytes[..read].as_chunks::<RECORD>();
        let known: Vec<Record> =
            records.iter().filter_map(Record::decode).filter(|r| matches!(r.kind, Kind::From { .. })).collect();
        let first = known.iter().position(|r| r.lane == lane && r.kind == Kind::From { run })?;
        let begin = known.get(first)?.offset;
        let earlier = first == 0 && at > HEADER as u64 || begin == 0 && self.header.number > 1;
        Some((begin, earlier))
    }
}

#[repr(align(32))]
struct Aligned([u8; RECORD]);

fn is_as_asked(header: &Header, plan: &Plan) -> bool {
    header.mode == plan.mode && header.format == plan.format.as_deref().unwrap_or_default()
}

/// What an index is called until it is whole.
fn unborn(series: &Series) -> String {
    format!("{}.new", series.index())
}

fn read(dir: &Dir, name: &str) -> Result<Option<Index>, FileError> {
    match dir.read(name, 1 << 30) {
        Ok(bytes) => Ok(Index::decode(&bytes)),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e),
    }
}
