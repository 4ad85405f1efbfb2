//! Making a change durable: a line in the log of changes where that will do, else the index, whole.
//!
//! Owns which of the two, and what the change is in terms of files. It must not decide when. What a reader would get wrong: the image in
//! memory is what is on disk, never what was asked for; a change that failed left at most files that no index names, which a later one
//! sweeps away and never trusts.

use super::FILE_MOST;
use super::changes::{Files, Line};
use super::index::{Entry, Index, env_file, spec_file};
use super::log::Log;
use super::tidy::{Named, Settled};
use crate::kernel::files::{Dir, FileError};
use crate::model::{AppId, AppSpec, BootId, DesiredApp, EnvMap};
use crate::supervise::Change;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A longer text is no line of the log.
const LINE_MOST: usize = 64 << 10;

/// The state folder and what is in it, as far as it is durable.
#[derive(Debug)]
pub struct Disk {
    pub(super) state: Dir,
    pub(super) apps: Dir,
    pub(super) env: Dir,
    pub(super) boot: BootId,
    pub(super) index: Index,
    /// The check of the index that is on disk, or was the last one to be. None: there never was one.
    pub(super) base: Option<String>,
    /// The log that follows it, if more may be written to that.
    pub(super) log: Option<Log>,
    /// Specs and environments behind the index, as far as they could be read: to notice what has not changed, and to write
    /// files again that somebody removed.
    pub(super) contents: BTreeMap<AppId, (Arc<AppSpec>, Arc<EnvMap>)>,
    /// Files that stand in the log and not yet in the folders.
    pub(super) pending: Files,
    /// Files that the index on disk names and that are not wanted any more. They stay as long as it does, and as the one after it does.
    pub(super) dropped: BTreeSet<Named>,
    /// Files that the index names and whose content is wrong. As good as not there.
    pub(super) bad: HashSet<String>,
    /// `index.json` is unreadable and could not be moved aside yet. Until it is, nothing may be written over it.
    pub(super) displaced: bool,
    /// Something was lost, and nothing in the folder says so to the next daemon yet: what people were told.
    pub(super) lost: Option<String>,
    /// Transient apps of another boot, which are still in the index on disk.
    pub(super) stale: Vec<AppId>,
    /// Unreferenced files are removed. Not while there may be an index somewhere that refers to them.
    pub(super) tidy: bool,
    /// All that the index on disk names is in the folders and nothing else, as of the last time it was written. None: nobody knows.
    pub(super) settled: Option<Settled>,
}

/// What changes make of the apps that they touch.
#[derive(Debug)]
pub(super) struct Delta {
    pub(super) next_id: AppId,
    /// None: it is removed.
    pub(super) apps: BTreeMap<AppId, Option<Wanted>>,
}

/// An app as it is to be.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) entry: Arc<Entry>,
    pub(super) spec: Arc<AppSpec>,
    pub(super) captured: Arc<EnvMap>,
}

impl Disk {
    /// Whether this change can be written at all: what is wrong with it alone must not fail others beside it.
    pub(super) fn check(&self, change: &Change) -> Result<(), String> {
        let mut seen = HashSet::new();
        for (id, app) in &change.put {
            if app.instances.len() != app.spec.instances as usize {
                // It would be left out when it is read back.
                return Err(format!("app {} has not as many instances as its spec says", app.spec.name));
            }
            let known = self.contents.get(id);
            if known.is_none_or(|(spec, _)| !Arc::ptr_eq(spec, &app.spec)) {
                pretty(&*app.spec, &format!("the spec of {}", app.spec.name))?;
            }
            if known.is_none_or(|(_, env)| !Arc::ptr_eq(env, &app.captured)) && seen.insert(Arc::as_ptr(&app.captured))
            {
                pretty(&*app.captured, &format!("the environment of {}", app.spec.name))?;
            }
        }
        Ok(())
    }

    /// Makes all of these changes durable, or none.
    ///
    /// # Errors
    /// Nothing has changed, and this is why.
    pub(super) fn commit<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> Result<(), String> {
        let delta = self.delta(changes)?;
        let Some(settled) = self.still_settled()? else { return self.write_whole(delta, None) };
        let new = self.new_files(&delta)?;
        if !self.append(&delta, &new)? {
            return self.write_whole(delta, Some((settled, new)));
        }
        self.apply(delta);
        self.pending.extend(new);
        self.settled = Some(settled);
        Ok(())
    }

    /// Writes the index whole once its log has become long, so that neither grows without end. After the answer to whoever asked for
    /// the change: it is durable as it is. If it fails, the next change tries the same, and says why.
    pub(super) fn shorten_the_log(&mut self) {
        if !self.log.as_ref().is_some_and(Log::is_long) {
            return;
        }
        if let Ok(settled) = self.still_settled() {
            let nothing = Delta { next_id: self.index.next_id, apps: BTreeMap::new() };
            let _ = self.write_whole(nothing, settled.map(|settled| (settled, Files::default())));
        }
    }

    fn delta<'a>(&self, changes: impl Iterator<Item = &'a Change>) -> Result<Delta, String> {
        let mut delta = Delta { next_id: self.index.next_id, apps: BTreeMap::new() };
        // Many apps share one environment: serialise and hash it once per commit, not once per app.
        let mut envs: HashMap<*const EnvMap, Arc<str>> = HashMap::new();
        for change in changes {
            delta.next_id = delta.next_id.max(change.next_id);
            delta.apps.extend(change.removed.iter().map(|id| (*id, None)));
            for (id, app) in &change.put {
                let entry = Arc::new(self.entry(*id, app, &mut envs)?);
                let (spec, captured) = (Arc::clone(&app.spec), Arc::clone(&app.captured));
                delta.apps.insert(*id, Some(Wanted { entry, spec, captured }));
            }
        }
        Ok(delta)
    }

    fn entry(&self, id: AppId, app: &DesiredApp, envs: &mut HashMap<*const EnvMap, Arc<str>>) -> Result<Entry, String> {
        let same = self.contents.get(&id).zip(self.index.apps.get(&id));
        let file = match same {
            Some(((spec, _), entry)) if Arc::ptr_eq(spec, &app.spec) => entry.file.clone(),
            _ => spec_file(id, pretty(&*app.spec, "the spec")?.as_bytes()),
        };
        let env = match (same, envs.get(&Arc::as_ptr(&app.captured))) {
            (_, Some(env)) => Arc::clone(env),
            (Some(((_, env), entry)), None) if Arc::ptr_eq(env, &app.captured) => Arc::clone(&entry.env),
            (_, None) => env_file(pretty(&*app.captured, "the environment")?.as_bytes()).into(),
        };
        envs.insert(Arc::as_ptr(&app.captured), env.clone());
        Ok(Entry {
            name: app.spec.name.clone(),
            file,
            env,
            instances: app.instances.clone(),
            last_order: app.last_order.clone(),
            boot: app.spec.transient.then(|| self.boot.clone()),
        })
    }

    /// The files that these apps need and that are neither in the folders nor in the log.
    fn new_files(&self, delta: &Delta) -> Result<Files, String> {
        let mut new = Files::default();
        let mut envs: BTreeSet<&str> = BTreeSet::new();
        for wanted in delta.apps.values().flatten() {
            let Wanted { entry, spec, captured } = wanted;
            if !self.pending.apps.contains_key(&entry.file) && !self.is_there(&Named::Spec(entry.file.clone())) {
                new.apps.insert(entry.file.clone(), pretty(&**spec, "the spec")?);
            }
            if envs.insert(&entry.env)
                && !self.pending.env.contains_key(&*entry.env)
                && !self.is_there(&Named::Env(Arc::clone(&entry.env)))
            {
                new.env.insert(entry.env.to_string(), pretty(&**captured, "the environment")?);
            }
        }
        Ok(new)
    }

    /// Writes the change as a line of the log. `false`: nothing is, and the index is to be written whole instead.
    fn append(&mut self, delta: &Delta, new: &Files) -> Result<bool, String> {
        let Some(log) = self.log.as_mut().filter(|log| log.is_as_we_left_it()) else { return Ok(false) };
        let Some(line) = Line::of(delta, new) else { return Ok(false) };
        let (text, check) = line.to_text(log.check())?;
        // A disk that refuses this may take an index, or says why it does not.
        Ok(text.len() <= LINE_MOST && log.append(&text, check).is_ok())
    }

    /// What is durable now is what is known now.
    pub(super) fn apply(&mut self, delta: Delta) {
        self.index.next_id = delta.next_id;
        let (mut specs, mut envs) = (Vec::new(), BTreeSet::new());
        for (id, wanted) in delta.apps {
            let before = match wanted {
                Some(Wanted { entry, spec, captured }) => {
                    self.contents.insert(id, (spec, captured));
                    self.index.apps.insert(id, entry)
                }
                None => {
                    self.contents.remove(&id);
                    self.index.apps.remove(&id)
                }
            };
            if let Some(before) = before {
                specs.push(before.file.clone());
                // Mostly one that all of them share.
                envs.insert(Arc::clone(&before.env));
            }
        }
        let specs = specs.into_iter().filter(|file| !self.pending.apps.contains_key(file)).map(Named::Spec);
        let envs = envs.into_iter().filter(|file| !self.pending.env.contains_key(&**file)).map(Named::Env);
        self.dropped.extend(specs.chain(envs).filter(|file| !file.is_used_by(&self.index)));
    }
}

/// The text of a spec or an environment, as people read it.
pub(super) fn pretty(value: &impl serde::Serialize, what: &str) -> Result<String, String> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| format!("failed to write {what}: {e}"))?;
    text.push('\n');
    if text.len() as u64 > FILE_MOST {
        return Err(format!("{what} has {} bytes; the most is {FILE_MOST}", text.len()));
    }
    Ok(text)
}

/// A failure, of a file or otherwise.
#[derive(Debug)]
pub(super) enum FileOrText {
    File(FileError),
    Text(String),
}

impl std::fmt::Display for FileOrText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(e) => e.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<FileError> for FileOrText {
    fn from(e: FileError) -> Self {
        Self::File(e)
    }
}

impl From<String> for FileOrText {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
