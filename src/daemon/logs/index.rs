//! The index of a log file: what was captured when, from whom, beside bytes that are exactly what was written.
//!
//! Owns the format, and looking things up in it. It must not touch the log. What a reader would get wrong: an index is sparse and
//! may be missing, short or torn at its end. Then less is known about a line; the line itself is never in doubt.
//!
//! A header of [`HEADER`] bytes, then records of [`RECORD`] bytes, all numbers little endian. Records never cross a page, so a
//! write of one is whole or not there after a SIGKILL: the kernel looks for one between pages only (generic_perform_write).
//!
//! ```text
//! header  magic 8 | file's inode 8 | its birth ns 8 | its number 8 | max age ms 8 | mode 1 | format's length 1 |
//!         app's length 1 | format | app's name
//! record  kind 1 | stream 1 | instance 2 | app 4 | offset in the file 8 | wall time us 8 | value 8
//! ```

use crate::api::LogStream;
use crate::model::{AppId, LogMode};

/// Bytes before the first record.
pub const HEADER: usize = 512;
/// Bytes of a record.
pub const RECORD: usize = 32;

const MAGIC: &[u8; 8] = b"opmlog1\n";
const FIXED: usize = 43;

/// Which file this is the index of, and how to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The file's inode; 0 while it is not there yet.
    pub inode: u64,
    /// When the file was made, in ns since 1970, where the filesystem says (statx(2)); else 0. An inode's number is given again.
    pub born: u64,
    /// The file's number in its series.
    pub number: u64,
    /// How long it is kept, in ms, also when the app is deleted; 0: for ever.
    pub max_age: u64,
    /// What stands in it.
    pub mode: LogMode,
    /// With mode `time`: how the time before a line is written. Empty: ISO 8601.
    pub format: String,
    /// Whose it is; of several, the first.
    pub app: String,
}

impl Header {
    /// As it stands on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        for number in [self.inode, self.born, self.number, self.max_age] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(match self.mode {
            LogMode::Raw => 0,
            LogMode::Time => 1,
            LogMode::Json => 2,
        });
        let (format, app) = (short(&self.format), short(&self.app));
        out.extend([format.len() as u8, app.len() as u8]);
        out.extend_from_slice(format.as_bytes());
        out.extend_from_slice(app.as_bytes());
        out.resize(HEADER, 0);
        out.try_into().unwrap_or([0; HEADER])
    }

    /// None: it is not an index, or one of a later version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if bytes.get(..8)? != MAGIC {
            return None;
        }
        let mode = match bytes.get(40)? {
            0 => LogMode::Raw,
            1 => LogMode::Time,
            2 => LogMode::Json,
            _ => return None,
        };
        let (format, app) = (usize::from(*bytes.get(41)?), usize::from(*bytes.get(42)?));
        let text = |at: usize, length: usize| String::from_utf8(bytes.get(at..at + length)?.to_vec()).ok();
        Some(Self {
            inode: number(8)?,
            born: number(16)?,
            number: number(24)?,
            max_age: number(32)?,
            mode,
            format: text(FIXED, format)?,
            app: text(FIXED + format, app)?,
        })
    }
}

/// The longest format and name fit; names of apps have 128 bytes at most.
fn short(text: &str) -> &str {
    let mut end = text.len().min(200);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Who wrote: one stream of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The app.
    pub app: AppId,
    /// The instance's number.
    pub instance: u16,
    /// Standard error.
    pub err: bool,
}

impl Lane {
    /// Which stream.
    #[must_use]
    pub fn stream(self) -> LogStream {
        if self.err { LogStream::Err } else { LogStream::Out }
    }
}

/// Something about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What.
    pub kind: Kind,
    /// Whose.
    pub lane: Lane,
    /// Where in the file.
    pub offset: u64,
    /// When, in us since 1970.
    pub time: u64,
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What stands from here on was captured then, and written by this run (0: it is not known). Written before the bytes, so
    /// they may be missing; then the next one has the same offset, and counts.
    From {
        /// The run.
        run: u64,
    },
    /// Up to here the file holds what was made of this lane's bytes up to that place in all that it ever wrote.
    Commit {
        /// The place.
        source: u64,
    },
    /// Here so many bytes are missing, which a full disk could not take.
    Gap {
        /// How many.
        bytes: u64,
    },
}

impl Record {
    /// As it stands on disk.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD] {
        let (kind, value) = match self.kind {
            Kind::From { run } => (1, run),
            Kind::Commit { source } => (2, source),
            Kind::Gap { bytes } => (3, bytes),
        };
        let mut out = [0; RECORD];
        out[0] = kind;
        out[1] = u8::from(self.lane.err);
        out[2..4].copy_from_slice(&self.lane.instance.to_le_bytes());
        out[4..8].copy_from_slice(&self.lane.app.0.to_le_bytes());
        out[8..16].copy_from_slice(&self.offset.to_le_bytes());
        out[16..24].copy_from_slice(&self.time.to_le_bytes());
        out[24..].copy_from_slice(&value.to_le_bytes());
        out
    }

    /// None: of a kind that this version does not know.
    #[must_use]
    pub fn decode(bytes: &[u8; RECORD]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let value = number(24);
        let kind = match bytes[0] {
            1 => Kind::From { run: value },
            2 => Kind::Commit { source: value },
            3 => Kind::Gap { bytes: value },
            _ => return None,
        };
        let lane = Lane {
            app: AppId(u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
            instance: u16::from_le_bytes([bytes[2], bytes[3]]),
            err: bytes[1] != 0,
        };
        Some(Self { kind, lane, offset: number(8), time: number(16) })
    }
}

/// An index as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Of which file.
    pub header: Header,
    /// In the order of their offsets.
    pub records: Vec<Record>,
}

impl Index {
    /// Reads one. A torn end is left out, and so is what this version does not know. None: it is no index.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header = Header::decode(bytes)?;
        let (records, _) = bytes.get(HEADER..)?.as_chunks::<RECORD>();
        Some(Self { header, records: records.iter().filter_map(Record::decode).collect() })
    }

    /// The record that says who wrote the byte at `offset`, and when.
    #[must_use]
    pub fn at(&self, offset: u64) -> Option<&Record> {
        let end = self.records.partition_point(|record| record.offset <= offset);
        self.records[..end].iter().rev().find(|record| matches!(record.kind, Kind::From { .. }))
    }

    /// The last place that was committed for a lane.
    #[must_use]
    pub fn committed(&self, lane: Lane) -> Option<u64> {
        self.records.iter().rev().find_map(|record| match record.kind {
            Kind::Commit { source } if record.lane == lane => Some(source),
            Kind::Commit { .. } | Kind::From { .. } | Kind::Gap { .. } => None,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            inode: 77,
            born: 1 << 60,
            number: 18,
            max_age: 7_776_000_000,
            mode: LogMode::Time,
            format: "%H:%M".into(),
            app: "web".into(),
        }
    }

    fn record(kind: Kind, offset: u64) -> Record {
        Record { kind, lane: Lane { app: AppId(3), instance: 700, err: true }, offset, time: 1_790_000_000_000_000 }
    }

    #[test]
    fn what_is_written_is_read_and_a_torn_end_left_out() {
        let records = [
            record(Kind::From { run: 9 }, 0),
            record(Kind::Gap { bytes: 5 }, 40),
            record(Kind::Commit { source: 8 }, 40),
        ];
        let mut bytes = header().encode().to_vec();
        records.iter().for_each(|r| bytes.extend_from_slice(&r.encode()));
        let whole = Index { header: header(), records: records.to_vec() };
        assert_eq!(Index::decode(&bytes), Some(whole.clone()));
        for cut in HEADER..bytes.len() {
            let some = Index::decode(&bytes[..cut]).unwrap();
            assert_eq!(some.records, whole.records[..(cut - HEADER) / RECORD]);
        }
        assert_eq!(Index::decode(&bytes[..HEADER - 1]), None);
        bytes[0] = b'x';
        assert_eq!(Index::decode(&bytes), None);
    }

    #[test]
    fn the_last_record_of_an_offset_counts() {
        let records = vec![
            record(Kind::From { run: 1 }, 0),
            record(Kind::From { run: 2 }, 10),
            record(Kind::From { run: 3 }, 10),
            record(Kind::Commit { source: 4 }, 20),
        ];
        let index = Index { header: header(), records };
        let run = |offset| index.at(offset).map(|r| r.kind);
        assert_eq!(run(9), Some(Kind::From { run: 1 }));
        assert_eq!(run(10), Some(Kind::From { run: 3 }));
        assert_eq!(run(99), Some(Kind::From { run: 3 }));
        assert_eq!(index.committed(record(Kind::Commit { source: 0 }, 0).lane), Some(4));
    }
}
