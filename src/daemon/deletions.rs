//! Orders to delete that a daemon's death cut in two, as the journal knows them by their keys.
//!
//! An app that is deleted takes its last order's key with it, so the desired state cannot tell that the same order is sent again.
//! By name it must not be carried out again: the name may be somebody else's by then.

use super::journal::Deletion;
use crate::model::{Answer, AppId, AppName, OrderKey, Outcome, Target, Verdict};
use crate::supervise::Supervisor;
use std::collections::{HashMap, HashSet};

/// What earlier daemons were ordered to delete.
#[derive(Debug, Default)]
pub(super) struct Deletions(HashMap<OrderKey, Vec<(AppId, Option<AppName>)>>);

/// What such an order comes to when it is sent again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It was carried out.
    Done(Answer),
    /// These are left.
    Rest(Vec<Target>),
}

impl Deletions {
    pub(super) fn new(known: Vec<Deletion>) -> Self {
        Self(known.into_iter().collect())
    }

    /// None: no such order is known.
    pub(super) fn again(&self, key: &OrderKey, core: &Supervisor) -> Option<Again> {
        let apps = self.0.get(key)?;
        let listed = core.apps().map(|(id, _)| id);
        let there: HashSet<AppId> = listed.chain(core.leaving().map(|(id, _)| id)).collect();
        let left: Vec<Target> = apps
            .iter()
            .filter(|(id, _)| there.contains(id))
            .map(|(app, _)| Target { app: *app, instance: None })
            .collect();
        if !left.is_empty() {
            return Some(Again::Rest(left));
        }
        let outcome = |(app, name): &(AppId, Option<AppName>)| {
            let name = name.clone().or_else(|| format!("app-{app}").parse().ok())?;
            Some(Outcome { app: *app, name, instance: None, verdict: Verdict::Deleted, changes: None, saved: true })
        };
        Some(Again::Done(Ok(apps.iter().filter_map(outcome).collect())))
    }
}
