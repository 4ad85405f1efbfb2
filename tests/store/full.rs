//! A full disk, really: a tiny tmpfs in mount and user namespaces of the test's own. Where those are not to be had (some
//! containers), nothing is tried.

use crate::support::{Running, app, env, exit, load, load_journal, log_of, put};
use opm::daemon::store::{Command, StoreEvent};
use opm::model::{Event, Moment, RunId, Wall, WriteId};
use std::fs;
use std::path::Path;
use std::sync::Arc;

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=256k,mode=700 none {0} && OPM_TEST_TINY={0} exec {1} --exact full::on_a_tiny_disk --ignored",
        dir.path().display(),
        std::env::current_exe().unwrap().display()
    );
    let can = std::process::Command::new("unshare").args(["-Urm", "true"]).status();
    if can.is_ok_and(|s| s.success()) {
        assert!(std::process::Command::new("unshare").args(["-Urm", "sh", "-c", &script]).status().unwrap().success());
    }
}

#[test]
#[ignore = "run by the test above, in a namespace with a tiny disk"]
fn on_a_tiny_disk() {
    let dir = std::env::var_os("OPM_TEST_TINY").unwrap();
    let dir = Path::new(&dir);
    let env = env("a");
    let store = Running::start(dir);
    assert_eq!(store.write(put(&[(0, &app("web", &env))], 1)), StoreEvent::Persisted(WriteId(0)));
    fs::write(dir.join("filler"), vec![0; 1 << 20]).unwrap_err();
    let refused = store.write(put(&[(1, &app("api", &env))], 2));
    assert!(
        matches!(&refused, StoreEvent::PersistFailed { error, .. } if error.to_lowercase().contains("no space left")),
        "{refused:?}"
    );
    let event = Event::Exited(Arc::new(exit(0, 0, 5, 1000, 1)));
    store.send(Command::Record { event, wall: Wall(0), moment: Moment(0), ack: Some(RunId(5)) });
    assert!(matches!(store.events.recv().unwrap(), StoreEvent::Trouble(_)));
    assert_eq!(load(dir).apps.len(), 1, "what was saved before stands");
    fs::remove_file(dir.join("filler")).unwrap();
    store.persist(7, put(&[(1, &app("api", &env))], 2));
    let said = store.end();
    assert_eq!(said, [StoreEvent::Recorded(RunId(5)), StoreEvent::TroubleOver, StoreEvent::Persisted(WriteId(7))]);
    assert_eq!(load(dir).apps.len(), 2);
    // The same where it is the log that has no room, not even after the index.
    let store = Running::start(dir);
    for n in 2..5 {
        let third = app(&format!("a{n}"), &env);
        assert_eq!(store.write(put(&[(n, &third)], n + 1)), StoreEvent::Persisted(WriteId(0)));
    }
    let log = fs::read_to_string(log_of(dir)).unwrap();
    assert_eq!(log.lines().count(), 3, "the index was written whole once, and twice there was a line: {log}");
    fs::write(dir.join("filler"), vec![0; 1 << 20]).unwrap_err();
    let refused = (0..).find_map(|n| match store.write(put(&[(5, &app(&format!("b{n}"), &env))], 6)) {
        StoreEvent::Persisted(_) => None,
        refused => Some((n, refused)),
    });
    let (last, refused) = refused.unwrap();
    assert!(
        matches!(&refused, StoreEvent::PersistFailed { error, .. } if error.to_lowercase().contains("no space left")),
        "{refused:?}"
    );
    let loaded = load(dir);
    assert_eq!(loaded.troubles, Vec::<String>::new(), "half a line was cut off again");
    let name = |n: usize| loaded.apps.get(n).map(|(_, app)| app.spec.name.to_string());
    assert_eq!(name(5), (last > 0).then(|| format!("b{}", last - 1)), "what was answered, and no more");
    fs::remove_file(dir.join("filler")).unwrap();
    assert_eq!(store.write(put(&[(5, &app("last", &env))], 6)), StoreEvent::Persisted(WriteId(0)));
    assert_eq!(load(dir).apps.len(), 6);
    store.end();
    assert_eq!(load_journal(dir).1.highest_run, Some(RunId(5)));
}
