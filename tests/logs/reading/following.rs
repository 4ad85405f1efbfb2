//! Going on: across rotations at each of their steps, files that come, go and shrink, and logs that join.

use super::written::{Home, append, everything, last, rest, texts};
use opm::api::{LogLine, LogQuery};
use opm::daemon::logs::reading::Reading;
use std::fs;

fn follow(lines: u64) -> LogQuery {
    LogQuery { follow: true, ..last(lines) }
}

fn told(reading: &mut Reading) -> Vec<LogLine> {
    reading.look(reading.keys().collect::<Vec<_>>());
    rest(reading)
}

#[test]
fn a_rotation_is_followed_at_each_of_its_steps() {
    for steps in 1..=3 {
        let home = Home::new().with("web", |_| ());
        let mut log = home.log(0, 0, false);
        log.write(7, 1000, "a\n");
        let (mut reading, _) = home.read(&follow(10));
        assert_eq!(texts(&told(&mut reading)), ["a$"]);
        log.write(7, 2000, "late\n").rotate_until(steps);
        let now = home.lines(&everything());
        assert_eq!(texts(&now), ["a$", "late$"], "after {steps} steps");
        assert_eq!(now[1].run, Some(7), "after {steps} steps");
        assert_eq!(texts(&told(&mut reading)), ["late$"], "after {steps} steps");
        let end = home.read(&follow(0)).1.from["web-0-out.log"].clone();
        assert_eq!(end, "2+0", "after {steps} steps");
        if steps == 1 {
            // What the worker does when it comes again.
            let old = log.series.indices().join(log.series.rotated_index(1));
            fs::rename(log.series.indices().join(log.series.index()), old).unwrap();
        }
        log.write(8, 3000, "b\n");
        log.rotate().write(8, 4000, "c\n");
        let lines = told(&mut reading);
        assert_eq!(texts(&lines), ["b$", "c$"], "after {steps} steps");
        assert_eq!((lines[0].run, lines[1].at.as_str()), (Some(8), "3+2"));
    }
}

#[test]
fn one_that_slept_through_rotations_reads_all_and_is_told_what_went() {
    let home = Home::new().with("web", |_| ());
    let mut log = home.log(0, 0, false);
    log.write(7, 1000, "a\n");
    let (mut reading, _) = home.read(&follow(10));
    assert_eq!(texts(&told(&mut reading)), ["a$"]);
    for i in 0..5 {
        log.write(7, 2000 + i, format!("{i}\n")).rotate();
    }
    for number in [2, 3] {
        fs::remove_file(log.rotated(number)).unwrap();
    }
    let lines = told(&mut reading);
    assert_eq!(texts(&lines), ["0$", "files 2 to 3 of this log went before all was read$", "3$", "4$"]);
    assert_eq!((lines[1].missing, lines[1].at.as_str()), (Some(0), "4+0"));
    log.write(7, 3000, "on\n");
    assert_eq!(texts(&told(&mut reading)), ["on$"]);
}

#[test]
fn files_that_come_go_and_shrink_are_followed() {
    let home = Home::new().with("web", |_| ());
    let mut log = home.log(0, 0, false);
    log.indexed = false;
    let path = log.path();
    let (mut reading, start) = home.read(&follow(10));
    assert_eq!((start.from["web-0-out.log"].as_str(), told(&mut reading)), ("1+0", vec![]), "there is none yet");
    fs::write(&path, "first\n").unwrap();
    assert_eq!(texts(&told(&mut reading)), ["first$"]);
    fs::write(&path, "x\n").unwrap();
    assert_eq!(texts(&told(&mut reading)), ["x$"], "emptied and filled again");
    append(&path, b"late\n");
    fs::rename(&path, home.dir.path().join("old")).unwrap();
    fs::write(&path, "new\n").unwrap();
    assert_eq!(texts(&told(&mut reading)), ["late$", "new$"], "the old one to its end, then the new one");
    let old = home.dir.path().join("older");
    fs::rename(&path, &old).unwrap();
    append(&old, b"moved\n");
    assert_eq!(texts(&told(&mut reading)), ["moved$"], "as long as there is no other, it may be written to");
    append(&old, b"more\n");
    fs::write(&path, "again\n").unwrap();
    assert_eq!(texts(&told(&mut reading)), ["more$", "again$"]);
}

#[test]
fn one_that_was_emptied_is_read_from_its_start_even_if_it_is_longer_again() {
    let home = Home::new().with("web", |_| ());
    let mut log = home.log(0, 0, false);
    log.write(7, 1000, "a\n").rotate().write(7, 2000, "b\n");
    let (mut reading, _) = home.read(&follow(10));
    assert_eq!(texts(&told(&mut reading)), ["a$", "b$"]);
    log.empty().write(8, 3000, "much more than there was\n");
    let lines = told(&mut reading);
    assert_eq!((texts(&lines), lines[0].run), (vec!["much more than there was$".into()], Some(8)));
    assert_eq!(lines[0].at, "3+25");
    log.rotate().write(8, 4000, "on\n");
    assert_eq!(texts(&told(&mut reading)), ["on$"]);
}

#[test]
fn with_a_word_to_find_lines_wait_until_they_are_whole() {
    let home = Home::new().with("web", |_| ());
    let mut log = home.log(0, 0, false);
    log.write(7, 1000, "an err");
    let (mut reading, _) = home.read(&LogQuery { grep: Some("error".into()), ..follow(5) });
    assert_eq!(told(&mut reading), []);
    log.write(7, 2000, "or\nanother\nerr");
    let lines = told(&mut reading);
    assert_eq!(
        (texts(&lines), lines[0].time.as_deref()),
        (vec!["an error$".into()], Some("1970-01-01T00:00:00.001000Z"))
    );
    log.rotate().write(7, 3000, "or\n");
    log.write(7, 4000, "error\n");
    assert_eq!(texts(&told(&mut reading)), ["error$"], "a line that a rotation cut is searched in its parts");
}

#[test]
fn logs_that_join_are_told_from_when_the_stream_began() {
    let mut home = Home::new().with("web", |_| ());
    let (mut reading, _) = home.read(&follow(5));
    home = home.with("api", |_| ());
    let mut log = home.log(1, 0, false);
    log.write(1, 1000, "before\n").write(2, 5000, "after\n");
    let start = reading.join(home.choice(None), 4000).unwrap();
    assert_eq!(start.from.keys().collect::<Vec<_>>(), ["api-0-err.log", "api-0-out.log"]);
    assert_eq!(texts(&rest(&mut reading)), ["after$"]);
    assert!(reading.join(home.choice(None), 4000).is_none());
    log.write(2, 6000, "more\n");
    assert_eq!(texts(&told(&mut reading)), ["more$"]);
}

#[test]
fn thousands_of_logs_are_merged_with_few_open() {
    let home = Home::new().with("web", |s| s.instances = 300);
    for round in 0..3_u64 {
        for instance in 0..300 {
            home.log(0, instance, false).write(
                1,
                1000 * (round + 1) + u64::from(instance),
                format!("{round} {instance}\n"),
            );
        }
    }
    let (mut reading, start) = home.read(&follow(2));
    assert_eq!(start.from.len(), 600);
    let lines = rest(&mut reading);
    assert_eq!(lines.len(), 600);
    assert!(lines.is_sorted_by_key(|line| line.time.clone()));
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let within = |path: std::path::PathBuf| path.starts_with(home.dir.path());
    let open = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(within)).count();
    assert!(open <= 128, "{open} files are open");
    home.log(0, 77, false).write(1, 9000, "on\n");
    assert_eq!(texts(&told(&mut reading)), ["on$"]);
}
