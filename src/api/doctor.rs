//! What `opm doctor` finds: one line for each thing that was looked at.
//!
//! The shape is versioned ([`DOCTOR_VERSION`]): fields and checks are only ever added, an `id` keeps its meaning.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of the shape that `opm doctor --json` prints.
pub const DOCTOR_VERSION: u32 = 1;

/// How a thing stands. The later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// opm works, and something is lost.
    Note,
    /// Something is wrong.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// Which: a group and a name, as `kernel.pidfd`.
    pub id: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What is lost by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// What to do about it: a command, or words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    /// As it should be.
    #[must_use]
    pub fn ok(id: &str, found: impl Into<String>) -> Self {
        Self { id: id.to_owned(), verdict: Verdict::Ok, found: found.into(), lost: None, mend: None }
    }

    /// opm works, and this is lost.
    #[must_use]
    pub fn note(id: &str, found: impl Into<String>, lost: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, lost: Some(lost.into()), mend: Some(mend.into()), ..Self::ok(id, found) }
    }

    /// Something is wrong.
    #[must_use]
    pub fn bad(id: &str, found: impl Into<String>, lost: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, ..Self::note(id, found, lost, mend) }
    }
}

/// What an opm found out about itself and the machine: `GET /v1/doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Examination {
    /// The version of the opm that looked.
    pub version: String,
    /// The daemon that looked; null: there is none, and the command line looked itself.
    pub pid: Option<u32>,
    /// What it found.
    pub checks: Vec<Check>,
}

/// All of it: what `opm doctor --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Doctor {
    /// [`DOCTOR_VERSION`].
    pub version: u32,
    /// The version of the command line.
    pub opm: String,
    /// The version of the daemon; null: none runs.
    pub daemon: Option<String>,
    /// The worst of all.
    pub verdict: Verdict,
    /// Everything that was looked at.
    pub checks: Vec<Check>,
}
