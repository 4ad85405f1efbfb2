//! Writing the index whole: new files first, then the index with an empty log, in one rename.
//!
//! Owns the order of those steps, and what stays of what was before. What a reader would get wrong: the rename of `index.json` is
//! the commit, and its log has its own name before that. A crash in between leaves the old index, whose log is found under its second name,
//! because a log says which index it follows.

use super::INDEX_MOST;
use super::changes::{Files, Line, header};
use super::commit::{Delta, Disk, FileOrText, pretty};
use super::index::{Index, id_of_spec_file};
use super::log::Log;
use super::tidy::Settled;
use crate::kernel::files::{Dir, FileError};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub(super) const INDEX: &str = "index.json";
pub(super) const PREVIOUS: &str = "index.json.previous";
pub(super) const LOG: &str = "index.log";
pub(super) const LOG_PREVIOUS: &str = "index.log.previous";
/// Between the name of an index or log that could not be read and the number that makes it another one.
const UNREADABLE: &str = ".unreadable-";
/// How many unreadable files of one name are kept. They are for a person to look at; a disk that makes more needs one.
const UNREADABLE_MOST: u32 = 16;
/// From this many new files on, one syncfs(2) instead of an fsync each.
const MANY: usize = 16;

impl Disk {
    /// Makes this change durable with all that is known. With what is known of the folders and what the change needs, if nobody
    /// touched them; else they are gone through.
    ///
    /// # Errors
    /// Nothing has changed, and this is why.
    pub(super) fn write_whole(&mut self, delta: Delta, known: Option<(Settled, Files)>) -> Result<(), String> {
        let mut index = self.index.clone();
        index.serial += 1;
        index.next_id = delta.next_id;
        for (id, wanted) in &delta.apps {
            match wanted {
                Some(wanted) => drop(index.apps.insert(*id, Arc::clone(&wanted.entry))),
                None => drop(index.apps.remove(id)),
            }
        }
        let (settled, files) = match known {
            Some((settled, new)) => (Some(settled), self.pending_of(&index, new)),
            None => (None, self.missing(&index, &delta)?),
        };
        if let Err(why) = self.write_files(&files) {
            // Whatever of it stands under its name now was never synced, and a later sync would say nothing of it.
            self.bad.extend(files.apps.into_keys().chain(files.env.into_keys()));
            return Err(why);
        }
        self.write_index(&index, &delta).map_err(|e| e.to_string())?;
        self.apply(delta);
        self.index.serial = index.serial;
        self.pending = Files::default();
        for name in files.apps.keys().chain(files.env.keys()) {
            self.bad.remove(name);
        }
        self.tidy_up(settled);
        Ok(())
    }

    /// The files that stood in the log only and that this index names, and these.
    fn pending_of(&self, index: &Index, mut files: Files) -> Files {
        let Files { apps, env } = &self.pending;
        let apps = apps.iter().filter(|(name, _)| index.uses_spec(name));
        let env = env.iter().filter(|(name, _)| index.uses_env(name));
        let own = |(name, text): (&String, &String)| (name.clone(), text.clone());
        files.extend(Files { apps: apps.map(own).collect(), env: env.map(own).collect() });
        files
    }

    /// What the index names and is not in the folders: new, or removed by somebody. A file that the index on disk does not name is as
    /// good as not there, whatever it is called: a killed daemon may have left half of it.
    fn missing(&self, index: &Index, delta: &Delta) -> Result<Files, String> {
        let named: HashSet<&str> =
            self.index.apps.values().flat_map(|entry| [entry.file.as_str(), &*entry.env]).collect();
        let there = |dir: &Dir, pending: &BTreeMap<String, String>| -> Result<HashSet<String>, String> {
            let names = dir.names().map_err(|e| e.to_string())?.into_iter().filter_map(|n| n.into_string().ok());
            let good = |n: &String| named.contains(n.as_str()) && !self.bad.contains(n) && !pending.contains_key(n);
            Ok(names.filter(good).collect())
        };
        let (apps, env) = (there(&self.apps, &self.pending.apps)?, there(&self.env, &self.pending.env)?);
        let mut files = self.pending_of(index, Files::default());
        let untouched = self.contents.iter().filter(|(id, _)| !delta.apps.contains_key(id));
        let untouched = untouched.map(|(id, (spec, captured))| (id, spec, captured));
        let touched = delta.apps.iter().filter_map(|(id, w)| w.as_ref().map(|w| (id, &w.spec, &w.captured)));
        for (id, spec, captured) in untouched.chain(touched) {
            let Some(entry) = index.apps.get(id) else { continue };
            if !apps.contains(&entry.file) && !files.apps.contains_key(&entry.file) {
                files.apps.insert(entry.file.clone(), pretty(&**spec, "the spec")?);
            }
            if !env.contains(&*entry.env) && !files.env.contains_key(&*entry.env) {
                files.env.insert(entry.env.to_string(), pretty(&**captured, "the environment")?);
            }
        }
        Ok(files)
    }

    fn write_files(&self, files: &Files) -> Result<(), String> {
        let many = files.len() > MANY;
        let write = |dir: &Dir, files: &BTreeMap<String, String>| -> Result<(), FileError> {
            for (name, text) in files {
                // Renamed into place, because the previous index may name the same file and must never see half of it. But for apps
                // whose id no index has given away yet: a thousand new ones need not be renamed one by one.
                let unheard_of = id_of_spec_file(name).is_some_and(|id| id >= self.index.next_id);
                let new = if unheard_of { name.clone() } else { format!("{name}.new") };
                let fd = dir.create(&new, text.as_bytes())?;
                if !many {
                    dir.sync_file(&new, fd)?;
                }
                if !unheard_of {
                    dir.rename(&new, name)?;
                }
            }
            if !many && !files.is_empty() { dir.sync() } else { Ok(()) }
        };
        write(&self.apps, &files.apps)
            .and_then(|()| write(&self.env, &files.env))
            .and_then(|()| if many { self.state.sync_filesystem() } else { Ok(()) })
            .map_err(|e| e.to_string())
    }

    /// The index and its log, each in the place of the one before, which stays as the previous one.
    fn write_index(&mut self, index: &Index, delta: &Delta) -> Result<(), FileOrText> {
        let (text, check) = index.to_text()?;
        if text.len() as u64 > INDEX_MOST {
            return Err(FileOrText::Text(format!("the index would have {} bytes", text.len())));
        }
        if self.displaced {
            move_aside(&self.state, INDEX)?;
            self.displaced = false;
            self.tidy = false;
        }
        while let Some(log) = self.to_keep.last() {
            keep_aside(&self.state, log)?;
            self.tidy = false;
            self.to_keep.pop();
        }
        let change = Line::of(delta, &Files::default());
        let can_be_made_again = self.base.is_none() && change.is_some();
        let (first_line, log_check) = header(check.clone(), self.base.clone(), change)?;
        let (new_log, new_index) = (format!("{LOG}.new"), format!("{INDEX}.new"));
        let log = self.state.create(&new_log, &first_line)?;
        self.state.sync_file(&new_log, &log)?;
        let fd = self.state.create(&new_index, &text)?;
        self.state.sync_file(&new_index, fd)?;
        // Where there is no index, the previous one stays as it is, and its log with it.
        let log_kept = has(&self.state, INDEX) && keep_previous(&self.state, LOG, LOG_PREVIOUS)?;
        let kept = keep_previous(&self.state, INDEX, PREVIOUS)?;
        let renamed = self
            .state
            .rename(&new_log, LOG)
            .and_then(|()| self.state.rename(&new_index, INDEX))
            .and_then(|()| self.state.sync());
        if let Err(e) = renamed {
            // The new index may be there and nobody can say for how long; the answer will be "not saved", so take it back.
            let _ = if kept { self.state.keep_as(PREVIOUS, INDEX) } else { self.state.remove(INDEX) };
            let _ = if log_kept { self.state.keep_as(LOG_PREVIOUS, LOG) } else { self.state.remove(LOG) };
            return Err(e.into());
        }
        if !kept && !can_be_made_again {
            // The first of all and large, or the first after we went back to the previous one: should it be damaged, nothing would lead to it.
            let _ = self.state.replace(PREVIOUS, &text);
        }
        self.base = Some(check);
        self.log = Some(Log::new(log, first_line.len(), log_check, text.len()));
        Ok(())
    }
}

/// Whether there is anything of that name.
pub(super) fn has(state: &Dir, name: &str) -> bool {
    rustix::fs::statat(state, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Gives the file that name, too, so that there is no moment without either. Whether there was one.
fn keep_previous(state: &Dir, name: &str, previous: &str) -> Result<bool, FileError> {
    match state.keep_as(name, previous) {
        Ok(()) => Ok(true),
        Err(e) if e.is_missing() => Ok(false),
        // No hard links here (vfat, some FUSE): for a moment there is only the previous one, which load understands.
        Err(e) if e.no_links_here() => state.rename(name, previous).map(|()| true),
        Err(e) => Err(e),
    }
}

/// Whether that is what a file is called that was set aside because it could not be read.
pub(super) fn is_aside(name: &str) -> bool {
    name.starts_with("index.") && name.contains(UNREADABLE)
}

/// Gives an unreadable index a name of its own, so that nothing ever overwrites it.
pub(super) fn move_aside(state: &Dir, name: &str) -> Result<String, FileOrText> {
    aside(state, name, |to| state.rename_aside(name, to))
}

/// Gives a log such a name, too: what is good in it is needed until the next index is there.
fn keep_aside(state: &Dir, name: &str) -> Result<String, FileOrText> {
    aside(state, name, |to| match rustix::fs::linkat(state, name, state, to, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // Somebody removed it.
        Err(Errno::NOENT) => Ok(true),
        Err(e) => match state.error("link", name, e) {
            e if e.no_links_here() => state.rename_aside(name, to),
            e => Err(e),
        },
    })
}

fn aside(state: &Dir, name: &str, take: impl Fn(&str) -> Result<bool, FileError>) -> Result<String, FileOrText> {
    for n in 1..=UNREADABLE_MOST {
        let aside = format!("{name}{UNREADABLE}{n}");
        if take(&aside)? {
            return Ok(aside);
        }
    }
    Err(FileOrText::Text(format!(
        "failed to keep the unreadable {}: {UNREADABLE_MOST} such files are there already; look at them and remove some",
        state.path().join(name).display()
    )))
}
