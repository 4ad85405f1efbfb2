//! Log lines on the wire.

use crate::model::RawText;
use serde::{Deserialize, Serialize};
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Selectors, comma separated; everything when absent.
    #[serde(default = "all")]
    pub select: String,
    /// How many of the last lines of each file to begin with.
    #[serde(default = "fifteen")]
    pub lines: u64,
    /// Go on with what is written from now on.
    #[serde(default)]
    pub follow: bool,
    /// Only this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<LogStream>,
}

pub(crate) fn all() -> String {
    "all".to_owned()
}
fn fifteen() -> u64 {
    15
}

/// One line as an app wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// The app's name.
    pub name: String,
    /// The instance's number.
    pub instance: u32,
    /// Which stream.
    pub stream: LogStream,
    /// The line without its line feed; bytes that are not UTF-8 as `{"hex": "..."}`.
    #[schema(value_type = String)]
    pub line: RawText,
    /// False for what stands after the last line feed so far: a line that may go on.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub complete: bool,
}

fn yes() -> bool {
    true
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_true(b: &bool) -> bool {
    *b
}
