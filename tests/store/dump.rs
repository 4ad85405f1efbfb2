//! The dump: round trip, damage, and that nothing but a save touches it.

use crate::support::{app, env};
use opm::daemon::store::dump;
use opm::model::Desired;
use std::fs;

#[test]
fn a_dump_gives_back_every_byte_of_specs_and_environments() {
    let dir = tempfile::tempdir().unwrap();
    let (web, mut api) = (app("web", &env("one")), app("api", &env("two")));
    api.instances.iter_mut().for_each(|i| i.desired = Desired::Down);
    dump::save(dir.path(), &[web.clone(), api.clone()]).unwrap();
    let (apps, trouble) = dump::load(dir.path()).unwrap();
    assert_eq!(trouble, None);
    assert_eq!((&apps[0].0.spec, &apps[0].0.captured, apps[0].1), (&web.spec, &web.captured, Desired::Up));
    assert_eq!((&apps[1].0.spec, &apps[1].0.captured, apps[1].1), (&api.spec, &api.captured, Desired::Down));
}

#[test]
fn a_damaged_dump_gives_way_to_the_one_before_it_and_a_save_loses_neither() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.json");
    dump::save(dir.path(), &[app("first", &env("a"))]).unwrap();
    dump::save(dir.path(), &[app("second", &env("a"))]).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() - 1 {
        fs::write(&path, &whole[..length]).unwrap();
        let (apps, trouble) = dump::load(dir.path()).unwrap();
        assert_eq!(apps[0].0.spec.name.as_str(), "first", "cut at {length}");
        assert!(trouble.is_some());
    }
    dump::save(dir.path(), &[app("third", &env("a"))]).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(dump::load(dir.path()).unwrap().0[0].0.spec.name.as_str(), "first");
    assert!(dir.path().join("dump.json.unreadable").exists());
}

#[test]
fn a_dump_from_a_newer_opm_is_neither_read_nor_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let newer = r#"{"version": 9, "things": []}"#;
    fs::write(dir.path().join("dump.json"), newer).unwrap();
    assert!(dump::load(dir.path()).unwrap_err().contains("version 9"));
    assert!(dump::save(dir.path(), &[]).unwrap_err().contains("not replaced"));
    assert_eq!(fs::read_to_string(dir.path().join("dump.json")).unwrap(), newer);
}

#[test]
fn what_a_dump_must_not_hold_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for (text, word) in [
        (r#"{"version": 1, "apps": [], "pid": 3}"#, "pid"),
        (
            r#"{"version": 1, "apps": [{"spec": {"name": "a", "script": "b", "cwd": "/"}, "desired": [], "restarts": 1}]}"#,
            "restarts",
        ),
        (
            r#"{"version": 1, "apps": [{"spec": {"name": "a", "script": "b", "cwd": "/", "bogus": 1}, "desired": []}]}"#,
            "bogus",
        ),
        (
            r#"{"version": 1, "apps": [{"spec": {"name": "a", "script": "b", "cwd": "/"}, "env": "x", "desired": []}]}"#,
            "'x'",
        ),
    ] {
        fs::write(dir.path().join("dump.json"), text).unwrap();
        let error = dump::load(dir.path()).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    assert!(dump::load(&dir.path().join("nowhere")).unwrap_err().contains("no dump"));
}
