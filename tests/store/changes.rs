//! The log of changes beside the index: an order is a line, no line means anything after another index, and what is lost of it costs the
//! apps in it.

use crate::support::{Running, app, boot, env, files, load, log_of, put, put_back, remove, write_once};
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

fn log_name(dir: &Path) -> PathBuf {
    log_of(dir).file_name().unwrap().into()
}

fn names(loaded: &Loaded) -> Vec<String> {
    loaded.apps.iter().map(|(_, app)| app.spec.name.to_string()).collect()
}

#[test]
fn an_order_is_a_line_and_the_index_and_the_folders_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let one = env("one");
    let store = Running::start(dir.path());
    saved(&store, put(&[(0, &app("web", &one)), (1, &app("api", &one))], 2));
    let before = files(dir.path());
    saved(&store, put(&[(2, &app("third", &one))], 3));
    saved(&store, put(&[(0, &down(&app("web", &one)))], 3));
    saved(&store, remove(1, 3));
    let mut after = files(dir.path());
    let log = log_name(dir.path());
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
    assert_eq!(fs::read_to_string(log_of(dir.path())).unwrap().lines().count(), 1);
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
    let (mut longest, mut shortened) = (0, 0);
    for n in 0..1000 {
        let id = n % 50;
        saved(&store, put(&[(id, &app(&format!("a{n}"), &env(&(n % 7).to_string())))], 50));
        // The answer comes before that, so let it be done.
        let (done, wait) = std::sync::mpsc::channel();
        store.send(store::Command::Barrier(Box::new(move || done.send(()).unwrap())));
        wait.recv().unwrap();
        let log = fs::metadata(log_of(dir.path())).unwrap().len();
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
    assert_eq!(load(dir.path()).apps, good);
    // Nor does the one that is lost after that.
    write_once(dir.path(), put(&[(1101, &app("later", &one))], 1102));
    fs::remove_file(dir.path().join("index.json")).unwrap();
    assert_eq!(load(dir.path()).apps.len(), 102);
}

/// Whatever stands before the cut is there. What is cut off is missing, and people are told if that can be seen.
#[test]
fn a_log_that_is_cut_off_anywhere_keeps_what_stands_before() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let log = log_of(dir.path());
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
            files(dir.path()).keys().all(|p| !p.to_string_lossy().contains("unreadable")),
            "reading keeps it as it is"
        );
    }
}

#[test]
fn a_flipped_bit_in_the_log_costs_the_apps_of_that_line_and_is_told_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let log = log_of(dir.path());
    let good = files(dir.path());
    let whole = fs::read(&log).unwrap();
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
            write_once(dir.path(), put(&[], 9));
            assert_eq!(fs::read(&log).unwrap(), flipped, "byte {at}: it is kept");
            assert!(load(dir.path()).hidden.may_hold(AppId(9)));
            put_back(dir.path(), &good);
        }
    }
}

/// What a crash left of a change that was never answered: a log of an index that never came to be.
#[test]
fn a_log_of_no_index_means_nothing_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let (before, apps) = (files(dir.path()), load(dir.path()).apps);
    write_once(dir.path(), put(&[(4, &app("late", &env("one")))], 5));
    let after = files(dir.path());
    put_back(dir.path(), &before);
    let orphan = after.keys().find(|path| !before.contains_key(*path) && path.extension().is_some_and(|e| e == "log"));
    let orphan = orphan.unwrap();
    fs::write(dir.path().join(orphan), &after[orphan]).unwrap();
    let loaded = load(dir.path());
    assert_eq!((loaded.apps, loaded.troubles), (apps, vec![]));
    write_once(dir.path(), put(&[(4, &app("other", &env("one")))], 5));
    assert!(!dir.path().join(orphan).exists());
    fs::remove_file(dir.path().join("index.json")).unwrap();
    assert_eq!(names(&load(dir.path())).join(" "), "web third fourth other");
}

/// From the previous index through several that were lost one after the other.
#[test]
fn an_index_that_is_lost_again_and_again_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    for n in 4..8 {
        fs::remove_file(dir.path().join("index.json")).unwrap();
        let loaded = load(dir.path());
        assert!(loaded.troubles[0].contains("no change is missing"), "{:?}", loaded.troubles);
        let store = Running::start(dir.path());
        saved(&store, put(&[(2 * n, &app(&format!("a{n}"), &env("own")))], 2 * n + 1));
        if n > 5 {
            saved(&store, put(&[(2 * n + 1, &app(&format!("b{n}"), &env("own")))], 2 * n + 2));
        }
        store.end();
    }
    let expected = "web third fourth a4 a5 a6 b6 a7 b7";
    assert_eq!(names(&load(dir.path())).join(" "), expected);
    // And all of them at once: the logs lead there from nothing.
    let dir = tempfile::tempdir().unwrap();
    write_once(dir.path(), put(&[(0, &app("web", &env("one")))], 1));
    let store = Running::start(dir.path());
    for n in 1..10 {
        saved(&store, put(&[(n, &app(&format!("a{n}"), &env("one")))], n + 1));
    }
    store.end();
    for name in ["index.json", "index.json.previous"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let loaded = load(dir.path());
    assert_eq!((loaded.apps.len(), loaded.next_id), (10, AppId(10)), "{:?}", loaded.troubles);
    assert!(loaded.troubles[0].contains("no change is missing"), "{:?}", loaded.troubles);
    // Without the first of the logs there is no way.
    let first = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).find(|path| {
        path.extension().is_some_and(|e| e == "log") && fs::read_to_string(path).unwrap().contains("\"previous\":null")
    });
    fs::remove_file(first.unwrap()).unwrap();
    let loaded = load(dir.path());
    assert!(loaded.troubles[0].contains("may be missing") && loaded.next_id > AppId(10), "{:?}", loaded.troubles);
    assert!(loaded.hidden.may_hold(AppId(5)));
}

#[test]
fn an_index_without_its_log_is_told_of_and_the_next_daemon_knows_that_something_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let (log, good) = (log_of(dir.path()), files(dir.path()));
    let older = || {
        fs::copy(dir.path().join("index.json.previous"), dir.path().join("index.json")).unwrap();
    };
    let missing = || fs::remove_file(&log).unwrap();
    let emptied = || fs::write(&log, "").unwrap();
    let text = fs::read(&log).unwrap();
    let cut = || fs::write(&log, &text[..text.len() - 9]).unwrap();
    let spoil: [(&dyn Fn(), &str, &str); 4] = [
        (&missing, "web api", "is missing"),
        (&emptied, "web api", "its first line"),
        (&cut, "web third", "ends within a change"),
        (
            &|| {
                older();
                fs::remove_file(log_of(dir.path())).unwrap()
            },
            "web",
            "is missing",
        ),
    ];
    for (spoil, there, why) in spoil {
        put_back(dir.path(), &good);
        spoil();
        let loaded = load(dir.path());
        assert_eq!((names(&loaded).join(" ").as_str(), loaded.troubles.len()), (there, 1), "{:?}", loaded.troubles);
        assert!(loaded.troubles[0].contains(why) && loaded.hidden.may_hold(AppId(3)), "{:?}", loaded.troubles);
        assert!(loaded.next_id >= AppId(1000), "{why}: ids that were given are not given again");
        for _ in 0..2 {
            write_once(dir.path(), put(&[], 9));
            let loaded = load(dir.path());
            assert!(
                loaded.hidden.may_hold(AppId(3)),
                "{why}: the next daemon must leave alone what it does not know, too"
            );
        }
        let lost = dir.path().join("index.lost.unreadable-1");
        assert!(fs::read_to_string(&lost).unwrap().contains(why), "and people can read why");
        // Until somebody has looked at it.
        fs::remove_file(lost).unwrap();
        assert!(!load(dir.path()).hidden.may_hold(AppId(3)), "{why}");
    }
    // What a crash cut off took all processes of that boot with it.
    put_back(dir.path(), &good);
    cut();
    let loaded = store::load(dir.path(), &opm::model::BootId("boot-b".into())).unwrap();
    assert_eq!((loaded.troubles.len(), loaded.hidden.may_hold(AppId(3))), (1, false));
}

/// Nobody but us writes these files; but they are read as if anybody could have.
#[test]
fn no_name_in_a_log_leads_out_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let log = log_of(dir.path());
    let good = fs::read_to_string(&log).unwrap();
    for nth in [0, 1, 4] {
        let lines: Vec<&str> = good.lines().collect();
        let file = lines[nth].split("\"file\":\"").nth(1).unwrap().split('"').next().unwrap();
        let before =
            if nth == 0 { String::new() } else { lines[nth - 1][lines[nth - 1].len() - 34..][..32].to_owned() };
        let bad = sealed(&before, &lines[nth].replacen(file, "../../victim", 1));
        fs::write(&log, format!("{}\n", [&lines[..nth], &[&bad]].concat().join("\n"))).unwrap();
        let loaded = load(dir.path());
        assert_eq!(loaded.troubles.len(), 1, "line {nth}: {:?}", loaded.troubles);
        assert!(!loaded.troubles[0].contains("left out: failed to read"), "line {nth}: {:?}", loaded.troubles);
    }
}

/// A line with a check that fits, after the line of that check.
fn sealed(before: &str, line: &str) -> String {
    use sha2::{Digest, Sha256};
    let body = &line[..line.rfind(",\"check\"").unwrap()];
    let digest = Sha256::new_with_prefix(before).chain_update(body).finalize();
    let check: String = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("{body},\"check\":\"{check}\"}}")
}

/// A line that is lost takes no text with it that others rely on.
#[test]
fn an_environment_in_a_damaged_line_is_still_that_of_the_apps_after_it() {
    let dir = tempfile::tempdir().unwrap();
    write_once(dir.path(), put(&[(0, &app("web", &env("one")))], 1));
    let store = Running::start(dir.path());
    for n in 1..5 {
        let env = env(if n == 1 { "one" } else { "own" });
        saved(&store, put(&[(n, &app(&format!("a{n}"), &env))], n + 1));
    }
    store.end();
    let log = log_of(dir.path());
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("\"name\":\"a2\"", "\"name\":\"b2\"", 1)).unwrap();
    assert_eq!(names(&load(dir.path())).join(" "), "web a1 a3 a4");
}

/// Lines that are good each for itself, and are not what was written.
#[test]
fn a_line_means_nothing_in_another_place() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let log = log_of(dir.path());
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // Without the deletion of api, twice the same, two exchanged.
    for order in [&[0, 1, 2, 4][..], &[0, 1, 2, 2, 3, 4], &[0, 2, 1, 3, 4]] {
        let other: String = order.iter().map(|n| format!("{}\n", lines[*n])).collect();
        fs::write(&log, other).unwrap();
        let loaded = load(dir.path());
        assert!(!loaded.troubles.is_empty() && loaded.hidden.may_hold(AppId(1)), "{order:?}: {:?}", names(&loaded));
    }
}

#[test]
fn what_is_too_long_for_a_line_is_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::start(dir.path());
    saved(&store, put(&[(0, &app("web", &env("one")))], 1));
    let mut long = app("long", &env("one"));
    std::sync::Arc::make_mut(&mut long.spec).args = vec!["x".repeat(70 << 10).into()];
    let log = log_name(dir.path());
    saved(&store, put(&[(1, &long)], 2));
    assert_ne!(log, log_name(dir.path()), "the index was written whole");
    assert_eq!(fs::read_dir(dir.path().join("apps")).unwrap().count(), 2);
    store.end();
}

/// The repeated change is not believed to be all because it is there.
#[test]
fn an_index_that_cannot_be_made_again_as_it_was_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let (log, good) = (log_of(dir.path()), files(dir.path()));
    fs::remove_file(dir.path().join("index.json")).unwrap();
    assert!(load(dir.path()).troubles[0].contains("no change is missing"));
    put_back(dir.path(), &good);
    fs::remove_file(dir.path().join("index.json")).unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let (first, _) = text.split_once('\n').unwrap();
    fs::write(&log, sealed("", &first.replacen("\"generation\":7", "\"generation\":8", 1)) + "\n").unwrap();
    let loaded = load(dir.path());
    assert!(loaded.troubles[0].contains("may be missing") && loaded.hidden.may_hold(AppId(9)), "{:?}", loaded.troubles);
}

/// What was damaged in a folder and is asked for again stands in the log, not under its bad name only.
#[test]
fn a_damaged_file_that_is_wanted_again_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (env("one"), env("two"));
    write_once(dir.path(), put(&[(0, &app("web", &one)), (1, &app("api", &two))], 2));
    for file in fs::read_dir(dir.path().join("env")).unwrap().map(|e| e.unwrap().path()) {
        fs::write(&file, "{}").unwrap();
    }
    let store = Running::start(dir.path());
    saved(&store, put(&[(2, &app("third", &env("three")))], 3));
    saved(&store, put(&[(1, &app("api", &two))], 3));
    let loaded = load(dir.path());
    assert_eq!(names(&loaded).join(" "), "api third", "{:?}", loaded.troubles);
    store.end();
}

/// An environment that stood in one log, and then in the folder, and went from there, and is wanted again.
#[test]
fn a_file_that_went_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (x, y) = (env("x"), env("y"));
    let many: Vec<_> = (300..370).map(|id| (id, app(&format!("many{id}"), &y))).collect();
    let store = Running::start(dir.path());
    saved(&store, put(&[(0, &app("web", &y))], 1));
    for _ in 0..2 {
        saved(&store, put(&[(0, &app("web", &x))], 1));
        saved(&store, put(&[(0, &app("web", &y))], 1));
        for _ in 0..3 {
            saved(&store, put(&many.iter().map(|(id, app)| (*id, app)).collect::<Vec<_>>(), 400));
        }
    }
    saved(&store, put(&[(0, &app("web", &x))], 400));
    let loaded = load(dir.path());
    assert_eq!((loaded.apps.len(), loaded.troubles), (71, vec![]));
    store.end();
}

/// Transient apps of another boot leave with the first change, which says so.
#[test]
fn an_index_after_a_reboot_can_be_made_again_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut passing = app("passing", &env("one"));
    std::sync::Arc::make_mut(&mut passing.spec).transient = true;
    let mut of_another_boot = put(&[(0, &app("web", &env("one"))), (1, &passing)], 2);
    write_once(dir.path(), of_another_boot.clone());
    let index = dir.path().join("index.json");
    let text = fs::read_to_string(&index).unwrap().replace("boot-a", "boot-0");
    let old_log = log_of(dir.path());
    let body = &text[..text.rfind("\"check\"").unwrap()];
    use sha2::{Digest, Sha256};
    let check: String = Sha256::digest(body).iter().take(16).map(|b| format!("{b:02x}")).collect();
    let log = fs::read_to_string(&old_log).unwrap();
    let old = old_log.file_name().unwrap().to_str().unwrap()[6..38].to_owned();
    fs::remove_file(old_log).unwrap();
    fs::write(&index, format!("{body}\"check\": \"{check}\"\n}}\n")).unwrap();
    fs::write(log_of(dir.path()), format!("{}\n", sealed("", log.replace(&old, &check).trim_end()))).unwrap();
    assert_eq!(load(dir.path()).troubles, Vec::<String>::new());
    of_another_boot.put.clear();
    write_once(dir.path(), of_another_boot);
    fs::remove_file(&index).unwrap();
    let loaded = load(dir.path());
    assert_eq!(names(&loaded), ["web"]);
    assert!(loaded.troubles[0].contains("no change is missing"), "{:?}", loaded.troubles);
}

#[test]
fn a_newer_log_stops_us_before_anything_is_changed() {
    use sha2::{Digest, Sha256};
    let dir = tempfile::tempdir().unwrap();
    with_a_log(dir.path());
    let log = log_of(dir.path());
    let text = fs::read_to_string(&log).unwrap().replacen("{\"version\":2,", "{\"version\":3,\"new\":[],", 1);
    let (first, rest) = text.split_once('\n').unwrap();
    let body = &first[..first.rfind(",\"check\"").unwrap()];
    let check: String = Sha256::digest(body).iter().take(16).map(|b| format!("{b:02x}")).collect();
    fs::write(&log, format!("{body},\"check\":\"{check}\"}}\n{rest}")).unwrap();
    let good = files(dir.path());
    let error = store::load(dir.path(), &boot()).unwrap_err();
    assert!(error.contains("version 3") && error.contains(".log"), "{error}");
    assert_eq!(files(dir.path()), good);
}

/// Whatever somebody does to the files while a daemon runs, the next order puts everything right.
#[test]
fn a_log_or_index_that_somebody_touched_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let one = env("one");
    let log = || log_of(dir.path());
    let store = Running::start(dir.path());
    for n in 0..3 {
        saved(&store, put(&[(n, &app(&format!("a{n}"), &one))], n + 1));
    }
    let spoil: [&dyn Fn(); 6] = [
        &|| fs::remove_file(log()).unwrap(),
        &|| fs::write(log(), "").unwrap(),
        &|| fs::write(log(), [fs::read(log()).unwrap(), b"more".to_vec()].concat()).unwrap(),
        &|| {
            let log = log();
            fs::remove_file(&log).unwrap();
            fs::write(log, "another").unwrap();
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
