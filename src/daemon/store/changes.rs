//! The text of a log of changes: what was changed since its index was written whole, one line for each commit.
//!
//! Owns that text. It must not touch a disk. What a reader would get wrong: a line says what *is* with each app that it names, not
//! what was done, so that a line that is lost costs what it says of the apps in it and no others. And each line is bound to the one before
//! it, the first to an index: a log never means anything after another one, and is called by the one it follows.

use super::commit::Delta;
use super::index::{Entry, Index, Unusable, VERSION, env_file, id_of_spec_file, is_hex, spec_file};
use super::{HASH_LEN, hash_after};
use crate::model::{AppId, BootId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A change of more apps than this is no line: the index is about as long.
const APPS_IN_A_LINE: usize = 64;

/// The first line: what the others come after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    version: u32,
    /// The check of the index that it follows.
    pub(super) follows: String,
    /// The check of the index before that one. None: there was none.
    pub(super) previous: Option<String>,
    /// The boot that it belongs to: a daemon begins a log of its own.
    pub(super) boot: BootId,
    /// What that index has and the one before with all of its log has not: so that a damaged index can be made again. Not if it is
    /// about as long as the index.
    pub(super) change: Option<Line>,
}

/// What one commit changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// As in the index.
    pub(super) next_id: AppId,
    /// Apps that are so from now on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) put: BTreeMap<AppId, Arc<Entry>>,
    /// Apps that are not there any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) removed: Vec<AppId>,
    /// Files that these name and that were in no folder yet. They get there when the index is written whole.
    #[serde(default, skip_serializing_if = "Files::is_empty")]
    pub(super) files: Files,
}

/// Specs and environments, by the names of their files: text for text as they are in the folders.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Files {
    /// Of `apps/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) apps: BTreeMap<String, String>,
    /// Of `env/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env: BTreeMap<String, String>,
}

impl Files {
    pub(super) fn is_empty(&self) -> bool {
        self.apps.is_empty() && self.env.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.apps.len() + self.env.len()
    }

    /// Whether each is called by what is in it.
    fn names_are_theirs(&self) -> bool {
        let is_spec = |(name, text): (&String, &String)| {
            id_of_spec_file(name).is_some_and(|id| spec_file(id, text.as_bytes()) == *name)
        };
        self.apps.iter().all(is_spec) && self.env.iter().all(|(name, text)| env_file(text.as_bytes()) == *name)
    }

    /// Takes these, too.
    pub(super) fn extend(&mut self, more: Self) {
        self.apps.extend(more.apps);
        self.env.extend(more.env);
    }
}

/// A log as it was read.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) header: Header,
    /// The lines that can be read, in their order.
    pub(super) lines: Vec<Line>,
    /// Files that stand in lines which cannot be believed otherwise: a file proves itself by its name.
    pub(super) strays: Files,
    /// How many lines cannot be read, and have good ones after them.
    pub(super) bad: usize,
    /// It ends in something that is no line. A commit that a crash cut off leaves that, and was never answered; but a file that was cut off
    /// later looks the same.
    pub(super) torn: bool,
    /// No app in it has this id or one after it, as far as anything can be read.
    pub(super) next_id: AppId,
}

const PREFIX: &str = "index-";
const SUFFIX: &str = ".log";

/// What the log is called that follows the index of that check: two logs never have one name, so that none is ever written over.
pub(super) fn log_file(check: &str) -> String {
    format!("{PREFIX}{check}{SUFFIX}")
}

/// The check in a name that [`log_file`] made; none for any other name.
pub(super) fn follows_by_name(file: &str) -> Option<&str> {
    file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX).filter(|check| is_hex(check, HASH_LEN))
}

/// The first line of a log, with its check.
pub(super) fn header(
    follows: &str,
    previous: Option<&String>,
    boot: &BootId,
    change: Option<Line>,
) -> Result<(Vec<u8>, String), String> {
    let (follows, previous, boot) = (follows.to_owned(), previous.cloned(), boot.clone());
    sealed(&Header { version: VERSION, follows, previous, boot, change }, "")
}

impl Line {
    /// What changes, if it is little enough for a line.
    pub(super) fn of(delta: &Delta, files: &Files) -> Option<Self> {
        if delta.apps.len() > APPS_IN_A_LINE {
            return None;
        }
        let mut line = Self { next_id: delta.next_id, put: BTreeMap::new(), removed: vec![], files: files.clone() };
        for (id, wanted) in &delta.apps {
            match wanted {
                Some(wanted) => drop(line.put.insert(*id, Arc::clone(&wanted.entry))),
                None => line.removed.push(*id),
            }
        }
        Some(line)
    }

    /// Makes the index what it was after this.
    pub(super) fn apply(&self, index: &mut Index) {
        index.next_id = index.next_id.max(self.next_id);
        for id in &self.removed {
            index.apps.remove(id);
        }
        index.apps.extend(self.put.iter().map(|(id, entry)| (*id, Arc::clone(entry))));
    }

    /// The text, where the line before has that check. With its own.
    pub(super) fn to_text(&self, after: &str) -> Result<(Vec<u8>, String), String> {
        sealed(self, after)
    }

    /// File names are used in paths, and must be what we would have called them.
    fn names_are_ours(&self) -> bool {
        self.put.iter().all(|(id, entry)| entry.names_are_ours(*id)) && self.files.names_are_theirs()
    }

    /// The id after all that it names.
    fn next_id(&self) -> AppId {
        let named = self.put.keys().chain(&self.removed).max();
        self.next_id.max(named.map_or(AppId(0), |id| AppId(id.0.saturating_add(1))))
    }
}

const BEFORE_CHECK: &[u8] = b",\"check\":\"";
const AFTER_CHECK: &[u8] = b"\"}";

/// A line of JSON whose last field is a check over the rest of it and the line before.
fn sealed(value: &impl Serialize, after: &str) -> Result<(Vec<u8>, String), String> {
    let mut text = serde_json::to_vec(value).map_err(|e| format!("failed to write a line of the index's log: {e}"))?;
    text.pop();
    let check = hash_after(after, &text);
    for part in [BEFORE_CHECK, check.as_bytes(), AFTER_CHECK, b"\n"] {
        text.extend_from_slice(part);
    }
    Ok((text, check))
}

/// A line without its end, and the check that it says it has.
fn unsealed(line: &[u8]) -> Option<(&[u8], &str)> {
    let rest = line.strip_suffix(AFTER_CHECK)?;
    let (body, check) = rest.split_at_checked(rest.len().checked_sub(HASH_LEN)?)?;
    Some((body.strip_suffix(BEFORE_CHECK)?, std::str::from_utf8(check).ok()?))
}

/// What the line says, if it is as it was written after the line of that check.
fn opened<T: for<'a> Deserialize<'a>>(line: &[u8], after: &str) -> Option<T> {
    let (body, check) = unsealed(line)?;
    if hash_after(after, body) == check { parsed(body) } else { None }
}

fn parsed<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(&[body, b"}"].concat()).ok()
}

impl Changes {
    /// Reads a text. Lines that were damaged are left out and counted.
    ///
    /// # Errors
    /// Nobody knows what it follows.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Envelope {
            version: u32,
        }
        let damaged = || Unusable::Damaged("its first line was damaged, or edited by hand".to_owned());
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let rest = lines.pop().is_some_and(|rest| !rest.is_empty());
        let mut lines = lines.into_iter();
        let first = lines.next().ok_or_else(damaged)?;
        if let Some(Envelope { version }) = opened(first, "")
            && version > VERSION
        {
            return Err(Unusable::Newer(version));
        }
        let header: Header = opened(first, "").ok_or_else(damaged)?;
        let next_id = header.change.as_ref().map_or(AppId(0), Line::next_id);
        if header.change.as_ref().is_some_and(|change| !change.names_are_ours()) {
            return Err(damaged());
        }
        let mut changes = Self { header, lines: vec![], strays: Files::default(), bad: 0, torn: rest, next_id };
        let mut bad_since = 0;
        let mut before = unsealed(first).map_or("", |(_, check)| check);
        for line in lines {
            if let Some(line) = opened(line, before).filter(Line::names_are_ours) {
                changes.next_id = changes.next_id.max(line.next_id());
                changes.lines.push(line);
                changes.bad += std::mem::take(&mut bad_since);
            } else {
                bad_since += 1;
                if let Some(line) = unsealed(line).and_then(|(body, _)| parsed::<Line>(body)) {
                    changes.next_id = changes.next_id.max(line.next_id());
                    changes.strays.extend(if line.files.names_are_theirs() { line.files } else { Files::default() });
                }
            }
            // Also of a bad line: if its check is not what is wrong with it, the next one is as good as before.
            before = unsealed(line).map_or(before, |(_, check)| check);
        }
        // Blocks of one line may get to the disk in any order, so that its end is there and its beginning is not.
        changes.torn |= bad_since > 0;
        Ok(changes)
    }

    /// Makes the index what it was after the last line. The files that came with them.
    pub(super) fn apply(self, index: &mut Index) -> Files {
        let mut files = self.strays;
        for line in self.lines {
            line.apply(index);
            files.extend(line.files);
        }
        index.share_envs();
        files
    }
}
