//! Which lines are wanted, of those in the logs that are read.
//!
//! Owns the meaning of the times, the runs and the regular expression of a query. It must not read. What a reader would get wrong: a
//! line whose time nobody recorded is judged by its neighbours' time; and word of missing lines has no text to be searched.

use super::piece::Piece;
use crate::api::{LogQuery, LogStream};
use std::collections::BTreeSet;

/// The longest regular expression that is looked at.
const LONGEST_PATTERN: usize = 4096;

/// What is asked of a line.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub(super) since: Option<u64>,
    pub(super) until: Option<u64>,
    pub(super) runs: Option<BTreeSet<u64>>,
    pub(super) previous: bool,
    /// Only with `previous`: which run that is, both streams say, also where one is shown.
    stream: Option<LogStream>,
    pub(super) grep: Option<regex_lite::Regex>,
    invert: bool,
}

impl Wanted {
    /// What a query asks.
    ///
    /// # Errors
    /// A time or a regular expression that is none, in words.
    pub fn new(query: &LogQuery) -> Result<Self, String> {
        let pattern = query.grep.as_deref();
        Ok(Self {
            since: query.since.as_deref().map(time).transpose()?,
            until: query.until.as_deref().map(time).transpose()?,
            runs: query.run.map(|run| BTreeSet::from([run])),
            previous: query.previous,
            stream: query.stream.filter(|_| query.previous),
            grep: pattern.map(regex).transpose()?,
            invert: query.invert,
        })
    }

    /// Of which stream logs are to be chosen for this query.
    #[must_use]
    pub fn stream(query: &LogQuery) -> Option<LogStream> {
        query.stream.filter(|_| !query.previous)
    }

    /// Until when lines are wanted, in us since 1970.
    #[must_use]
    pub fn until(&self) -> Option<u64> {
        self.until
    }

    /// Whether only some of all lines are.
    pub(super) fn some(&self) -> bool {
        self.until.is_some() || self.runs.is_some() || self.previous || self.grep.is_some()
    }

    /// Whether a line is.
    pub(super) fn wants(&self, piece: &Piece) -> bool {
        let run = |runs: &BTreeSet<u64>| piece.run.is_some_and(|run| runs.contains(&run));
        let found = |regex: &regex_lite::Regex| regex.is_match(&String::from_utf8_lossy(&piece.text)) != self.invert;
        let of = |stream| piece.lane.is_none_or(|lane| lane.stream() == stream);
        self.stream.is_none_or(of)
            && self.since.is_none_or(|since| piece.key >= since)
            && self.until.is_none_or(|until| piece.key < until)
            && (piece.missing.is_some() || self.runs.as_ref().is_none_or(run) && self.grep.as_ref().is_none_or(found))
    }
}

fn time(text: &str) -> Result<u64, String> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| format!("'{}' is no time, such as 2026-11-21T08:00:00Z", text.escape_debug()))?;
    Ok(u64::try_from(time.as_microsecond()).unwrap_or(0))
}

fn regex(pattern: &str) -> Result<regex_lite::Regex, String> {
    if pattern.len() > LONGEST_PATTERN {
        return Err(format!("the regular expression is longer than {LONGEST_PATTERN} bytes"));
    }
    regex_lite::Regex::new(pattern).map_err(|e| {
        let reason = e.to_string();
        format!("'{pattern}' is not a regular expression: {}", reason.lines().next_back().unwrap_or_default())
    })
}
