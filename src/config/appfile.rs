//! stub
use super::{Mistake, Place};
use crate::model::AppSpec;
use std::path::Path;

/// A list of apps, read.
#[derive(Debug)]
pub struct AppList {
    /// The apps.
    pub apps: Vec<AppSpec>,
    /// What was ignored, in words.
    pub warnings: Vec<String>,
}

/// Reads.
///
/// # Errors
/// x
pub fn read(_file: &Path, _place: &Place, _cpus: u32) -> Result<AppList, Mistake> {
    Err(Mistake::new("not yet"))
}
