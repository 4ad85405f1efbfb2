//! Files are set aside between lines, by the one who writes them; nothing is lost or doubled, whatever it is killed in.

use crate::rig::{Pump, small, whole};
use opm::daemon::logs::index::{Index, Kind};
use opm::daemon::logs::pump::{Command, PumpEvent};
use opm::daemon::logs::series::Series;
use opm::model::{ByteSize, Cap, LogMode, Span};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

fn names(logs: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn index(logs: &Path, name: &str) -> Index {
    Index::decode(&fs::read(logs.join("index").join(name)).unwrap()).unwrap()
}

fn lines(from: u32, to: u32) -> String {
    (from..to).map(|n| format!("line {n} of an app that says the same thing again and again\n")).collect()
}

#[test]
fn a_file_is_set_aside_between_lines_and_its_index_goes_with_it() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut app = pump.app_as(1, pump.plan("web", small));
    let text = lines(0, 20_000);
    // Chunks that end anywhere.
    for chunk in text.as_bytes().chunks(10_007) {
        app.out.write_all(chunk).unwrap();
        pump.flush();
    }
    assert_eq!(pump.whole("web-0-out.log"), text);
    let all = names(&pump.logs);
    let (aside, rest): (Vec<_>, Vec<_>) = all.iter().partition(|name| name.contains("log.0"));
    assert!(aside.len() > 10, "{all:?}");
    assert_eq!(rest, ["index", "web-0-out.log"]);
    for (number, name) in (1..).zip(&aside) {
        assert_eq!(**name, format!("web-0-out.log.{number:06}"));
        let bytes = fs::read(pump.logs.join(name)).unwrap();
        assert!(bytes.ends_with(b"\n"), "{name} ends within a line");
        assert!((64 << 10..66 << 10).contains(&bytes.len()), "{name} has {} bytes", bytes.len());
        let index = index(&pump.logs, &format!("{name}.idx"));
        assert_eq!((index.header.number, index.header.app.as_str()), (number, "web"));
        assert_eq!(index.records[0].kind, Kind::From { run: 1 });
        assert!(index.records.iter().all(|record| record.offset <= bytes.len() as u64));
    }
    assert_eq!(index(&pump.logs, "web-0-out.log.idx").header.number, aside.len() as u64 + 1);
    pump.end();
}

#[test]
fn a_line_longer_than_a_file_does_not_stop_it() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut app = pump.app_as(1, pump.plan("web", small));
    let block = vec![b'x'; 50 << 10];
    for _ in 0..60 {
        app.out.write_all(&block).unwrap();
        pump.flush();
    }
    assert_eq!(pump.whole("web-0-out.log").len(), 60 * block.len());
    let first = fs::metadata(pump.logs.join("web-0-out.log.000001")).unwrap().len();
    assert!(first < 2 << 20, "{first}");
    pump.end();
}

/// What a daemon leaves that is killed after each step of a rotation; the next one goes on as if it had been done.
#[test]
fn a_rotation_cut_short_is_finished_by_whoever_comes_next() {
    for steps in 0..4 {
        let home = tempfile::tempdir().unwrap();
        let pump = Pump::start(home.path());
        let mut app = pump.app_as(1, pump.plan("web", |spec| spec.log_mode = LogMode::Json));
        app.out.write_all(b"one\n").unwrap();
        pump.flush();
        let logs = pump.logs.clone();
        pump.end();
        let index_of = |name: &str| logs.join("index").join(name);
        let before = index(&logs, "web-0-out.log.idx");
        let lane = before.records[0].lane;
        if steps > 0 {
            fs::rename(logs.join("web-0-out.log"), logs.join("web-0-out.log.000001")).unwrap();
        }
        if steps > 1 {
            // Half of the new index; then all of it, and the old one gone.
            fs::write(index_of("web-0-out.log.idx.new"), &before.header.encode()[..100]).unwrap();
        }
        if steps > 2 {
            let mut header = before.header.clone();
            (header.number, header.inode, header.born) = (2, 0, 0);
            let mut bytes = header.encode().to_vec();
            let mut carried = *before.records.last().unwrap();
            assert!(matches!(carried.kind, Kind::Commit { source: 4 }));
            carried.offset = 0;
            bytes.extend_from_slice(&carried.encode());
            fs::write(index_of("web-0-out.log.idx.new"), bytes).unwrap();
            fs::rename(index_of("web-0-out.log.idx"), index_of("web-0-out.log.000001.idx")).unwrap();
        }
        let pump = Pump::start(home.path());
        let mut app = pump.app_as(2, pump.plan("web", |spec| spec.log_mode = LogMode::Json));
        app.out.write_all(b"two\n").unwrap();
        pump.flush();
        let text = pump.whole("web-0-out.log");
        assert_eq!(text.lines().count(), 2, "after {steps} steps: {text}");
        assert!(text.contains("\"seq\":0,\"line\":\"one\"") && text.contains("\"seq\":4,\"line\":\"two\""), "{text}");
        if steps > 0 {
            assert_eq!(index(&logs, "web-0-out.log.000001.idx").header, before.header, "after {steps} steps");
            assert_eq!(index(&logs, "web-0-out.log.idx").header.number, 2);
            assert_eq!(index(&logs, "web-0-out.log.idx").committed(lane), Some(8));
        }
        assert!(!index_of("web-0-out.log.idx.new").exists(), "after {steps} steps");
        pump.end();
    }
}

#[test]
fn another_mode_begins_another_file() {
    let home = tempfile::tempdir().unwrap();
    let mut pump = Pump::start(home.path());
    for (run, mode) in [(1, LogMode::Raw), (2, LogMode::Time), (3, LogMode::Time), (4, LogMode::Json)] {
        if run == 3 {
            pump.end();
            pump = Pump::start(home.path());
        }
        let mut app = pump.app_as(run, pump.plan("web", |spec| (small(spec), spec.log_mode = mode).1));
        writeln!(app.out, "run {run}").unwrap();
        pump.finish(run);
    }
    pump.settle();
    pump.end();
    let logs = home.path().join("logs");
    let read = |name: &str| fs::read_to_string(logs.join(name)).unwrap();
    assert_eq!(read("web-0-out.log.000001"), "run 1\n");
    let stamped = read("web-0-out.log.000002");
    assert!(
        stamped.lines().count() == 2 && stamped.contains("Z run 2\n") && stamped.ends_with("Z run 3\n"),
        "{stamped}"
    );
    assert!(read("web-0-out.log").ends_with("\"line\":\"run 4\"}\n"));
}

#[test]
fn a_file_that_is_too_old_is_set_aside() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut app = pump.app_as(1, pump.plan("web", |spec| spec.log_max_age = Cap::At(Span::millis(0))));
    for n in 0..30 {
        writeln!(app.out, "{n}").unwrap();
        pump.flush();
    }
    // Once for each line: also where the flush came before the turn of its pipe, which then found nothing.
    // What was set aside is too old as well, and goes when somebody gets to it.
    let number = index(&pump.logs, "web-0-out.log.idx").header.number;
    assert_eq!((number, pump.text("web-0-out.log").as_str()), (30, "29\n"));
    pump.end();
}

#[test]
fn what_is_emptied_is_filled_from_its_start_under_a_new_number() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut app = pump.app_as(1, pump.plan("web", small));
    let text = lines(0, 3000);
    app.out.write_all(text.as_bytes()).unwrap();
    let series = Series::own(&pump.logs, "web-0-out.log");
    let quiet = Series::own(&pump.logs, "quiet-0-out.log");
    let (tell, done) = channel();
    pump.send(Command::Empty { series: vec![series, quiet], done: Box::new(move |done| tell.send(done).unwrap()) });
    let emptied = done.recv().unwrap().unwrap();
    assert!(emptied.files >= 3, "{emptied:?}");
    // In whole blocks, what was set aside: that is what it gives back.
    assert!((text.len() as u64..text.len() as u64 + 3 * 4096).contains(&emptied.bytes), "{emptied:?}");
    assert_eq!(names(&pump.logs), ["index", "web-0-out.log"]);
    assert_eq!(names(&pump.logs.join("index")), ["web-0-out.log.idx"]);
    let number = index(&pump.logs, "web-0-out.log.idx").header.number;
    assert_eq!(number, u64::from(emptied.files) + 1);
    app.out.write_all(b"again\n").unwrap();
    pump.flush();
    assert_eq!(pump.text("web-0-out.log"), "again\n");
    pump.end();
}

#[test]
fn a_log_in_a_place_of_the_users_own_is_rotated_there() {
    let home = tempfile::tempdir().unwrap();
    let theirs = home.path().join("their logs");
    let pump = Pump::start(home.path());
    let plan = pump.plan("web", |spec| {
        small(spec);
        spec.out_file = Some(theirs.join("web.log").into_os_string().into());
    });
    let mut app = pump.app_as(1, plan);
    let text = lines(0, 3000);
    app.out.write_all(text.as_bytes()).unwrap();
    pump.flush();
    assert_eq!(whole(&theirs, "web.log"), text.as_bytes());
    assert_eq!(names(&theirs)[..2], ["web.log", "web.log.000001"]);
    assert!(names(&pump.logs).iter().all(|name| name == "index"), "nothing else in opm's own folder");
    // Where it cannot be renamed, it grows on.
    pump.end();
}

#[test]
fn a_cap_that_is_smaller_than_a_turn_is_kept_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut app = pump.app_as(
        1,
        pump.plan("web", |spec| {
            small(spec);
            spec.log_max_size = Cap::At(ByteSize(4096));
        }),
    );
    let text = lines(0, 1000);
    app.out.write_all(text.as_bytes()).unwrap();
    pump.flush();
    assert_eq!(pump.whole("web-0-out.log"), text);
    let largest = names(&pump.logs)
        .iter()
        .filter(|n| n.contains("log"))
        .map(|n| fs::metadata(pump.logs.join(n)).unwrap().len())
        .max();
    assert!(largest < Some(4300), "{largest:?}");
    pump.end();
}

/// A file that was too old and could not be renamed had the pump try again without end.
#[test]
fn a_file_that_cannot_be_set_aside_grows_on_and_holds_nobody_up() {
    for mode in [LogMode::Raw, LogMode::Json] {
        let home = tempfile::tempdir().unwrap();
        let pump = Pump::start(home.path());
        let plan = pump.plan("web", |spec| (spec.log_mode, spec.log_max_age) = (mode, Cap::At(Span::millis(0))));
        let mut app = pump.app_as(1, plan);
        for n in 0..3 {
            if n == 1 {
                fs::write(pump.logs.join("web-0-out.log.000001"), "of somebody").unwrap();
            }
            writeln!(app.out, "{n}").unwrap();
            let (tell, done) = channel();
            pump.send(Command::Flush { done: Box::new(move || tell.send(()).unwrap()) });
            done.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        assert_eq!(pump.text("web-0-out.log").lines().count(), 3);
        assert!(matches!(pump.events.try_recv(), Ok(PumpEvent::Notice(why)) if why.contains("set aside")));
        pump.end();
    }
}

/// The file was shared by the instances of an app, and has one writer since there is one instance.
#[test]
fn raw_bytes_behind_lines_of_the_same_stream_are_not_taken_for_uncommitted_ones() {
    let home = tempfile::tempdir().unwrap();
    for (run, instances) in [(1, 2), (2, 1), (3, 1), (4, 2)] {
        let pump = Pump::start(home.path());
        let plan = pump.plan("web", |spec| {
            small(spec);
            (spec.merge_logs, spec.instances) = (true, instances);
        });
        let mut app = pump.app_as(run, plan);
        writeln!(app.out, "run {run}").unwrap();
        pump.finish(run);
        pump.end();
    }
    let logs = home.path().join("logs");
    assert_eq!(whole(&logs, "web-out.log"), b"run 1\nrun 2\nrun 3\nrun 4\n");
}
