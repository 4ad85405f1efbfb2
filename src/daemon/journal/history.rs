//! What the journal's lines come to: how each instance's last run ended, and the daemon before.
//!
//! Owns which record counts, and what outlives a rotation. Pure. What a reader would get wrong: a record may be there twice (the keeper sends until it is
//! acknowledged, rotation carries over) and runs of one instance may end out of order (a reload overlaps): the
//! highest run counts, and anything not above it is dropped.

use super::carried::Tale;
use super::line::Line;
use crate::model::policy::START_LIMIT_WINDOW;
use crate::model::state::When;
use crate::model::{AppId, AppName, Before, BootId, Event, ExitRecord, InstanceId, OrderKey, RunId};
use crate::supervise::Past;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// More exits than this within the window are as good as this many.
const RECENT_MOST: usize = 256;
/// Orders to delete that are remembered for clients whose daemon died over them.
const DELETIONS_MOST: usize = 64;

/// An order to delete, by its key: what, and how that was called, as far as it is known.
pub type Deletion = (OrderKey, Vec<(AppId, Option<AppName>)>);

/// What is known of all instances.
#[derive(Debug, Default)]
pub(super) struct History {
    last: BTreeMap<InstanceId, Last>,
    highest_run: Option<RunId>,
    highest_seq: u64,
    /// In which boot the last daemon began, and whether it ended by order.
    daemon: Option<(BootId, bool)>,
    tale: Tale,
    /// What apps are called that were added and not deleted.
    names: BTreeMap<AppId, AppName>,
    deletions: VecDeque<Deletion>,
}

/// The lines that tell how an instance stands.
#[derive(Debug)]
struct Last {
    exited: Line,
    record: Arc<ExitRecord>,
    cleared: Option<Line>,
    /// The exits in the same boot and since it was last cleared, within the start limit's window before this one, and this
    /// one: whether each was a failure is for the core to say, which knows the spec.
    recent: VecDeque<Arc<ExitRecord>>,
}

impl History {
    /// Takes in one line, in the order in which they were written.
    pub(super) fn note(&mut self, line: &Line) {
        self.highest_seq = self.highest_seq.max(line.seq);
        self.tale.note(line);
        match &line.event {
            Event::Started { run, .. } => self.saw(*run),
            Event::Exited(record) => {
                self.saw(record.run);
                self.exited(line, record);
            }
            Event::Cleared { instance } => {
                if let Some(last) = self.last.get_mut(instance) {
                    last.cleared = Some(line.clone());
                    last.recent.clear();
                }
            }
            Event::Deleted { app, name } => {
                self.forget(*app);
                self.names.remove(app);
                let all = self.deletions.iter_mut().flat_map(|(_, apps)| apps);
                all.filter(|(id, _)| id == app).for_each(|(_, known)| *known = Some(name.clone()));
            }
            Event::Added { app, name } => drop(self.names.insert(*app, name.clone())),
            Event::DaemonStarted { .. } => self.daemon = Some((line.boot.clone(), false)),
            Event::DaemonEnded { .. } => self.daemon = Some((line.boot.clone(), true)),
            Event::LastWords(words) => self.saw(words.run),
            Event::Ordered { verb, key: Some(key), apps, .. } if verb == "delete" => {
                self.deletions
                    .push_back((key.clone(), apps.iter().map(|app| (*app, self.names.get(app).cloned())).collect()));
                if self.deletions.len() > DELETIONS_MOST {
                    self.deletions.pop_front();
                }
            }
            Event::Ordered { .. } | Event::Changed { .. } | Event::Trouble { .. } => {}
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
        let before = self.last.remove(&record.instance).filter(|b| b.exited.boot == line.boot);
        let mut recent = before.map(|b| b.recent).unwrap_or_default();
        recent.push_back(Arc::clone(record));
        while recent.len() > RECENT_MOST
            || recent.front().is_some_and(|f| record.ended.since(f.ended) > START_LIMIT_WINDOW)
        {
            recent.pop_front();
        }
        let last = Last { exited: line.clone(), record: Arc::clone(record), cleared: None, recent };
        self.last.insert(record.instance, last);
    }

    /// The last orders to delete.
    pub(super) fn deletions(&self) -> Vec<Deletion> {
        self.deletions.iter().cloned().collect()
    }

    /// The highest run that any line speaks of.
    pub(super) fn highest_run(&self) -> Option<RunId> {
        self.highest_run
    }

    /// The exits of `boot` that may count against the start limit, oldest first.
    pub(super) fn recent(&self, boot: &BootId) -> BTreeMap<InstanceId, Vec<Arc<ExitRecord>>> {
        self.last
            .iter()
            .filter(|(_, last)| last.exited.boot == *boot)
            .map(|(instance, last)| (*instance, last.recent.iter().cloned().collect()))
            .collect()
    }

    /// For the core, in `boot`; without the failures, which take the specs to tell.
    pub(super) fn past(&self, boot: &BootId) -> Vec<Past> {
        self.last
            .iter()
            .map(|(instance, last)| {
                let same_boot = last.exited.boot == *boot;
                Past {
                    instance: *instance,
                    record: Arc::clone(&last.record),
                    when: if same_boot { When::Moment(last.record.ended) } else { When::Wall(last.exited.at) },
                    failures: Vec::new(),
                    cleared: last.cleared.is_some(),
                }
            })
            .collect()
    }

    /// The number of the last line; 0 before the first that has one.
    pub(super) fn highest_seq(&self) -> u64 {
        self.highest_seq
    }

    /// What became of the daemon before the one that begins in `boot`.
    pub(super) fn before(&self, boot: &BootId) -> Before {
        match &self.daemon {
            None => Before::None,
            Some((_, true)) => Before::Ended,
            Some((of, false)) if of == boot => Before::Died,
            Some((_, false)) => Before::Rebooted,
        }
    }

    /// The text of the lines that must never be evicted, oldest first: the last exit of each instance, that it was cleared
    /// since, and what tells its story.
    pub(super) fn carried(&self) -> String {
        let settling = self.last.values().flat_map(|last| std::iter::once(&last.exited).chain(&last.cleared));
        let mut lines: Vec<&Line> = settling.chain(self.tale.lines()).collect();
        lines.sort_by_key(|line| line.seq);
        lines.iter().map(|line| Line { carried: true, ..(*line).clone() }.to_text().unwrap_or_default()).collect()
    }
}
