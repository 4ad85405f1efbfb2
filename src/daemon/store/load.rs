//! Reading what is wanted, whatever became of the files.
//!
//! Owns what happens when they are damaged: say so, go on with what is good, and never overwrite or lose what is not. What a
//! reader would get wrong: an app whose files are bad is missing from the answer, not from the disk; its entry stays in the
//! index, and it is back when its file is.

use super::commit::{Disk, INDEX, PREVIOUS, UNREADABLE, move_aside};
use super::index::{Entry, Index, Unusable, env_file, id_of_spec_file, spec_file};
use super::{FILE_MOST, INDEX_MOST};
use crate::daemon::shared_out::shared_out;
use crate::kernel::files::Dir;
use crate::model::{AppId, AppName, AppSpec, BootId, DesiredApp, EnvMap};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// What is wanted, and what was wrong with how it is kept.
#[derive(Debug)]
pub struct Loaded {
    /// The apps, by id.
    pub apps: Vec<(AppId, DesiredApp)>,
    /// The id that the next new app gets.
    pub next_id: AppId,
    /// What people must be told.
    pub troubles: Vec<String>,
    /// Who may be wanted and is not among the apps.
    pub hidden: Hidden,
    /// For [`super::spawn`].
    pub disk: Disk,
}

/// Apps that damage hides. That they are not among the apps says nothing about what is wanted of them, so what runs of them
/// must be left alone.
#[derive(Debug, Default)]
pub struct Hidden {
    /// An index was lost, now or before: any app may have stood in it.
    any: bool,
    /// The index names these, but their own files are bad.
    left_out: BTreeSet<AppId>,
}

impl Hidden {
    /// Whether this app, which is not among the apps, may be hidden.
    #[must_use]
    pub fn may_hold(&self, app: AppId) -> bool {
        self.any || self.left_out.contains(&app)
    }
}

/// Reads the state folder, making it if there is none. Transient apps of another boot than this are left out, and leave
/// the disk with the next write.
///
/// # Errors
/// The folder cannot be made or is not ours, or a newer opm wrote what is in it. Damaged content is no error.
pub fn load(dir: &Path, boot: &BootId) -> Result<Loaded, String> {
    let text = |e: crate::kernel::files::FileError| e.to_string();
    let state = Dir::make(dir).map_err(text)?;
    let (apps, env) = (state.sub("apps").map_err(text)?, state.sub("env").map_err(text)?);
    let mut troubles = Vec::new();
    let mut tidy = !state.names().map_err(text)?.iter().any(|n| n.to_string_lossy().starts_with(UNREADABLE));
    let mut displaced = false;
    let mut hidden = Hidden { any: !tidy, left_out: BTreeSet::new() };

    let mut index = match read_index(&state, INDEX)? {
        Found::Good(index) => {
            // Its files are used too, and must not be swept away while it cannot be read.
            tidy &= !matches!(read_index(&state, PREVIOUS), Ok(Found::Damaged(_)) | Err(_));
            index
        }
        Found::Damaged(why) => {
            tidy = false;
            hidden.any = true;
            match move_aside(&state, INDEX) {
                Ok(aside) => troubles.push(format!("{why}; it is kept as {aside}")),
                Err(e) => {
                    displaced = true;
                    troubles.push(format!("{why}; nothing can be saved before it is moved away: {e}"));
                }
            }
            go_back(&state, &mut troubles)?
        }
        Found::Missing => {
            hidden.any = true;
            go_back(&state, &mut troubles)?
        }
    };
    let spec_files: Vec<String> =
        apps.names().map_err(text)?.into_iter().filter_map(|n| n.into_string().ok()).collect();
    let highest = spec_files.iter().filter_map(|n| id_of_spec_file(n)).chain(index.apps.keys().copied()).max();
    // Ids are never given twice, not even when the index that knew the last one is lost.
    index.next_id = index.next_id.max(highest.map_or(AppId(0), |id| AppId(id.0.saturating_add(1))));
    if index.apps.is_empty() && !spec_files.is_empty() && tidy && !state_has(&state, INDEX) {
        tidy = false;
        troubles.push(format!(
            "{} has no index, so the {} files in its folder 'apps' are not used; they are kept",
            dir.display(),
            spec_files.len()
        ));
    }
    index.apps.retain(|_, entry| entry.boot.as_ref().is_none_or(|b| b == boot));

    let mut disk = Disk {
        state,
        apps,
        env,
        boot: boot.clone(),
        contents: BTreeMap::new(),
        bad: HashSet::new(),
        displaced,
        tidy,
        index,
        settled: None,
    };
    let Read { apps, bad } = read_apps(&disk.apps, &disk.env, &disk.index, &mut troubles);
    disk.bad = bad;
    disk.contents.extend(apps.iter().map(|(id, app)| (*id, (Arc::clone(&app.spec), Arc::clone(&app.captured)))));
    let read: BTreeSet<AppId> = apps.iter().map(|(id, _)| *id).collect();
    hidden.left_out.extend(disk.index.apps.keys().filter(|id| !read.contains(id)));
    Ok(Loaded { apps, next_id: disk.index.next_id, troubles, hidden, disk })
}

enum Found {
    Good(Index),
    Missing,
    Damaged(String),
}

/// Err only for what a newer opm wrote: that must stop us before we write anything.
fn read_index(state: &Dir, name: &str) -> Result<Found, String> {
    let path = state.path().join(name);
    let bytes = match state.read(name, INDEX_MOST) {
        Ok(bytes) => bytes,
        Err(e) if e.is_missing() => return Ok(Found::Missing),
        Err(e) => return Ok(Found::Damaged(e.to_string())),
    };
    match Index::parse(&bytes) {
        Ok(index) => Ok(Found::Good(index)),
        Err(Unusable::Damaged(why)) => Ok(Found::Damaged(format!("failed to read {}: {why}", path.display()))),
        Err(Unusable::Newer(version)) => Err(format!(
            "failed to read {}: a newer opm wrote it (version {version}); nothing was changed",
            path.display()
        )),
    }
}

/// The previous index, when the current one is not to be had.
fn go_back(state: &Dir, troubles: &mut Vec<String>) -> Result<Index, String> {
    match read_index(state, PREVIOUS)? {
        Found::Good(index) => {
            troubles.push(format!(
                "went back to {}; the last change may be missing",
                state.path().join(PREVIOUS).display()
            ));
            Ok(index)
        }
        Found::Missing => Ok(Index::empty()),
        Found::Damaged(why) => {
            match move_aside(state, PREVIOUS) {
                Ok(aside) => troubles.push(format!("{why}; it is kept as {aside}; no apps are known")),
                // A later write replaces it. Say what to do before that.
                Err(e) => troubles.push(format!("{why}; no apps are known, and it could not be kept: {e}")),
            }
            Ok(Index::empty())
        }
    }
}

fn state_has(state: &Dir, name: &str) -> bool {
    rustix::fs::statat(state, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// How many apps a daemon would find in the state folder, and what it would complain of. Touches nothing, so that it may be asked
/// while another daemon writes there.
///
/// # Errors
/// It could not start from what is there: a newer opm wrote it, or its index is bad.
pub fn look(dir: &Path) -> Result<(usize, Vec<String>), String> {
    let text = |e: crate::kernel::files::FileError| e.to_string();
    let state = Dir::open(dir).map_err(text)?;
    loop {
        let index = match read_index(&state, INDEX)? {
            Found::Good(index) => index,
            // Nothing was ever saved.
            Found::Missing if !state_has(&state, PREVIOUS) => return Ok((0, vec![])),
            Found::Missing => return Err(format!("failed to read {}: it is missing", dir.join(INDEX).display())),
            Found::Damaged(why) => return Err(why),
        };
        let (apps, env) = (Dir::open(&dir.join("apps")).map_err(text)?, Dir::open(&dir.join("env")).map_err(text)?);
        let mut troubles = Vec::new();
        let Read { apps, .. } = read_apps(&apps, &env, &index, &mut troubles);
        // A file that is gone may have been replaced together with the index. Each turn of this is a commit of the other daemon.
        if troubles.is_empty() || matches!(read_index(&state, INDEX)?, Found::Good(now) if now == index) {
            return Ok((apps.len(), troubles));
        }
    }
}

/// What the files behind an index hold.
struct Read {
    apps: Vec<(AppId, DesiredApp)>,
    /// Files that cannot be used.
    bad: HashSet<String>,
}

/// Reads the specs and environments behind the index.
fn read_apps(dir: &Dir, env_dir: &Dir, index: &Index, troubles: &mut Vec<String>) -> Read {
    let mut envs: HashMap<Arc<str>, Result<Arc<EnvMap>, String>> = HashMap::new();
    let mut names: HashMap<AppName, AppId> = HashMap::new();
    let (mut apps, mut bad) = (Vec::new(), HashSet::new());
    let specs = shared_out(index.apps.iter().collect(), |(id, entry)| (id, entry, read_spec(dir, *id, entry)));
    for (id, entry, spec) in specs {
        let env = envs.entry(Arc::clone(&entry.env)).or_insert_with(|| read_env(env_dir, &entry.env));
        if spec.is_err() {
            bad.insert(entry.file.clone());
        }
        if env.is_err() {
            bad.insert(entry.env.to_string());
        }
        let (spec, captured) = match (spec, env) {
            (Ok(spec), Ok(env)) => (spec, Arc::clone(env)),
            (Err(why), _) => {
                troubles.push(format!("app {} (id {id}) is left out: {why}", entry.name));
                continue;
            }
            (_, Err(why)) => {
                troubles.push(format!("app {} (id {id}) is left out: {why}", entry.name));
                continue;
            }
        };
        if let Some(other) = names.insert(spec.name.clone(), *id) {
            troubles.push(format!("app {} (id {id}) is left out: id {other} has the same name", spec.name));
            names.insert(spec.name.clone(), other);
            continue;
        }
        apps.push((
            *id,
            DesiredApp { spec, captured, instances: entry.instances.clone(), last_order: entry.last_order.clone() },
        ));
    }
    Read { apps, bad }
}

fn read_spec(dir: &Dir, id: AppId, entry: &Entry) -> Result<Arc<AppSpec>, String> {
    let bytes = dir.read(&entry.file, FILE_MOST).map_err(|e| e.to_string())?;
    let fail = |why: String| format!("failed to read {}: {why}", dir.path().join(&entry.file).display());
    if spec_file(id, &bytes) != entry.file {
        return Err(fail(ALTERED.to_owned()));
    }
    let spec: AppSpec = serde_json::from_slice(&bytes).map_err(|e| fail(e.to_string()))?;
    if entry.instances.len() != spec.instances as usize {
        return Err(fail(format!("it has {} instances, the index {}", spec.instances, entry.instances.len())));
    }
    Ok(Arc::new(spec))
}

fn read_env(dir: &Dir, file: &str) -> Result<Arc<EnvMap>, String> {
    let bytes = dir.read(file, FILE_MOST).map_err(|e| e.to_string())?;
    let fail = |why: String| format!("failed to read {}: {why}", dir.path().join(file).display());
    if env_file(&bytes) != file {
        return Err(fail(ALTERED.to_owned()));
    }
    serde_json::from_slice(&bytes).map(Arc::new).map_err(|e| fail(e.to_string()))
}

const ALTERED: &str = "its content does not match its name; it was damaged, or edited by hand";
