//! From answers to text. Pure: fixed input and a fixed [`Screen`] give a fixed text, which the snapshots hold.
//!
//! What comes from outside (names, lines, failure texts) passes [`printable`] or the log renderer first: nothing an app is
//! called or writes may drive the reader's terminal.

pub(super) mod doctor;
pub(super) mod events;
pub(super) mod harmless;
pub(super) mod info;
mod limited;
pub(super) mod logline;
pub(super) mod ls;
pub(super) mod outcome;
pub(super) mod table;
mod text;
pub(super) mod time;
pub(super) mod why;

pub(super) use text::{Paint, columns, printable, shortened};

use jiff::Timestamp;

/// What there is to draw on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// Columns, where there is an edge.
    pub(super) width: Option<usize>,
    /// Colours.
    pub(super) paint: Paint,
    /// What "3m ago" is told from.
    pub(super) now: Timestamp,
}

#[cfg(test)]
mod tests;
