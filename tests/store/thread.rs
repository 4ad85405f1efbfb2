//! The store's thread: answers in order, one fsync round for many, nothing half done, and nothing about runs on disk.

use crate::support::{Running, app, env, exit, load, load_journal, put, remove};
use opm::daemon::store::{Command, StoreEvent};
use opm::model::{Event, Moment, RunId, Wall, WriteId};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::mpsc::channel;

#[test]
fn writes_are_answered_in_order_and_share_a_commit_while_the_disk_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::start(dir.path());
    let env = env("a");
    let apps: Vec<_> = (0..50).map(|n| app(&format!("a{n}"), &env)).collect();
    // Hold the thread in a barrier, so that all fifty are in the queue when it goes on: no luck needed.
    let (go, wait) = channel();
    store.send(Command::Barrier(Box::new(move || wait.recv().unwrap())));
    for (n, app) in (0..).zip(&apps) {
        store.persist(u64::from(n), put(&[(n, app)], n + 1));
    }
    go.send(()).unwrap();
    for n in 0..50 {
        assert_eq!(store.events.recv().unwrap(), StoreEvent::Persisted(WriteId(n)));
    }
    store.end();
    assert_eq!(load(dir.path()).apps.len(), 50);
    // One commit for all: had there been two, the first would have been kept as the previous index.
    assert!(!dir.path().join("index.json.previous").exists());
}

#[test]
fn a_change_that_cannot_be_written_fails_alone_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::start(dir.path());
    let env = env("a");
    let mut huge = app("huge", &env);
    Arc::make_mut(&mut huge.spec).args = vec!["x".repeat(17 << 20).into()];
    let (go, wait) = channel();
    store.send(Command::Barrier(Box::new(move || wait.recv().unwrap())));
    store.persist(1, put(&[(0, &app("web", &env))], 1));
    store.persist(2, put(&[(1, &huge)], 2));
    store.persist(3, put(&[(2, &app("api", &env))], 3));
    go.send(()).unwrap();
    assert_eq!(store.events.recv().unwrap(), StoreEvent::Persisted(WriteId(1)));
    let failed = store.events.recv().unwrap();
    assert!(
        matches!(&failed, StoreEvent::PersistFailed { write: WriteId(2), error } if error.contains("huge")),
        "{failed:?}"
    );
    assert_eq!(store.events.recv().unwrap(), StoreEvent::Persisted(WriteId(3)));
    store.end();
    assert_eq!(load(dir.path()).apps.len(), 2);
}

#[test]
fn after_a_refusal_nothing_of_it_is_kept_and_the_next_write_works() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::start(dir.path());
    let env = env("a");
    assert_eq!(store.write(put(&[(0, &app("web", &env))], 1)), StoreEvent::Persisted(WriteId(0)));
    let before = fs::read(dir.path().join("index.json")).unwrap();
    // A directory where the new index is to be written: the write fails, whoever runs this test.
    let block = dir.path().join("index.json.new");
    fs::create_dir(&block).unwrap();
    let refused = store.write(put(&[(1, &app("api", &env))], 2));
    assert!(matches!(refused, StoreEvent::PersistFailed { .. }), "{refused:?}");
    assert_eq!(fs::read(dir.path().join("index.json")).unwrap(), before);
    fs::remove_dir(&block).unwrap();
    assert_eq!(store.write(put(&[(2, &app("third", &env))], 3)), StoreEvent::Persisted(WriteId(0)));
    store.end();
    let names: Vec<_> = load(dir.path()).apps.iter().map(|(_, a)| a.spec.name.to_string()).collect();
    assert_eq!(names, ["web", "third"], "the refused change came back by itself");
    assert_eq!(fs::read_dir(dir.path().join("apps")).unwrap().count(), 2, "its files are swept away");
}

#[test]
fn many_new_files_become_durable_together() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::start(dir.path());
    let env = env("a");
    let apps: Vec<_> = (0..100).map(|n| app(&format!("a{n}"), &env)).collect();
    let all: Vec<_> = (0..).zip(&apps).collect();
    assert_eq!(store.write(put(&all, 100)), StoreEvent::Persisted(WriteId(0)));
    store.end();
    assert_eq!(load(dir.path()).apps.len(), 100);
    assert_eq!(fs::read_dir(dir.path().join("env")).unwrap().count(), 1, "one environment, one file");
}

#[test]
fn folders_and_files_that_somebody_removed_are_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = Running::start(&state);
    let env = env("a");
    store.write(put(&[(0, &app("web", &env)), (1, &app("api", &env))], 2));
    fs::remove_dir_all(&state).unwrap();
    assert_eq!(store.write(put(&[(2, &app("third", &env))], 3)), StoreEvent::Persisted(WriteId(0)));
    let loaded = load(&state);
    assert_eq!((loaded.apps.len(), loaded.troubles.len()), (3, 0), "{:?}", loaded.troubles);
    fs::remove_dir_all(state.join("env")).unwrap();
    store.write(remove(2, 3));
    assert_eq!(load(&state).apps.len(), 2);
}

/// A folder is only gone through where it does not look as the last change left it.
#[test]
fn a_file_that_somebody_removed_is_written_again_and_none_is_left_that_nobody_names() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    // Of the two apps that this is about.
    let names = |folder: &str| -> Vec<String> {
        let all = fs::read_dir(state.join(folder)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut all: Vec<_> = all.filter(|name| folder == "env" || name.starts_with(['0', '1', '2'])).collect();
        all.sort();
        all
    };
    let store = Running::start(&state);
    let (a, b) = (env("a"), env("b"));
    // More apps than a line of the log takes, so that each of these writes the index whole.
    let many: Vec<_> = (300..370).map(|id| (id, app(&format!("many{id}"), &b))).collect();
    let whole = |id, app: &opm::model::DesiredApp| {
        let all: Vec<_> = many.iter().map(|(id, app)| (*id, app)).chain([(id, app)]).collect();
        assert_eq!(store.write(put(&all, 400)), StoreEvent::Persisted(WriteId(0)));
    };
    store.write(put(&[(0, &app("web", &a)), (1, &app("api", &a))], 2));
    let first = names("apps");
    whole(0, &app("web2", &b));
    assert_eq!((names("apps").len(), names("env").len()), (3, 2), "what the index before names is kept");
    whole(1, &app("api2", &b));
    assert_eq!((names("apps").len(), names("env").len()), (3, 2), "and no longer");
    assert!(!names("apps").contains(first.iter().find(|n| n.starts_with("0-")).unwrap()));
    // Back to what it was: the file is wanted again in the moment in which it would go.
    whole(1, &app("api", &a));
    assert!(names("apps").contains(first.iter().find(|n| n.starts_with("1-")).unwrap()));
    // The same by way of the log: let go of by one line and wanted again by the next.
    store.write(put(&[(1, &app("api", &b))], 2));
    store.write(put(&[(1, &app("api", &a))], 2));
    whole(1, &app("api", &a));
    assert_eq!((names("apps").len(), names("env").len()), (2, 2));
    store.write(put(&[(1, &app("api", &b))], 2));
    whole(1, &app("api", &b));
    assert_eq!(
        (names("apps").len(), names("env").len()),
        (2, 2),
        "what the index before names, though its log let go of it"
    );
    whole(1, &app("api", &b));
    assert_eq!((names("apps").len(), names("env").len()), (2, 1));
    // Within one tick of the clock that stamps files it could not be seen.
    let stamp = |path: &std::path::Path| fs::metadata(path).unwrap().modified().unwrap();
    let clock = dir.path().join("clock");
    while {
        fs::write(&clock, "").unwrap();
        stamp(&clock) == stamp(&state.join("apps"))
    } {}
    fs::remove_file(state.join("apps").join(&names("apps")[0])).unwrap();
    store.write(put(&[(2, &app("third", &b))], 3));
    let loaded = load(&state);
    assert_eq!((loaded.apps.len(), loaded.troubles.len()), (73, 0), "{:?}", loaded.troubles);
}

#[test]
fn everything_is_for_its_owner_only_and_nothing_in_it_is_about_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = Running::start(&state);
    store.write(put(&[(0, &app("web", &env("a")))], 1));
    let (done, saved) = channel();
    store.send(Command::Save {
        apps: vec![app("web", &env("a"))],
        done: Box::new(move |result| done.send(result).unwrap()),
    });
    saved.recv().unwrap().unwrap();
    let event = Event::Exited(Arc::new(exit(0, 0, 17, 1000, 1)));
    store.send(Command::Record { event, wall: Wall(0), moment: Moment(0), ack: Some(RunId(17)) });
    assert_eq!(store.events.recv().unwrap(), StoreEvent::Recorded(RunId(17)));
    store.end();
    let mut folders = vec![state];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{folder:?}");
        for entry in fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
            files += 1;
            if entry.extension().is_some_and(|e| e == "jsonl") {
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap();
            // `restart` and `restart_delay` are asked for; `restarts` would be counted.
            for word in [
                "\"pid\"",
                "\"run\"",
                "\"status\"",
                "\"state\"",
                "\"restarts\"",
                "\"failures\"",
                "\"at\"",
                "\"started\"",
            ] {
                assert!(!text.contains(word), "{entry:?} holds {word}");
            }
        }
    }
    assert!(files >= 5, "only {files} files were looked at");
}

#[test]
fn what_the_journal_could_not_write_is_owed_and_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::start(dir.path());
    let events = dir.path().join("events");
    fs::remove_dir_all(&events).unwrap();
    fs::write(&events, "in the way").unwrap();
    let record = |run| Command::Record {
        event: Event::Exited(Arc::new(exit(0, 0, run, 1000, 1))),
        wall: Wall(0),
        moment: Moment(0),
        ack: Some(RunId(run)),
    };
    store.send(record(1));
    assert!(matches!(store.events.recv().unwrap(), StoreEvent::Trouble(_)));
    fs::remove_file(&events).unwrap();
    store.send(record(2));
    let said: Vec<_> = (0..3).map(|_| store.events.recv().unwrap()).collect();
    assert_eq!(said, [StoreEvent::Recorded(RunId(1)), StoreEvent::Recorded(RunId(2)), StoreEvent::TroubleOver]);
    store.end();
    assert_eq!(load_journal(dir.path()).1.highest_run, Some(RunId(2)));
}
