//! Logs outlive the opm that wrote them: indices of each released version are read for ever, and so are stamped lines.

use crate::{VERSIONS, golden, json};
use opm::daemon::logs::frame::{End, Frame};
use opm::daemon::logs::index::{Header, Index, Kind, Lane, Record};
use opm::daemon::logs::stamp::{About, Stamper, unstamp};
use opm::model::{AppId, LogMode};

const TIME: u64 = 1_790_000_000_000_000;

#[test]
fn an_index_says_what_it_said() {
    for version in VERSIONS {
        let golden = json(&golden(version).join("logs.json"));
        let hex = golden["index"].as_str().unwrap().as_bytes();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = hex.chunks(2).map(pair).collect();
        let header = Header {
            inode: 77,
            born: 1 << 60,
            number: 18,
            max_age: 7_776_000_000,
            mode: LogMode::Time,
            format: "%H:%M".to_owned(),
            app: "web".to_owned(),
        };
        let lane = |instance, err| Lane { app: AppId(3), instance, err };
        let record = |kind, lane, offset, later| Record { kind, lane, offset, time: TIME + later };
        let records = vec![
            record(Kind::From { run: 9 }, lane(700, true), 0, 0),
            record(Kind::Gap { bytes: 5 }, lane(700, true), 40, 1),
            record(Kind::Commit { source: 8 }, lane(1, false), 40, 2),
        ];
        let mut written = header.encode().to_vec();
        records.iter().for_each(|record| written.extend_from_slice(&record.encode()));
        assert!(written == bytes, "{version}: an older opm reads what this one writes");
        assert_eq!(Index::decode(&bytes), Some(Index { header, records }), "{version}");
    }
}

#[test]
fn a_stamped_line_is_what_it_was() {
    for version in VERSIONS {
        let golden = json(&golden(version).join("logs.json"));
        for (mode, name) in [(LogMode::Raw, "raw"), (LogMode::Time, "time"), (LogMode::Json, "json")] {
            let golden = golden[name].as_str().unwrap();
            let about = About { time_us: TIME, app: "web", instance: 1, run: 9, err: true, seq: 5 };
            let mut out = Vec::new();
            Stamper::new(mode, None).stamp(
                &mut out,
                &about,
                &Frame { text: b"the line", end: End::LineFeed, taken: 9 },
            );
            assert_eq!(String::from_utf8(out).unwrap(), golden, "{version}");
            assert_eq!(&*unstamp(mode, "", golden.trim_end().as_bytes()).text, b"the line", "{version}");
        }
    }
}
