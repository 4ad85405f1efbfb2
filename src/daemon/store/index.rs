//! The index: which apps there are, in which files their specs and environments stand, and what is wanted of each.
//!
//! Owns the text of `index.json`. It must not touch a disk. What a reader would get wrong: the first and the last line are
//! an envelope that every future version keeps, `"version"` first and `"check"` over all before it last; so that a
//! flipped bit in the version is told from a file that a newer opm wrote.

use super::tidy::Named;
use super::{HASH_LEN, hash};
use crate::model::{AppId, AppName, BootId, DesiredInstance, OrderKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version that this opm writes, of the index and of its log of changes.
pub(super) const VERSION: u32 = 2;
/// The version before: no log follows it, and it is not numbered.
const WITHOUT_A_LOG: u32 = 1;

/// All that is wanted, by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// How many were written whole before it: so that no two texts are the same, and a log of changes follows one of them only.
    pub(super) serial: u64,
    /// The id that the next new app gets.
    pub(super) next_id: AppId,
    /// The apps. Shared with the index before, which differs in few of them.
    pub(super) apps: BTreeMap<AppId, Arc<Entry>>,
}

/// One app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Its name, for people and for troubles; the spec has it too.
    pub(super) name: AppName,
    /// Its spec: a file in `apps/`.
    pub(super) file: String,
    /// The environment that it was asked for in: a file in `env/`, mostly one for many apps.
    pub(super) env: Arc<str>,
    /// What is wanted of each instance.
    pub(super) instances: Vec<DesiredInstance>,
    /// The order that changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_order: Option<OrderKey>,
    /// Of a transient app: the boot that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boot: Option<BootId>,
}

/// An index as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    /// What it says.
    pub(super) index: Index,
    /// Its check, by which its log knows it.
    pub(super) check: String,
    /// Whether a log of changes belongs to it.
    pub(super) has_log: bool,
}

/// Why a text is of no use to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// A newer opm wrote it.
    Newer(u32),
    /// It is not as it was written.
    Damaged(String),
}

/// The text as it stands on disk.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(default)]
    serial: u64,
    next_id: AppId,
    apps: BTreeMap<AppId, Entry>,
    #[serde(rename = "check")]
    _check: String,
}

#[derive(Deserialize)]
struct Envelope {
    version: u32,
}

const BEFORE_CHECK: &str = "\"check\": \"";
const AFTER_CHECK: &str = "\"\n}\n";
/// What an app with one instance takes, for a start.
const USUAL_LINE: usize = 256;

impl Index {
    /// No apps yet.
    pub(super) fn empty() -> Self {
        Self { serial: 0, next_id: AppId(0), apps: BTreeMap::new() }
    }

    /// The text: one line per app, so that people can read it and diff it. And its check, by which its log knows it.
    pub(super) fn to_text(&self) -> Result<(Vec<u8>, String), String> {
        let Self { serial, next_id, .. } = self;
        let mut text =
            format!("{{\n\"version\": {VERSION},\n\"serial\": {serial},\n\"next_id\": {next_id},\n\"apps\": {{")
                .into_bytes();
        text.reserve(self.apps.len() * USUAL_LINE);
        for (n, (id, entry)) in self.apps.iter().enumerate() {
            text.extend_from_slice(if n == 0 { b"\n\"" } else { b",\n\"" });
            text.extend_from_slice(id.to_string().as_bytes());
            text.extend_from_slice(b"\": ");
            serde_json::to_writer(&mut text, &**entry)
                .map_err(|e| format!("failed to write app {id} to the index: {e}"))?;
        }
        text.extend_from_slice(b"\n},\n");
        let check = hash(&text);
        for part in [BEFORE_CHECK, &check, AFTER_CHECK] {
            text.extend_from_slice(part.as_bytes());
        }
        Ok((text, check))
    }

    /// Reads a text. Whatever was cut off, flipped or edited is noticed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Unusable> {
        let damaged = |why: &str| Unusable::Damaged(why.to_owned());
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not UTF-8"))?;
        let end = text.strip_suffix(AFTER_CHECK).ok_or_else(|| damaged("its end is missing"))?;
        let (rest, check) = end
            .len()
            .checked_sub(HASH_LEN)
            .and_then(|at| end.split_at_checked(at))
            .ok_or_else(|| damaged("its end is missing"))?;
        let body = rest.strip_suffix(BEFORE_CHECK).ok_or_else(|| damaged("its end is missing"))?;
        if hash(body.as_bytes()) != check {
            return Err(damaged("its content does not match its check; it was damaged, or edited by hand"));
        }
        let json = |e: serde_json::Error| Unusable::Damaged(format!("it cannot be understood: {e}"));
        let has_log = match serde_json::from_str::<Envelope>(text).map_err(json)?.version {
            VERSION => true,
            WITHOUT_A_LOG => false,
            newer if newer > VERSION => return Err(Unusable::Newer(newer)),
            other => return Err(Unusable::Damaged(format!("there is no version {other}"))),
        };
        let Text { serial, next_id, apps, .. } = serde_json::from_str(text).map_err(json)?;
        if serial == u64::MAX {
            return Err(damaged("nobody writes that often"));
        }
        if let Some((id, entry)) = apps.iter().find(|(id, entry)| !entry.names_are_ours(**id)) {
            return Err(Unusable::Damaged(format!("app {id} names the files '{}' and '{}'", entry.file, entry.env)));
        }
        let apps = apps.into_iter().map(|(id, entry)| (id, Arc::new(entry))).collect();
        let mut index = Self { serial, next_id, apps };
        index.share_envs();
        Ok(Parsed { index, check: check.to_owned(), has_log })
    }

    /// Neighbours were mostly asked for in one environment, and hold its name together.
    pub(super) fn share_envs(&mut self) {
        let mut last: Option<Arc<str>> = None;
        for entry in self.apps.values_mut() {
            match &last {
                Some(env) if Arc::ptr_eq(env, &entry.env) => {}
                Some(env) if *env == entry.env => Arc::make_mut(entry).env = Arc::clone(env),
                Some(_) | None => last = Some(Arc::clone(&entry.env)),
            }
        }
    }

    /// Whether a file of `apps/` belongs to one of the apps.
    pub(super) fn uses_spec(&self, file: &str) -> bool {
        id_of_spec_file(file).and_then(|id| self.apps.get(&id)).is_some_and(|entry| entry.file == file)
    }

    /// The files of all of them. What many of them share is named many times.
    pub(super) fn files(&self) -> impl Iterator<Item = Named> {
        let of = |entry: &Arc<Entry>| [Named::Spec(entry.file.clone()), Named::Env(Arc::clone(&entry.env))];
        self.apps.values().flat_map(of)
    }

    /// Whether a file of `env/` belongs to one of the apps.
    pub(super) fn uses_env(&self, file: &str) -> bool {
        self.apps.values().any(|entry| &*entry.env == file)
    }
}

impl Entry {
    /// File names out of an index are used in paths, so they are what we would have called them or nothing.
    pub(super) fn names_are_ours(&self, id: AppId) -> bool {
        id_of_spec_file(&self.file) == Some(id) && is_env_file(&self.env)
    }
}

/// What the spec of an app is called: by its id, for people, and by its content.
pub(super) fn spec_file(id: AppId, bytes: &[u8]) -> String {
    format!("{id}-{}.json", &hash(bytes)[..16])
}

/// What an environment is called.
pub(super) fn env_file(bytes: &[u8]) -> String {
    format!("{}.json", hash(bytes))
}

/// The id in a name that [`spec_file`] made; none for any other name.
pub(super) fn id_of_spec_file(file: &str) -> Option<AppId> {
    let (id, hash) = file.strip_suffix(".json")?.split_once('-')?;
    let number = id.parse().ok().filter(|n: &u32| n.to_string() == id)?;
    is_hex(hash, 16).then_some(AppId(number))
}

/// Whether [`env_file`] made this name.
pub(super) fn is_env_file(file: &str) -> bool {
    file.strip_suffix(".json").is_some_and(|hash| is_hex(hash, 32))
}

pub(super) fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
