//! Which of the files that were set aside stay, and which go.
//!
//! Owns the arithmetic of the caps and of the room on a disk. It must not touch a file. What a reader would get wrong: no cap ever
//! takes the file that is being written, however large it is; it counts only towards the total.

use crate::daemon::logs::series::{Part, Series};
use crate::model::{ByteSize, Cap, LogCaps, Span};
use std::time::SystemTime;

/// A file that was set aside, as it lies there.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Whose.
    pub(super) series: Series,
    /// Which.
    pub(super) part: Part,
    /// When the last byte was written to it, packed or not.
    pub(super) modified: SystemTime,
    /// How long it is.
    pub(super) bytes: u64,
    /// What its removal gives back to the filesystem.
    pub(super) held: u64,
}

/// What stays, and what goes.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub(super) stay: Vec<Kept>,
    pub(super) go: Vec<Kept>,
}

/// By number and by age. Of one series, oldest first.
pub(super) fn count_and_age(parts: Vec<Kept>, caps: &LogCaps, now: SystemTime) -> Split {
    let keep = caps.keep.limit().map_or(usize::MAX, |keep| keep as usize);
    let too_many = parts.len().saturating_sub(keep);
    let mut split = Split::default();
    for (i, kept) in parts.into_iter().enumerate() {
        let too_old = too_old_at(&kept, caps.age).is_some_and(|at| at <= now);
        if i < too_many || too_old { split.go.push(kept) } else { split.stay.push(kept) }
    }
    split
}

/// By what all files of an app have together. `current`: those that are being written.
pub(super) fn total(mut parts: Vec<Kept>, current: u64, total: Cap<ByteSize>) -> Split {
    let Some(most) = total.limit() else { return Split { stay: parts, go: Vec::new() } };
    oldest_first(&mut parts);
    let mut sum = parts.iter().fold(current, |sum, kept| sum.saturating_add(kept.bytes));
    let mut split = Split::default();
    for kept in parts {
        if sum > most.0 {
            sum -= kept.bytes;
            split.go.push(kept);
        } else {
            split.stay.push(kept);
        }
    }
    split
}

/// The oldest of all, until so much is given back.
pub(super) fn for_room(mut parts: Vec<Kept>, need: u64) -> Vec<Kept> {
    oldest_first(&mut parts);
    let mut given = 0_u64;
    parts
        .into_iter()
        .take_while(|kept| {
            let more = given < need;
            given = given.saturating_add(kept.held);
            more
        })
        .collect()
}

/// When the first of them becomes too old.
pub(super) fn due<'a>(parts: impl IntoIterator<Item = &'a Kept>, age: Cap<Span>) -> Option<SystemTime> {
    parts.into_iter().filter_map(|kept| too_old_at(kept, age)).min()
}

fn too_old_at(kept: &Kept, age: Cap<Span>) -> Option<SystemTime> {
    kept.modified.checked_add(age.limit()?.0)
}

fn oldest_first(parts: &mut [Kept]) {
    parts.sort_by_key(|kept| (kept.modified, kept.part.number));
}

/// A filesystem's size, and what of it users may still fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) size: u64,
    pub(super) free: u64,
}

/// Below this, the oldest files that were set aside go: a machine whose disk is full has other troubles than old logs.
const FLOOR_MOST: u64 = 1 << 30;
/// A file that cannot take bytes gets about so much room.
const ROOM: u64 = 16 << 20;

impl Space {
    /// What should be left of it: 1 GiB, or a twentieth of a small one.
    pub(super) fn floor(self) -> u64 {
        (self.size / 20).min(FLOOR_MOST)
    }

    /// What it lacks to the floor.
    pub(super) fn below_floor(self) -> u64 {
        self.floor().saturating_sub(self.free)
    }

    /// How much must go so that a file that could not take bytes can. Where enough seems to be free, something other is lacking
    /// (a quota, inodes, btrfs's metadata), of which this knows nothing; so it is never nothing.
    pub(super) fn lacking(self) -> u64 {
        let target = ROOM.min(self.floor()).max(1);
        if self.free < target { target - self.free } else { target }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    const DAY: u64 = 86_400;

    /// Number, age in days, bytes.
    fn kept(number: u64, age: u64, bytes: u64) -> Kept {
        Kept {
            series: Series::own(Path::new("/logs"), "web-0-out.log"),
            part: Part { number, name: "".into(), packed: false },
            modified: now() - Duration::from_secs(age * DAY),
            bytes,
            held: bytes,
        }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * DAY)
    }

    fn numbers(parts: &[Kept]) -> Vec<u64> {
        parts.iter().map(|kept| kept.part.number).collect()
    }

    fn caps(keep: Cap<u32>, days: Option<u64>) -> LogCaps {
        let age = days.map_or(Cap::None, |days| Cap::At(Span::millis(days * DAY * 1000)));
        LogCaps { keep, age, ..LogCaps::default() }
    }

    #[test]
    fn the_oldest_beyond_the_number_go_and_all_that_are_too_old() {
        let parts = || vec![kept(1, 9, 1), kept(2, 7, 1), kept(3, 8, 1), kept(4, 0, 1)];
        let go = |caps| numbers(&count_and_age(parts(), &caps, now()).go);
        assert_eq!(go(caps(Cap::At(3), None)), [1]);
        assert_eq!(go(caps(Cap::At(0), None)), [1, 2, 3, 4]);
        assert_eq!(go(caps(Cap::None, None)), [0; 0]);
        assert_eq!(go(caps(Cap::At(9), Some(8))), [1, 3], "one that was touched later stays");
        assert_eq!(due(&parts(), caps(Cap::None, Some(10)).age), Some(now() + Duration::from_secs(DAY)));
        assert_eq!(due(&parts(), Cap::None), None);
    }

    #[test]
    fn the_total_takes_the_oldest_of_all_series_and_never_more_than_it_must() {
        let parts = || vec![kept(1, 5, 10), kept(2, 4, 10), kept(1, 9, 10), kept(2, 1, 10)];
        let go = |current, most| numbers(&total(parts(), current, Cap::At(ByteSize(most))).go);
        assert_eq!(go(0, 40), [0; 0]);
        assert_eq!(go(1, 40), [1]);
        assert_eq!(go(0, 20), [1, 1]);
        assert_eq!(go(99, 20), [1, 1, 2, 2], "the file that is being written stays, however large");
        assert!(total(parts(), 99, Cap::None).go.is_empty());
        assert_eq!(numbers(&for_room(parts(), 11)), [1, 1]);
        assert_eq!(numbers(&for_room(parts(), 0)), [0; 0]);
        assert_eq!(for_room(parts(), 99).len(), 4);
    }

    #[test]
    fn a_filesystem_keeps_a_floor_and_room_is_never_nothing() {
        let gib = 1 << 30;
        let space = |size, free| Space { size, free };
        assert_eq!(space(100 * gib, 0).floor(), gib);
        assert_eq!(space(2000, 0).floor(), 100);
        assert_eq!(space(2000, 30).below_floor(), 70);
        assert_eq!(space(2000, 130).below_floor(), 0);
        assert_eq!(space(100 * gib, 0).lacking(), 16 << 20);
        assert_eq!(space(2000, 90).lacking(), 10);
        assert_eq!(space(100 * gib, 50 * gib).lacking(), 16 << 20, "a quota");
        assert_eq!(space(0, 0).lacking(), 1, "a filesystem that does not say");
    }
}
