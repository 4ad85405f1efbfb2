//! Reading logs: the last lines, pieces, rotated files, several logs merged, and going on, compared with what plain reading of the
//! whole gives.

mod following;
mod live;
mod random;
mod written;

use opm::api::{LogLine, LogQuery, LogStream};
use opm::daemon::logs::reading::{Choice, PIECE_MOST};
use opm::daemon::logs::series::Packing;
use opm::model::LogMode;
use proptest::prelude::*;
use std::fs::{self, File};
use written::{Home, Log, append, everything, last, rest, texts};

fn web() -> (Home, Log) {
    let home = Home::new().with("web", |_| ());
    let log = home.log(0, 0, false);
    (home, log)
}

fn of(lines: &[LogLine]) -> Vec<(String, Option<u64>, Option<&str>)> {
    let time =
        |l: &LogLine| l.time.as_deref().map(|t| t.strip_prefix("1970-01-01T00:00:").map(|_| ()).map_or("?", |()| "t"));
    lines.iter().map(|l| (l.line.to_string(), l.run, time(l))).collect()
}

#[test]
fn the_last_lines_and_then_what_is_added() {
    let (home, log) = web();
    fs::write(log.path(), "a\nb\nc\nhalf").unwrap();
    let (mut reading, start) = home.read(&LogQuery { follow: true, ..last(2) });
    assert_eq!(texts(&rest(&mut reading)), ["c$", "half"], "what stands after the last line feed is a line too");
    assert_eq!(start.from["web-0-out.log"], "1+4");
    append(&log.path(), b" and ");
    reading.look(["web-0-out.log".into()]);
    assert_eq!(texts(&rest(&mut reading)), [" and "]);
    append(&log.path(), b"whole\n\nd\n");
    assert_eq!(texts(&rest(&mut reading)), Vec::<String>::new(), "nobody said that it has grown");
    reading.look(["web-0-out.log".into(), "another.log".into()]);
    assert_eq!(texts(&rest(&mut reading)), ["whole$", "$", "d$"]);
    assert_eq!(home.lines(&last(0)), []);
    assert_eq!(home.lines(&everything()).len(), 6);
}

#[test]
fn a_line_feed_alone_ends_a_line_that_was_given_as_a_piece() {
    let (home, log) = web();
    fs::write(log.path(), "half").unwrap();
    let mut reading = home.read(&last(1)).0;
    assert_eq!(texts(&rest(&mut reading)), ["half"]);
    append(&log.path(), b"\n");
    reading.look(reading.keys().collect::<Vec<_>>());
    assert_eq!(texts(&rest(&mut reading)), ["$"]);
}

#[test]
fn very_long_lines_come_in_bounded_pieces_and_count_as_one() {
    let (home, log) = web();
    let long = vec![b'x'; PIECE_MOST * 2 + 5];
    fs::write(log.path(), [b"short\n", &long[..], b"\nend\n"].concat()).unwrap();
    let shape: Vec<_> = home.lines(&last(2)).iter().map(|l| (l.line.as_bytes().len(), l.complete)).collect();
    assert_eq!(shape, [(PIECE_MOST, false), (PIECE_MOST, false), (5, true), (3, true)]);
}

#[test]
fn what_is_no_file_is_told_once() {
    let (home, log) = web();
    rustix::fs::mkfifoat(rustix::fs::CWD, log.path(), 0o600.into()).unwrap();
    let lines = home.lines(&everything());
    assert_eq!((lines.len(), lines[0].missing), (1, Some(0)));
    assert!(lines[0].line.to_string().contains("not a regular file"), "{:?}", lines[0]);
}

#[test]
fn rotated_files_are_read_through_and_the_index_says_who_and_when() {
    let (home, mut log) = web();
    log.write(7, 1_000_000, "a\nb\n").write(7, 2_000_000, "c\n").rotate();
    log.write(8, 3_000_000, "d\n").rotate().write(8, 4_000_000, "e\nhal").write(9, 5_000_000, "new\n");
    let lines = home.lines(&everything());
    assert_eq!(texts(&lines), ["a$", "b$", "c$", "d$", "e$", "hal$", "new$"], "a dead run's last line ends with it");
    let runs: Vec<_> = lines.iter().map(|l| l.run.unwrap()).collect();
    assert_eq!(runs, [7, 7, 7, 8, 8, 8, 9]);
    let times: Vec<_> = lines.iter().map(|l| l.time.clone().unwrap()).collect();
    assert_eq!(times[1], "1970-01-01T00:00:01.000000Z");
    assert_eq!(times[6], "1970-01-01T00:00:05.000000Z");
    assert_eq!((lines[3].at.as_str(), lines[4].at.as_str()), ("2+2", "3+2"));
    assert_eq!(texts(&home.lines(&last(4))), ["d$", "e$", "hal$", "new$"]);
}

#[test]
fn without_an_index_or_with_a_torn_one_lines_are_there_all_the_same() {
    let (home, mut log) = web();
    log.write(7, 1_000_000, "a\n").rotate().write(8, 2_000_000, "b\n").write(8, 3_000_000, "c\n");
    let old = log.series.indices().join(log.series.rotated_index(1));
    fs::remove_file(old).unwrap();
    let index = log.series.indices().join(log.series.index());
    let bytes = fs::read(&index).unwrap();
    fs::write(&index, &bytes[..bytes.len() - 5]).unwrap();
    let lines = home.lines(&everything());
    assert_eq!(
        of(&lines),
        [("a".into(), None, None), ("b".into(), Some(8), Some("t")), ("c".into(), Some(8), Some("t"))]
    );
    fs::write(&index, "what is this").unwrap();
    assert_eq!(of(&home.lines(&everything()))[1], ("b".into(), None, None));
    assert_eq!(texts(&home.lines(&last(2))), ["b$", "c$"]);
}

#[test]
fn missing_bytes_are_told_once_where_they_are_missing() {
    let (home, mut log) = web();
    log.write(7, 1_000_000, "a\nb").gap(500, 2_000_000).gap(20, 3_000_000).write(7, 4_000_000, "c\n").gap(3, 5_000_000);
    let lines = home.lines(&everything());
    let shape: Vec<_> = lines.iter().map(|l| (l.missing, l.run, l.complete)).collect();
    let (line, gap) = ((None, Some(7), true), |bytes| (Some(bytes), None, true));
    assert_eq!(shape, [line, line, gap(500), gap(20), line, gap(3)]);
    assert_eq!(lines[2].line.to_string(), "opm: 500 bytes are missing here");
    assert_eq!(lines[2].time.as_deref(), Some("1970-01-01T00:00:02.000000Z"));
    for (i, line) in lines.iter().enumerate() {
        let from = [(line.log.clone(), line.at.parse().unwrap())].into();
        assert_eq!(rest(&mut home.resume(&everything(), &from)), lines[i + 1..], "after {}", line.at);
    }
    // Its words were cut off again, as what is not committed is; other bytes stand there now.
    let size = log.size();
    log.gap(9, 6_000_000);
    File::options().write(true).open(log.path()).unwrap().set_len(size).unwrap();
    log.write(8, 7_000_000, "d\n");
    assert_eq!(home.lines(&last(1))[0].missing, None);
}

#[test]
fn packed_files_are_read_through() {
    for how in [Packing::Zstd, Packing::Gzip] {
        let (home, mut log) = web();
        for number in 1..=3 {
            let lines: String = (0..20_000).map(|i| format!("{number} {i}\n")).collect();
            log.write(number, number * 1_000_000, lines).rotate();
        }
        log.write(4, 4_000_000, "now\n");
        let plain = home.lines(&everything());
        log.pack(1, how).pack(2, how);
        assert_eq!(home.lines(&everything()), plain);
        assert_eq!((plain.len(), plain[30_000].run), (60_001, Some(2)));
        assert_eq!(home.lines(&last(30_000)), plain[30_001..], "the last lines begin in a packed one");
        let from = [(plain[0].log.clone(), plain[30_000].at.parse().unwrap())].into();
        assert_eq!(rest(&mut home.resume(&everything(), &from)), plain[30_001..]);
        let since = LogQuery { since: at(2_000_000), lines: None, ..everything() };
        assert_eq!(home.lines(&since), plain[20_000..]);
    }
}

#[test]
fn streams_and_apps_are_merged_by_time_and_counted_by_instance() {
    let home = Home::new().with("web", |_| ()).with("api", |_| ());
    let (mut out, mut err, mut api) = (home.log(0, 0, false), home.log(0, 0, true), home.log(1, 0, false));
    for i in 0..10 {
        out.write(1, 1000 + 30 * i, format!("out {i}\n"));
        err.write(1, 1010 + 30 * i, format!("err {i}\n"));
    }
    api.write(2, 1115, "api\n");
    let (name, stream) = (|l: &LogLine| l.name.clone(), |l: &LogLine| l.stream);
    let lines = home.lines(&last(3));
    assert_eq!(texts(&lines), ["api$", "err 8$", "out 9$", "err 9$"]);
    assert_eq!((name(&lines[0]).as_str(), stream(&lines[1])), ("api", LogStream::Err));
    let all = home.lines(&everything());
    assert_eq!(texts(&all)[6..9], ["out 3$", "err 3$", "api$"]);
    let only = home.lines(&LogQuery { stream: Some(LogStream::Err), ..last(2) });
    assert_eq!(texts(&only), ["err 8$", "err 9$"]);
    assert_eq!(home.lines(&LogQuery { lines: None, ..everything() }).len(), 16, "15 of web, all of api");
}

#[test]
fn lines_without_a_time_stay_with_their_neighbours() {
    let home = Home::new().with("web", |_| ()).with("old", |_| ());
    let (mut web, mut old) = (home.log(0, 0, false), home.log(1, 0, false));
    old.indexed = false;
    old.write(0, 0, "old\n");
    web.write(1, 1_000_000, "a\n");
    assert_eq!(texts(&home.lines(&everything())), ["a$", "old$"], "written just now, by the file's time");
    old.number = 2;
    fs::rename(old.path(), old.rotated(1)).unwrap();
    old.indexed = true;
    old.write(3, 500_000, "older\n");
    assert_eq!(texts(&home.lines(&everything())), ["a$", "old$", "older$"], "lines of one log are never reordered");
}

fn at(us: u64) -> Option<String> {
    Some(format!("1970-01-01T00:00:{:02}.{:06}Z", us / 1_000_000, us % 1_000_000))
}

#[test]
fn times_runs_and_words_choose_lines() {
    let (home, mut log) = web();
    log.write(1, 1_000_000, "a1\nb1\n").write(1, 2_000_000, "a2\n").rotate().write(2, 3_000_000, "a3\nb3\n");
    log.rotate().write(3, 4_000_000, "a4\nlon").more("g4\n").write(3, 5_000_000, "b5\n");
    let query = |change: fn(&mut LogQuery)| {
        let mut query = LogQuery { select: "all".to_owned(), ..LogQuery::default() };
        change(&mut query);
        texts(&home.lines(&query)).concat()
    };
    assert_eq!(query(|q| q.since = at(2_000_000)), "a2$a3$b3$a4$long4$b5$", "all of them, without a number");
    assert_eq!(query(|q| q.since = at(2_000_001)), "a3$b3$a4$long4$b5$");
    assert_eq!(query(|q| (q.since, q.lines) = (at(2_000_000), Some(2))), "long4$b5$");
    assert_eq!(query(|q| (q.since, q.until) = (at(2_000_000), at(4_000_000))), "a2$a3$b3$");
    assert_eq!(query(|q| (q.until, q.lines) = (at(3_000_000), Some(2))), "b1$a2$");
    assert_eq!(query(|q| q.since = at(9_000_000)), "");
    assert_eq!(query(|q| q.run = Some(2)), "a3$b3$");
    assert_eq!(query(|q| q.previous = true), "a3$b3$");
    assert_eq!(query(|q| (q.run, q.lines) = (Some(3), Some(1))), "b5$");
    assert_eq!(query(|q| (q.grep, q.lines) = (Some("^a[1-3]".into()), Some(2))), "a2$a3$");
    assert_eq!(query(|q| (q.grep, q.invert) = (Some("a|b".into()), true)), "long4$");
    let wrong = |q: LogQuery| opm::daemon::logs::reading::Wanted::new(&q).unwrap_err();
    assert!(wrong(LogQuery { grep: Some("(".into()), ..last(1) }).starts_with("'(' is not a regular expression: "));
    assert!(wrong(LogQuery { since: Some("yesterday".into()), ..last(1) }).contains("is no time"));
}

#[test]
fn the_run_before_the_last_is_that_of_the_instance_whatever_stream_is_asked_for() {
    let home = Home::new().with("web", |_| ());
    for run in 1..4 {
        home.log(0, 0, false).write(run, run * 1_000_000, format!("run {run}\n"));
    }
    // It went with a word, came again, and is quiet.
    home.log(0, 0, true).write(1, 1_000_001, "first\n").write(2, 2_000_001, "second\n");
    let err = LogQuery { previous: true, stream: Some(LogStream::Err), ..everything() };
    assert_eq!(texts(&home.lines(&err)), ["second$"]);
    let left = Choice::left(&home.paths, "web", None, &home.known(), Some(LogStream::Err));
    assert!(!left.logs.is_empty());
}

#[test]
fn a_shared_log_is_read_once_and_each_line_is_its_owners() {
    let home = Home::new().with("web", |s| (s.merge_logs, s.instances) = (true, 2)).with("api", |_| ());
    let mut log = home.log(0, 0, false);
    for i in 0..300_u64 {
        log.lane.instance = u16::from(i % 100 == 0);
        log.write(5, 1000 + i, format!("{i}\n")).commit(i, 1000 + i);
    }
    log.lane.app.0 = 2;
    log.write(6, 2000, "not web's\n").commit(1, 2000);
    log.lane.app.0 = 77;
    log.write(4, 2001, "of an app that is gone\n").commit(1, 2001);
    let lines = home.lines(&last(2));
    let shape: Vec<_> = lines.iter().map(|l| (l.instance, l.line.to_string())).collect();
    let expected = [(1, "100"), (1, "200"), (0, "299"), (0, "of an app that is gone")].map(|(i, t)| (i, t.to_owned()));
    assert_eq!(shape, expected);
}

#[test]
fn what_a_framed_stream_has_not_committed_is_not_told_yet() {
    let home = Home::new().with("web", |s| s.log_mode = LogMode::Json);
    let mut log = home.log(0, 0, false);
    let json = |n: u64| {
        format!(
            "{{\"time\":\"1970-01-01T00:00:09.00000{n}Z\",\"app\":\"web\",\"instance\":0,\"run\":5,\"stream\":\"out\",\"seq\":{n},\"line\":\"line {n}\"}}\n"
        )
    };
    log.commit(0, 1000).write(5, 1000, json(1)).commit(10, 1000).write(5, 2000, json(2));
    let (mut reading, _) = home.read(&LogQuery { follow: true, ..everything() });
    let lines = rest(&mut reading);
    assert_eq!(texts(&lines), ["line 1$"], "without its stamp");
    assert_eq!((lines[0].time.as_deref(), lines[0].run), (Some("1970-01-01T00:00:09.000001Z"), Some(5)));
    log.commit(20, 2000);
    reading.look(reading.keys().collect::<Vec<_>>());
    assert_eq!(texts(&rest(&mut reading)), ["line 2$"]);
}

#[test]
fn logs_of_an_app_that_is_gone_are_found_by_its_name() {
    let mut home = Home::new().with("web", |s| s.instances = 2).with("api", |_| ());
    for (instance, err) in [(0, false), (0, true), (1, false)] {
        home.log(0, instance, err)
            .write(3, 1000 + u64::from(instance), format!("{instance} {err}\n"))
            .rotate()
            .write(4, 2000, "x\n");
    }
    home.log(1, 0, false).write(9, 1500, "api\n");
    home.apps.remove(0);
    let left = |name: &str, instance| Choice::left(&home.paths, name, instance, &home.known(), None);
    assert_eq!((left("web", None).logs.len(), left("wep", None).logs.len()), (3, 0));
    assert!(left("web", None).note.unwrap().contains("'web'"));
    let read = |choice: Choice| {
        let query = everything();
        let wanted = opm::daemon::logs::reading::Wanted::new(&query).unwrap();
        let begin = opm::daemon::logs::reading::Begin::Asked(&query);
        rest(&mut opm::daemon::logs::reading::Reading::begin(choice, wanted, begin, false, Box::new(|| true)).0)
    };
    let lines = read(left("web", None));
    let shape: Vec<_> = lines.iter().map(|l| (l.instance, l.stream, l.line.to_string())).collect();
    assert_eq!(shape.len(), 6);
    assert!(
        shape.contains(&(0, LogStream::Err, "0 true".to_owned()))
            && shape.contains(&(1, LogStream::Out, "x".to_owned()))
    );
    assert_eq!(read(left("web", Some(1))).len(), 2);
}

/// Lines whose lengths lie around the size of a block, and short ones.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![4 => 0..20_usize, 1 => 65_500..65_600_usize, 1 => 0..3000_usize];
    let line = (length, any::<u8>()).prop_map(|(n, b)| vec![if b == b'\n' { b'x' } else { b }; n]);
    (prop::collection::vec(line, 0..30), any::<bool>()).prop_map(|(lines, ended)| {
        let mut bytes = lines.join(&b'\n');
        if ended {
            bytes.push(b'\n');
        }
        bytes
    })
}

/// The bytes that the lines stand for.
fn bytes(lines: &[LogLine]) -> Vec<u8> {
    lines.iter().flat_map(|l| [l.line.as_bytes(), if l.complete { b"\n" } else { b"" }].concat()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_last_lines_are_those_of_a_plain_reading(content in content(), lines in 0..40_usize) {
        let (home, log) = web();
        fs::write(log.path(), &content).unwrap();
        let plain: Vec<&[u8]> = content.split_inclusive(|b| *b == b'\n').collect();
        let expected = plain[plain.len().saturating_sub(lines)..].concat();
        prop_assert_eq!(bytes(&home.lines(&last(lines as u64))), expected);
    }

    #[test]
    fn following_gives_every_byte_once_however_it_was_written(parts in prop::collection::vec(content(), 1..5)) {
        let (home, log) = web();
        let (mut reading, _) = home.read(&LogQuery { follow: true, ..everything() });
        let mut got = Vec::new();
        for part in &parts {
            append(&log.path(), part);
            reading.look(reading.keys().collect::<Vec<_>>());
            got.extend(rest(&mut reading));
        }
        prop_assert_eq!(bytes(&got), parts.concat());
    }
}
