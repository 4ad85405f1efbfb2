//! State written by each released version loads today, and means what it meant.

use crate::{VERSIONS, golden, holds, json};
use opm::daemon::journal::Journal;
use opm::daemon::store::{self, Command, StoreEvent, dump};
use opm::model::{AppId, BootId, DesiredApp, WriteId};
use opm::supervise::Change;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// The boot that the golden state was written in.
fn boot() -> BootId {
    BootId("01234567-89ab-4cde-8f01-23456789abcd".into())
}

/// A copy that may be written to, private as opm wants it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(&target, fs::read(entry.path()).unwrap()).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn instances(app: &DesiredApp) -> Vec<Value> {
    let each = app.instances.iter();
    each.map(|i| json!({"desired": i.desired, "generation": i.generation})).collect()
}

/// Everything that the real loading code makes of a state folder.
fn loaded(dir: &Path) -> Value {
    let loaded = store::load(dir, &boot()).unwrap();
    let apps: Vec<Value> = loaded
        .apps
        .iter()
        .map(|(id, app)| {
            json!({"id": id, "spec": *app.spec, "captured": *app.captured, "instances": instances(app),
               "last_order": app.last_order.as_ref().map(|k| &k.0)})
        })
        .collect();
    let (_, journal) = Journal::load(&dir.join("events"), &boot());
    let past: Vec<Value> = journal
        .past
        .iter()
        .map(|past| json!({"record": *past.record, "when": format!("{:?}", past.when), "cleared": past.cleared}))
        .collect();
    let (dump, trouble) = dump::load(dir).unwrap();
    let dump: Vec<Value> = dump
        .iter()
        .map(|(new, desired)| json!({"spec": *new.spec, "captured": *new.captured, "desired": desired}))
        .collect();
    json!({"apps": apps, "next_id": loaded.next_id, "troubles": loaded.troubles, "past": past,
           "highest_run": journal.highest_run, "journal_troubles": journal.troubles, "dump": dump, "dump_trouble": trouble})
}

/// The states of a version: as its daemon leaves them, `state` before there was a log of changes, and later ones under names of their own.
fn states(version: &str) -> Vec<String> {
    let names = fs::read_dir(golden(version)).unwrap().map(|e| e.unwrap());
    let mut names: Vec<_> = names
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with("state"))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{version}");
    names
}

#[test]
fn the_state_of_every_released_version_loads_and_means_what_it_meant() {
    for (version, state) in VERSIONS.iter().flat_map(|v| states(v).into_iter().map(move |s| (v, s))) {
        let dir = tempfile::tempdir().unwrap();
        copy(&golden(version).join(&state), dir.path());
        let actual = loaded(dir.path());
        let expected = golden(version).join(format!("{state}.expected.json"));
        if std::env::var_os("OPM_GOLDEN_WRITE").is_some() && !expected.exists() {
            fs::write(&expected, serde_json::to_string_pretty(&actual).unwrap() + "\n").unwrap();
        }
        let at = format!("{version}/{state}");
        holds(&json(&expected), &actual, &at);
        assert_eq!(actual["troubles"], json!([]), "{at}: nothing to complain of");
        assert_eq!(actual["journal_troubles"], json!([]), "{at}");
    }
}

/// Apps of another boot come back as they were, but for the transient ones.
#[test]
fn after_a_reboot_only_the_transient_app_is_gone() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        copy(&golden(version).join("state"), dir.path());
        let names = |boot: &BootId| -> BTreeSet<String> {
            store::load(dir.path(), boot).unwrap().apps.iter().map(|(_, a)| a.spec.name.to_string()).collect()
        };
        let (all, rest) = (names(&boot()), names(&BootId("another".into())));
        assert_eq!(all.difference(&rest).collect::<Vec<_>>(), ["tmp"], "{version}");
    }
}

/// Writes the apps anew, as today's daemon does.
fn rewritten(dir: &Path) {
    let loaded = store::load(dir, &boot()).unwrap();
    // Another generation, so that everything is written.
    let put = loaded.apps.iter().map(|(id, app)| {
        let mut app = app.clone();
        app.instances.iter_mut().for_each(|i| i.generation.0 += 1);
        (*id, app)
    });
    let change = Change { put: put.collect(), removed: Vec::new(), next_id: AppId(loaded.next_id.0 + 1) };
    let apps: Vec<DesiredApp> = loaded.apps.iter().map(|(_, app)| app.clone()).collect();
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let (journal, _) = Journal::load(&dir.join("events"), &boot());
    let reply = Box::new(move |event| drop(tell.lock().unwrap().send(event)));
    let (handle, thread) = store::spawn(loaded.disk, journal, reply).unwrap();
    handle.send(Command::Persist { write: WriteId(1), change });
    assert_eq!(told.recv(), Ok(StoreEvent::Persisted(WriteId(1))));
    drop(handle);
    thread.join().unwrap();
    dump::save(dir, &apps).unwrap();
}

/// Every field name in a text, wherever it stands; not what is inside `env`, which users name.
fn fields(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if key.parse::<u64>().is_err() {
                    into.insert(key.clone());
                }
                if !matches!(&key[..], "env" | "rlimit") || !value.is_object() {
                    fields(value, into);
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| fields(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whoever goes back to the older version finds state that says the same version and holds what that version knows.
#[test]
fn what_today_writes_for_the_same_apps_the_older_version_can_read_or_is_told_not_to() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        copy(&golden(version).join("state"), dir.path());
        rewritten(dir.path());
        for name in ["index.json", "dump.json"] {
            let (then, now) = (json(&golden(version).join("state").join(name)), json(&dir.path().join(name)));
            if now["version"] != then["version"] {
                continue; // It says so, and the older version refuses it by name.
            }
            let (mut known, mut written) = (BTreeSet::new(), BTreeSet::new());
            fields(&then, &mut known);
            fields(&now, &mut written);
            assert_eq!(written, known, "{version}: {name} has the same version and other fields");
        }
        for entry in fs::read_dir(golden(version).join("state/apps")).unwrap().map(Result::unwrap) {
            let now = dir.path().join("apps").join(entry.file_name());
            assert_eq!(
                fs::read_to_string(&now).unwrap_or_else(|e| panic!("{}: named by its content: {e}", now.display())),
                fs::read_to_string(entry.path()).unwrap(),
                "{version}: the same spec is the same text, so that nothing is written without need"
            );
        }
        let again = loaded(dir.path());
        assert_eq!(again["apps"][0]["spec"], loaded_golden(version)["apps"][0]["spec"]);
    }
}

fn loaded_golden(version: &str) -> Value {
    json(&golden(version).join("state.expected.json"))
}
