//! The journal: what a later daemon learns from it, whatever became of its lines.

use crate::support::{boot, exit};
use opm::daemon::journal::{Journal, LoadedJournal};
use opm::model::state::When;
use opm::model::{AppId, Before, BootId, Event, Generation, InstanceId, LastWords, Moment, RunId, Wall};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

fn write(dir: &Path, events: impl IntoIterator<Item = Event>) {
    let (mut journal, _) = Journal::load(dir, &boot());
    for event in events {
        journal.queue(event, Wall(1_700_000_000_123), &boot(), Moment(42), None);
        journal.write(|_| {}).unwrap();
    }
}

fn exited(app: u32, index: u32, run: u64, ended: u64, failures: u32) -> Event {
    Event::Exited(Arc::new(exit(app, index, run, ended, failures)))
}

fn load(dir: &Path) -> LoadedJournal {
    Journal::load(dir, &boot()).1
}

/// When the exits were that may count against the start limit of instance 0 of app 0.
fn recent(loaded: &LoadedJournal) -> Vec<Moment> {
    loaded.recent.get(&InstanceId::new(AppId(0), 0)).into_iter().flatten().map(|r| r.ended).collect()
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_line_is_as_documented() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), [exited(3, 1, 17, 1000, 2)]);
    assert_eq!(
        fs::read_to_string(dir.path().join("current.jsonl")).unwrap(),
        "{\"v\":1,\"seq\":1,\"at\":\"2023-11-14T22:13:20.123Z\",\"boot\":\"boot-a\",\"moment\":42,\"event\":\"exited\",\
         \"instance\":{\"app\":3,\"index\":1},\"run\":17,\"generation\":1,\"started\":995,\"ended\":1000,\
         \"status\":{\"code\":3},\"cause\":\"own_exit\",\"restarts\":2,\"failures\":2,\
         \"sequel\":{\"restart\":{\"at\":1001}}}\n"
    );
}

#[test]
fn the_last_exit_of_each_instance_is_what_counts_and_doubles_do_not() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        [
            exited(0, 0, 1, SECOND, 1),
            exited(0, 0, 2, 2 * SECOND, 2),
            exited(0, 1, 3, 3 * SECOND, 0),
            exited(0, 0, 2, 2 * SECOND, 2),
            exited(0, 0, 1, SECOND, 1),
            exited(1, 0, 9, 4 * SECOND, 1),
            Event::Deleted { app: AppId(1), name: "gone".parse().unwrap() },
        ],
    );
    let loaded = load(dir.path());
    assert_eq!(loaded.highest_run, Some(RunId(9)));
    assert_eq!(loaded.past.len(), 2);
    let past = &loaded.past[0];
    assert_eq!((past.instance, past.record.run), (InstanceId::new(AppId(0), 0), RunId(2)));
    assert_eq!(recent(&loaded), [Moment(SECOND), Moment(2 * SECOND)], "a doubled one counts once");
    assert_eq!(past.when, When::Moment(Moment(2 * SECOND)));
}

/// A bit that flipped in a number must not use up all numbers that there are.
/// What a deleted app's last run left is removed after the deletion is recorded. A daemon that finds it must not record its end again.
#[test]
fn the_ends_of_a_deleted_app_are_known_and_settle_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let of = InstanceId::new(AppId(1), 0);
    let began = Event::Started { instance: of, run: RunId(9), generation: Generation(1), pid: 1 };
    write(dir.path(), [began, exited(1, 0, 9, SECOND, 1), exited(1, 0, 8, SECOND, 1)]);
    write(dir.path(), [Event::Deleted { app: AppId(1), name: "gone".parse().unwrap() }]);
    let loaded = load(dir.path());
    assert_eq!((loaded.ended.get(&of), loaded.started.get(&of)), (Some(&RunId(9)), Some(&RunId(9))));
    assert!(loaded.past.is_empty());
}

#[test]
fn a_damaged_number_of_a_run_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), [exited(0, 0, 1, SECOND, 1), exited(0, 0, 2, 2 * SECOND, 2)]);
    let path = dir.path().join("current.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    for number in [u64::MAX, 1 << 60] {
        fs::write(&path, text.replace("\"run\":2,", &format!("\"run\":{number},"))).unwrap();
        let loaded = load(dir.path());
        assert_eq!((loaded.highest_run, loaded.troubles.len()), (Some(RunId(1)), 1));
    }
}

#[test]
fn only_exits_of_this_boot_within_the_window_count() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), [10, 20, 75, 80].into_iter().zip(1..).map(|(s, n)| exited(0, 0, n, s * SECOND, n as u32)));
    assert_eq!(recent(&load(dir.path())), [20, 75, 80].map(|s| Moment(s * SECOND)));
    let after_reboot = Journal::load(dir.path(), &BootId("boot-b".into())).1;
    assert!(recent(&after_reboot).is_empty());
    assert_eq!(after_reboot.past[0].when, When::Wall(Wall(1_700_000_000_123)));
}

#[test]
fn exits_before_a_reboot_are_not_added_to_those_after_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), [exited(0, 0, 1, 80 * SECOND, 1), exited(0, 0, 2, 81 * SECOND, 2)]);
    let later = BootId("boot-b".into());
    let (mut journal, _) = Journal::load(dir.path(), &later);
    // The clock began anew, and happens to stand at nearly the same.
    journal.queue(exited(0, 0, 3, 82 * SECOND, 1), Wall(0), &later, Moment(0), None);
    journal.write(|_| {}).unwrap();
    assert_eq!(recent(&Journal::load(dir.path(), &later).1), [Moment(82 * SECOND)]);
}

#[test]
fn a_reset_holds_until_the_next_exit() {
    let dir = tempfile::tempdir().unwrap();
    let instance = InstanceId::new(AppId(0), 0);
    write(dir.path(), [exited(0, 0, 1, SECOND, 1), Event::Cleared { instance }]);
    let loaded = load(dir.path());
    assert!(loaded.past[0].cleared && recent(&loaded).is_empty());
    write(dir.path(), [exited(0, 0, 2, 2 * SECOND, 1)]);
    let loaded = load(dir.path());
    assert!(!loaded.past[0].cleared);
    assert_eq!(recent(&loaded), [Moment(2 * SECOND)]);
}

#[test]
fn rotation_keeps_two_bounded_files_and_every_settling_record() {
    let dir = tempfile::tempdir().unwrap();
    let noise = |n: u64| Event::Trouble { message: format!("{n} {}", "x".repeat(1000)) };
    write(
        dir.path(),
        [
            exited(0, 0, 1, SECOND, 1),
            exited(0, 1, 2, SECOND, 1),
            Event::Cleared { instance: InstanceId::new(AppId(0), 1) },
            exited(7, 0, 3, SECOND, 1),
            Event::Deleted { app: AppId(7), name: "gone".parse().unwrap() },
        ],
    );
    // Three rotations: the file in which those records were written is gone twice over.
    write(dir.path(), (0..13_000).map(noise));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    for file in fs::read_dir(dir.path()).unwrap() {
        assert!(file.unwrap().metadata().unwrap().len() < (4 << 20) + 4096);
    }
    let loaded = load(dir.path());
    assert_eq!(loaded.troubles, Vec::<String>::new());
    let settled: Vec<_> = loaded.past.iter().map(|p| (p.record.run.0, p.cleared)).collect();
    assert_eq!(settled, [(1, false), (2, true)]);
    // Also when a crash fell between the two renames.
    fs::remove_file(dir.path().join("current.jsonl")).unwrap();
    assert_eq!(load(dir.path()).past.len(), 2);
}

#[test]
fn a_line_torn_at_any_byte_costs_only_itself() {
    let whole = tempfile::tempdir().unwrap();
    write(whole.path(), [exited(0, 0, 1, SECOND, 1)]);
    let line = fs::read(whole.path().join("current.jsonl")).unwrap();
    for length in 0..line.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("current.jsonl"), [&line[..], &line[..length]].concat()).unwrap();
        write(dir.path(), [exited(0, 1, 2, SECOND, 1)]);
        let loaded = load(dir.path());
        assert_eq!(loaded.past.len(), 2, "torn after {length} bytes");
        assert_eq!(loaded.troubles, Vec::<String>::new(), "torn after {length} bytes");
    }
}

#[test]
fn hostile_lines_are_counted_and_passed_over_with_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), [exited(0, 0, 1, SECOND, 1)]);
    let mut file = fs::OpenOptions::new().append(true).open(dir.path().join("current.jsonl")).unwrap();
    let hostile: [&[u8]; 6] = [
        b"not json",
        b"\xff\xfe",
        br#"{"v":2,"at":"2023-11-14T22:13:20Z","boot":"b","moment":1,"event":"trouble","message":"from the future"}"#,
        br#"{"v":1,"at":"yesterday","boot":"b","moment":1,"event":"trouble","message":"x"}"#,
        &[b'['; 100_000],
        &[b'x'; 3 << 20],
    ];
    for line in hostile {
        file.write_all(line).unwrap();
        file.write_all(b"\n").unwrap();
    }
    write(dir.path(), [exited(0, 1, 2, SECOND, 1)]);
    let loaded = load(dir.path());
    assert_eq!(loaded.past.len(), 2);
    assert!(loaded.troubles[0].starts_with("6 lines of "), "{:?}", loaded.troubles);
}

#[test]
fn a_removed_file_or_folder_is_made_again_and_a_fifo_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("events");
    let (mut journal, _) = Journal::load(&events, &boot());
    let mut record = |run| {
        journal.queue(exited(0, 0, run, SECOND, 1), Wall(0), &boot(), Moment(0), None);
        journal.write(|_| {})
    };
    record(1).unwrap();
    fs::remove_file(events.join("current.jsonl")).unwrap();
    record(2).unwrap();
    assert_eq!(load(&events).highest_run, Some(RunId(2)));
    fs::remove_dir_all(&events).unwrap();
    record(3).unwrap();
    assert_eq!(load(&events).highest_run, Some(RunId(3)));
    fs::remove_file(events.join("current.jsonl")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, events.join("current.jsonl"), 0o600.into()).unwrap();
    assert!(record(4).is_err());
    fs::remove_file(events.join("current.jsonl")).unwrap();
    record(5).unwrap();
    assert_eq!(fs::read_to_string(events.join("current.jsonl")).unwrap().lines().count(), 2, "4 was owed");
}

/// Lines as the first daemons wrote them, before lines had numbers and orders had names.
#[test]
fn lines_of_the_first_version_load_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let old = [
        r#""event":"daemon_started","version":"0.1.0""#,
        r#""event":"ordered","verb":"create","apps":[0],"key":null"#,
        r#""event":"added","app":0,"name":"web""#,
        r#""event":"started","instance":{"app":0,"index":0},"run":1,"generation":1,"pid":4242"#,
        r#""event":"exited","instance":{"app":0,"index":0},"run":1,"generation":1,"started":5,"ended":1000,"status":{"signal":{"signal":"SIGSEGV","core":true}},"cause":"signal","restarts":1,"failures":1,"sequel":{"restart":{"at":1001}}"#,
        r#""event":"exited","instance":{"app":0,"index":1},"run":2,"generation":1,"started":5,"ended":1000,"status":"never_ran","cause":"spawn_failed","failure":"no such file","usage":{"user_us":1,"system_us":2,"max_rss":3},"restarts":0,"failures":1,"sequel":{"errored":{"next":null}}"#,
        r#""event":"cleared","instance":{"app":0,"index":0}"#,
        r#""event":"trouble","message":"the disk was full""#,
        r#""event":"deleted","app":1,"name":"gone""#,
    ];
    let lines: String = old
        .iter()
        .map(|event| {
            format!("{{\"v\":1,\"at\":\"2023-11-14T22:13:20.123Z\",\"boot\":\"boot-a\",\"moment\":42,{event}}}\n")
        })
        .collect();
    fs::write(dir.path().join("current.jsonl"), &lines).unwrap();
    let loaded = load(dir.path());
    assert_eq!(loaded.troubles, Vec::<String>::new());
    assert_eq!((loaded.past.len(), loaded.highest_run, loaded.before), (2, Some(RunId(2)), Before::Died));
    assert!(loaded.past[0].cleared);
    // What is written now is numbered from 1, behind them.
    write(dir.path(), [exited(0, 0, 3, SECOND, 1)]);
    let text = fs::read_to_string(dir.path().join("current.jsonl")).unwrap();
    assert!(text.starts_with(&lines) && text.lines().last().unwrap().starts_with(r#"{"v":1,"seq":1,"#), "{text}");
}

#[test]
fn what_became_of_the_daemon_before_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let began = || Event::DaemonStarted { version: "1".to_owned(), before: None, reason: None };
    assert_eq!(load(dir.path()).before, Before::None);
    write(dir.path(), [began()]);
    assert_eq!(load(dir.path()).before, Before::Died);
    assert_eq!(Journal::load(dir.path(), &BootId("boot-b".into())).1.before, Before::Rebooted);
    write(dir.path(), [Event::DaemonEnded { keep_apps: true }]);
    assert_eq!(load(dir.path()).before, Before::Ended);
}

/// Who started what lives, by which order, and what it said last outlives the files in which it was written.
#[test]
fn rotation_carries_the_story_over_within_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let instance = |index| InstanceId::new(AppId(0), index);
    let words = |index, run, text: String| {
        let words = LastWords {
            instance: instance(index),
            run: RunId(run),
            lines: vec![text.into()],
            same_as: None,
            cut: false,
        };
        Event::LastWords(Arc::new(words))
    };
    let ordered = |verb: &str| Event::Ordered { verb: verb.to_owned(), apps: vec![AppId(0)], key: None, asked: None };
    let started = Event::Started { instance: instance(0), run: RunId(1), generation: Generation(1), pid: 7 };
    write(dir.path(), [ordered("start"), ordered("signal"), started, words(0, 1, "first".to_owned())]);
    write(dir.path(), (0..2000).map(|n| words(n, 10, "x".repeat(2048))));
    write(dir.path(), [words(0, 2, "last".to_owned())]);
    let noise = |n: u64| Event::Trouble { message: format!("{n} {}", "x".repeat(1000)) };
    write(dir.path(), (0..13_000).map(noise));
    for name in ["current.jsonl", "previous.jsonl"] {
        let text = fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(text.len() < (4 << 20) + 4096, "{name} has {}", text.len());
        let carried: Vec<_> = text.lines().filter(|line| line.contains(r#""carried":true"#)).collect();
        let has = |what: &str| carried.iter().filter(|line| line.contains(what)).count();
        assert_eq!((has(r#""verb":"start""#), has(r#""verb":"signal""#), has(r#""pid":7"#)), (1, 0, 1), "{name}");
        assert_eq!((has("first"), has(r#"["last"]"#)), (0, 1), "{name}");
        assert!((100..600).contains(&has("last_words")), "{name}: {}", has("last_words"));
    }
}
