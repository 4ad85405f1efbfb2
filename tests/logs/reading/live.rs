//! A follower beside the pump that writes and sets aside: each line once, in order, whatever happens meanwhile.

use super::written::Home;
use crate::rig::{Pump, small};
use opm::api::{LogLine, LogQuery};
use opm::daemon::logs::follow::Filter;
use opm::daemon::logs::reading::Reading;
use opm::daemon::logs::series::Packing;
use opm::model::{AppSpec, InstanceId, LogMode};
use std::io::Write;

const LINES: u64 = 30_000;

/// Numbered lines through a pump, in bursts, the run changing in the middle, while somebody follows and is cut off now and then.
fn follow(change: impl Fn(&mut AppSpec) + Copy) {
    let home = Home::new().with("web", |spec| {
        small(spec);
        change(spec);
    });
    let mut pump = Pump::start(home.dir.path());
    pump.logs.clone_from(&home.paths.logs);
    let (target, app) = &home.apps[0];
    let plan = || opm::daemon::logs::place::Plan::new(&home.paths, &app.spec, InstanceId::new(target.app, 0));
    let query = LogQuery { select: "all".to_owned(), lines: Some(0), follow: true, ..LogQuery::default() };
    let (mut reading, start) = home.read(&query);
    let mut from: std::collections::BTreeMap<_, _> =
        start.from.into_iter().map(|(log, at)| (log, at.parse().unwrap())).collect();
    let follow = pump.handle.as_ref().unwrap().follow(Filter::Logs(reading.keys().collect()));
    let mut told: Vec<LogLine> = Vec::new();
    let mut writer = pump.app_as(1, plan());
    for n in 0..LINES {
        if n == LINES / 2 {
            // What a dead run left of a line.
            writer.out.write_all(b"cut").unwrap();
            drop(writer);
            pump.finish(1);
            writer = pump.app_as(2, plan());
        }
        writer.out.write_all(format!("{n:0100}\n").as_bytes()).unwrap();
        if n % 997 == 0 {
            reading.look(follow.grown_so_far());
            // Not to its end: what is left is found by the next.
            told.extend(std::iter::from_fn(|| reading.next()).take(700));
        }
        if n % 5_003 == 0 {
            for line in &told {
                from.insert(line.log.clone(), line.at.parse().unwrap());
            }
            reading = home.resume(&query, &from);
        }
    }
    pump.flush();
    let all = |reading: &mut Reading| std::iter::from_fn(|| reading.next()).collect::<Vec<_>>();
    told.extend(all(&mut reading));
    reading.look(follow.grown_so_far());
    told.extend(all(&mut reading));
    let texts = |lines: &[LogLine]| lines.iter().map(|l| l.line.to_string()).collect::<Vec<_>>();
    let mut expected: Vec<String> = (0..LINES).map(|n| format!("{n:0100}")).collect();
    expected.insert(LINES as usize / 2, "cut".to_owned());
    let missed = texts(&told).iter().zip(&expected).position(|(told, expected)| told != expected);
    let around = missed.map(|at| &told[at.saturating_sub(1)..(at + 3).min(told.len())]);
    assert_eq!((missed, told.len()), (None, expected.len()), "{around:?}");
    let runs: Vec<_> = told.iter().map(|line| line.run.unwrap()).collect();
    assert_eq!(runs.partition_point(|run| *run == 1), LINES as usize / 2 + 1);
    assert!(told.last().unwrap().at.split_once('+').unwrap().0.parse::<u64>().unwrap() > 20, "it was rotated");
    pump.settle();
    let log = home.log(0, 0, false);
    log.pack(1, Packing::Zstd).pack(2, Packing::Gzip);
    let again = home.lines(&LogQuery { lines: Some(u64::MAX), follow: false, ..query });
    assert!(again == told, "read at once it is the same");
    drop(writer);
    pump.end();
}

#[test]
fn a_raw_log_is_followed_while_it_is_rotated() {
    follow(|_| ());
}

#[test]
fn a_stamped_log_is_followed_while_it_is_rotated() {
    follow(|spec| spec.log_mode = LogMode::Json);
}
