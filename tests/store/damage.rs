//! Whatever becomes of the files, nothing is lost: the previous index is used, and what is bad is kept.

use crate::support::{app, boot, env, files, load, log_of, put, put_back, remove, write_once};
use opm::daemon::store;
use opm::model::{AppId, BootId};
use std::fs;
use std::path::Path;

/// Two commits: `index.json.previous` knows web, `index.json` knows web and api.
fn two_commits(dir: &Path) {
    let env = env("one");
    write_once(dir, put(&[(0, &app("web", &env))], 1));
    write_once(dir, put(&[(1, &app("api", &env))], 2));
}

fn names(dir: &Path) -> Vec<String> {
    load(dir).apps.iter().map(|(_, app)| app.spec.name.to_string()).collect()
}

#[test]
fn what_was_written_is_read_back_with_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (env("one"), env("two"));
    let (web, mut api) = (app("web", &one), app("api", &two));
    api.last_order = Some(opm::model::OrderKey("order-1".to_owned()));
    write_once(dir.path(), put(&[(0, &web), (1, &api), (2, &app("third", &one))], 3));
    let loaded = load(dir.path());
    assert_eq!(loaded.troubles, Vec::<String>::new());
    assert_eq!(loaded.next_id, AppId(3));
    assert_eq!(loaded.apps[..2], [(AppId(0), web), (AppId(1), api)]);
    assert!(
        std::sync::Arc::ptr_eq(&loaded.apps[0].1.captured, &loaded.apps[2].1.captured),
        "one environment, one copy"
    );
}

#[test]
fn ids_are_never_given_twice_not_even_after_the_highest_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    write_once(dir.path(), put(&[(0, &app("web", &env("a")))], 1));
    write_once(dir.path(), remove(0, 1));
    let loaded = load(dir.path());
    assert_eq!((loaded.apps.len(), loaded.next_id), (0, AppId(1)));
}

#[test]
fn an_index_cut_off_at_any_byte_gives_way_to_the_previous_one_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    two_commits(dir.path());
    let index = dir.path().join("index.json");
    let whole = fs::read(&index).unwrap();
    for length in 0..whole.len() {
        fs::write(&index, &whole[..length]).unwrap();
        let loaded = load(dir.path());
        // What the lost one had more than the previous one is in the first line of its log.
        assert_eq!(loaded.apps.len(), 2, "cut at {length}");
        assert!(loaded.next_id >= AppId(2), "cut at {length}: the id of api is in the name of its file");
        assert_eq!(loaded.troubles.len(), 2, "cut at {length}: {:?}", loaded.troubles);
        let aside = dir.path().join("index.json.unreadable-1");
        assert_eq!(fs::read(&aside).unwrap(), &whole[..length]);
        // The next write destroys neither what is kept nor the files that it refers to.
        if length % 97 == 0 {
            let before = files(dir.path());
            write_once(dir.path(), put(&[(2, &app("new", &env("new")))], 3));
            assert_eq!(names(dir.path()), ["web", "api", "new"]);
            fs::write(&index, &whole).unwrap();
            fs::remove_file(&aside).unwrap();
            assert_eq!(names(dir.path()), ["web", "api"], "cut at {length}");
            put_back(dir.path(), &before);
            fs::remove_file(&aside).unwrap();
        } else {
            fs::remove_file(&aside).unwrap();
        }
    }
}

#[test]
fn any_flipped_bit_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    two_commits(dir.path());
    let index = dir.path().join("index.json");
    let whole = fs::read(&index).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&index, &flipped).unwrap();
        let loaded = load(dir.path());
        assert_eq!(loaded.apps.len(), 2, "bit flipped in byte {at}");
        assert!(loaded.troubles.iter().any(|t| t.contains("no change is missing")), "{:?}", loaded.troubles);
        fs::remove_file(dir.path().join("index.json.unreadable-1")).unwrap();
    }
}

#[test]
fn what_is_no_file_at_all_is_moved_aside_without_hanging() {
    let dir = tempfile::tempdir().unwrap();
    two_commits(dir.path());
    let index = dir.path().join("index.json");
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "untouched").unwrap();
    let plant: [&dyn Fn(); 5] = [
        &|| std::os::unix::fs::symlink(&secret, &index).unwrap(),
        &|| fs::create_dir(&index).unwrap(),
        &|| rustix::fs::mkfifoat(rustix::fs::CWD, &index, 0o600.into()).unwrap(),
        &|| fs::write(&index, "[".repeat(1 << 20)).unwrap(),
        &|| fs::write(&index, b"\xef\xbb\xbf{\"version\": NaN}").unwrap(),
    ];
    for (n, plant) in plant.iter().enumerate() {
        if index.exists() {
            fs::remove_file(&index).unwrap();
        }
        plant();
        assert_eq!(load(dir.path()).apps.len(), 2, "number {n}");
        write_once(dir.path(), put(&[], 9));
        assert_eq!(load(dir.path()).troubles, Vec::<String>::new(), "number {n}");
        assert_eq!(fs::read(&secret).unwrap(), b"untouched");
    }
    assert!(dir.path().join("index.json.unreadable-5").exists(), "each is kept under its own name");
}

#[test]
fn an_index_from_a_newer_opm_stops_us_before_anything_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    two_commits(dir.path());
    let index = dir.path().join("index.json");
    let newer = store_text_of_version(&fs::read_to_string(&index).unwrap(), 3);
    fs::write(&index, &newer).unwrap();
    let error = store::load(dir.path(), &boot()).unwrap_err();
    assert!(error.contains("version 3") && error.contains("index.json"), "{error}");
    assert_eq!(fs::read_to_string(&index).unwrap(), newer);
}

/// The same index with another version and a check that fits: as a newer opm would write it.
fn store_text_of_version(text: &str, version: u32) -> String {
    use sha2::{Digest, Sha256};
    let text = text.replacen("\"version\": 2,", &format!("\"version\": {version},\n\"new\": [],"), 1);
    let body = &text[..text.rfind("\"check\"").unwrap()];
    let check: String = Sha256::digest(body).iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("{body}\"check\": \"{check}\"\n}}\n")
}

#[test]
fn an_app_whose_file_is_damaged_is_left_out_and_comes_back_with_its_file() {
    let dir = tempfile::tempdir().unwrap();
    two_commits(dir.path());
    let file = spec_file(dir.path(), "0-");
    let good = fs::read(&file).unwrap();
    for bad in [&b"{"[..], b"", &[b"{\"a\":".repeat(5000), b"1".to_vec()].concat(), &good[..good.len() - 2]] {
        fs::write(&file, bad).unwrap();
        let loaded = load(dir.path());
        assert_eq!(loaded.apps[0].0, AppId(1), "web is left out");
        assert!(loaded.troubles[0].contains("web"), "{:?}", loaded.troubles);
        // Others are changed meanwhile, several times: its entry and its file stay.
        for id in 2..5 {
            write_once(dir.path(), put(&[(id, &app(&format!("n{id}"), &env("x")))], id + 1));
        }
        assert_eq!(fs::read(&file).unwrap(), bad);
    }
    fs::write(&file, good).unwrap();
    assert_eq!(names(dir.path()), ["web", "api", "n2", "n3", "n4"]);
}

/// A daemon was killed while it wrote a spec. The next one found a file of the right name, took it for written, and
/// committed an index that named half a file. A name proves nothing before an index that names it is durable.
#[test]
fn half_a_file_that_a_kill_left_is_never_taken_for_whole() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let change = || put(&[(0, &app("web", &env("a")))], 1);
    write_once(first.path(), change());
    load(second.path());
    for folder in ["apps", "env"] {
        for file in fs::read_dir(first.path().join(folder)).unwrap().map(|e| e.unwrap()) {
            let half = fs::read(file.path()).unwrap()[..10].to_vec();
            let name = file.file_name().into_string().unwrap();
            fs::write(second.path().join(folder).join(&name), &half).unwrap();
            fs::write(second.path().join(folder).join(name + ".new"), &half).unwrap();
        }
    }
    write_once(second.path(), change());
    assert_eq!(load(second.path()).troubles, Vec::<String>::new());
    write_once(second.path(), put(&[], 2));
    assert_eq!(fs::read_dir(second.path().join("apps")).unwrap().count(), 1, "halves are swept away");
}

#[test]
fn a_file_that_still_makes_sense_but_was_altered_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    two_commits(dir.path());
    let file = spec_file(dir.path(), "0-");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("/srv/app.js", "/srv/bpp.js")).unwrap();
    assert_eq!(names(dir.path()), ["api"]);
    let env = fs::read_dir(dir.path().join("env")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&env).unwrap();
    fs::write(&env, text.replace("one", "two")).unwrap();
    assert_eq!(names(dir.path()), Vec::<String>::new());
    // And comes back when the same is asked for again.
    write_once(dir.path(), put(&[(1, &app("api", &crate::support::env("one")))], 2));
    assert_eq!(names(dir.path()), ["api"]);
}

fn spec_file(dir: &Path, prefix: &str) -> std::path::PathBuf {
    let mut apps = fs::read_dir(dir.join("apps")).unwrap().map(|e| e.unwrap().path());
    apps.find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(prefix)).unwrap()
}

#[test]
fn a_transient_app_is_gone_with_its_boot() {
    let dir = tempfile::tempdir().unwrap();
    let env = env("a");
    let mut passing = app("passing", &env);
    std::sync::Arc::make_mut(&mut passing.spec).transient = true;
    write_once(dir.path(), put(&[(0, &app("web", &env)), (1, &passing)], 2));
    assert_eq!(names(dir.path()), ["web", "passing"]);
    let later = store::load(dir.path(), &BootId("boot-b".into())).unwrap();
    assert_eq!(later.apps.len(), 1);
    assert_eq!(later.next_id, AppId(2));
}

#[test]
fn unreferenced_files_go_but_those_of_the_previous_index_stay() {
    let dir = tempfile::tempdir().unwrap();
    let count = || fs::read_dir(dir.path().join("apps")).unwrap().count();
    for n in 0..5 {
        let env = env(&n.to_string());
        let mut web = app("web", &env);
        std::sync::Arc::make_mut(&mut web.spec).nice = Some(n);
        write_once(dir.path(), put(&[(0, &web)], 1));
        assert_eq!(count(), if n == 0 { 1 } else { 2 });
    }
    assert_eq!(fs::read_dir(dir.path().join("env")).unwrap().count(), 2);
    let log = log_of(dir.path());
    fs::remove_file(dir.path().join("index.json")).unwrap();
    let loaded = load(dir.path());
    assert_eq!(loaded.apps[0].1.spec.nice, Some(4), "the previous one works, and the log of the lost one");
    fs::remove_file(log).unwrap();
    assert_eq!(load(dir.path()).apps[0].1.spec.nice, Some(3), "with all of its files");
    assert_eq!(loaded.troubles.len(), 1);
}

#[test]
fn specs_without_an_index_are_never_swept_away() {
    let dir = tempfile::tempdir().unwrap();
    two_commits(dir.path());
    for file in fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).filter(|path| path.is_file()) {
        fs::remove_file(file).unwrap();
    }
    let loaded = load(dir.path());
    assert_eq!((loaded.apps.len(), loaded.next_id, loaded.troubles.len()), (0, AppId(2), 1));
    drop(loaded);
    write_once(dir.path(), put(&[(2, &app("new", &env("n")))], 3));
    assert_eq!(fs::read_dir(dir.path().join("apps")).unwrap().count(), 3);
}
