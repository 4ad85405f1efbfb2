//! What a log and its index look like to who opens them anew.
//!
//! Owns what is concluded from that. It must not change anything.

use super::super::index::{Kind, Lane, Record};
use super::super::series::{Packing, Series};

/// What has become of a log since its index was written.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Found {
    /// All is as it was left.
    Same,
    /// Bytes that were not committed begin here: they are to be cut off.
    CutAt(u64),
}

pub(super) fn commits(records: &[Record]) -> Vec<(Lane, u64)> {
    let mut commits: Vec<(Lane, u64)> = Vec::new();
    for record in records {
        if let Kind::Commit { source } = record.kind {
            commits.retain(|(lane, _)| *lane != record.lane);
            commits.push((record.lane, source));
        }
    }
    commits
}

/// A lane that commits does so before its first byte, too. So the bytes behind the last record of one that does are cut where it
/// last committed; those of a raw lane, which commits nothing, stay.
pub(super) fn uncommitted(records: &[Record], commits: &[(Lane, u64)], size: u64) -> Found {
    let Some(from) = records.iter().rev().find(|r| matches!(r.kind, Kind::From { .. })) else { return Found::Same };
    if !commits.iter().any(|(lane, _)| *lane == from.lane) {
        return Found::Same;
    }
    let committed = records.iter().rev().find(|r| matches!(r.kind, Kind::Commit { .. })).map_or(0, |r| r.offset);
    let end = from.offset.max(committed);
    if size > end { Found::CutAt(end) } else { Found::Same }
}

/// The number of the newest file that was set aside; 0 if there is none.
pub(super) fn highest(series: &Series) -> u64 {
    let names = std::fs::read_dir(series.folder()).into_iter().flatten().flatten().map(|entry| entry.file_name());
    series.parts(&names.collect::<Vec<_>>()).last().map_or(0, |part| part.number)
}

pub(super) fn was_set_aside(series: &Series, number: u64, inode: u64) -> bool {
    use std::os::unix::fs::MetadataExt;
    let path = series.folder().join(series.rotated(number, Packing::None));
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.ino() == inode)
}
