//! The daemon replaced by the installed program, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Let the installed program take over.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Only say whether it could.
    #[serde(default)]
    pub check: bool,
}

/// What the installed program says of itself and of the state that it would take over: `opm daemon check` prints it. Older and
/// newer ones read each other's, so every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CheckReport {
    /// Its version.
    pub version: String,
    /// How many apps it finds.
    pub apps: usize,
    /// What it would complain of and start all the same.
    pub troubles: Vec<String>,
    /// Why it could not start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The daemon that serves now, after the other one made room for it; or, after a mere check, what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadAnswer {
    /// The version that served before, or serves.
    pub from: String,
    /// The version that serves now, or would.
    pub version: String,
    /// The process that serves.
    pub pid: u32,
    /// How many apps it has, or would have.
    pub apps: usize,
    /// What it complains of.
    #[serde(default)]
    pub troubles: Vec<String>,
}
