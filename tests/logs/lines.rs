//! Streams that are cut into lines: each line is one record, once, whoever dies, whoever shares the file.

use crate::rig::{App, Pump, pipe, small, whole};
use opm::daemon::logs::index::Header;
use opm::daemon::logs::pump::{Command, PumpEvent};
use opm::model::{AppSpec, InstanceId, LogMode, RunId};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

fn json(spec: &mut AppSpec) {
    spec.log_mode = LogMode::Json;
}

fn records(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// E7, in the file: a line written in three pieces was three objects with PM2.
#[test]
fn a_line_in_three_pieces_is_one_record_and_any_bytes_survive() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut app = pump.app_as(7, pump.plan("web", json));
    for piece in ["one ", "line in ", "three pieces\ntwo\n"] {
        app.out.write_all(piece.as_bytes()).unwrap();
        pump.flush();
    }
    app.err.write_all(b"\xff\0\n").unwrap();
    app.out.write_all(b"no end").unwrap();
    pump.flush();
    let seen = |text: String| {
        records(&text).iter().map(|r| (r["seq"].as_u64().unwrap(), r["line"].clone())).collect::<Vec<_>>()
    };
    let (one, two) = ((0, "one line in three pieces".into()), (25, "two".into()));
    assert_eq!(seen(pump.text("web-0-out.log")), [one.clone(), two.clone()]);
    assert_eq!(seen(pump.text("web-0-err.log")), [(0, serde_json::json!({"hex": "ff00"}))]);
    pump.finish(7);
    assert_eq!(seen(pump.text("web-0-out.log")), [one, two, (29, "no end".into())]);
    let last = records(&pump.text("web-0-out.log")).pop().unwrap();
    assert_eq!((&last["partial"], &last["run"], &last["app"]), (&true.into(), &7.into(), &"web".into()));
    // Nothing stays behind in the spool, and the next run counts on.
    assert_eq!(fs::read_dir(home.path().join("spool")).unwrap().count(), 0);
    let mut app = pump.app_as(8, pump.plan("web", json));
    app.out.write_all(b"next\n").unwrap();
    pump.flush();
    assert_eq!(seen(pump.text("web-0-out.log")).pop(), Some((35, "next".into())));
    pump.end();
}

#[test]
fn what_goes_into_two_files_is_in_both_and_instances_that_share_one_do_not_tear_lines() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let shared = |spec: &mut AppSpec| {
        (spec.instances, spec.merge_logs) = (3, true);
        spec.log_file = Some(home.path().join("all.log").into_os_string().into());
    };
    let mut apps: Vec<App> = (0..3)
        .map(|n| {
            let mut plan = pump.plan("web", shared);
            plan.instance = InstanceId::new(plan.instance.app, n);
            pump.app_as(u64::from(n), plan)
        })
        .collect();
    for round in 0..100 {
        for (n, app) in apps.iter_mut().enumerate() {
            write!(app.out, "{n} {round} begins").unwrap();
            writeln!(app.err, "{n} {round} err").unwrap();
        }
        pump.flush();
        for app in &mut apps {
            writeln!(app.out, " and ends").unwrap();
        }
        pump.flush();
    }
    let mut out: Vec<_> = pump.text("web-out.log").lines().map(str::to_owned).collect();
    let all = fs::read_to_string(home.path().join("all.log")).unwrap();
    assert_eq!(all.lines().count(), 600);
    assert!(out.iter().all(|line| all.contains(line)));
    out.sort();
    let mut wanted: Vec<_> =
        (0..3).flat_map(|n| (0..100).map(move |round| format!("{n} {round} begins and ends"))).collect();
    wanted.sort();
    assert_eq!(out, wanted);
    pump.end();
}

#[test]
fn stamped_lines_are_exact_although_the_daemon_is_killed_again_and_again() {
    let home = tempfile::tempdir().unwrap();
    let (out, mut writer) = pipe();
    let (stop, stopped) = channel::<()>();
    let writing = std::thread::spawn(move || {
        let mut n = 0_u64;
        while stopped.try_recv().is_err() {
            writeln!(writer, "line {n} of an app that outlives its daemons").unwrap();
            n += 1;
        }
        n
    });
    let logs = home.path().join("logs");
    let size = || if logs.exists() { whole(&logs, "web-0-out.log").len() } else { 0 };
    for _ in 0..30 {
        let before = size();
        let mut daemon = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lines::as_a_daemon", "--ignored"])
            .env("OPM_TEST_HOME", home.path())
            .stdin(out.try_clone().unwrap())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while size() < before + 500_000 {
            std::thread::yield_now();
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    stop.send(()).unwrap();
    let pump = Pump::start(home.path());
    let ((err, _err), kept) = (pipe(), out.try_clone().unwrap());
    pump.add_as(1, pump.plan("web", |spec| (small(spec), json(spec)).1), [kept, err]);
    let lines = writing.join().unwrap();
    pump.finish(1);
    let (mut n, mut seq) = (0, 0);
    for record in records(&pump.whole("web-0-out.log")) {
        let line = record["line"].as_str().unwrap();
        assert_eq!(line, format!("line {n} of an app that outlives its daemons"));
        assert_eq!(record["seq"].as_u64(), Some(seq));
        seq += line.len() as u64 + 1;
        n += 1;
    }
    assert_eq!(n, lines);
    pump.end();
}

#[test]
#[ignore = "run and killed by the test above"]
fn as_a_daemon() {
    let pump = Pump::start(Path::new(&std::env::var_os("OPM_TEST_HOME").unwrap()));
    let out = rustix::io::dup(std::io::stdin()).unwrap();
    let (err, _err) = pipe();
    pump.add_as(1, pump.plan("web", |spec| (small(spec), json(spec)).1), [out, err]);
    loop {
        std::thread::park();
    }
}

#[test]
fn a_full_disk_drops_and_says_so_or_waits_as_the_app_asks() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=256k,mode=700 none {0} && OPM_TEST_TINY={0} exec {1} --exact lines::on_a_tiny_disk --ignored",
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
    let home = PathBuf::from(std::env::var_os("OPM_TEST_TINY").unwrap());
    // On another disk, as where the daemon runs.
    let spools = tempfile::tempdir().unwrap();
    let pump = Pump::start_with(&home, spools.path());
    let mut apps: BTreeMap<&str, App> = BTreeMap::new();
    for (run, name, mode) in [(1, "raw", LogMode::Raw), (2, "json", LogMode::Json)] {
        let mut app = pump.app_as(run, pump.plan(name, |spec| spec.log_mode = mode));
        app.out.write_all(b"before\n").unwrap();
        apps.insert(name, app);
    }
    pump.flush();
    fs::write(home.join("filler"), vec![0; 1 << 20]).unwrap_err();
    // Much more than the pipes and what is left of the disk can hold: the apps go on.
    for n in 0..40_000 {
        for app in apps.values_mut() {
            writeln!(app.out, "line {n}").unwrap();
        }
    }
    assert!(matches!(pump.events.recv().unwrap(), PumpEvent::Trouble(_)));
    // Another daemon tells what this one dropped and could not tell.
    pump.flush();
    pump.end();
    fs::remove_file(home.join("filler")).unwrap();
    let pump = Pump::start_with(&home, spools.path());
    for (run, name, mode) in [(3, "raw", LogMode::Raw), (4, "json", LogMode::Json)] {
        apps.insert(name, pump.app_as(run, pump.plan(name, |spec| spec.log_mode = mode)));
    }
    for app in apps.values_mut() {
        writeln!(app.out, "after").unwrap();
    }
    pump.flush();
    for name in ["raw", "json"] {
        let text = pump.text(&format!("{name}-0-out.log"));
        let told: Vec<_> = text.lines().filter(|line| line.contains("opm: ")).collect();
        assert!((1..10).contains(&told.len()), "{name}: {told:?}");
        let bytes =
            |line: &&str| line.split("opm: ").nth(1).unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
        let missing: usize = told.iter().map(bytes).sum();
        let lines: Vec<String> = text
            .lines()
            .filter(|line| !line.contains("opm: "))
            .map(|line| match name {
                "raw" => line.to_owned(),
                _ => serde_json::from_str::<serde_json::Value>(line).unwrap()["line"].as_str().unwrap().to_owned(),
            })
            .collect();
        assert_eq!((lines[0].as_str(), lines.last().unwrap().as_str()), ("before", "after"));
        // What is there and what is missing is all that was written.
        let there: usize = lines.iter().map(|line| line.len() + 1).sum();
        let written =
            "before\n".len() + "after\n".len() + (0..40_000).map(|n| format!("line {n}\n").len()).sum::<usize>();
        let torn = there + missing - written;
        assert!(torn <= told.len(), "{name}: {there} bytes are there, {missing} missing, of {written}");
    }
    pump.end();
}

#[test]
fn an_emptied_file_takes_the_mode_of_who_writes_next() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    for (run, mode) in [(1, LogMode::Raw), (2, LogMode::Json)] {
        let mut app = pump.app_as(run, pump.plan("web", |spec| spec.log_mode = mode));
        if run == 2 {
            fs::write(home.path().join("logs/web-0-out.log"), "").unwrap();
        }
        writeln!(app.out, "run {run}").unwrap();
        pump.finish(run);
    }
    let index = fs::read(home.path().join("logs/index/web-0-out.log.idx")).unwrap();
    assert_eq!(Header::decode(&index).unwrap().mode, LogMode::Json);
    assert_eq!(records(&pump.text("web-0-out.log")).len(), 1);
    pump.end();
}

#[test]
fn last_words_are_found_in_whatever_mode() {
    for mode in [LogMode::Raw, LogMode::Time, LogMode::Json] {
        let home = tempfile::tempdir().unwrap();
        for run in 1..3 {
            let pump = Pump::start(home.path());
            let mut app = pump.app_as(run, pump.plan("web", |spec| spec.log_mode = mode));
            writeln!(app.err, "words of run {run}").unwrap();
            pump.flush();
            let pump = match (mode, run) {
                // The daemon that saw the beginning of it is gone.
                (LogMode::Raw, 2) => {
                    let out = pipe().0;
                    let (read, write) = pipe();
                    app.err = write;
                    pump.end();
                    let pump = Pump::start(home.path());
                    pump.add_as(run, pump.plan("web", |spec| spec.log_mode = mode), [out, read]);
                    pump
                }
                _ => pump,
            };
            writeln!(app.err, "last of run {run}").unwrap();
            let (tell, done) = channel();
            pump.send(Command::Finish {
                run: RunId(run),
                last_words: 2048,
                done: Box::new(move |last| tell.send(last).unwrap()),
            });
            let last = done.recv().unwrap();
            let text = String::from_utf8(last.bytes).unwrap();
            assert_eq!(text, format!("words of run {run}\nlast of run {run}\n"), "{mode:?}");
            assert!(!last.cut);
            pump.end();
        }
    }
}

/// `merge_logs` of an app that is scaled to one instance: its lines are not cut by opm any more, and must not be cut off either.
#[test]
fn a_stream_that_is_cut_into_lines_no_more_begins_a_file_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let merged = |instances| {
        move |spec: &mut AppSpec| {
            small(spec);
            (spec.instances, spec.merge_logs) = (instances, true);
        }
    };
    for (run, instances) in [(1, 2), (2, 1), (3, 1)] {
        let pump = Pump::start(home.path());
        let mut app = pump.app_as(run, pump.plan("web", merged(instances)));
        write!(app.out, "run {run}\nand more").unwrap();
        pump.flush();
        // As if killed: the run is not finished.
        pump.end();
    }
    let pump = Pump::start(home.path());
    let mut app = pump.app_as(4, pump.plan("web", merged(1)));
    writeln!(app.out, "run 4").unwrap();
    pump.flush();
    assert_eq!(pump.whole("web-out.log"), "run 1\nand morerun 2\nand morerun 3\nand morerun 4\n");
    pump.end();
}

/// Nothing is committed without an index. One that could not be opened once was not tried again.
#[test]
fn lines_go_on_when_an_index_that_could_not_be_opened_can_be() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let in_its_place = pump.logs.join("index/web-0-out.log.idx");
    fs::create_dir_all(&in_its_place).unwrap();
    fs::set_permissions(&pump.logs, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::set_permissions(pump.logs.join("index"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut app = pump.app_as(1, pump.plan("web", json));
    app.out.write_all(b"one\n").unwrap();
    let wait = Duration::from_secs(60);
    match pump.events.recv_timeout(wait).unwrap() {
        PumpEvent::Trouble(why) => assert!(why.contains("index"), "{why}"),
        other @ (PumpEvent::TroubleOver | PumpEvent::Notice(_)) => panic!("{other:?}"),
    }
    fs::remove_dir(in_its_place).unwrap();
    assert_eq!(pump.events.recv_timeout(wait), Ok(PumpEvent::TroubleOver));
    assert_eq!(records(&pump.text("web-0-out.log")).len(), 1);
    pump.end();
}

/// Where nothing could be removed from one full disk, output was dropped on all others at once.
#[test]
fn room_is_made_on_one_disk_although_there_was_none_to_make_on_another() {
    with_tiny_disks(&["one", "two"], "lines::on_two_tiny_disks");
}

/// Runs a test that is ignored otherwise, where tiny disks can be had.
fn with_tiny_disks(names: &[&str], test: &str) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().display();
    let mount =
        |name: &&str| format!("mkdir {home}/{name} && mount -t tmpfs -o size=256k,mode=700 none {home}/{name} && ");
    let mounts: String = names.iter().map(mount).collect();
    let exe = std::env::current_exe().unwrap();
    let script = format!("{mounts} OPM_TEST_TINY={home} exec {} --exact {test} --ignored", exe.display());
    let can = std::process::Command::new("unshare").args(["-Urm", "true"]).status();
    if can.is_ok_and(|s| s.success()) {
        assert!(std::process::Command::new("unshare").args(["-Urm", "sh", "-c", &script]).status().unwrap().success());
    }
}

#[test]
#[ignore = "run by the test above, in a namespace with two tiny disks"]
fn on_two_tiny_disks() {
    let home = PathBuf::from(std::env::var_os("OPM_TEST_TINY").unwrap());
    let pump = Pump::start(&home);
    let app_on = |run, disk: &str| {
        let plan = pump.plan(disk, |spec| {
            small(spec);
            spec.out_file = Some(home.join(disk).join("app.log").into_os_string().into());
        });
        pump.app_as(run, plan)
    };
    let (mut one, mut two) = (app_on(1, "one"), app_on(2, "two"));
    let line = [[b'x'; 99].as_slice(), b"\n"].concat();
    one.out.write_all(&line).unwrap();
    for _ in 0..10 {
        two.out.write_all(&line.repeat(100)).unwrap();
        pump.flush();
    }
    assert!(home.join("two/app.log.000001").exists());
    let fill = |disk: &str| fs::write(home.join(disk).join("filler"), vec![0; 1 << 20]).unwrap_err();
    fill("one");
    one.out.write_all(&line.repeat(100)).unwrap();
    let wait = Duration::from_secs(60);
    assert!(matches!(pump.events.recv_timeout(wait), Ok(PumpEvent::Trouble(_))));
    // It waits no more, so all was dropped that there was no room for.
    while rustix::io::ioctl_fionread(&one.out).unwrap() > 0 {
        std::thread::yield_now();
    }
    fill("two");
    two.out.write_all(&line.repeat(600)).unwrap();
    while rustix::io::ioctl_fionread(&two.out).unwrap() > 0 {
        std::thread::yield_now();
    }
    pump.flush();
    assert!(!home.join("two/app.log.000001").exists());
    assert!(!fs::read_to_string(home.join("two/app.log")).unwrap_or_default().contains("missing"));
    pump.end();
}

/// Rotated logs went, although room was lacking elsewhere.
#[test]
fn for_want_of_room_in_the_runtime_folder_no_log_goes() {
    with_tiny_disks(&["spool"], "lines::with_a_tiny_spool");
}

#[test]
#[ignore = "run by the test above, in a namespace with a tiny runtime folder"]
fn with_a_tiny_spool() {
    let home = PathBuf::from(std::env::var_os("OPM_TEST_TINY").unwrap());
    let pump = Pump::start(&home);
    let mut app = pump.app_as(1, pump.plan("web", |spec| (small(spec), json(spec)).1));
    for _ in 0..100 {
        app.out.write_all(&[&[b'x'; 999], b"\n".as_slice()].concat()).unwrap();
        pump.flush();
    }
    assert!(pump.logs.join("web-0-out.log.000001").exists());
    fs::write(home.join("spool/filler"), vec![0; 1 << 20]).unwrap_err();
    // This app goes on, and its log tells what is missing once there is room.
    let mut late = pump.app_as(2, pump.plan("late", json));
    late.out.write_all(b"dropped\n").unwrap();
    let wait = Duration::from_secs(60);
    assert!(matches!(pump.events.recv_timeout(wait), Ok(PumpEvent::Trouble(_))));
    while rustix::io::ioctl_fionread(&late.out).unwrap() > 0 {
        std::thread::yield_now();
    }
    assert!(pump.logs.join("web-0-out.log.000001").exists());
    fs::remove_file(home.join("spool/filler")).unwrap();
    assert_eq!(pump.events.recv_timeout(wait), Ok(PumpEvent::TroubleOver));
    assert!(pump.text("late-0-out.log").contains("8 bytes are missing here"));
    pump.end();
}
