//! What a full disk could not take, until the log can say so.
//!
//! Owns the counting and the words. It must not drop anything itself. What a reader would get wrong: a gap is written before the
//! next bytes of its log, by whoever writes them; until then it is in the folder of the spools, since the disk is full.

use super::files::LogFiles;
use super::frame::{End, Frame};
use super::index::Lane;
use super::place::Plan;
use super::series::Series;
use super::stamp::{About, Stamper};
use super::stream::Stuck;
use crate::kernel::clock;
use crate::kernel::files::{Dir, write_all_at};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A disk with less than this is still full.
const ENOUGH: u64 = 64 << 10;

/// What is missing from logs that do not say so yet.
#[derive(Debug)]
pub(super) struct Gaps {
    /// The folder that outlives a killed daemon.
    folder: PathBuf,
    open: BTreeMap<Series, Gap>,
    /// What a daemon before this one could not tell, by the log's key, until there is somebody who writes to that log.
    inherited: BTreeMap<String, Saved>,
}

#[derive(Debug)]
struct Gap {
    bytes: u64,
    /// From when on, in us.
    since: u64,
    lane: Lane,
    plan: Arc<Plan>,
}

/// A gap as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    bytes: u64,
    since: u64,
}

const NAME: &str = "gaps.json";

impl Gaps {
    pub(super) fn new(folder: PathBuf) -> Self {
        let read = Dir::open(&folder).and_then(|dir| dir.read(NAME, 1 << 20)).ok();
        let inherited = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { folder, open: BTreeMap::new(), inherited }
    }

    /// Somebody writes to this log: what was missing before is told there.
    pub(super) fn inherit(&mut self, series: &Series, lane: Lane, plan: &Arc<Plan>) {
        if let Some(Saved { bytes, since }) = self.inherited.remove(&**series.key()) {
            self.open.insert(series.clone(), Gap { bytes, since, lane, plan: Arc::clone(plan) });
        }
    }

    /// Bytes of a lane were dropped.
    pub(super) fn add(&mut self, series: &Series, lane: Lane, plan: &Arc<Plan>, bytes: u64) {
        let since = clock::wall_micros();
        let gap = Gap { bytes: 0, since, lane, plan: Arc::clone(plan) };
        self.open.entry(series.clone()).or_insert(gap).bytes += bytes;
        self.save();
    }

    /// Killed between the dropping and this, too little is counted; but that there is a gap is told.
    fn save(&self) {
        let Ok(dir) = Dir::make(&self.folder) else { return };
        let mut all = self.inherited.clone();
        all.extend(
            self.open.iter().map(|(s, gap)| (s.key().to_string(), Saved { bytes: gap.bytes, since: gap.since })),
        );
        if all.is_empty() {
            let _ = dir.remove(NAME);
        } else if let Ok(text) = serde_json::to_vec(&all) {
            let new = format!("{NAME}.new");
            let _ = dir.create(&new, &text).and_then(|_| dir.rename(&new, NAME));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn all(&self) -> Vec<Series> {
        self.open.keys().cloned().collect()
    }

    /// Writes what is missing from this log into it. Whether there was something to say.
    pub(super) fn tell(&mut self, series: &Series, files: &mut LogFiles) -> Result<bool, Stuck> {
        let Some(gap) = self.open.get(series) else { return Ok(false) };
        if !has_room(series) {
            return Err(Stuck::os(series, rustix::io::Errno::NOSPC));
        }
        let now = clock::wall_micros();
        let text = words(gap, now);
        let (log, mut size) = files.open(series, &gap.plan).map_err(|e| Stuck::file(series, &e))?;
        let mut bytes = Vec::new();
        if !log.ends_in_line(size) {
            bytes.push(b'\n');
        }
        let begin = size + bytes.len() as u64;
        let mut stamper = Stamper::new(gap.plan.mode, gap.plan.format.clone());
        let about = About {
            time_us: now,
            app: gap.plan.name.as_str(),
            instance: gap.plan.instance.index,
            run: 0,
            err: gap.lane.err,
            seq: 0,
        };
        let frame = Frame { text: text.as_bytes(), end: End::LineFeed, taken: text.len() };
        stamper.stamp(&mut bytes, &about, &frame);
        let Some(file) = log.file() else { return Ok(false) };
        if let Err(e) = write_all_at(file, &bytes, size) {
            let _ = rustix::fs::ftruncate(file, size);
            return Err(Stuck::os(series, e));
        }
        size += bytes.len() as u64;
        log.index.gap(gap.lane, gap.bytes, begin, now);
        // Bytes of a lane that commits are cut off behind its last commit.
        if let Some(source) = log.index.committed(gap.lane) {
            log.index.commit(gap.lane, source, size, now).map_err(|e| Stuck::file(series, &e))?;
        }
        self.open.remove(series);
        self.save();
        Ok(true)
    }
}

/// Whether there is room for more than word of a gap. Where nobody knows, a write will tell.
pub(super) fn has_room(series: &Series) -> bool {
    rustix::fs::statvfs(series.folder()).map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= ENOUGH)
}

/// `opm: 1234 bytes are missing here: the disk was full from ... to ...`
fn words(gap: &Gap, now: u64) -> String {
    let time = |micros: u64| {
        let time = i64::try_from(micros / 1_000_000).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        time.map_or_else(|| "?".to_owned(), |time| time.to_string())
    };
    format!("opm: {} bytes are missing here: the disk was full from {} to {}", gap.bytes, time(gap.since), time(now))
}
