//! Whatever is written, in whatever pieces, by whichever runs, rotated wherever: each line once, and from each place the rest.

use super::written::{Home, everything, rest};
use opm::api::{LogLine, LogQuery};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Bytes of a stream, in the run that is under way; after how long.
    Write {
        err: bool,
        bytes: Vec<u8>,
        after: u64,
    },
    /// More that the same record covers.
    More {
        err: bool,
        bytes: Vec<u8>,
    },
    /// The next run.
    Run,
    Gap {
        err: bool,
        bytes: u64,
    },
    Rotate {
        err: bool,
    },
    /// Somebody who follows looks.
    Look,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(b'\n'), 8 => b'a'..=b'z'];
    prop_oneof![6 => prop::collection::vec(byte, 1..12), 1 => (7000..70_000_usize).prop_map(|n| [vec![b'x'; n], vec![b'\n']].concat())]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (any::<bool>(), bytes(), 0..5_u64).prop_map(|(err, bytes, after)| Step::Write { err, bytes, after }),
        3 => (any::<bool>(), bytes()).prop_map(|(err, bytes)| Step::More { err, bytes }),
        1 => Just(Step::Run),
        1 => (any::<bool>(), 1..99_u64).prop_map(|(err, bytes)| Step::Gap { err, bytes }),
        2 => any::<bool>().prop_map(|err| Step::Rotate { err }),
        3 => Just(Step::Look),
    ];
    prop::collection::vec(step, 1..40)
}

/// What is expected of one stream: text, run, time and gap, a line's pieces joined.
type Line = (String, Option<u64>, Option<u64>, Option<u64>);

/// The lines of a stream, their pieces joined as a client joins them.
fn joined(lines: &[LogLine], err: bool) -> Vec<Line> {
    let mut all: Vec<(Line, bool)> = Vec::new();
    for line in lines.iter().filter(|l| (l.stream == opm::api::LogStream::Err) == err) {
        let time = line.time.as_deref().map(|t| t.parse::<jiff::Timestamp>().unwrap().as_microsecond() as u64);
        match all.last_mut() {
            Some(((text, run, ..), open)) if *open && *run == line.run && line.missing.is_none() => {
                text.push_str(&line.line.to_string());
                *open = !line.complete;
            }
            _ => {
                all.push(((line.line.to_string(), line.run, time, line.missing), !line.complete));
            }
        }
    }
    all.into_iter().map(|(line, _)| line).collect()
}

/// What was written, cut into lines by hand.
#[derive(Default)]
struct Expected {
    lines: Vec<Line>,
    open: bool,
}

impl Expected {
    fn write(&mut self, run: u64, time: u64, bytes: &[u8]) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let text = String::from_utf8_lossy(part.strip_suffix(b"\n").unwrap_or(part)).into_owned();
            match self.lines.last_mut() {
                Some((before, of, ..)) if self.open && *of == Some(run) => before.push_str(&text),
                _ => self.lines.push((text, Some(run), Some(time), None)),
            }
            self.open = part.last() != Some(&b'\n');
        }
    }
    fn gap(&mut self, time: u64, bytes: u64) {
        self.lines.push((format!("opm: {bytes} bytes are missing here"), None, Some(time), Some(bytes)));
        self.open = false;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn each_line_comes_once_with_its_run_and_time_and_from_each_place_the_rest(steps in steps()) {
        let home = Home::new().with("web", |_| ());
        let mut logs = [home.log(0, 0, false), home.log(0, 0, true)];
        let mut expected = [Expected::default(), Expected::default()];
        let (mut follower, _) = home.read(&LogQuery { follow: true, ..everything() });
        let mut followed = Vec::new();
        let (mut time, mut run, mut since) = (1_000_000_u64, 1_u64, [0, 0]);
        let mut began = [0, 0];
        for step in steps {
            match step {
                Step::Write { err, bytes, after } => {
                    time += after;
                    (since[usize::from(err)], began[usize::from(err)]) = (time, run);
                    logs[usize::from(err)].write(run, time, &bytes);
                    expected[usize::from(err)].write(run, time, &bytes);
                }
                Step::More { err, bytes } if began[usize::from(err)] == run && logs[usize::from(err)].size() > 0 => {
                    logs[usize::from(err)].more(&bytes);
                    expected[usize::from(err)].write(run, since[usize::from(err)], &bytes);
                }
                Step::More { .. } => {}
                Step::Run => run += 1,
                Step::Gap { err, bytes } => {
                    // Behind a gap a record follows, as the worker writes it.
                    began[usize::from(err)] = 0;
                    logs[usize::from(err)].gap(bytes, time);
                    expected[usize::from(err)].gap(time, bytes);
                }
                Step::Rotate { err } => {
                    if logs[usize::from(err)].size() > 0 {
                        logs[usize::from(err)].rotate();
                    }
                }
                Step::Look => {
                    follower.look(follower.keys().collect::<Vec<_>>());
                    followed.extend(rest(&mut follower));
                }
            }
        }
        follower.look(follower.keys().collect::<Vec<_>>());
        followed.extend(rest(&mut follower));
        let all = home.lines(&everything());
        for err in [false, true] {
            let expected = &expected[usize::from(err)].lines;
            prop_assert_eq!(&joined(&all, err), expected, "read at once");
            prop_assert_eq!(&joined(&followed, err), expected, "followed");
        }
        prop_assert!(all.is_sorted_by_key(|line| line.time.clone()), "by time");
        let mut from = [("web-0-out.log", "0+0"), ("web-0-err.log", "0+0")]
            .map(|(log, at)| (log.to_owned(), at.parse().unwrap()))
            .into();
        for (i, line) in all.iter().enumerate().step_by(1 + all.len() / 16) {
            for told in &all[..=i] {
                let _: Option<_> = std::collections::BTreeMap::insert(&mut from, told.log.clone(), told.at.parse().unwrap());
            }
            let rest = rest(&mut home.resume(&everything(), &from));
            let gone: Vec<_> = rest.iter().filter(|l| l.missing != Some(0)).collect();
            let wanted: Vec<_> = all[i + 1..].iter().collect();
            for err in [false, true] {
                let of = |lines: &[&LogLine]| joined(&lines.iter().map(|l| (*l).clone()).collect::<Vec<_>>(), err);
                prop_assert_eq!(of(&gone), of(&wanted), "after {}", line.at);
            }
        }
    }
}
