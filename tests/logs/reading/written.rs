//! Logs as the worker leaves them, written by hand: files, rotated files, indices.

use opm::api::{LogLine, LogQuery, LogStart, LogStream};
use opm::config::Paths;
use opm::daemon::logs::index::{Header, Kind, Lane, Record};
use opm::daemon::logs::place::sink;
use opm::daemon::logs::reading::{Begin, Choice, Known, Position, Reading, Wanted};
use opm::daemon::logs::series::{Packing, Series};
use opm::model::{AppId, AppSpec, Desired, DesiredApp, DesiredInstance, EnvMap, Generation, LogMode, Target};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A home with apps.
pub(super) struct Home {
    pub(super) dir: tempfile::TempDir,
    pub(super) paths: Paths,
    pub(super) apps: Vec<(Target, DesiredApp)>,
}

impl Home {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let paths = Paths {
            state: home.join("state"),
            logs: home.join("logs"),
            runtime: home.join("run"),
            config: home.join("config.toml"),
            home: Some(home.to_owned()),
            system: false,
        };
        fs::create_dir_all(paths.logs.join("index")).unwrap();
        Self { dir, paths, apps: Vec::new() }
    }

    pub(super) fn with(mut self, name: &str, change: impl FnOnce(&mut AppSpec)) -> Self {
        let mut spec = AppSpec::new(name.parse().unwrap(), "/bin/true".into(), "/".into());
        change(&mut spec);
        let one = DesiredInstance { desired: Desired::Up, generation: Generation(0) };
        let instances = vec![one; spec.instances as usize];
        let target = Target { app: AppId(self.apps.len() as u32 + 1), instance: None };
        let app =
            DesiredApp { spec: Arc::new(spec), captured: Arc::new(EnvMap::default()), instances, last_order: None };
        self.apps.push((target, app));
        self
    }

    pub(super) fn known(&self) -> Known {
        Arc::new(self.apps.iter().map(|(t, app)| (t.app, app.spec.name.to_string())).collect())
    }

    pub(super) fn choice(&self, stream: Option<LogStream>) -> Choice {
        Choice::of(&self.paths, &self.apps, &self.known(), stream)
    }

    /// The log of a stream.
    pub(super) fn log(&self, app: usize, instance: u32, err: bool) -> Log {
        let (target, app) = &self.apps[app];
        let series = sink(&self.paths, &app.spec, instance, err).files()[0].clone();
        let lane = Lane { app: target.app, instance: instance as u16, err };
        Log::new(series, lane, app.spec.log_mode, app.spec.name.as_str())
    }

    pub(super) fn read(&self, query: &LogQuery) -> (Reading, LogStart) {
        let whole = query.follow && query.grep.is_some();
        let wanted = Wanted::new(query).unwrap();
        Reading::begin(self.choice(Wanted::stream(query)), wanted, Begin::Asked(query), whole, Box::new(|| true))
    }

    pub(super) fn resume(&self, query: &LogQuery, from: &BTreeMap<String, Position>) -> Reading {
        let wanted = Wanted::new(query).unwrap();
        Reading::begin(self.choice(Wanted::stream(query)), wanted, Begin::Resumed(from), false, Box::new(|| true)).0
    }

    /// All that a query gives.
    pub(super) fn lines(&self, query: &LogQuery) -> Vec<LogLine> {
        rest(&mut self.read(query).0)
    }
}

/// All that there is by now.
pub(super) fn rest(reading: &mut Reading) -> Vec<LogLine> {
    std::iter::from_fn(|| reading.next()).collect()
}

/// The lines, those that are not complete without `$`.
pub(super) fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|l| format!("{}{}", l.line, if l.complete { "$" } else { "" })).collect()
}

/// A query for all that there is.
pub(super) fn everything() -> LogQuery {
    LogQuery { select: "all".to_owned(), lines: Some(u64::MAX), ..LogQuery::default() }
}

pub(super) fn last(lines: u64) -> LogQuery {
    LogQuery { lines: Some(lines), ..everything() }
}

/// A log that is written.
pub(super) struct Log {
    pub(super) series: Series,
    pub(super) lane: Lane,
    mode: LogMode,
    app: String,
    pub(super) number: u64,
    pub(super) indexed: bool,
}

impl Log {
    pub(super) fn new(series: Series, lane: Lane, mode: LogMode, app: &str) -> Self {
        Self { series, lane, mode, app: app.to_owned(), number: 1, indexed: true }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.series.path()
    }

    fn index(&self) -> PathBuf {
        self.series.indices().join(self.series.index())
    }

    fn record(&self, kind: Kind, offset: u64, time: u64) {
        if !self.indexed {
            return;
        }
        self.begin_index();
        let record = Record { kind, lane: self.lane, offset, time };
        append(&self.index(), &record.encode());
    }

    fn begin_index(&self) {
        if self.indexed && !self.index().exists() {
            fs::write(self.index(), self.header(0).encode()).unwrap();
        }
    }

    fn header(&self, inode: u64) -> Header {
        Header {
            inode,
            born: 0,
            number: self.number,
            max_age: 0,
            mode: self.mode,
            format: String::new(),
            app: self.app.clone(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        fs::metadata(self.path()).map_or(0, |meta| meta.len())
    }

    /// As a run wrote it at that time: the record, then the bytes.
    pub(super) fn write(&mut self, run: u64, time: u64, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.record(Kind::From { run }, self.size(), time);
        self.more(bytes)
    }

    /// More bytes that the last record covers too.
    pub(super) fn more(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let is_new = !self.path().exists();
        append(&self.path(), bytes.as_ref());
        if is_new && self.indexed {
            let inode = fs::metadata(self.path()).unwrap().ino();
            let mut bytes = fs::read(self.index()).unwrap();
            bytes[..512].copy_from_slice(&self.header(inode).encode());
            fs::write(self.index(), bytes).unwrap();
        }
        self
    }

    pub(super) fn commit(&mut self, source: u64, time: u64) -> &mut Self {
        self.record(Kind::Commit { source }, self.size(), time);
        self
    }

    /// As the worker says it: a line in the file, which its record stands for.
    pub(super) fn gap(&mut self, bytes: u64, time: u64) -> &mut Self {
        if fs::read(self.path()).is_ok_and(|content| content.last().is_some_and(|b| *b != b'\n')) {
            append(&self.path(), b"\n");
        }
        let begin = self.size();
        self.begin_index();
        self.more(format!("opm: {bytes} bytes are missing here\n"));
        self.record(Kind::Gap { bytes }, begin, time);
        self
    }

    /// Emptied in place, which gives the file a new number, and what was set aside removed.
    pub(super) fn empty(&mut self) -> &mut Self {
        for number in 1..self.number {
            let _ = fs::remove_file(self.rotated(number));
            let _ = fs::remove_file(self.series.indices().join(self.series.rotated_index(number)));
        }
        File::options().write(true).open(self.path()).unwrap().set_len(0).unwrap();
        self.number += 1;
        let new = self.series.indices().join("new");
        fs::write(&new, self.header(fs::metadata(self.path()).unwrap().ino()).encode()).unwrap();
        fs::rename(new, self.index()).unwrap();
        self
    }

    /// Packs a file that was set aside.
    pub(super) fn pack(&self, number: u64, how: Packing) -> &Self {
        let (part, to) = (self.series.rotated(number, Packing::None), self.series.rotated(number, how));
        opm::daemon::logs::pack::pack(self.series.folder(), &part, &to, how, &mut |_| true).unwrap();
        self
    }

    /// The steps of a rotation, of which a crash may leave the last ones undone.
    pub(super) fn rotate_until(&mut self, steps: u32) {
        let folder = self.series.folder().to_owned();
        fs::rename(self.path(), folder.join(self.series.rotated(self.number, Packing::None))).unwrap();
        let old = self.series.indices().join(self.series.rotated_index(self.number));
        if self.indexed && steps > 1 {
            fs::rename(self.index(), old).unwrap();
        }
        self.number += 1;
        if self.indexed && steps > 2 {
            fs::write(self.index(), self.header(0).encode()).unwrap();
        }
    }

    pub(super) fn rotate(&mut self) -> &mut Self {
        self.rotate_until(3);
        self
    }

    pub(super) fn rotated(&self, number: u64) -> PathBuf {
        self.series.folder().join(self.series.rotated(number, Packing::None))
    }
}

pub(super) fn append(path: &Path, bytes: &[u8]) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}
