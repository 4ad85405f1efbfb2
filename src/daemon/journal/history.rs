//! What the journal's lines come to: how each instance's last run ended.
//!
//! Owns which record counts. Pure. What a reader would get wrong: a record may be there twice (the keeper sends until it is
//! acknowledged, rotation carries over) and runs of one instance may end out of order (a reload overlaps): the
//! highest run counts, and anything not above it is dropped.

use super::line::Line;
use crate::model::exit::Cause;
use crate::model::policy::START_LIMIT_WINDOW;
use crate::model::state::When;
use crate::model::{AppId, BootId, Event, ExitRecord, InstanceId, Moment, RunId};
use crate::supervise::Past;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// More failures than this within the window are as good as this many.
const FAILURES_MOST: usize = 1024;

/// What is known of all instances.
#[derive(Debug, Default)]
pub(super) struct History {
    last: BTreeMap<InstanceId, Last>,
    highest_run: Option<RunId>,
}

/// The lines that tell how an instance stands.
#[derive(Debug)]
struct Last {
    exited: Line,
    record: Arc<ExitRecord>,
    cleared: Option<Line>,
    /// Failures in the same boot, within the start limit's window before the last one.
    failures: VecDeque<Moment>,
}

impl History {
    /// Takes in one line, in the order in which they were written.
    pub(super) fn note(&mut self, line: &Line) {
        match &line.event {
            Event::Started { run, .. } => self.saw(*run),
            Event::Exited(record) => {
                self.saw(record.run);
                self.exited(line, record);
            }
            Event::Cleared { instance } => {
                if let Some(last) = self.last.get_mut(instance) {
                    last.cleared = Some(line.clone());
                    last.failures.clear();
                }
            }
            Event::Deleted { app, .. } => self.forget(*app),
            Event::Ordered { .. } | Event::Added { .. } | Event::DaemonStarted { .. } | Event::Trouble { .. } => {}
        }
    }

    fn saw(&mut self, run: RunId) {
        self.highest_run = self.highest_run.max(Some(run));
    }

    fn forget(&mut self, app: AppId) {
        self.last.retain(|instance, _| instance.app != app);
    }

    fn exited(&mut self, line: &Line, record: &Arc<ExitRecord>) {
        let before = self.last.get(&record.instance);
        if before.is_some_and(|b| b.record.run >= record.run) {
            return;
        }
        let mut failures = VecDeque::new();
        let mut in_a_row = 0;
        if let Some(before) = self.last.remove(&record.instance).filter(|b| b.exited.boot == line.boot) {
            if before.cleared.is_none() {
                in_a_row = before.record.failures;
            }
            failures = before.failures;
        }
        // The count of failures moves exactly when a run fails: it rises, or begins again at one.
        if record.failures > 0 && record.failures != in_a_row && record.cause != Cause::StopOrder {
            failures.push_back(record.ended);
        }
        while failures.len() > FAILURES_MOST
            || failures.front().is_some_and(|f| record.ended.since(*f) > START_LIMIT_WINDOW)
        {
            failures.pop_front();
        }
        let last = Last { exited: line.clone(), record: Arc::clone(record), cleared: None, failures };
        self.last.insert(record.instance, last);
    }

    /// The highest run that any line speaks of.
    pub(super) fn highest_run(&self) -> Option<RunId> {
        self.highest_run
    }

    /// For the core, in `boot`.
    pub(super) fn past(&self, boot: &BootId) -> Vec<Past> {
        self.last
            .iter()
            .map(|(instance, last)| {
                let same_boot = last.exited.boot == *boot;
                Past {
                    instance: *instance,
                    record: Arc::clone(&last.record),
                    when: if same_boot { When::Moment(last.record.ended) } else { When::Wall(last.exited.at) },
                    failures: if same_boot { last.failures.iter().copied().collect() } else { Vec::new() },
                    cleared: last.cleared.is_some(),
                }
            })
            .collect()
    }

    /// The lines that must never be evicted: the last exit of each instance, and that it was cleared since.
    pub(super) fn settling(&self) -> impl Iterator<Item = &Line> {
        self.last.values().flat_map(|last| std::iter::once(&last.exited).chain(&last.cleared))
    }
}
