//! Logs of apps that nobody knows any more.
//!
//! Owns finding them, when a daemon starts, and letting them go when they are too old. It must not touch a log that has no index: opm
//! did not make it, or not this opm. What a reader would get wrong: a file in a place of the user's own stays, even then; only
//! what was set aside there goes.

use super::Job;
use super::shelf::Shelves;
use super::work::{Orphan, Work};
use crate::daemon::logs::index::{HEADER, Header};
use crate::daemon::logs::series::Series;
use crate::kernel::files::Dir;
use crate::model::{AppId, Cap, Span};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::time::SystemTime;

impl Work {
    /// All apps are known now: clears what a crash left, applies all caps, and looks for what is nobody's.
    pub(super) fn sweep(&mut self) -> Vec<Job> {
        // Before the folders: a rotated file is there before its index is called one of a rotated file, and goes before it.
        let indices = self.logs.join("index");
        let names = match Dir::foreign_if_there(&indices).and_then(|folder| folder.names()) {
            Ok(names) => names,
            Err(e) if e.is_missing() => Vec::new(),
            Err(e) => {
                self.trouble(&indices, &e);
                Vec::new()
            }
        };
        let mut look = Shelves::default();
        let (mut jobs, mut quiet) = (Vec::new(), Vec::new());
        for app in self.apps.keys().copied().collect::<Vec<AppId>>() {
            let kept = self.trim(app, &mut look);
            if kept.iter().any(|kept| !kept.part.packed) {
                jobs.push(Job::Tidy(app));
            }
            if kept.is_empty() {
                quiet.push(app);
            }
        }
        let known: BTreeMap<String, Series> =
            self.apps.values().flat_map(|known| &known.series).map(|s| (s.index(), s.clone())).collect();
        for name in names {
            // Of logs that are known, the name says it all.
            let of_known = rotated(&name).and_then(|(log, number)| Some((known.get(&log)?.clone(), number)));
            let (series, number, header) = match of_known {
                Some((series, number)) => (series, Some(number), None),
                None if name.to_str().is_some_and(|name| known.contains_key(name)) => continue,
                None => match self.index_of_nobody(&name) {
                    Some((series, number, header)) => (series, number, Some(header)),
                    None => continue,
                },
            };
            match (number, header) {
                (Some(number), _) if !look.numbers(&series).contains(&number) => {
                    look.remove_index(&series, number);
                }
                (_, Some(header)) => {
                    let age = if header.max_age == 0 { Cap::None } else { Cap::At(Span::millis(header.max_age)) };
                    let orphan = Orphan { name: header.app, age, due: None, looked_at: false };
                    self.orphans.entry(series).or_insert(orphan);
                }
                (_, None) => {}
            }
        }
        self.keep_floor(&mut look, &self.logs.clone());
        self.tell_troubles(look);
        // Of an app that has nothing set aside there is nothing to keep. Who sets something aside says whose it is; and what is
        // deleted before that is found by the next sweep.
        for app in quiet {
            self.apps.remove(&app);
        }
        jobs.extend((!self.orphans.is_empty()).then_some(Job::Orphans));
        jobs
    }

    /// Of which log of nobody's this is the index, and of which file of it that was set aside.
    fn index_of_nobody(&self, name: &OsStr) -> Option<(Series, Option<u64>, Header)> {
        let (file, _) = Dir::foreign_if_there(&self.logs.join("index")).ok()?.open_for_reading(name).ok()?;
        let mut bytes = Vec::with_capacity(HEADER);
        File::from(file).take(HEADER as u64).read_to_end(&mut bytes).ok()?;
        let header = Header::decode(&bytes)?;
        let of = |name: &OsStr| Series::of_index(&self.logs, name);
        // A log may be called what a rotated file of another would be; the number tells.
        match rotated(name).filter(|(_, number)| *number == header.number) {
            Some((log, number)) => Some((of(log.as_ref())?, Some(number), header)),
            None => Some((of(name)?, None, header)),
        }
    }

    /// Lets go of what is too old of those not looked at yet, and of those that are due.
    pub(super) fn tidy_orphans(&mut self) {
        let now = SystemTime::now();
        let due = |orphan: &Orphan| !orphan.looked_at || orphan.due.is_some_and(|due| due <= now);
        let all: Vec<Series> = self.orphans.iter().filter(|(_, o)| due(o)).map(|(series, _)| series.clone()).collect();
        let mut look = Shelves::default();
        for series in all {
            self.tidy_orphan(&mut look, &series, now);
        }
        self.tell_troubles(look);
    }

    fn tidy_orphan(&mut self, look: &mut Shelves, series: &Series, now: SystemTime) {
        let Some(age) = self.orphans.get(series).map(|orphan| orphan.age) else { return };
        let too_old = |at: SystemTime| age.limit().and_then(|age| at.checked_add(age.0));
        let (mut next, mut left) = (Vec::new(), false);
        for kept in look.parts(series) {
            match too_old(kept.modified) {
                Some(at) if at <= now => left |= !self.remove(look, &kept),
                at => {
                    left = true;
                    next.extend(at);
                }
            }
        }
        // The one that was written last goes last, so that as long as there is something, its index says whose it is.
        if let Some((_, modified)) = look.current(series).filter(|_| !series.is_foreign()) {
            match too_old(modified) {
                Some(at) if at <= now && !left => left = !look.remove_current(series),
                at => {
                    left = true;
                    next.extend(at);
                }
            }
        } else if !left && !series.is_foreign() {
            look.remove_current(series);
        }
        if !left {
            self.orphans.remove(series);
        } else if let Some(orphan) = self.orphans.get_mut(series) {
            // What was due and could not go is tried again at the next start.
            (orphan.due, orphan.looked_at) = (next.into_iter().filter(|at| *at > now).min(), true);
        }
    }
}

/// `web-0-out.log.idx` and 17 for `web-0-out.log.000017.idx`.
fn rotated(index: &OsStr) -> Option<(String, u64)> {
    let (log, digits) = index.to_str()?.strip_suffix(".idx")?.rsplit_once('.')?;
    let number = (digits.len() >= 6).then(|| digits.parse().ok())??;
    Some((format!("{log}.idx"), number))
}
