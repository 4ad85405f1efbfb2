//! The dump: an explicit snapshot of what is wanted (`opm save`), self-contained, for `opm restore` and for people.
//!
//! Owns `dump.json`. It must not hold ids, generations or anything about a run: a dump adds apps, perhaps on another
//! machine, it does not resume them. What a reader would get wrong: nothing but `opm save` writes it, least of all a
//! shutdown; and people may edit it, so it carries no check, and the dump before it is kept.

use super::hash;
use crate::kernel::files::Dir;
use crate::model::order::NewApp;
use crate::model::{AppSpec, Desired, DesiredApp, EnvMap};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

const DUMP: &str = "dump.json";
const PREVIOUS: &str = "dump.json.previous";
const UNREADABLE: &str = "dump.json.unreadable";
const VERSION: u32 = 1;
const MOST: u64 = 256 << 20;

/// What the file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dump {
    version: u32,
    apps: Vec<App>,
    /// Each environment once, by what `env` of the apps says.
    #[serde(default)]
    env: BTreeMap<String, Arc<EnvMap>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct App {
    spec: Arc<AppSpec>,
    /// Which of the environments it was asked for in. Absent: an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<String>,
    /// What is wanted of each instance.
    desired: Vec<Desired>,
}

#[derive(Deserialize)]
struct Envelope {
    version: u32,
}

/// Writes the dump into the state folder, keeping the one before it.
///
/// # Errors
/// The old dump stands.
pub(super) fn write(state: &Dir, apps: &[DesiredApp]) -> Result<(), String> {
    let text = to_text(apps)?;
    match read(state, DUMP) {
        Ok(_) => match state.keep_as(DUMP, PREVIOUS) {
            Ok(()) => {}
            // No hard links on this filesystem: for a moment there is only the previous one, and load knows that.
            Err(e) if e.no_links_here() => state.rename(DUMP, PREVIOUS).map_err(|e| e.to_string())?,
            Err(e) => return Err(e.to_string()),
        },
        Err(Unreadable::Missing) => {}
        Err(Unreadable::Newer(why)) => return Err(format!("{why}; it was not replaced")),
        // Neither lost, nor put in the place of a good one.
        Err(Unreadable::Damaged(_)) => state.rename(DUMP, UNREADABLE).map_err(|e| e.to_string())?,
    }
    state.replace(DUMP, &text).map_err(|e| e.to_string())
}

fn to_text(apps: &[DesiredApp]) -> Result<Vec<u8>, String> {
    let fail = |e: serde_json::Error| format!("failed to write the dump: {e}");
    let mut env = BTreeMap::new();
    let mut keys: HashMap<*const EnvMap, String> = HashMap::new();
    let mut list = Vec::with_capacity(apps.len());
    for app in apps {
        let pointer = Arc::as_ptr(&app.captured);
        let key = match keys.get(&pointer) {
            Some(key) => key.clone(),
            None => hash(&serde_json::to_vec(&*app.captured).map_err(fail)?)[..16].to_owned(),
        };
        keys.insert(pointer, key.clone());
        env.insert(key.clone(), Arc::clone(&app.captured));
        let desired = app.instances.iter().map(|i| i.desired).collect();
        list.push(App { spec: Arc::clone(&app.spec), env: Some(key), desired });
    }
    let mut text = serde_json::to_vec_pretty(&Dump { version: VERSION, apps: list, env }).map_err(fail)?;
    text.push(b'\n');
    Ok(text)
}

/// Writes a dump into this folder.
///
/// # Errors
/// The old dump stands.
pub fn save(dir: &Path, apps: &[DesiredApp]) -> Result<(), String> {
    write(&Dir::make(dir).map_err(|e| e.to_string())?, apps)
}

/// What a dump holds: the apps, and whether each was wanted up.
pub type Contents = Vec<(NewApp, Desired)>;

/// Reads the dump of this folder: what it holds, and what went wrong on the way to it, if anything. An app of which any
/// instance was wanted up is wanted up.
///
/// # Errors
/// There is no dump, a newer opm wrote it, or neither it nor the one before it can be understood.
pub fn load(dir: &Path) -> Result<(Contents, Option<String>), String> {
    let missing = || format!("there is no dump in {}", dir.display());
    let state = Dir::open(dir).map_err(|e| if e.is_missing() { missing() } else { e.to_string() })?;
    match read(&state, DUMP) {
        Ok(apps) => Ok((apps, None)),
        Err(Unreadable::Newer(why)) => Err(why),
        Err(Unreadable::Missing) => match read(&state, PREVIOUS) {
            Ok(apps) => Ok((apps, Some(format!("{} is missing; used the dump before it", dir.join(DUMP).display())))),
            Err(Unreadable::Missing) => Err(missing()),
            Err(Unreadable::Newer(why) | Unreadable::Damaged(why)) => Err(why),
        },
        Err(Unreadable::Damaged(why)) => match read(&state, PREVIOUS) {
            Ok(apps) => Ok((apps, Some(format!("{why}; used the dump before it")))),
            Err(Unreadable::Missing | Unreadable::Newer(_) | Unreadable::Damaged(_)) => Err(why),
        },
    }
}

enum Unreadable {
    Missing,
    Newer(String),
    Damaged(String),
}

fn read(state: &Dir, name: &str) -> Result<Contents, Unreadable> {
    let bytes = state
        .read(name, MOST)
        .map_err(|e| if e.is_missing() { Unreadable::Missing } else { Unreadable::Damaged(e.to_string()) })?;
    let path = state.path().join(name);
    let damaged =
        |why: &dyn std::fmt::Display| Unreadable::Damaged(format!("failed to read {}: {why}", path.display()));
    let version = serde_json::from_slice::<Envelope>(&bytes).map_err(|e| damaged(&e))?.version;
    if version > VERSION {
        return Err(Unreadable::Newer(format!(
            "failed to read {}: a newer opm wrote it (version {version})",
            path.display()
        )));
    }
    let dump: Dump = serde_json::from_slice(&bytes).map_err(|e| damaged(&e))?;
    let none = Arc::new(EnvMap::default());
    dump.apps
        .into_iter()
        .map(|app| {
            let captured = match &app.env {
                None => Arc::clone(&none),
                Some(key) => dump.env.get(key).map(Arc::clone).ok_or_else(|| {
                    damaged(&format!("app {} names the environment '{key}', which is not there", app.spec.name))
                })?,
            };
            let up = app.desired.contains(&Desired::Up);
            let desired = if up { Desired::Up } else { Desired::Down };
            Ok((NewApp { spec: app.spec, captured }, desired))
        })
        .collect()
}
