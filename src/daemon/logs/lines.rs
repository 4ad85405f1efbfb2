//! A stream that is cut into lines: stamped ones, those that share a file with others, and those that go to journald.
//!
//! Owns the way pipe, spool, outputs. It must not decide whose turn it is. What a reader would get wrong: the spool is what makes
//! this survive a SIGKILL. Bytes leave the pipe for the spool in one step, lines are made from the spool, and each output commits
//! how far it has got behind what it wrote; what stands behind a commit is cut off, and made again.

use super::files::LogFiles;
use super::frame::{self, LINE_MOST};
use super::index::Lane;
use super::journald::Sent;
use super::place::{Plan, Sink};
use super::pump::LastBytes;
use super::series::Series;
use super::spool::Spool;
use super::stamp::{About, Stamper};
use super::stream::{Poured, Stuck};
use crate::kernel::clock;
use crate::kernel::files::{FileError, write_all_at};
use crate::kernel::pump::{self, Moved};
use crate::model::RunId;
use rustix::fd::OwnedFd;

/// How much waits in a spool whose outputs cannot take it; the rest waits in the pipe, and then in the app.
const SPOOL_MOST: u64 = 1 << 20;
/// How much leaves the pipe at once.
const FILL: usize = 1 << 20;
/// How much is made into lines at once: little enough to stay in the processor's cache on its way.
const BATCH: usize = 256 << 10;
/// As much of what a run says last is kept for its record.
const TAIL: usize = 2 << 10;

/// Such a stream.
#[derive(Debug)]
pub(super) struct Lines {
    run: RunId,
    lane: Lane,
    stamper: Stamper,
    /// None: all that was written is where it belongs.
    spool: Option<Spool>,
    /// The place up to which it is, in all of its outputs.
    done: u64,
    /// The run has ended.
    over: bool,
    /// The last bytes to standard error. What went to journald, or is in a spool, cannot be read from a file.
    tail: Vec<u8>,
    tail_cut: bool,
}

/// Where lines are made. Used by one stream after the other, and kept while that is worth it: memory that is given back and asked
/// for again costs as much as the making.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// What was read from the spool.
    bytes: Vec<u8>,
    /// What was made of it.
    out: Vec<u8>,
    /// The most that was read at once since it was last kept.
    used: usize,
}

impl Scratch {
    fn kept_if_used(self) -> Self {
        // Short lines grow: an empty one to a hundred bytes of JSON.
        let out = if self.out.capacity() > 4 * BATCH { Vec::new() } else { self.out };
        if self.used >= self.bytes.capacity() / 8 { Self { used: 0, out, ..self } } else { Self::default() }
    }
}

impl Lines {
    pub(super) fn new(run: RunId, lane: Lane, plan: &Plan) -> Self {
        let stamper = Stamper::new(plan.mode, plan.format.clone());
        Self { run, lane, stamper, spool: None, done: 0, over: false, tail: Vec::new(), tail_cut: false }
    }

    pub(super) fn last_bytes(&self) -> LastBytes {
        LastBytes { bytes: self.tail.clone(), cut: self.tail_cut }
    }

    /// How many bytes are in the spool; those of a line without its end are there as long as the run lives.
    pub(super) fn waiting(&self) -> u64 {
        self.spool.as_ref().map_or(0, |spool| spool.end() + spool.unwritten() as u64 - self.done.min(spool.end()))
    }

    /// Nothing more comes: a rest without a line feed is a line.
    pub(super) fn over(&mut self) {
        self.over = true;
    }

    /// Opens what a daemon before this one left in the spool.
    pub(super) fn take_over(&mut self, files: &mut LogFiles, plan: &Plan) -> Result<bool, Stuck> {
        if !Spool::exists(files.spools(), self.lane) {
            return Ok(false);
        }
        self.open_spool(files, plan)?;
        Ok(true)
    }

    fn open_spool(&mut self, files: &mut LogFiles, plan: &Plan) -> Result<(), Stuck> {
        if self.spool.is_some() {
            return Ok(());
        }
        let outputs = self.outputs(plan);
        let mut at_least = 0;
        for series in outputs {
            let (log, _) = files.open(series, plan).map_err(|e| Stuck::file(series, &e))?;
            at_least = at_least.max(log.index.committed(self.lane).unwrap_or(0));
        }
        let spool = Spool::open(files.spools(), self.lane, at_least).map_err(|e| unfit(files, &e))?;
        // One that commits does so before its first byte, so that what it did not commit is known for its own.
        let mut done = u64::MAX;
        for series in outputs {
            let (log, size) = files.open(series, plan).map_err(|e| Stuck::file(series, &e))?;
            let begin = spool.begin();
            done = done.min(log.index.committed(self.lane).unwrap_or(0).max(spool.noted()));
            if log.index.committed(self.lane).is_none() {
                log.index.commit(self.lane, begin, size, clock::wall_micros()).map_err(|e| Stuck::file(series, &e))?;
            }
        }
        self.done = if outputs.is_empty() { spool.noted() } else { done };
        self.spool = Some(spool);
        Ok(())
    }

    fn outputs<'a>(&self, plan: &'a Plan) -> &'a [Series] {
        self.sink(plan).files()
    }

    fn sink<'a>(&self, plan: &'a Plan) -> &'a Sink {
        if self.lane.err { &plan.err } else { &plan.out }
    }

    /// As [`super::stream::Stream::pour`].
    pub(super) fn pour(
        &mut self,
        pipe: &OwnedFd,
        files: &mut LogFiles,
        plan: &Plan,
        most: u64,
    ) -> Result<Poured, Stuck> {
        self.open_spool(files, plan)?;
        let mut poured = Poured::default();
        let Some(spool) = &mut self.spool else { return Ok(poured) };
        if spool.end() - self.done.min(spool.end()) < SPOOL_MOST {
            match spool.fill(pipe, usize::try_from(most).unwrap_or(FILL).min(FILL)) {
                Ok(Moved::Bytes(n)) => poured.bytes = n as u64,
                Ok(Moved::Nothing) => {}
                Ok(Moved::End) => poured.end = true,
                Ok(Moved::NotSpliceable) => poured.gave_up_splicing = true,
                Err(e) => return Err(unfit(files, &e)),
            }
        }
        let outcome = if matches!(self.sink(plan), Sink::Journald) {
            self.send(files, plan)
        } else {
            self.write_all(files, plan, &mut poured)
        };
        let Some(spool) = &mut self.spool else { return Ok(poured) };
        match outcome {
            Ok(done) => self.done = done,
            Err(stuck) => poured.stuck = Some(stuck),
        }
        spool.settle(self.done);
        let empty = self.done == spool.end() && spool.unwritten() == 0;
        if empty && pump::waiting(pipe) == 0 {
            // It is opened again when there is more to say: a thousand quiet apps are to hold no descriptors.
            self.spool = None;
        }
        Ok(poured)
    }

    /// Writes the lines in the spool into each of the files. The place up to which they are in all of them.
    fn write_all(&mut self, files: &mut LogFiles, plan: &Plan, poured: &mut Poured) -> Result<u64, Stuck> {
        let (mut done, mut stuck) = (u64::MAX, None);
        let mut scratch = std::mem::take(&mut files.scratch);
        for (place, series) in self.outputs(plan).iter().enumerate() {
            match self.write_out(place == 0, series, files, plan, &mut scratch, poured) {
                Ok(committed) => done = done.min(committed),
                Err(e) => stuck = Some(e),
            }
        }
        files.scratch = scratch.kept_if_used();
        stuck.map_or(Ok(done), Err)
    }

    /// Writes the lines in the spool into one of the files, and says up to where.
    fn write_out(
        &mut self,
        first: bool,
        series: &Series,
        files: &mut LogFiles,
        plan: &Plan,
        Scratch { bytes, out, used }: &mut Scratch,
        poured: &mut Poured,
    ) -> Result<u64, Stuck> {
        let now = clock::wall_micros();
        loop {
            let Some(spool) = &mut self.spool else { return Ok(0) };
            let (log, size) = files.open(series, plan).map_err(|e| Stuck::file(series, &e))?;
            // Noted is what was dropped, for on a full disk it could not be committed.
            let done = log.index.committed(self.lane).unwrap_or(0).max(spool.noted());
            if done >= spool.end() {
                return Ok(done);
            }
            let room = log.room(size, plan);
            bytes.clear();
            spool.read(done, room.clamp(LINE_MOST + 1, BATCH), bytes).map_err(|e| Stuck::because(e.to_string()))?;
            *used = bytes.len().max(*used);
            // All that there is was read, and nothing follows.
            let over = self.over && done + bytes.len() as u64 == spool.end();
            let mut taken = 0;
            out.clear();
            out.reserve(bytes.len() + bytes.len() / 2);
            while out.len() < room.min(2 * BATCH)
                && let Some(frame) = frame::next(&bytes[taken..], LINE_MOST, over)
            {
                let about = about(plan, (self.lane, self.run), now, done + taken as u64);
                self.stamper.stamp(out, &about, &frame);
                taken += frame.taken;
            }
            if taken == 0 {
                return Ok(done);
            }
            if log.is_due(size, plan, now) {
                match files.try_to_set_aside(series, size, plan) {
                    Ok(()) => poured.rotated.push(series.clone()),
                    Err(e) => poured.notice = Some(e.to_string()),
                }
                continue;
            }
            log.index.from(self.lane, self.run.0, size, now);
            let Some(file) = log.file() else { return Ok(done) };
            let written = write_all_at(file, out, size).map_err(|e| Stuck::os(series, e));
            let committed = written.and_then(|()| {
                let end = size + out.len() as u64;
                log.index.commit(self.lane, done + taken as u64, end, now).map_err(|e| Stuck::file(series, &e))
            });
            if let Err(stuck) = committed {
                if let Some(file) = log.file() {
                    let _ = rustix::fs::ftruncate(file, size);
                }
                return Err(stuck);
            }
            poured.grown(series);
            if first && self.lane.err {
                self.keep_tail(&bytes[..taken]);
            }
        }
    }

    /// Sends the lines in the spool to journald, and says up to where. Killed between the sending and the settling, what was sent
    /// last is sent again, with the same `OPM_SEQ`.
    fn send(&mut self, files: &mut LogFiles, plan: &Plan) -> Result<u64, Stuck> {
        loop {
            let Some(spool) = &mut self.spool else { return Ok(0) };
            let (mut done, mut bytes) = (spool.noted(), Vec::new());
            spool.read(done, BATCH, &mut bytes).map_err(|e| Stuck::because(e.to_string()))?;
            let over = self.over && done + bytes.len() as u64 == spool.end();
            let (mut taken, mut failed) = (0, None);
            while let Some(frame) = frame::next(&bytes[taken..], LINE_MOST, over) {
                // journald gives its own time.
                let about = about(plan, (self.lane, self.run), 0, done + taken as u64);
                match files.journald.send(&about, &frame) {
                    Ok(Sent::Taken) => taken += frame.taken,
                    Ok(Sent::Full) => {
                        failed = Some(Stuck { behind: true, ..Stuck::because("journald is behind".to_owned()) });
                        break;
                    }
                    Err(why) => {
                        failed = Some(Stuck::because(why));
                        break;
                    }
                }
            }
            done += taken as u64;
            if taken > 0 {
                spool.note(done).map_err(|e| unfit(files, &e))?;
                self.done = done;
            }
            if self.lane.err {
                self.keep_tail(&bytes[..taken]);
            }
            // A turn may have taken in more than a batch, and nobody comes by again for what is left of it.
            if taken == 0 || failed.is_some() {
                return failed.map_or(Ok(done), Err);
            }
        }
    }

    /// The run is over and all of it is where it belongs: nothing stays behind.
    pub(super) fn clear(&mut self, files: &mut LogFiles) {
        files.journald.run_over(self.run.0);
        self.spool = None;
        let _ = Spool::forget(files.spools(), self.lane);
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail_cut |= excess > 0 || bytes.len() > TAIL;
        self.tail.drain(..excess);
    }

    /// Drops what is in the spool, and says how much.
    pub(super) fn give_up(&mut self, files: &mut LogFiles, plan: &Plan) -> u64 {
        let Some(spool) = &mut self.spool else { return 0 };
        let (end, dropped) = (spool.end(), spool.end() - self.done.min(spool.end()));
        for series in self.sink(plan).files() {
            if let Ok((log, _)) = files.open(series, plan) {
                log.index.remember(self.lane, end);
            }
        }
        let Some(spool) = &mut self.spool else { return 0 };
        let _ = spool.note(end);
        spool.settle(end);
        self.done = end;
        dropped
    }
}

fn about(plan: &Plan, (lane, run): (Lane, RunId), time_us: u64, seq: u64) -> About<'_> {
    About { time_us, app: plan.name.as_str(), instance: plan.instance.index, run: run.0, err: lane.err, seq }
}

/// A spool that cannot take bytes is as good as a log that cannot. But room is lacking where spools are: to remove what was set aside
/// elsewhere would not help.
fn unfit(files: &LogFiles, error: &FileError) -> Stuck {
    Stuck::folder(files.spools(), error)
}
