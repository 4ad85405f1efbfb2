//! One line of the journal: an event, and when it was.
//!
//! Owns the text of a line. It must not touch a disk. What a reader would get wrong: `moment` is worth something only
//! together with `boot`; `at` is for people and nothing is decided by it. Lines of the first daemons have no number (`seq` 0).

use super::cursor::Cursor;
use crate::model::{BootId, Event, Moment, Wall};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;
/// No line and no run of ours ever gets a higher number; from a damaged line that says so nobody could count on.
const MOST: u64 = 1 << 53;

/// An event with its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Line {
    /// Its number: one more than that of the line before, over all daemons and rotations. 0: it has none.
    pub(in crate::daemon) seq: u64,
    /// It is a copy, made at a rotation, of a line that must outlive its file.
    pub(super) carried: bool,
    pub(in crate::daemon) at: Wall,
    pub(in crate::daemon) boot: BootId,
    pub(in crate::daemon) moment: Moment,
    pub(in crate::daemon) event: Event,
}

#[derive(Serialize, Deserialize)]
struct Text {
    v: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    seq: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    carried: bool,
    at: String,
    boot: BootId,
    moment: Moment,
    #[serde(flatten)]
    event: Event,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Line {
    /// The same line with less to say.
    pub(in crate::daemon) fn with(&self, event: Event) -> Self {
        Self { event, boot: self.boot.clone(), ..*self }
    }

    /// Where it stands.
    pub(in crate::daemon) fn cursor(&self) -> Cursor {
        Cursor::of(self.seq, self.moment)
    }

    /// The text, with its line feed.
    pub(super) fn to_text(&self) -> Result<String, String> {
        let text = Text {
            v: VERSION,
            seq: self.seq,
            carried: self.carried,
            at: rfc3339(self.at),
            boot: self.boot.clone(),
            moment: self.moment,
            event: self.event.clone(),
        };
        serde_json::to_string(&text).map(|t| t + "\n").map_err(|e| format!("failed to write an event: {e}"))
    }

    /// Reads a text, without its line feed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NoLine> {
        let text = serde_json::from_slice(bytes).map_err(|e| if e.is_eof() { NoLine::Torn } else { NoLine::Alien })?;
        let Text { v, seq, carried, at, boot, moment, event } = text;
        let at: jiff::Timestamp = at.parse().map_err(|_| NoLine::Alien)?;
        let at = Wall(u64::try_from(at.as_millisecond()).unwrap_or(0));
        if v == VERSION && seq.max(highest_run(&event)) <= MOST {
            Ok(Self { seq, carried, at, boot, moment, event })
        } else {
            Err(NoLine::Alien)
        }
    }
}

/// The highest run that it speaks of; 0 for none.
fn highest_run(event: &Event) -> u64 {
    match event {
        Event::Started { run, .. } => run.0,
        Event::Exited(record) => record.run.0,
        Event::LastWords(words) => words.run.0,
        Event::Cleared { .. }
        | Event::Ordered { .. }
        | Event::Added { .. }
        | Event::Changed { .. }
        | Event::Deleted { .. }
        | Event::DaemonStarted { .. }
        | Event::DaemonEnded { .. }
        | Event::Trouble { .. } => 0,
    }
}

/// Why a text is no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoLine {
    /// It ends too early: a power cut or a full disk fell into the write. No damage; the event was never acknowledged.
    Torn,
    /// It is something else: damaged, hostile, or of a newer version.
    Alien,
}

/// RFC 3339 in UTC, to the millisecond.
fn rfc3339(at: Wall) -> String {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", at.unwrap_or(jiff::Timestamp::MAX))
}
