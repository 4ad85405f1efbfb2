//! The index of a file as it lies on disk, looked things up in without reading all of it.
//!
//! Owns searching and going along it. It must not read the log. What a reader would get wrong: a record is written before the bytes
//! that it speaks of, so whoever wants to know about bytes reads these first and asks the index then; the other way round, what
//! came in between would seem to be of whoever wrote before.

use crate::daemon::logs::index::{HEADER, Header, Kind, RECORD, Record};
use crate::daemon::logs::series::Series;
use crate::kernel::files::Dir;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

/// How many records are read at once.
const BLOCK: usize = 128;

/// An index that is open.
#[derive(Debug)]
pub(super) struct Lookup {
    file: File,
    pub(super) header: Header,
}

impl Lookup {
    /// None: there is none, or nothing that this version can read.
    pub(super) fn open(series: &Series, name: &str) -> Option<Self> {
        let (file, _) = Dir::open(series.indices()).and_then(|dir| dir.open_for_reading(name)).ok()?;
        let file = File::from(file);
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).ok()?;
        Some(Self { header: Header::decode(&header)?, file })
    }

    /// How many records there are by now.
    fn count(&self) -> u64 {
        let size = self.file.metadata().map_or(0, |meta| meta.len());
        size.saturating_sub(HEADER as u64) / RECORD as u64
    }

    /// Records from `first` on, a block of them at most. Those of a kind that this version does not know are None.
    fn read(&self, first: u64, most: usize) -> Vec<Option<Record>> {
        let mut bytes = vec![0; most.min(BLOCK) * RECORD];
        let read = self.file.read_at(&mut bytes, HEADER as u64 + first * RECORD as u64).unwrap_or(0);
        let (records, _) = bytes[..read].as_chunks::<RECORD>();
        records.iter().map(Record::decode).collect()
    }

    /// The records before number `end`, from the last to the first.
    fn back(&self, end: u64) -> impl Iterator<Item = Record> {
        let blocks = (0..end.div_ceil(BLOCK as u64)).map(move |i| {
            let last = end - i * BLOCK as u64;
            let first = last.saturating_sub(BLOCK as u64);
            (first, usize::try_from(last - first).unwrap_or(BLOCK))
        });
        blocks.flat_map(|(first, most)| self.read(first, most).into_iter().rev().flatten())
    }

    /// All records, the newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = Record> {
        self.back(self.count())
    }

    /// How many records, counted from the first, `holds` is true of. It must not become true again.
    fn partition(&self, holds: impl Fn(&Record) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            // One of an unknown kind is judged by what stands before it.
            if self.back(middle + 1).next().is_none_or(|record| holds(&record)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Where to begin so as to miss nothing that was captured at `time` or later: at the last record that is older, whose line may
    /// go on beyond the next one. None: every record is later.
    pub(super) fn before(&self, time: u64) -> Option<u64> {
        let end = self.partition(|record| record.time < time);
        self.back(end).find(|record| record.is_from() && record.time < time).map(|record| record.offset)
    }

    /// Up to where the file may be read. What a framed stream wrote beyond its last commit is written again after a crash, and may
    /// come out otherwise. None: all of it, since who writes to it commits nothing.
    pub(super) fn committed(&self) -> Option<u64> {
        let mut begun: Option<Record> = None;
        let mut end = None;
        for record in self.newest_first() {
            match (record.kind, begun) {
                (Kind::Commit { .. }, None) => return Some(record.offset),
                // A framed stream begins where the last commit ended, and it has committed before.
                (Kind::Commit { .. }, Some(from)) if end.is_none() && record.offset != from.offset => return None,
                (Kind::Commit { .. }, Some(from)) if record.lane == from.lane => return Some(from.offset),
                (Kind::Commit { .. }, Some(from)) => end = Some(from.offset),
                (Kind::From { .. }, None) => begun = Some(record),
                (Kind::From { .. }, Some(from)) if end.is_none() && record.offset != from.offset => return None,
                (Kind::From { .. }, Some(_)) | (Kind::Gap { .. }, _) => {}
            }
        }
        None
    }

    /// Whether the file was renumbered or set aside since this was opened: its index is another file then.
    pub(super) fn is_replaced(&self, series: &Series) -> bool {
        let now = std::fs::metadata(series.indices().join(series.index()));
        match (self.file.metadata(), now) {
            (Ok(own), Ok(now)) => own.ino() != now.ino(),
            (_, Err(_)) => true,
            (Err(_), Ok(_)) => false,
        }
    }

    /// Goes along it from an offset in the file. The second value is the record of the bytes before that.
    pub(super) fn along(self, offset: u64) -> (Along, Option<Record>) {
        let next = self.partition(|record| record.offset < offset);
        let before = self.back(next).find(Record::is_from);
        (Along { lookup: self, next, block: Vec::new().into_iter().peekable(), dry: false }, before)
    }
}

impl Record {
    /// Whether it says who wrote what follows.
    fn is_from(&self) -> bool {
        match self.kind {
            Kind::From { .. } => true,
            Kind::Commit { .. } | Kind::Gap { .. } => false,
        }
    }
}

/// A place in an index, going forward as the index grows.
#[derive(Debug)]
pub(super) struct Along {
    pub(super) lookup: Lookup,
    next: u64,
    block: std::iter::Peekable<std::vec::IntoIter<Record>>,
    /// There was nothing more, and no bytes were read since.
    dry: bool,
}

impl Along {
    /// The next record.
    pub(super) fn peek(&mut self) -> Option<Record> {
        while self.block.peek().is_none() && !self.dry {
            let block = self.lookup.read(self.next, BLOCK);
            self.dry = block.is_empty();
            self.next += block.len() as u64;
            self.block = block.into_iter().flatten().collect::<Vec<_>>().into_iter().peekable();
        }
        self.block.peek().copied()
    }

    /// Goes beyond it.
    pub(super) fn advance(&mut self) {
        self.block.next();
    }

    /// Bytes were read: there may be records of them.
    pub(super) fn bytes_were_read(&mut self) {
        self.dry = false;
    }
}
