//! Making a change durable: new files first, then the index, in one rename.
//!
//! Owns the order of those steps. It must not decide when. What a reader would get wrong: the image in memory is what is
//! on disk, never what was asked for; a change that failed left at most files that no index names, which the next one
//! sweeps away and never trusts.

use super::index::{Entry, Index, env_file, id_of_spec_file, is_env_file, spec_file};
use super::{FILE_MOST, INDEX_MOST};
use crate::kernel::files::{Dir, FileError, Look};
use crate::model::{AppId, AppSpec, BootId, DesiredApp, EnvMap};
use crate::supervise::Change;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub(super) const INDEX: &str = "index.json";
pub(super) const PREVIOUS: &str = "index.json.previous";
pub(super) const UNREADABLE: &str = "index.json.unreadable-";
/// How many unreadable indexes are kept. They are for a person to look at; a disk that makes more needs one.
const UNREADABLE_MOST: u32 = 16;
/// From this many new files on, one syncfs(2) instead of an fsync each.
const MANY: usize = 16;

/// The state folder and what is in it, as far as it is durable.
#[derive(Debug)]
pub struct Disk {
    pub(super) state: Dir,
    pub(super) apps: Dir,
    pub(super) env: Dir,
    pub(super) boot: BootId,
    pub(super) index: Index,
    /// Specs and environments behind the index, as far as they could be read: to notice what has not changed, and to write
    /// files again that somebody removed.
    pub(super) contents: BTreeMap<AppId, (Arc<AppSpec>, Arc<EnvMap>)>,
    /// Files that the index names and whose content is wrong. As good as not there.
    pub(super) bad: HashSet<String>,
    /// `index.json` is unreadable and could not be moved aside yet. Until it is, nothing may be written over it.
    pub(super) displaced: bool,
    /// Unreferenced files are removed. Not while there may be an index somewhere that refers to them.
    pub(super) tidy: bool,
    /// All that the index names is in the folders and nothing else, as of the last change. None: nobody knows.
    pub(super) settled: Option<Settled>,
}

/// The folders as our last change left them. While they look so, nobody else has touched them, and a change costs what it changes;
/// to go through the names of thousands of apps at each would cost more than all its fsyncs.
#[derive(Debug)]
pub(super) struct Settled {
    apps: Look,
    env: Look,
    /// Files that the previous index names and the present one does not: they go with the next change.
    outgoing: Vec<Outgoing>,
}

#[derive(Debug)]
enum Outgoing {
    Spec(String),
    Env(Arc<str>),
}

/// The files that a change needs and that are not there, by name.
#[derive(Default)]
struct Fresh {
    apps: BTreeMap<String, Vec<u8>>,
    env: BTreeMap<String, Vec<u8>>,
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
            if seen.insert(Arc::as_ptr(&app.captured)) {
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
        // Until this change is through, nobody knows what is in the folders.
        let settled = self.settled.take();
        let made_again = self.revive().map_err(|e| e.to_string())?;
        let settled = settled.filter(|settled| !made_again && self.looks_like(settled));
        let mut index = self.index.clone();
        let mut contents = self.contents.clone();
        let mut touched = BTreeSet::new();
        // Many apps share one environment: serialise and hash it once per commit, not once per app.
        let mut envs: HashMap<*const EnvMap, Arc<str>> = HashMap::new();
        for change in changes {
            index.next_id = index.next_id.max(change.next_id);
            touched.extend(change.removed.iter().chain(change.put.iter().map(|(id, _)| id)).copied());
            for id in &change.removed {
                index.apps.remove(id);
                contents.remove(id);
            }
            for (id, app) in &change.put {
                let entry = self.entry(*id, app, &mut envs)?;
                index.apps.insert(*id, Arc::new(entry));
                contents.insert(*id, (Arc::clone(&app.spec), Arc::clone(&app.captured)));
            }
        }
        let fresh = match settled {
            Some(_) => self.new_files(&index, &contents, &touched)?,
            None => self.missing(&index, &contents)?,
        };
        if let Err(why) = self.write_fresh(&fresh) {
            // Whatever of it stands under its name now was never synced, and a later sync would say nothing of it.
            self.bad.extend(fresh.apps.into_keys().chain(fresh.env.into_keys()));
            return Err(why);
        }
        self.write_index(&index).map_err(|e| e.to_string())?;
        let before = std::mem::replace(&mut self.index, index);
        self.contents = contents;
        for name in fresh.apps.keys().chain(fresh.env.keys()) {
            self.bad.remove(name);
        }
        if self.tidy {
            match settled {
                Some(settled) => self.remove_outgoing(&settled.outgoing),
                None => self.sweep(&before),
            }
            self.settle(&before, &touched);
        }
        Ok(())
    }

    /// Whether nobody has touched the folders since. What cannot be looked at is looked through.
    fn looks_like(&self, settled: &Settled) -> bool {
        self.apps.look().is_ok_and(|now| now == settled.apps) && self.env.look().is_ok_and(|now| now == settled.env)
    }

    /// After a change: what the next one may rely on. A file that somebody removed while it was under way is missed until the folder
    /// changes again, or a daemon starts.
    fn settle(&mut self, before: &Index, touched: &BTreeSet<AppId>) {
        let (Ok(apps), Ok(env)) = (self.apps.look(), self.env.look()) else { return };
        let was = || touched.iter().filter_map(|id| before.apps.get(id));
        let specs = was().map(|entry| &entry.file).filter(|file| !self.index.uses_spec(file));
        // Mostly one that all of them share: looked for once.
        let envs: BTreeSet<&Arc<str>> = was().map(|entry| &entry.env).collect();
        let envs = envs.into_iter().filter(|env| !self.index.uses_env(env));
        let outgoing = specs.cloned().map(Outgoing::Spec).chain(envs.cloned().map(Outgoing::Env)).collect();
        self.settled = Some(Settled { apps, env, outgoing });
    }

    /// What two indexes ago was named and is not any more. Only names that we give; failing is no matter.
    fn remove_outgoing(&self, outgoing: &[Outgoing]) {
        for file in outgoing {
            let _ = match file {
                // It may be wanted again by now.
                Outgoing::Spec(name) if !self.index.uses_spec(name) => self.apps.remove(name),
                Outgoing::Env(name) if !self.index.uses_env(name) => self.env.remove(&**name),
                Outgoing::Spec(_) | Outgoing::Env(_) => Ok(()),
            };
        }
    }

    /// As [`Self::missing`], where all that the index on disk names is there: what only the new one names, and what is there and bad.
    fn new_files(
        &self,
        index: &Index,
        contents: &BTreeMap<AppId, (Arc<AppSpec>, Arc<EnvMap>)>,
        touched: &BTreeSet<AppId>,
    ) -> Result<Fresh, String> {
        let mut fresh = Fresh::default();
        let mut envs_there: BTreeSet<&str> = BTreeSet::new();
        for id in touched {
            let (Some(entry), Some((spec, captured))) = (index.apps.get(id), contents.get(id)) else { continue };
            if !self.index.uses_spec(&entry.file) || self.bad.contains(&entry.file) {
                fresh.apps.insert(entry.file.clone(), pretty(&**spec, "the spec")?);
            }
            if !envs_there.insert(&entry.env) {
                continue;
            }
            if !self.index.uses_env(&entry.env) || self.bad.contains(&*entry.env) {
                fresh.env.insert(entry.env.to_string(), pretty(&**captured, "the environment")?);
            }
        }
        Ok(fresh)
    }

    fn entry(&self, id: AppId, app: &DesiredApp, envs: &mut HashMap<*const EnvMap, Arc<str>>) -> Result<Entry, String> {
        let same = self.contents.get(&id).zip(self.index.apps.get(&id));
        let file = match same {
            Some(((spec, _), entry)) if Arc::ptr_eq(spec, &app.spec) => entry.file.clone(),
            _ => spec_file(id, &pretty(&*app.spec, "the spec")?),
        };
        let env = match (same, envs.get(&Arc::as_ptr(&app.captured))) {
            (_, Some(env)) => Arc::clone(env),
            (Some(((_, env), entry)), None) if Arc::ptr_eq(env, &app.captured) => Arc::clone(&entry.env),
            (_, None) => env_file(&pretty(&*app.captured, "the environment")?).into(),
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

    /// What the index names and is not there: new, or removed by somebody. A file that the index on disk does not name is as
    /// good as not there, whatever it is called: a killed daemon may have left half of it.
    fn missing(&self, index: &Index, contents: &BTreeMap<AppId, (Arc<AppSpec>, Arc<EnvMap>)>) -> Result<Fresh, String> {
        let named: HashSet<&str> =
            self.index.apps.values().flat_map(|entry| [entry.file.as_str(), &*entry.env]).collect();
        let there = |dir: &Dir| -> Result<HashSet<String>, String> {
            let names = dir.names().map_err(|e| e.to_string())?.into_iter().filter_map(|n| n.into_string().ok());
            Ok(names.filter(|n| named.contains(n.as_str()) && !self.bad.contains(n)).collect())
        };
        let (apps, env) = (there(&self.apps)?, there(&self.env)?);
        let mut fresh = Fresh::default();
        for (id, (spec, captured)) in contents {
            let Some(entry) = index.apps.get(id) else { continue };
            if !apps.contains(&entry.file) {
                fresh.apps.insert(entry.file.clone(), pretty(&**spec, "the spec")?);
            }
            if !env.contains(&*entry.env) && !fresh.env.contains_key(&*entry.env) {
                fresh.env.insert(entry.env.to_string(), pretty(&**captured, "the environment")?);
            }
        }
        Ok(fresh)
    }

    fn write_fresh(&self, fresh: &Fresh) -> Result<(), String> {
        let many = fresh.apps.len() + fresh.env.len() > MANY;
        let write = |dir: &Dir, files: &BTreeMap<String, Vec<u8>>| -> Result<(), FileError> {
            for (name, bytes) in files {
                // Renamed into place, because the previous index may name the same file and must never see half of it. But for apps
                // whose id no index has given away yet: a thousand new ones need not be renamed one by one.
                let unheard_of = id_of_spec_file(name).is_some_and(|id| id >= self.index.next_id);
                let new = if unheard_of { name.clone() } else { format!("{name}.new") };
                let fd = dir.create(&new, bytes)?;
                if !many {
                    dir.sync_file(&new, fd)?;
                }
                if !unheard_of {
                    dir.rename(&new, name)?;
                }
            }
            if !many && !files.is_empty() { dir.sync() } else { Ok(()) }
        };
        write(&self.apps, &fresh.apps)
            .and_then(|()| write(&self.env, &fresh.env))
            .and_then(|()| if many { self.state.sync_filesystem() } else { Ok(()) })
            .map_err(|e| e.to_string())
    }

    fn write_index(&mut self, index: &Index) -> Result<(), FileOrText> {
        let text = index.to_text()?;
        if text.len() as u64 > INDEX_MOST {
            return Err(FileOrText::Text(format!("the index would have {} bytes", text.len())));
        }
        if self.displaced {
            move_aside(&self.state, INDEX)?;
            self.displaced = false;
            self.tidy = false;
        }
        let new = "index.json.new";
        let fd = self.state.create(new, &text)?;
        self.state.sync_file(new, fd)?;
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
        self.state.rename(new, INDEX).and_then(|()| self.state.sync()).map_err(|e| {
            // The new index is there and nobody can say for how long; the answer will be "not saved", so take it back.
            let _ = if kept { self.state.keep_as(PREVIOUS, INDEX) } else { self.state.remove(INDEX) };
            e.into()
        })
    }

    /// Removes files that neither the index nor the one before it uses. Only names that we give; failing is no matter.
    fn sweep(&self, before: &Index) {
        let names = |dir: &Dir| dir.names().unwrap_or_default().into_iter().filter_map(|n| n.into_string().ok());
        // What a kill left half written is called so.
        let ours = |name: &str, ours: fn(&str) -> bool| ours(name.strip_suffix(".new").unwrap_or(name));
        for name in names(&self.apps).filter(|n| ours(n, |n| id_of_spec_file(n).is_some())) {
            if !self.index.uses_spec(&name) && !before.uses_spec(&name) {
                let _ = self.apps.remove(&name);
            }
        }
        let used: HashSet<&str> = self.index.apps.values().chain(before.apps.values()).map(|e| &*e.env).collect();
        for name in names(&self.env).filter(|n| ours(n, is_env_file)) {
            if !used.contains(name.as_str()) {
                let _ = self.env.remove(&name);
            }
        }
    }

    /// If somebody removed the folders, makes them again: all that was in them is known here and will be written. Whether it did.
    fn revive(&mut self) -> Result<bool, FileError> {
        let gone = |dir: &Dir| Dir::open(dir.path()).map_or(true, |now| !same(&now, dir));
        let mut made_again = gone(&self.state);
        if made_again {
            self.state = Dir::make(self.state.path())?;
        }
        for (name, dir) in [("apps", &mut self.apps), ("env", &mut self.env)] {
            if gone(dir) {
                *dir = self.state.sub(name)?;
                made_again = true;
            }
        }
        Ok(made_again)
    }
}

fn same(a: &Dir, b: &Dir) -> bool {
    let id = |d: &Dir| rustix::fs::fstat(d).ok().map(|s| (s.st_dev, s.st_ino));
    id(a) == id(b)
}

/// Gives an unreadable index a name of its own, so that nothing ever overwrites it.
pub(super) fn move_aside(state: &Dir, name: &str) -> Result<String, FileOrText> {
    for n in 1..=UNREADABLE_MOST {
        let aside = format!("{UNREADABLE}{n}");
        if state.rename_aside(name, &aside)? {
            return Ok(aside);
        }
    }
    Err(FileOrText::Text(format!(
        "failed to keep the unreadable {}: {UNREADABLE_MOST} such files are there already; look at them and remove some",
        state.path().join(name).display()
    )))
}

/// The text of a spec or an environment, as people read it.
fn pretty(value: &impl serde::Serialize, what: &str) -> Result<Vec<u8>, String> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| format!("failed to write {what}: {e}"))?;
    bytes.push(b'\n');
    if bytes.len() as u64 > FILE_MOST {
        return Err(format!("{what} has {} bytes; the most is {FILE_MOST}", bytes.len()));
    }
    Ok(bytes)
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
