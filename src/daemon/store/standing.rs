//! Which index and which changes after it are to be believed.
//!
//! Owns the reading of `index.json`, `index.log` and the ones before them. What a reader would get wrong: a log is never believed for its
//! name, but for the check in its first line; which of the two files it stands in depends on where a crash fell.

use super::INDEX_MOST;
use super::changes::{Changes, Files};
use super::index::{Index, Parsed, Unusable};
use super::whole::{INDEX, LOG, LOG_PREVIOUS, PREVIOUS, move_aside};
use crate::kernel::files::Dir;

/// What stands on disk, as far as it can be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The index on disk.
    pub(super) written: Index,
    /// Its check. None: there is none on disk.
    pub(super) base: Option<String>,
    /// What became of it, by its log.
    pub(super) index: Index,
    /// Files that stand in the log.
    pub(super) files: Files,
    /// Something was lost, and any app may have stood in it.
    pub(super) lost: bool,
    /// `index.json` could not be read, nor moved aside.
    pub(super) displaced: bool,
    /// Logs that could not be read to their end, or of which nobody knows what they follow.
    pub(super) to_keep: Vec<&'static str>,
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

fn read_log(state: &Dir, name: &str) -> Result<Found<Changes>, String> {
    read(state, name, Changes::parse)
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
            displaced: false,
            to_keep: vec![],
            troubles: vec![],
        }
    }

    fn on(parsed: Parsed) -> Self {
        let (written, index) = (parsed.index.clone(), parsed.index);
        Self { written, base: Some(parsed.check), index, ..Self::empty() }
    }

    /// What is to be gone on with. An index that cannot be read is moved aside.
    ///
    /// # Errors
    /// A newer opm wrote it.
    pub(super) fn find(state: &Dir) -> Result<Self, String> {
        match read_index(state, INDEX)? {
            Found::Good(parsed) => Self::by(state, parsed),
            Found::Missing => Self::before(state),
            Found::Damaged(why) => {
                let aside = move_aside(state, INDEX);
                let mut standing = Self::before(state)?;
                standing.displaced = aside.is_err();
                let told = match aside {
                    Ok(aside) => format!("{why}; it is kept as {aside}"),
                    Err(e) => format!("{why}; nothing can be saved before it is moved away: {e}"),
                };
                standing.troubles.insert(0, told);
                Ok(standing)
            }
        }
    }

    /// What became of that index, which can be read. Touches nothing.
    ///
    /// # Errors
    /// A newer opm wrote its log.
    pub(super) fn by(state: &Dir, parsed: Parsed) -> Result<Self, String> {
        let has_log = parsed.has_log;
        let mut standing = Self::on(parsed);
        if !has_log {
            return Ok(standing);
        }
        let mut why_not = None;
        for name in [LOG, LOG_PREVIOUS] {
            match read_log(state, name)? {
                Found::Good(changes) if Some(&changes.header.follows) == standing.base.as_ref() => {
                    standing.take(state, name, changes);
                    return Ok(standing);
                }
                Found::Good(_) if name == LOG => {
                    why_not = Some(format!("{} does not belong to {INDEX}", state.path().join(name).display()));
                }
                Found::Damaged(why) if name == LOG => why_not = Some(why),
                Found::Good(_) | Found::Damaged(_) | Found::Missing => {}
            }
        }
        standing.lost = true;
        let (why, kept) = match why_not {
            Some(why) => {
                standing.to_keep.push(LOG);
                (why, "; it will be kept")
            }
            None => (format!("{} is missing", state.path().join(LOG).display()), ""),
        };
        standing.troubles.push(format!("{why}; what changed since {INDEX} was written is not known{kept}"));
        Ok(standing)
    }

    /// The previous index, when the current one is not to be had, and all that became of it.
    fn before(state: &Dir) -> Result<Self, String> {
        let path = state.path().join(PREVIOUS);
        let mut standing = match read_index(state, PREVIOUS)? {
            Found::Good(parsed) => {
                let mut standing = Self::on(parsed);
                let told = match standing.go_on(state)? {
                    true => "the log of what changed since; no change is missing",
                    false => "what is known of what changed since; a change may be missing",
                };
                standing.troubles.insert(0, format!("went back to {} and {told}", path.display()));
                standing
            }
            Found::Missing => {
                let mut standing = Self::empty();
                // It was the first of all.
                if standing.go_on(state)? {
                    standing.troubles.insert(0, format!("{INDEX} is made again from its log; no change is missing"));
                }
                standing
            }
            Found::Damaged(why) => {
                let mut standing = Self::empty();
                standing.troubles.push(match move_aside(state, PREVIOUS) {
                    Ok(aside) => format!("{why}; it is kept as {aside}; no apps are known"),
                    // A later write replaces it. Say what to do before that.
                    Err(e) => format!("{why}; no apps are known, and it could not be kept: {e}"),
                });
                standing
            }
        };
        standing.lost = true;
        for name in [LOG, LOG_PREVIOUS] {
            let worth_it = match read_log(state, name)? {
                Found::Good(changes) => changes.bad > 0 || !changes.lines.is_empty(),
                Found::Damaged(_) => true,
                Found::Missing => false,
            };
            if worth_it && !standing.to_keep.contains(&name) {
                standing.to_keep.push(name);
            }
        }
        Ok(standing)
    }

    /// From the previous index, or none: its own log leads to the lost index but for one change, and that one's log from there to the
    /// present. Whether it is certain that no change is missing.
    fn go_on(&mut self, state: &Dir) -> Result<bool, String> {
        let base = self.base.clone();
        let (mut whole, mut good) = (false, true);
        for name in [LOG_PREVIOUS, LOG] {
            let Found::Good(changes) = read_log(state, name)? else { continue };
            if base.as_ref() == Some(&changes.header.follows) {
                // The previous one is a copy of the lost one, if this log is not that of an earlier one.
                whole = name == LOG;
            } else {
                if base != changes.header.previous {
                    continue;
                }
                self.index.serial += 1;
                if let Some(change) = &changes.header.change {
                    change.apply(&mut self.index);
                }
                whole = self.index.to_text().is_ok_and(|(_, check)| check == changes.header.follows);
            }
            good &= changes.bad == 0 && !changes.torn;
            self.take(state, name, changes);
        }
        Ok(whole && good)
    }

    /// Takes these changes, and says what is wrong with them.
    fn take(&mut self, state: &Dir, name: &'static str, changes: Changes) {
        let path = state.path().join(name);
        if changes.bad > 0 {
            self.lost = true;
            self.to_keep.push(name);
            let (count, s) = (changes.bad, if changes.bad == 1 { "" } else { "s" });
            self.troubles.push(format!(
                "failed to read {}: {count} change{s} in it cannot be understood; damaged, or edited by hand; all others are \
                 there; it will be kept",
                path.display()
            ));
        }
        if changes.torn {
            self.lost = true;
            self.troubles.push(format!(
                "{} ends within a change, which is left out: a crash cut it off before anybody was told that it is saved, or \
                 somebody cut the file off",
                path.display()
            ));
        }
        self.files.extend(changes.apply(&mut self.index));
    }
}
