//! Where in a log to begin: at its oldest line, its last ones, those of a time, or behind all.
//!
//! Owns finding the place. It must not read more than that takes. What a reader would get wrong: a place found here may be early,
//! never late; who reads from there judges each line.

use super::content::{self, Content, Found, Listing};
use super::lookup::Lookup;
use super::position::Position;
use crate::daemon::logs::index::{Kind, Lane};
use crate::daemon::logs::series::Series;
use std::collections::{BTreeSet, VecDeque};

const BLOCK: usize = 64 << 10;

/// Before the oldest line.
pub(super) fn beginning(series: &Series, listing: &mut Listing) -> Result<Position, String> {
    let oldest = listing.numbers(series)?.first().copied();
    Ok(Position::start(oldest.map_or_else(|| next(series, listing), Ok)?))
}

/// Behind what is there by now.
pub(super) fn end(series: &Series, listing: &mut Listing) -> Result<Position, String> {
    let Some(content) = content::current(series)? else { return Ok(Position::start(next(series, listing)?)) };
    let offset = content.end(content.index.as_ref()).map_err(|e| failed(series, &e))?;
    Ok(Position { number: content.number, offset })
}

fn next(series: &Series, listing: &mut Listing) -> Result<u64, String> {
    listing.next(series, Lookup::open(series, &series.index()).as_ref())
}

/// Before the last `lines` lines. None: there are fewer.
pub(super) fn last(series: &Series, listing: &mut Listing, lines: u64) -> Result<Option<Position>, String> {
    let mut left = lines;
    for number in listing.numbers(series)?.into_iter().rev() {
        let Found::Content(mut content) = content::find(series, number)? else { continue };
        match last_of(&mut content, left).map_err(|e| failed(series, &e))? {
            Ok(offset) => return Ok(Some(Position { number, offset })),
            Err(fewer) => left -= fewer,
        }
    }
    Ok(None)
}

/// Where the last `lines` lines of a file begin, or how many there are if they are fewer. What stands after the last line feed
/// counts as one.
fn last_of(content: &mut Content, lines: u64) -> std::io::Result<Result<u64, u64>> {
    let Some(_) = content.size()? else { return last_of_packed(content, lines) };
    let size = content.end(content.index.as_ref())?;
    let (mut block, mut found, mut end) = (vec![0; BLOCK], 0, size);
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK)];
        let read = content.read_at(part, start)?;
        for (i, byte) in part[..read].iter().enumerate().rev() {
            let at = start + i as u64;
            // The line feed at the very end ends the last line; it does not begin another.
            if *byte == b'\n' && at + 1 != size {
                found += 1;
                if found == lines {
                    return Ok(Ok(at + 1));
                }
            }
        }
        end = start;
    }
    found += u64::from(size > 0);
    Ok(if found == lines { Ok(0) } else { Err(found) })
}

/// A packed file is read from its start in any case.
fn last_of_packed(content: &mut Content, lines: u64) -> std::io::Result<Result<u64, u64>> {
    let (mut block, mut at, mut begins) = (vec![0; BLOCK], 0, true);
    let mut starts = VecDeque::new();
    loop {
        let read = content.read_at(&mut block, at)?;
        if read == 0 {
            let found = starts.len() as u64;
            return Ok(starts.pop_front().filter(|_| found == lines).ok_or(found));
        }
        for byte in &block[..read] {
            if begins {
                starts.push_back(at);
                if starts.len() as u64 > lines {
                    starts.pop_front();
                }
            }
            begins = *byte == b'\n';
            at += 1;
        }
    }
}

/// Before the first line that was captured at this time or later. Files that are older are not opened, or only their indices are.
pub(super) fn since(series: &Series, listing: &mut Listing, time: u64) -> Result<Position, String> {
    let mut begin = end(series, listing)?;
    for number in listing.numbers(series)?.into_iter().rev() {
        let Found::Content(content) = content::find(series, number)? else { continue };
        match content.index.as_ref().map(|lookup| lookup.before(time)) {
            Some(Some(offset)) => return Ok(Position { number, offset }),
            None if content.modified < time => return Ok(begin),
            Some(None) | None => begin = Position::start(number),
        }
    }
    Ok(begin)
}

/// The last two runs that wrote to a log, of those lanes.
pub(super) fn last_runs(
    series: &Series,
    listing: &mut Listing,
    wanted: impl Fn(Lane) -> bool,
) -> Result<BTreeSet<u64>, String> {
    let mut runs = BTreeSet::new();
    for number in listing.numbers(series)?.into_iter().rev() {
        let Found::Content(content) = content::find(series, number)? else { continue };
        for record in content.index.iter().flat_map(Lookup::newest_first) {
            match record.kind {
                Kind::From { run } if run > 0 && wanted(record.lane) => runs.insert(run),
                Kind::From { .. } | Kind::Commit { .. } | Kind::Gap { .. } => false,
            };
            if runs.len() == 2 {
                return Ok(runs);
            }
        }
    }
    Ok(runs)
}

fn failed(series: &Series, e: &std::io::Error) -> String {
    format!("failed to read {}: {e}", series.path().display())
}
