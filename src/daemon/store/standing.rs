//! Which index and which changes after it are to be believed.
//!
//! Owns the reading of the index, of its log, and of the way there from the index before, should it be lost. What a reader would get
//! wrong: people are told "no change is missing" only where a check says so.

use super::INDEX_MOST;
use super::changes::{Changes, Files, follows_by_name, log_file};
use super::index::{Index, Parsed, Unusable};
use super::whole::{INDEX, PREVIOUS, move_aside};
use crate::kernel::files::Dir;
use crate::model::{AppId, BootId};

/// So many ids are left out when nobody knows which were given: more than a log has lines.
const IDS_IN_DOUBT: u32 = 1000;

/// What stands on disk, as far as it can be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The index on disk.
    pub(super) written: Index,
    /// The check of it, or of the lost one that we know of. None: there never was one.
    pub(super) base: Option<String>,
    /// What became of it, by its log.
    pub(super) index: Index,
    /// Files that stand in the log.
    pub(super) files: Files,
    /// Something was lost, and any app may have stood in it.
    pub(super) lost: bool,
    /// There was something to lose.
    pub(super) was_used: bool,
    /// `index.json` could not be read, nor moved aside.
    pub(super) displaced: bool,
    /// What people must be told.
    pub(super) troubles: Vec<String>,
}

/// A file with an index or a log.
pub(super) enum Found<T> {
    Good(T),
    Missing,
    Damaged(String),
}

/// Err only for what a newer opm wrote: that must stop us before we write anything.
fn read<T>(state: &Dir, name: &str, parse: impl Fn(&[u8]) -> Result<T, Unusable>) -> Result<Found<T>, String> {
    let path = state.path().join(name);
    let bytes = match state.read(name, INDEX_MOST) {
        Ok(bytes) => bytes,
        Err(e) if e.is_missing() => return Ok(Found::Missing),
        Err(e) => return Ok(Found::Damaged(e.to_string())),
    };
    match parse(&bytes) {
        Ok(good) => Ok(Found::Good(good)),
        Err(Unusable::Damaged(why)) => Ok(Found::Damaged(format!("failed to read {}: {why}", path.display()))),
        Err(Unusable::Newer(version)) => Err(format!(
            "failed to read {}: a newer opm wrote it (version {version}); nothing was changed",
            path.display()
        )),
    }
}

pub(super) fn read_index(state: &Dir, name: &str) -> Result<Found<Parsed>, String> {
    read(state, name, Index::parse)
}

/// The log that follows the index of that check.
fn read_log(state: &Dir, check: &str) -> Result<Found<Changes>, String> {
    read(state, &log_file(check), |bytes| match Changes::parse(bytes)? {
        changes if changes.header.follows == check => Ok(changes),
        _ => Err(Unusable::Damaged("it is of another index than its name says".to_owned())),
    })
}

/// All logs that there are and that can be read, by their names.
fn all_logs(state: &Dir) -> Result<Vec<Changes>, String> {
    let mut names = state.names().map_err(|e| e.to_string())?;
    names.sort();
    let checks = names.iter().filter_map(|name| follows_by_name(name.to_str()?));
    let mut logs = Vec::new();
    for check in checks {
        if let Found::Good(changes) = read_log(state, check)? {
            logs.push(changes);
        }
    }
    Ok(logs)
}

impl Standing {
    /// No apps yet.
    fn empty() -> Self {
        Self {
            written: Index::empty(),
            base: None,
            index: Index::empty(),
            files: Files::default(),
            lost: false,
            was_used: false,
            displaced: false,
            troubles: vec![],
        }
    }

    fn on(parsed: Parsed) -> Self {
        let (written, index) = (parsed.index.clone(), parsed.index);
        Self { written, base: Some(parsed.check), index, was_used: true, ..Self::empty() }
    }

    /// What is to be gone on with. An index that cannot be read is moved aside.
    ///
    /// # Errors
    /// A newer opm wrote it.
    pub(super) fn find(state: &Dir, boot: &BootId) -> Result<Self, String> {
        let mut standing = match read_index(state, INDEX)? {
            Found::Good(parsed) => Self::by(state, parsed, boot)?,
            Found::Missing => Self::before(state, boot)?,
            Found::Damaged(why) => {
                let aside = move_aside(state, INDEX);
                let mut standing = Self::before(state, boot)?;
                standing.was_used = true;
                standing.displaced = aside.is_err();
                let told = match aside {
                    Ok(aside) => format!("{why}; it is kept as {aside}"),
                    Err(e) => format!("{why}; nothing can be saved before it is moved away: {e}"),
                };
                standing.troubles.insert(0, told);
                standing
            }
        };
        if standing.lost && standing.was_used {
            // No id is given twice, whatever it is that nobody can read.
            let named = all_logs(state)?.iter().map(|log| log.next_id).max();
            let next_id = standing.index.next_id.max(named.unwrap_or(AppId(0)));
            standing.index.next_id = AppId(next_id.0.saturating_add(IDS_IN_DOUBT));
        }
        Ok(standing)
    }

    /// What became of that index, which can be read. Touches nothing.
    ///
    /// # Errors
    /// A newer opm wrote its log.
    pub(super) fn by(state: &Dir, parsed: Parsed, boot: &BootId) -> Result<Self, String> {
        let (has_log, check) = (parsed.has_log, parsed.check.clone());
        let mut standing = Self::on(parsed);
        if !has_log {
            return Ok(standing);
        }
        match read_log(state, &check)? {
            Found::Good(changes) => _ = standing.take(state, changes, boot),
            Found::Missing => {
                standing.lose(format!("{} is missing", state.path().join(log_file(&check)).display()));
            }
            Found::Damaged(why) => standing.lose(why),
        }
        Ok(standing)
    }

    fn lose(&mut self, why: String) {
        self.lost = true;
        self.troubles.push(format!("{why}; what changed since {INDEX} was written is not known"));
    }

    /// From the previous index, when the current one is not to be had, as far as the logs lead.
    fn before(state: &Dir, boot: &BootId) -> Result<Self, String> {
        let (mut standing, has_log) = match read_index(state, PREVIOUS)? {
            Found::Good(parsed) => {
                let has_log = parsed.has_log;
                (Self::on(parsed), has_log)
            }
            Found::Missing => (Self::empty(), false),
            Found::Damaged(why) => {
                let mut standing = Self { lost: true, was_used: true, ..Self::empty() };
                standing.troubles.push(match move_aside(state, PREVIOUS) {
                    Ok(aside) => format!("{why}; it is kept as {aside}; no apps are known"),
                    // A later write replaces it. Say what to do before that.
                    Err(e) => format!("{why}; no apps are known, and it could not be kept: {e}"),
                });
                return Ok(standing);
            }
        };
        let from = standing.base.as_ref().map(|_| state.path().join(PREVIOUS));
        let whole = standing.go_on(state, has_log, boot)?;
        standing.lost = !whole;
        let told = match (from, whole) {
            (Some(from), true) => format!("went back to {} and the logs; no change is missing", from.display()),
            (Some(from), false) => format!("went back to {} and the logs; a change may be missing", from.display()),
            (None, true) => format!("{INDEX} is made again from its log; no change is missing"),
            (None, false) if standing.was_used => format!("{INDEX} is made again from logs; a change may be missing"),
            // Nothing was ever saved here, as far as anybody can tell.
            (None, false) => return Ok(standing),
        };
        standing.troubles.insert(0, told);
        Ok(standing)
    }

    /// From the index that there is, or none: its own log leads to the next index but for one change; that one's log repeats the change and
    /// leads on. Whether it is certain that this is all.
    fn go_on(&mut self, state: &Dir, has_log: bool, boot: &BootId) -> Result<bool, String> {
        let mut logs = all_logs(state)?;
        self.was_used |= !logs.is_empty();
        let mut good = true;
        if let (Some(base), true) = (&self.base, has_log) {
            match logs.iter().position(|log| log.header.follows == *base) {
                Some(own) => good &= self.take(state, logs.swap_remove(own), boot),
                None => good = false,
            }
        }
        let mut steps = 0;
        loop {
            let (mut next, rest): (Vec<_>, Vec<_>) = logs.into_iter().partition(|log| log.header.previous == self.base);
            logs = rest;
            if next.len() > 1 {
                // One that nobody wrote to may be of an index that a crash prevented.
                next.retain(|log| !log.lines.is_empty());
            }
            let log = match <[_; 1]>::try_from(next) {
                Ok([log]) => log,
                Err(next) => return Ok(good && steps > 0 && next.is_empty() && logs.is_empty()),
            };
            self.index.serial += 1;
            match &log.header.change {
                Some(change) => change.apply(&mut self.index),
                None => good = false,
            }
            good &= self.index.to_text().is_ok_and(|(_, check)| check == log.header.follows);
            self.base = Some(log.header.follows.clone());
            good &= self.take(state, log, boot);
            steps += 1;
        }
    }

    /// Takes these changes, and says what is wrong with them. Whether nothing is.
    fn take(&mut self, state: &Dir, changes: Changes, boot: &BootId) -> bool {
        let path = state.path().join(log_file(&changes.header.follows));
        let (bad, torn) = (changes.bad, changes.torn);
        if bad > 0 {
            self.lost = true;
            let s = if bad == 1 { "" } else { "s" };
            self.troubles.push(format!(
                "failed to read {}: {bad} change{s} in it cannot be understood; damaged, or edited by hand; all others are there",
                path.display()
            ));
        }
        if torn {
            // Nothing lives that was begun in another boot: then it is no matter who it was.
            self.lost |= changes.header.boot == *boot;
            self.troubles.push(format!(
                "{} ends within a change, which is left out: a crash cut it off before anybody was told that it is saved, or \
                 somebody cut the file off",
                path.display()
            ));
        }
        self.files.extend(changes.apply(&mut self.index));
        bad == 0 && !torn
    }
}
