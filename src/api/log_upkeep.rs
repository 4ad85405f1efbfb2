//! What is ordered about log files themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Empty log files, and remove what was set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FlushRequest {
    /// Selectors of apps; none at all means all.
    #[serde(default)]
    pub select: Vec<String>,
}

/// What was emptied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlushAnswer {
    /// How many files were emptied or removed.
    pub files: u32,
    /// How many bytes are free now.
    pub bytes: u64,
}

/// Log files were opened anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReopenAnswer {}
