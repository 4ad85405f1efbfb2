//! Log lines on the wire.
//!
//! Owns the shapes, and what goes over the wire around them. It must not know a file.
//!
//! `GET /v1/logs?...` (a [`LogQuery`]) and `POST /v1/logs` (a [`LogResume`] as JSON) answer 200 with server-sent events, or with a
//! [`Problem`](super::Problem): 400 for a time, a regular expression or a place that is none, 404 if no app matches and none that
//! is gone left logs either.
//!
//! ```text
//! event: start
//! data: {"from":{"web-0-out.log":"18+0","web-0-err.log":"3+99"},"note":"..."}      a LogStart
//!
//! data: {"name":"web","instance":0,"stream":"out","time":"2026-11-21T08:36:39.123456Z","run":7,"line":"hello",
//!        "log":"web-0-out.log","at":"18+6"}                                         a LogLine
//! ```
//! The first event is always a `start`; while following, more of them name logs that joined. Events of other names are to be
//! passed over. Whoever was cut off puts the `from` of each `start` into one map, and the `at` of each line at its `log`, and posts
//! that map with the query: what comes then goes on exactly there. What a reader would get wrong: a line that may go on
//! (`complete` false) goes on with the next one of the same `log`, `name`, `instance`, `stream` and `run`, which may be empty; if
//! that one has another run, the line ended where its run did. One line told in pieces has a place after each piece.

use crate::model::RawText;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Which of an instance's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Selectors, comma separated; everything when absent.
    #[serde(default = "all")]
    pub select: String,
    /// How many of the last lines of each instance to begin with, of those that the rest of the query asks for. All of them when
    /// absent and `since`, `run` or `previous` is given, else 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Go on with what is written from now on.
    #[serde(default)]
    pub follow: bool,
    /// Only this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<LogStream>,
    /// Only lines written at this time or later; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only lines written before this time; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Only lines in which this regular expression finds something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grep: Option<String>,
    /// Only those in which it does not.
    #[serde(default)]
    pub invert: bool,
    /// Only lines of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// Only lines of the run before the last one of each instance.
    #[serde(default)]
    pub previous: bool,
}

/// A stream of lines that goes on where another ended. A log that the query means and that is not in `from` is told from its
/// beginning; `lines` counts no more; the rest of the query holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogResume {
    /// What was asked.
    pub query: LogQuery,
    /// Of each `log` the last `at` that was told, else what a [`LogStart`] said.
    pub from: BTreeMap<String, String>,
}

pub(crate) fn all() -> String {
    "all".to_owned()
}

/// One line as an app wrote it, or word of lines that are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The app's name.
    pub name: String,
    /// The instance's number.
    pub instance: u32,
    /// Which stream.
    pub stream: LogStream,
    /// When it was captured, RFC 3339 with microseconds in UTC. Absent where nobody recorded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Which run wrote it. Absent where nobody recorded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// The line without its line feed; bytes that are not UTF-8 as `{"hex": "..."}`.
    #[schema(value_type = String)]
    pub line: RawText,
    /// False for what stands after the last line feed so far: a line that may go on.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub complete: bool,
    /// No line: so many bytes are missing here (0: nobody knows how many), for the reason that `line` gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// Which log file it stands in, as one that goes on reading names it.
    pub log: String,
    /// Where that line ends in it.
    pub at: String,
}

/// Where a stream of lines begins: the first event, and one for those logs that join while somebody follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogStart {
    /// Of each `log`, the place before which nothing more will be told.
    pub from: BTreeMap<String, String>,
    /// What to know about the answer: that no such app exists any more, and these are the logs that it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

fn yes() -> bool {
    true
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_true(b: &bool) -> bool {
    *b
}
