//! The log of changes beside the index: an order is a line, no line means anything after another index, and what is lost of it costs the
//! apps in it.

use crate::support::{Running, app, boot, env, load, put, remove, write_once};
use opm::daemon::store::{self, Loaded, StoreEvent};
use opm::model::{AppId, DesiredApp, WriteId};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn saved(store: &Running, change: opm::supervise::Change) {
    assert_eq!(store.write(change), StoreEvent::Persisted(WriteId(0)));
}

fn down(app: &DesiredApp) -> DesiredApp {
    let mut app = app.clone();
    for instance in &mut app.instances {
        instance.desired = opm::model::Desired::Down;
        instance.generation.0 += 1;
    }
    app
}

/// Two daemons' lives: an index of web, then one of web and api and a log: a start of third, a stop of web, a deletion of api, and a start of
/// fourth in an environment of its own.
fn with_a_log(dir: &Path) {
    let one = env("one");
    write_once(dir, put(&[(0, &app("web", &one))], 1));
    let store = Running::start(dir);
    saved(&store, put(&[(1, &app("api", &one))], 2));
    saved(&store, put(&[(2, &app("third", &one))], 3));
    saved(&store, put(&[(0, &down(&app("web", &one)))], 3));
    saved(&store, remove(1, 3));
    saved(&store, put(&[(3, &app("fourth", &env("own")))], 4));
    store.end();
}

fn names(loaded: &Loaded) -> Vec<String> {
    loaded.apps.iter().map(|(_, app)| app.spec.name.to_string()).collect()
}

/// All files, as they are.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for folder in ["", "apps", "env"] {
        for path in fs::read_dir(dir.join(folder)).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()) {
            all.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    all
}

fn put_back(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in snapshot(dir).into_keys() {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn an_order_is_a_line_and_the_index_and_the_folders_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let one = env("one");
    let store = Running::start(dir.path());
    saved(&store, put(&[(0, &app("web", &one)), (1, &app("api", &one))], 2));
    let before = snapshot(dir.path());
    saved(&store, put(&[(2, &app("third", &one))], 3));
    saved(&store, put(&[(0, &down(&app("web", &one)))], 3));
    saved(&store, remove(1, 3));
    let mut after = snapshot(dir.path());
    let log = dir.path().join("index.log");
    let (short, long) = (&before[&log], after[&log].clone());
    assert!(long.starts_with(short), "it is only ever added to");
    assert_eq!(long.iter().filter(|byte| **byte == b'\n').count(), 4, "{}", String::from_utf8_lossy(&long));
    after.insert(log, short.clone());
    assert_eq!(after, before, "nothing else was written");
    // Each line is JSON.
    for line in String::from_utf8(long).unwrap().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    let loaded = load(dir.path());
    assert_eq!((names(&loaded), loaded.troubles), (vec!["web".to_owned(), "third".to_owned()], vec![]));
    assert_eq!(loaded.apps[0].1, down(&app("web", &one)));
    assert!(
        std::sync::Arc::ptr_eq(&loaded.apps[0].1.captured, &loaded.apps[1].1.captured),
        "one environment, one copy"
    );
    assert_eq!(store::look(dir.path()), Ok((2, vec![])));
    store.end();
}

#[test]
fn the_next_daemon_writes_what_stood_in_the_log_into_the_folders() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let before = load(dir.path());
    assert_eq!((names(&before).join(" "), &before.troubles), ("web third fourth".to_owned(), &vec![]));
    write_once(dir.path(), put(&[], 9));
    let after = load(dir.path());
    assert_eq!((&after.apps, after.next_id, &after.troubles), (&before.apps, AppId(9), &vec![]));
    assert_eq!(fs::read_to_string(dir.path().join("index.log")).unwrap().lines().count(), 1);
    let files = |folder: &str| fs::read_dir(dir.path().join(folder)).unwrap().count();
    assert_eq!((files("apps"), files("env")), (4, 2), "and keeps that of api, which the previous index names");
    // The previous one with its log is what there was.
    fs::write(dir.path().join("index.json"), "").unwrap();
    assert_eq!(load(dir.path()).apps, before.apps);
}

#[test]
fn a_log_that_becomes_long_gives_way_to_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::start(dir.path());
    let len = |name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
    let (mut longest, mut shortened) = (0, 0);
    for n in 0..1000 {
        let id = n % 50;
        saved(&store, put(&[(id, &app(&format!("a{n}"), &env(&(n % 7).to_string())))], 50));
        // The answer comes before that, so let it be done.
        let (done, wait) = std::sync::mpsc::channel();
        store.send(store::Command::Barrier(Box::new(move || done.send(()).unwrap())));
        wait.recv().unwrap();
        let log = len("index.log");
        if log < longest {
            shortened += 1;
            longest = 0;
            assert_eq!(load(dir.path()).troubles, Vec::<String>::new());
            // A damaged index costs nothing now, since the previous one and its log say the same.
            let index = fs::read(dir.path().join("index.json")).unwrap();
            let good = load(dir.path()).apps;
            fs::write(dir.path().join("index.json"), &index[1..]).unwrap();
            let back = load(dir.path());
            assert_eq!(back.apps, good);
            assert!(back.troubles.iter().any(|t| t.contains("no change is missing")), "{:?}", back.troubles);
            fs::remove_file(dir.path().join("index.json.unreadable-1")).unwrap();
            fs::write(dir.path().join("index.json"), index).unwrap();
            continue;
        }
        longest = log;
    }
    store.end();
    assert!(shortened >= 3, "{shortened}");
    assert!(longest < 200 << 10, "{longest}");
    assert!(fs::read_dir(dir.path().join("apps")).unwrap().count() <= 150, "what nobody names any more is removed");
    assert_eq!(load(dir.path()).apps.len(), 50);
}

/// The first of all, and more than a line of its log takes: then it is there twice.
#[test]
fn a_large_first_index_that_is_lost_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let one = env("one");
    let many: Vec<_> = (0..100).map(|n| (n, app(&format!("a{n}"), &one))).collect();
    let store = Running::start(dir.path());
    saved(&store, put(&many.iter().map(|(id, app)| (*id, app)).collect::<Vec<_>>(), 100));
    saved(&store, put(&[(100, &app("late", &one))], 101));
    store.end();
    let good = load(dir.path()).apps;
    assert_eq!(good.len(), 101);
    fs::remove_file(dir.path().join("index.json")).unwrap();
    let back = load(dir.path());
    assert_eq!(back.apps, good);
    assert!(back.troubles[0].contains("no change is missing"), "{:?}", back.troubles);
    // Nor does the one that is lost after that.
    write_once(dir.path(), put(&[(101, &app("later", &one))], 102));
    fs::remove_file(dir.path().join("index.json")).unwrap();
    let back = load(dir.path());
    assert_eq!(back.apps.len(), 102);
    assert!(back.troubles[0].contains("no change is missing"), "{:?}", back.troubles);
}

/// Whatever stands before the cut is there. What is cut off is missing, and people are told if that can be seen.
#[test]
fn a_log_that_is_cut_off_anywhere_keeps_what_stands_before() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let log = dir.path().join("index.log");
    let whole = fs::read(&log).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|n| whole[*n] == b'\n').map(|n| n + 1).collect();
    let expected = ["web api", "web api third", "web api third", "web third", "web third fourth"];
    for length in 0..whole.len() {
        fs::write(&log, &whole[..length]).unwrap();
        let loaded = load(dir.path());
        let lines = ends.iter().filter(|end| **end <= length).count();
        assert_eq!(names(&loaded).join(" "), expected[lines.max(1) - 1], "cut at {length}");
        assert!(loaded.next_id >= AppId(2));
        if !ends.contains(&length) {
            assert_eq!(loaded.troubles.len(), 1, "cut at {length}: {:?}", loaded.troubles);
            assert!(loaded.hidden.may_hold(AppId(3)), "cut at {length}: what runs of it must be left alone");
        }
        assert!(
            snapshot(dir.path()).keys().all(|p| !p.to_string_lossy().contains("unreadable")),
            "reading keeps it as it is"
        );
    }
}

#[test]
fn a_flipped_bit_in_the_log_costs_the_apps_of_that_line_and_is_told_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let log = dir.path().join("index.log");
    let good = snapshot(dir.path());
    let whole = good[&log].clone();
    let before = load(dir.path()).apps;
    let line_of = |at: usize| whole[..at].iter().filter(|byte| **byte == b'\n').count();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&log, &flipped).unwrap();
        let loaded = load(dir.path());
        assert!(!loaded.troubles.is_empty(), "bit flipped in byte {at}");
        assert!(loaded.hidden.may_hold(AppId(9)));
        let now: BTreeMap<AppId, DesiredApp> = loaded.apps.into_iter().collect();
        // Which app each line is about. A flipped line end spoils two lines, a flipped check, too.
        let touched: &[u32] = match line_of(at) {
            0 => &[0, 1, 2, 3],
            1 => &[2, 0],
            2 => &[0, 1],
            3 => &[1, 3],
            _ => &[3],
        };
        for (id, app) in &before {
            assert!(now.get(id) == Some(app) || touched.contains(&id.0), "byte {at}: app {id} is lost with it");
        }
        if at % 61 == 0 {
            write_once(dir.path(), put(&[], 9));
            assert_eq!(fs::read(dir.path().join("index.log.unreadable-1")).unwrap(), flipped, "byte {at}: it is kept");
            assert!(load(dir.path()).hidden.may_hold(AppId(9)));
            put_back(dir.path(), &good);
        }
    }
}

/// A crash between the two names: the old index is found with its log under whichever name that has.
#[test]
fn a_log_is_found_by_what_it_follows() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let path = |name: &str| dir.path().join(name);
    let (before, apps) = (snapshot(dir.path()), load(dir.path()).apps);
    write_once(dir.path(), put(&[(4, &app("late", &env("one")))], 5));
    let after = snapshot(dir.path());
    assert_eq!(after[&path("index.log.previous")], before[&path("index.log")]);
    for (index, log, log_previous, all) in [
        (&before, &after, &after, false),
        (&before, &before, &before, false),
        (&before, &before, &after, false),
        (&after, &after, &after, true),
    ] {
        put_back(dir.path(), &after);
        fs::write(path("index.json"), &index[&path("index.json")]).unwrap();
        fs::write(path("index.log"), &log[&path("index.log")]).unwrap();
        match log_previous.get(&path("index.log.previous")) {
            Some(bytes) => fs::write(path("index.log.previous"), bytes).unwrap(),
            None => fs::remove_file(path("index.log.previous")).unwrap(),
        }
        let loaded = load(dir.path());
        assert_eq!(loaded.troubles, Vec::<String>::new());
        assert_eq!((&loaded.apps[..3], loaded.apps.len()), (&apps[..], if all { 4 } else { 3 }));
    }
}

#[test]
fn an_index_without_its_log_is_told_of_and_a_log_of_another_index_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let (log, good) = (dir.path().join("index.log"), snapshot(dir.path()));
    fs::remove_file(&log).unwrap();
    let loaded = load(dir.path());
    assert_eq!((names(&loaded).join(" ").as_str(), loaded.troubles.len()), ("web api", 1), "{:?}", loaded.troubles);
    assert!(
        loaded.troubles[0].contains("index.log is missing") && loaded.hidden.may_hold(AppId(3)),
        "{:?}",
        loaded.troubles
    );
    // Somebody put an older index back.
    put_back(dir.path(), &good);
    fs::copy(dir.path().join("index.json.previous"), dir.path().join("index.json")).unwrap();
    fs::remove_file(dir.path().join("index.log.previous")).unwrap();
    let loaded = load(dir.path());
    assert_eq!((names(&loaded).join(" ").as_str(), loaded.troubles.len()), ("web", 1));
    assert!(loaded.troubles[0].contains("does not belong to index.json"), "{:?}", loaded.troubles);
    write_once(dir.path(), put(&[], 9));
    assert_eq!(fs::read(dir.path().join("index.log.unreadable-1")).unwrap(), good[&log]);
}

#[test]
fn a_newer_log_stops_us_before_anything_is_changed() {
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let log = dir.path().join("index.log");
    let text = fs::read_to_string(&log).unwrap().replacen("{\"version\":2,", "{\"version\":3,\"new\":[],", 1);
    let (first, rest) = text.split_once('\n').unwrap();
    let body = &first[..first.rfind(",\"check\"").unwrap()];
    let check: String = Sha256::digest(body).iter().take(16).map(|b| format!("{b:02x}")).collect();
    fs::write(&log, format!("{body},\"check\":\"{check}\"}}\n{rest}")).unwrap();
    let good = snapshot(dir.path());
    let error = store::load(dir.path(), &boot()).unwrap_err();
    assert!(error.contains("version 3") && error.contains("index.log"), "{error}");
    assert_eq!(snapshot(dir.path()), good);
}

/// Whatever somebody does to the files while a daemon runs, the next order puts everything right.
#[test]
fn a_log_or_index_that_somebody_touched_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (log, one) = (dir.path().join("index.log"), env("one"));
    let store = Running::start(dir.path());
    for n in 0..3 {
        saved(&store, put(&[(n, &app(&format!("a{n}"), &one))], n + 1));
    }
    let spoil: [&dyn Fn(); 6] = [
        &|| fs::remove_file(&log).unwrap(),
        &|| fs::write(&log, "").unwrap(),
        &|| fs::write(&log, [fs::read(&log).unwrap(), b"more".to_vec()].concat()).unwrap(),
        &|| {
            fs::remove_file(&log).unwrap();
            fs::write(&log, "another").unwrap();
        },
        &|| fs::remove_file(dir.path().join("index.json")).unwrap(),
        &|| fs::remove_dir_all(dir.path().join("apps")).unwrap(),
    ];
    // Within one tick of the clock that stamps files it could not be seen.
    let stamp = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for (n, spoil) in (3..).zip(spoil) {
        saved(&store, put(&[(n, &app(&format!("b{n}"), &one))], n + 1));
        let clock = elsewhere.path().join("clock");
        while {
            fs::write(&clock, "").unwrap();
            stamp(&clock) == stamp(dir.path()) || stamp(&clock) == stamp(&dir.path().join("apps"))
        } {}
        spoil();
        saved(&store, put(&[(n, &app(&format!("c{n}"), &one))], n + 1));
        let loaded = load(dir.path());
        assert_eq!((loaded.apps.len(), loaded.troubles), (n as usize + 1, vec![]), "number {n}");
        saved(&store, put(&[(n, &app(&format!("d{n}"), &one))], n + 1));
    }
    store.end();
}
