//! State files. A damaged one never makes another app disappear, and no id is given twice.

use crate::mutate::{apply, edits};
use crate::{config, golden};
use opm::daemon::journal::Journal;
use opm::daemon::store::{self, dump};
use opm::model::BootId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn boot() -> BootId {
    BootId("01234567-89ab-4cde-8f01-23456789abcd".into())
}

/// Every file of the golden state, by its path from there.
fn files(dir: &Path, below: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(below).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files(dir, &entry.path(), into);
        } else {
            into.insert(entry.path().strip_prefix(dir).unwrap().to_owned(), fs::read(entry.path()).unwrap());
        }
    }
}

fn put(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        let path = dir.join(path);
        let parent = path.parent().unwrap();
        fs::create_dir_all(parent).unwrap();
        fs::set_permissions(parent, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn damaged_state_is_said_and_costs_nobody_else() {
    damage("state");
}

#[test]
fn damaged_state_with_a_log_is_said_and_costs_nobody_else() {
    damage("state-with-log");
}

fn damage(state: &str) {
    let mut good = BTreeMap::new();
    let root = golden().join(state);
    files(&root, &root, &mut good);
    let names: Vec<PathBuf> = good.keys().cloned().collect();
    let pristine = tempfile::tempdir().unwrap();
    put(pristine.path(), &good);
    let whole = store::load(pristine.path(), &boot()).unwrap();
    let past = Journal::load(&pristine.path().join("events"), &boot()).1.past.len();
    proptest!(config(150, 20), |(which in 0..names.len(), edits in edits())| {
        let mut bad = good.clone();
        let name = &names[which];
        let bytes = bad.get_mut(name).unwrap();
        *bytes = apply(bytes, &edits);
        let harmless = *bytes == good[name];
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &bad);
        let text = name.to_string_lossy().into_owned();
        let index = text.starts_with("index");
        match store::load(dir.path(), &boot()) {
            // Said to be of a newer opm: by its version.
            Err(why) => prop_assert!(index && why.contains("version"), "{text}: {why}"),
            Ok(loaded) => {
                let damaged = text.starts_with("apps/") || text.starts_with("env/");
                let there: BTreeMap<_, _> = loaded.apps.iter().map(|(id, app)| (*id, app)).collect();
                // What was cut off at the end of a line cannot be missed.
                let log = text.ends_with(".log");
                let cut = log && good[name].starts_with(&bad[name]) && bad[name].ends_with(b"\n");
                prop_assert!(cut || loaded.next_id >= whole.next_id, "{text}: ids are given twice");
                if harmless || !(damaged || log || text == "index.json") {
                    prop_assert_eq!(&loaded.apps, &whole.apps, "{}", text);
                }
                if let Some(file) = text.strip_prefix("apps/") {
                    let own = file.split('-').next().unwrap();
                    for (id, app) in &whole.apps {
                        if id.0.to_string() != own {
                            prop_assert_eq!(there.get(id), Some(&app), "{} took app {} with it", text, id);
                        }
                    }
                }
                for (id, app) in &whole.apps {
                    let missing = there.get(id).is_none_or(|now| now.spec != app.spec);
                    prop_assert!(cut || !missing || !loaded.troubles.is_empty(), "{text}: {id} is gone or another, and nobody says so");
                    prop_assert!(cut || there.contains_key(id) || loaded.hidden.may_hold(*id), "{text}: {id} would be ended");
                }
            }
        }
        let (_, journal) = Journal::load(&dir.path().join("events"), &boot());
        if !text.starts_with("events") {
            prop_assert_eq!(journal.past.len(), past);
        }
        match dump::load(dir.path()) {
            Ok((apps, trouble)) => prop_assert!(apps.len() == whole.apps.len() || trouble.is_some() || text.starts_with("dump"), "{text}"),
            Err(why) => prop_assert!(text.starts_with("dump") && why.contains("dump"), "{text}: {why}"),
        }
    });
}

/// Lines before and after a bad one count as if it were not there.
#[test]
fn a_bad_line_of_the_journal_costs_only_itself() {
    let good = String::from_utf8(crate::seed("state/events/current.jsonl")).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    proptest!(config(200, 10), |(which in 0..lines.len(), edits in edits())| {
        let bad = apply(lines[which].as_bytes(), &edits);
        let dir = tempfile::tempdir().unwrap();
        let load = |text: &[u8]| {
            fs::write(dir.path().join("current.jsonl"), text).unwrap();
            let (_, loaded) = Journal::load(dir.path(), &boot());
            loaded
        };
        let mut without: Vec<u8> = Vec::new();
        let mut with: Vec<u8> = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            let line = if n == which { &bad[..] } else { line.as_bytes() };
            with.extend_from_slice(line);
            with.push(b'\n');
            if n != which {
                without.extend_from_slice(line);
                without.push(b'\n');
            }
        }
        let (with, without) = (load(&with), load(&without));
        if with.troubles.is_empty() {
            return Ok(()); // It still means something, perhaps something else.
        }
        let told = |l: &opm::daemon::journal::LoadedJournal| l.past.iter().map(|p| p.instance).collect::<Vec<_>>();
        if !bad.contains(&b'\n') {
            prop_assert_eq!(told(&with), told(&without));
            prop_assert_eq!(with.highest_run, without.highest_run);
        }
    });
}
