//! Reading what is wanted, whatever became of the files.
//!
//! Owns what happens when they are damaged: say so, go on with what is good, and never overwrite or lose what is not. What a
//! reader would get wrong: an app whose files are bad is missing from the answer, not from the disk; its entry stays in the
//! index, and it is back when its file is.

use super::FILE_MOST;
use super::changes::Files;
use super::commit::Disk;
use super::index::{Entry, Index, env_file, id_of_spec_file, spec_file};
use super::standing::{Found, Standing, read_index};
use super::tidy::Named;
use super::whole::{INDEX, PREVIOUS, has, is_aside};
use crate::daemon::shared_out::shared_out;
use crate::kernel::files::Dir;
use crate::model::{AppId, AppName, AppSpec, BootId, DesiredApp, EnvMap};
use std::borrow::Cow;
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
    let standing = Standing::find(&state, boot)?;
    let Standing { written, base, mut index, files, lost, was_used, displaced, mut troubles } = standing;
    let kept_aside = state.names().map_err(text)?.iter().any(|n| is_aside(&n.to_string_lossy()));
    let mut hidden = Hidden { any: lost || kept_aside, left_out: BTreeSet::new() };
    // The files of an index that cannot be read are used, too, and must not be swept away.
    let unknown = displaced || !matches!(read_index(&state, PREVIOUS), Ok(Found::Good(_) | Found::Missing));
    let mut tidy = !(unknown || kept_aside || lost && was_used);
    // The next daemon must know, too.
    let mut lost = (lost && was_used && !kept_aside).then(|| troubles.join("\n") + "\n");
    let spec_files: Vec<String> =
        apps.names().map_err(text)?.into_iter().filter_map(|n| n.into_string().ok()).collect();
    let highest = spec_files.iter().filter_map(|n| id_of_spec_file(n)).chain(index.apps.keys().copied()).max();
    // Ids are never given twice, not even when the index that knew the last one is lost.
    index.next_id = index.next_id.max(highest.map_or(AppId(0), |id| AppId(id.0.saturating_add(1))));
    if index.apps.is_empty() && !spec_files.is_empty() && tidy && !has(&state, INDEX) {
        tidy = false;
        troubles.push(format!(
            "{} has no index, so the {} files in its folder 'apps' are not used; they are kept",
            dir.display(),
            spec_files.len()
        ));
        lost = troubles.last().cloned();
    }
    let is_stale = |entry: &Entry| entry.boot.as_ref().is_some_and(|b| b != boot);
    let stale: Vec<AppId> = index.apps.iter().filter(|(_, entry)| is_stale(entry)).map(|(id, _)| *id).collect();
    for id in &stale {
        index.apps.remove(id);
    }
    let mut dropped = BTreeSet::new();
    if written != index {
        let used: HashSet<Named> = index.files().collect();
        dropped.extend(written.files().filter(|file| !used.contains(file)));
    }
    let mut disk = Disk {
        state,
        apps,
        env,
        boot: boot.clone(),
        index,
        base,
        // The first change of a daemon writes the index whole, and goes through the folders.
        log: None,
        contents: BTreeMap::new(),
        pending: files,
        dropped,
        bad: HashSet::new(),
        displaced,
        lost,
        stale,
        tidy,
        settled: None,
    };
    let Read { apps, bad } = read_apps(&disk.apps, &disk.env, &disk.index, &disk.pending, &mut troubles);
    disk.bad = bad;
    disk.contents.extend(apps.iter().map(|(id, app)| (*id, (Arc::clone(&app.spec), Arc::clone(&app.captured)))));
    let read: BTreeSet<AppId> = apps.iter().map(|(id, _)| *id).collect();
    hidden.left_out.extend(disk.index.apps.keys().filter(|id| !read.contains(id)));
    Ok(Loaded { apps, next_id: disk.index.next_id, troubles, hidden, disk })
}

/// How many apps a daemon would find in the state folder, and what it would complain of. Touches nothing, so that it may be asked
/// while another daemon writes there.
///
/// # Errors
/// It could not start from what is there: a newer opm wrote it, or its index is bad.
pub fn look(dir: &Path) -> Result<(usize, Vec<String>), String> {
    let text = |e: crate::kernel::files::FileError| e.to_string();
    let boot = crate::kernel::clock::boot_id().map_err(|e| format!("failed to read the boot id: {e}"))?;
    let state = Dir::open(dir).map_err(text)?;
    loop {
        let parsed = match read_index(&state, INDEX)? {
            Found::Good(parsed) => parsed,
            // Nothing was ever saved.
            Found::Missing if !has(&state, PREVIOUS) => return Ok((0, vec![])),
            Found::Missing => return Err(format!("failed to read {}: it is missing", dir.join(INDEX).display())),
            Found::Damaged(why) => return Err(why),
        };
        let standing = Standing::by(&state, parsed, &boot)?;
        let (apps, env) = (Dir::open(&dir.join("apps")).map_err(text)?, Dir::open(&dir.join("env")).map_err(text)?);
        let mut troubles = standing.troubles.clone();
        let Read { apps, .. } = read_apps(&apps, &env, &standing.index, &standing.files, &mut troubles);
        // Something that is gone may have been replaced together with the index. Each turn of this is a commit of the other daemon.
        let still = || match read_index(&state, INDEX)? {
            Found::Good(now) => Ok::<_, String>(Standing::by(&state, now, &boot)? == standing),
            Found::Missing | Found::Damaged(_) => Ok(false),
        };
        if troubles.is_empty() || still()? {
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

/// Reads the specs and environments behind the index: those that stand in the log from there, for nobody knows what is in the folders under
/// their names.
fn read_apps(dir: &Dir, env_dir: &Dir, index: &Index, log: &Files, troubles: &mut Vec<String>) -> Read {
    let mut envs: HashMap<Arc<str>, Result<Arc<EnvMap>, String>> = HashMap::new();
    let mut names: HashMap<AppName, AppId> = HashMap::new();
    let (mut apps, mut bad) = (Vec::new(), HashSet::new());
    let specs = shared_out(index.apps.iter().collect(), |(id, entry)| (id, entry, read_spec(dir, *id, entry, log)));
    for (id, entry, spec) in specs {
        let env = envs.entry(Arc::clone(&entry.env)).or_insert_with(|| read_env(env_dir, &entry.env, log));
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

fn read_spec(dir: &Dir, id: AppId, entry: &Entry, log: &Files) -> Result<Arc<AppSpec>, String> {
    let bytes = read_file(dir, &entry.file, &log.apps)?;
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

fn read_env(dir: &Dir, file: &str, log: &Files) -> Result<Arc<EnvMap>, String> {
    let bytes = read_file(dir, file, &log.env)?;
    let fail = |why: String| format!("failed to read {}: {why}", dir.path().join(file).display());
    if env_file(&bytes) != file {
        return Err(fail(ALTERED.to_owned()));
    }
    serde_json::from_slice(&bytes).map(Arc::new).map_err(|e| fail(e.to_string()))
}

fn read_file<'a>(dir: &Dir, file: &str, log: &'a BTreeMap<String, String>) -> Result<Cow<'a, [u8]>, String> {
    match log.get(file) {
        Some(text) => Ok(Cow::Borrowed(text.as_bytes())),
        None => dir.read(file, FILE_MOST).map(Cow::Owned).map_err(|e| e.to_string()),
    }
}

const ALTERED: &str = "its content does not match its name; it was damaged, or edited by hand";
