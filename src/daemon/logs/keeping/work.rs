//! What is kept of which logs, and the doing of it.
//!
//! Owns what is known of apps and of logs that are nobody's any more, and when something will be too old. It must not wait, and knows
//! no thread. What a reader would get wrong: nothing is remembered of what lies on the disk. Each look is a new one, since people
//! remove, restore and pack log files as they please.

use super::caps::{self, Kept, Split};
use super::job::Job;
use super::shelf::Shelves;
use crate::config::Paths;
use crate::daemon::logs::pack::{self, Packed};
use crate::daemon::logs::place;
use crate::daemon::logs::series::Series;
use crate::kernel::files::FileError;
use crate::model::{AppId, AppName, AppSpec, Cap, LogCaps, LogCompress, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An app's logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it is called, for people.
    pub name: AppName,
    /// All of its logs.
    pub series: Vec<Series>,
    /// What is kept of them.
    pub caps: LogCaps,
}

impl Known {
    /// As the spec asks.
    #[must_use]
    pub fn of(paths: &Paths, spec: &AppSpec) -> Self {
        Self { name: spec.name.clone(), series: place::all(paths, spec), caps: spec.log_caps() }
    }
}

/// A log of an app that is gone, or that the app has no more.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) name: String,
    pub(super) age: Cap<Span>,
    /// Its next is due then; none: never, or it was not looked at yet.
    pub(super) due: Option<SystemTime>,
    pub(super) looked_at: bool,
}

pub(super) struct Work {
    pub(super) logs: PathBuf,
    pub(super) report: Box<dyn Fn(String) + Send>,
    pub(super) apps: BTreeMap<AppId, Known>,
    pub(super) orphans: BTreeMap<Series, Orphan>,
    /// When something of an app will be too old.
    due: BTreeMap<AppId, SystemTime>,
    /// What could not be packed, until there is a new occasion.
    failed: BTreeSet<(Series, u64)>,
    /// Troubles that were told of, and are not over.
    pub(super) said: BTreeSet<String>,
}

impl Work {
    pub(super) fn new(logs: PathBuf, report: Box<dyn Fn(String) + Send>) -> Self {
        Self {
            logs,
            report,
            apps: BTreeMap::new(),
            orphans: BTreeMap::new(),
            due: BTreeMap::new(),
            failed: BTreeSet::new(),
            said: BTreeSet::new(),
        }
    }

    /// An app is there. It is remembered only if that matters: it was known, or has a log that nobody seemed to have.
    pub(super) fn seen(&mut self, app: AppId, known: Known) -> Vec<Job> {
        let orphaned = known.series.iter().any(|series| self.orphans.contains_key(series));
        if orphaned || self.apps.contains_key(&app) { self.know(app, known) } else { Vec::new() }
    }

    /// What an app's logs are, now. Gives what is to be done about it.
    pub(super) fn know(&mut self, app: AppId, known: Known) -> Vec<Job> {
        let was_orphaned = known.series.iter().filter(|series| self.orphans.remove(series).is_some()).count() > 0;
        let mut jobs = Vec::new();
        match self.apps.insert(app, known.clone()) {
            Some(before) => {
                if was_orphaned || before.caps != known.caps {
                    jobs.push(Job::Tidy(app));
                }
                jobs.extend(self.orphan(&before));
            }
            None if was_orphaned => jobs.push(Job::Tidy(app)),
            None => {}
        }
        jobs
    }

    /// What some of an app's logs are.
    pub(super) fn know_some(&mut self, app: AppId, mut known: Known) -> Vec<Job> {
        if let Some(before) = self.apps.get(&app) {
            let others = before.series.iter().filter(|series| !known.series.contains(series));
            let others: Vec<Series> = others.cloned().collect();
            known.series.extend(others);
        }
        self.know(app, known)
    }

    /// The app is gone; its logs stay until they are too old.
    pub(super) fn forget(&mut self, app: AppId) -> Option<Job> {
        self.due.remove(&app);
        let known = self.apps.remove(&app)?;
        self.orphan(&known)
    }

    fn orphan(&mut self, before: &Known) -> Option<Job> {
        let lost: Vec<Series> = before.series.iter().filter(|series| !self.is_known(series)).cloned().collect();
        for series in &lost {
            let orphan = Orphan { name: before.name.to_string(), age: before.caps.age, due: None, looked_at: false };
            self.orphans.insert(series.clone(), orphan);
        }
        (!lost.is_empty()).then_some(Job::Orphans)
    }

    pub(super) fn is_known(&self, series: &Series) -> bool {
        self.apps.values().any(|known| known.series.contains(series))
    }

    /// A file of the log was set aside: an occasion to try what failed before.
    pub(super) fn rotated(&mut self, series: &Series) -> Vec<Job> {
        self.failed.retain(|(failed, _)| failed != series);
        let apps = self.apps.iter().filter(|(_, known)| known.series.contains(series));
        apps.map(|(app, _)| Job::Tidy(*app)).collect()
    }

    pub(super) fn next_due(&self) -> Option<SystemTime> {
        self.due.values().copied().chain(self.orphans.values().filter_map(|orphan| orphan.due)).min()
    }

    /// What is to be done because it is that late.
    pub(super) fn overdue(&self, now: SystemTime) -> Vec<Job> {
        let late = self.due.iter().filter(|(_, due)| **due <= now).map(|(app, _)| Job::Tidy(*app));
        let orphans = self.orphans.values().any(|orphan| orphan.due.is_some_and(|due| due <= now));
        late.chain(orphans.then_some(Job::Orphans)).collect()
    }

    /// Applies the caps to an app's logs, keeps the floor, and packs one file. True: there is more to pack.
    pub(super) fn tidy(&mut self, app: AppId, go_on: &dyn Fn() -> bool) -> bool {
        let Some(known) = self.apps.get(&app).cloned() else { return false };
        let mut look = Shelves::default();
        let mut kept = self.trim(app, &mut look);
        let folders: BTreeSet<&Path> = known.series.iter().map(Series::folder).collect();
        let lower = folders.into_iter().filter(|folder| self.keep_floor(&mut look, folder)).count() > 0;
        if lower {
            self.tell_troubles(look);
            look = Shelves::default();
            kept = self.trim(app, &mut look);
        }
        self.tell_troubles(look);
        self.pack_newest(&known, kept, go_on)
    }

    /// Applies the caps to an app's logs. Gives what stays.
    pub(super) fn trim(&mut self, app: AppId, look: &mut Shelves) -> Vec<Kept> {
        let Some(known) = self.apps.get(&app) else { return Vec::new() };
        let (now, caps) = (SystemTime::now(), known.caps);
        let (mut stay, mut go, mut current) = (Vec::new(), Vec::new(), 0_u64);
        for series in &known.series {
            let split = caps::count_and_age(look.parts(series), &caps, now);
            stay.extend(split.stay);
            go.extend(split.go);
            current = current.saturating_add(look.current(series).map_or(0, |(bytes, _)| bytes));
        }
        let Split { stay, go: too_much } = caps::total(stay, current, caps.total);
        go.extend(too_much);
        // What cannot be removed is not due either: it is tried again at the next occasion.
        match caps::due(&stay, caps.age) {
            Some(due) => self.due.insert(app, due),
            None => self.due.remove(&app),
        };
        for kept in go {
            self.remove(look, &kept);
        }
        stay
    }

    /// The newest first: if it cannot keep up, what it packs is not what the caps take next.
    fn pack_newest(&mut self, known: &Known, kept: Vec<Kept>, go_on: &dyn Fn() -> bool) -> bool {
        if known.caps.compress == LogCompress::None {
            return false;
        }
        let mut unpacked: Vec<Kept> = kept
            .into_iter()
            .filter(|kept| !kept.part.packed && !self.failed.contains(&(kept.series.clone(), kept.part.number)))
            .collect();
        unpacked.sort_by_key(|kept| (kept.modified, kept.part.number));
        let Some(newest) = unpacked.pop() else { return false };
        let (series, number) = (&newest.series, newest.part.number);
        let to = series.rotated(number, known.caps.compress);
        let trouble = format!("pack {}", series.key());
        match pack::pack(series.folder(), &newest.part.name, &to, known.caps.compress, &mut |_| go_on()) {
            Ok(Packed::Done) => {
                self.said.remove(&trouble);
                !unpacked.is_empty()
            }
            Ok(Packed::Stopped) => true,
            // Somebody else removed it.
            Err(e) if e.is_missing() => !unpacked.is_empty(),
            Err(e) => {
                let full = e.is_full();
                self.say_once(trouble, format!("{e}; it stays as it is"));
                let (series, again) = (series.clone(), !full && !unpacked.is_empty());
                self.failed.insert((series, number));
                if full {
                    self.failed.extend(unpacked.into_iter().map(|kept| (kept.series, kept.part.number)));
                }
                again
            }
        }
    }

    pub(super) fn remove(&mut self, look: &mut Shelves, kept: &Kept) -> bool {
        let removed = look.remove(kept);
        if removed {
            self.said.remove(&format!("look {}", kept.series.folder().display()));
        }
        removed
    }

    pub(super) fn tell_troubles(&mut self, look: Shelves) {
        for (folder, error) in look.troubles {
            self.trouble(&folder, &error);
        }
    }

    pub(super) fn trouble(&mut self, folder: &Path, error: &FileError) {
        self.say_once(format!("look {}", folder.display()), error.to_string());
    }

    pub(super) fn say_once(&mut self, trouble: String, text: String) {
        if self.said.insert(trouble) {
            (self.report)(text);
        }
    }
}
