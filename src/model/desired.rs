//! What is wanted: the one kind of truth that is on disk, and all that the dump holds. Nothing about a run.

use super::{AppSpec, Desired, Generation, OrderKey, RawText};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The environment that `opm start` captured. Shared by all apps that captured the same one. Its `Debug` hides it:
/// environments hold secrets, and bug reports hold `Debug`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvMap(#[serde(with = "super::raw::map")] pub BTreeMap<RawText, RawText>);

impl fmt::Debug for EnvMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvMap({} variables, hidden)", self.0.len())
    }
}

/// One app as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredApp {
    /// What the user asked for.
    pub spec: Arc<AppSpec>,
    /// The environment it was asked for in.
    pub captured: Arc<EnvMap>,
    /// One per instance, in order; as many as `spec.instances`.
    pub instances: Vec<DesiredInstance>,
    /// The order that changed this last, so that the same order sent again after a broken connection changes nothing.
    pub last_order: Option<OrderKey>,
}

/// One instance as it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredInstance {
    /// Up or down.
    pub desired: Desired,
    /// A live run marked with an older generation is ended and replaced.
    pub generation: Generation,
}
