//! Writing the index whole: new files first, then an empty log for it, then the index, in one rename.
//!
//! Owns the order of those steps, and what stays of what was before. What a reader would get wrong: a log is called by the index that it
//! follows, so the rename of `index.json` is all that a commit is. A crash before it leaves a log that belongs to nothing.

use super::INDEX_MOST;
use super::changes::{Files, Line, follows_by_name, header, log_file};
use super::commit::{Delta, Disk, FileOrText, pretty};
use super::index::{Index, id_of_spec_file};
use super::log::Log;
use super::tidy::Settled;
use crate::kernel::files::{Dir, FileError};
use rustix::fs::AtFlags;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub(super) const INDEX: &str = "index.json";
pub(super) const PREVIOUS: &str = "index.json.previous";
/// What stands for something that was lost and left nothing to be kept.
const LOST: &str = "index.lost";
/// Between the name of an index that could not be read and the number that makes it another one.
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
    pub(super) fn write_whole(&mut self, mut delta: Delta, known: Option<(Settled, Files)>) -> Result<(), String> {
        for id in &self.stale {
            delta.apps.entry(*id).or_insert(None);
        }
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
        let before = self.base.clone();
        let kept = self.write_index(&index, &delta).map_err(|e| e.to_string())?;
        self.apply(delta);
        self.index.serial = index.serial;
        self.pending = Files::default();
        self.stale.clear();
        for name in files.apps.keys().chain(files.env.keys()) {
            self.bad.remove(name);
        }
        // Where there was no index, the previous one has stayed as it was, with all that leads from there to this one.
        if kept || before.is_none() {
            self.remove_logs_but(before.as_deref());
            self.tidy_up(settled);
        }
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

    /// The index, in the place of the one before, which stays as the previous one; and a log for it. Whether there was one before.
    fn write_index(&mut self, index: &Index, delta: &Delta) -> Result<bool, FileOrText> {
        let (text, check) = index.to_text()?;
        if text.len() as u64 > INDEX_MOST {
            return Err(FileOrText::Text(format!("the index would have {} bytes", text.len())));
        }
        if self.displaced {
            move_aside(&self.state, INDEX)?;
            self.displaced = false;
        }
        if let Some(lost) = &self.lost {
            aside(&self.state, LOST, |name| create_if_missing(&self.state, name, lost))?;
            self.lost = None;
        }
        let change = Line::of(delta, &Files::default());
        let can_be_made_again = change.is_some();
        let (first_line, log_check) = header(&check, self.base.as_ref(), &self.boot, change)?;
        let log_name = log_file(&check);
        let log = self.state.create(&log_name, &first_line)?;
        let written = self.state.sync_file(&log_name, &log).map_err(FileOrText::from);
        let kept = match written.and_then(|()| self.exchange(&text)) {
            Ok(kept) => kept,
            Err(e) => {
                // It would lead from the index that stands to one that nobody was told of.
                let _ = self.state.remove(&log_name).and_then(|()| self.state.sync());
                return Err(e);
            }
        };
        if !kept && !can_be_made_again {
            // Should it be damaged, nothing would lead to it.
            let _ = self.state.replace(PREVIOUS, &text);
        }
        self.base = Some(check);
        self.log = Some(Log::new(log, first_line.len(), log_check, text.len()));
        Ok(kept)
    }

    /// Puts that in the place of the index. Whether there was one, which is the previous one now.
    fn exchange(&self, text: &[u8]) -> Result<bool, FileOrText> {
        let new = format!("{INDEX}.new");
        let fd = self.state.create(&new, text)?;
        self.state.sync_file(&new, fd)?;
        let kept = match self.state.keep_as(INDEX, PREVIOUS) {
            Ok(()) => true,
            Err(e) if e.is_missing() => false,
            // No hard links here (vfat, some FUSE): for a moment there is only the previous one, which load understands.
            Err(e) if e.no_links_here() => {
                self.state.rename(INDEX, PREVIOUS)?;
                true
            }
            Err(e) => return Err(e.into()),
        };
        let renamed = self.state.rename(&new, INDEX).and_then(|()| self.state.sync());
        if renamed.is_err() {
            // The new index may be there and nobody can say for how long; the answer will be "not saved", so take it back.
            let _ = match kept {
                true => self.state.keep_as(PREVIOUS, INDEX).or_else(|_| self.state.rename(PREVIOUS, INDEX)),
                false => self.state.remove(INDEX),
            };
            let _ = self.state.sync();
        }
        renamed?;
        Ok(kept)
    }

    /// Removes logs that follow neither the index nor the one before it. Failing is no matter.
    fn remove_logs_but(&self, previous: Option<&str>) {
        if !self.tidy {
            return;
        }
        for name in self.state.names().unwrap_or_default().iter().filter_map(|name| name.to_str()) {
            let Some(check) = follows_by_name(name) else { continue };
            if Some(check) != previous && Some(check) != self.base.as_deref() {
                let _ = self.state.remove(name);
            }
        }
    }
}

/// Whether there is anything of that name.
pub(super) fn has(state: &Dir, name: &str) -> bool {
    rustix::fs::statat(state, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Whether that is what a file is called that was set aside because it could not be read, or stands for what was lost.
pub(super) fn is_aside(name: &str) -> bool {
    name.starts_with("index.") && name.contains(UNREADABLE)
}

/// Gives an unreadable index a name of its own, so that nothing ever overwrites it.
pub(super) fn move_aside(state: &Dir, name: &str) -> Result<String, FileOrText> {
    aside(state, name, |to| state.rename_aside(name, to))
}

/// Makes a file for people to read, unless there is one of that name.
fn create_if_missing(state: &Dir, name: &str, text: &str) -> Result<bool, FileError> {
    if has(state, name) {
        return Ok(false);
    }
    let fd = state.create(name, text.as_bytes())?;
    state.sync_file(name, fd)?;
    Ok(true)
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
