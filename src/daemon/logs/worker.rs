//! The log pump's thread: whose turn it is, and what happens to a stream whose file cannot take it.
//!
//! Owns the read ends of the apps' pipes in this process. It must not look at what it moves. What a reader would get wrong:
//! an end must leave the epoll set before it is closed, since the keeper's copy keeps the open file alive and epoll would go on
//! reporting it; and a stream that is stuck must leave it too, or the wait would return at once, for ever.

use super::files::{Emptied, LogFiles};
use super::follow::Follower;
use super::gaps::Gaps;
use super::index::Lane;
use super::keeping::{KeepHandle, Known};
use super::place::Plan;
use super::pump::{Command, FollowerEnd, PumpEvent};
use super::series::Series;
use super::stream::{Poured, State, Stream, Stuck};
use crate::kernel::epoll::{AT_ONCE, Epoll, Ready};
use crate::kernel::pump::{Bell, Timer};
use crate::model::{AppId, RunId};
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

/// How much one stream may move before it is another's turn.
const TURN: u64 = 1 << 20;
/// How long until a file that could not take bytes is tried again. The timer runs only while there is one.
const RETRY: Duration = Duration::from_secs(1);
/// How much all pipes together are grown by at most.
const GROWN_MOST: usize = 32 << 20;
/// How many streams of runs that are over wait for a full disk. Each holds a descriptor and at most a pipe's content.
const LINGER_MOST: usize = 64;

const BELL: u64 = 0;
const TIMER: u64 = 1;
const JOURNALD: u64 = 2;
const FIRST_STREAM: u64 = 3;

mod pace;
mod trouble;

use pace::Pace;

pub(super) struct Worker {
    files: LogFiles,
    keep: KeepHandle,
    /// How much room was made on a full disk, when somebody was asked.
    freed: (Sender<Made>, Receiver<Made>),
    gaps: Gaps,
    report: Box<dyn Fn(PumpEvent) + Send>,
    commands: Receiver<Command>,
    bell: Arc<Bell>,
    epoll: Epoll,
    timer: Timer,
    /// By token. Tokens are never used again, so what epoll says of a stream just removed finds nothing.
    /// Boxed: a tree that is filled in order has room for eleven where there are seven.
    streams: BTreeMap<u64, Box<Stream>>,
    /// The tokens of each lane: to find those of one among thousands.
    lanes: BTreeSet<(Lane, u64)>,
    next_token: u64,
    followers: Vec<Follower>,
    /// How much pipes may still be grown by.
    budget: usize,
    pace: Pace,
    timer_runs: bool,
    /// `Trouble` was said.
    in_trouble: bool,
    said_copying: bool,
    /// What was last said that keeps nothing from being written.
    noticed: String,
    /// By the folder in which a log could not grow.
    rooms: BTreeMap<PathBuf, Room>,
}

/// In which folder how much room was made.
type Made = (PathBuf, u64);

/// What is known of room on a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Whoever keeps the files that were set aside was asked.
    Asked,
    /// There is nothing left to remove.
    None,
}

/// Whether the thread goes on.
#[derive(PartialEq, Eq)]
enum Onward {
    Yes,
    No,
}

impl Worker {
    pub(super) fn new(
        files: LogFiles,
        keep: KeepHandle,
        report: Box<dyn Fn(PumpEvent) + Send>,
        commands: Receiver<Command>,
        bell: Arc<Bell>,
    ) -> Result<Self, rustix::io::Errno> {
        let (epoll, timer) = (Epoll::new()?, Timer::new()?);
        epoll.add(&*bell, BELL)?;
        epoll.add(&timer, TIMER)?;
        Ok(Self {
            keep,
            freed: channel(),
            gaps: Gaps::new(files.spools().to_owned()),
            files,
            report,
            commands,
            bell,
            epoll,
            timer,
            streams: BTreeMap::new(),
            lanes: BTreeSet::new(),
            next_token: FIRST_STREAM,
            followers: Vec::new(),
            budget: GROWN_MOST,
            pace: Pace::default(),
            timer_runs: false,
            in_trouble: false,
            said_copying: false,
            noticed: String::new(),
            rooms: BTreeMap::new(),
        })
    }

    pub(super) fn run(mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        loop {
            let before = Instant::now();
            if let Err(e) = self.epoll.wait(&mut ready, self.pace.may_block()) {
                // Only a descriptor of ours that went bad does this. Without logs apps would come to a halt.
                self.notice(format!("failed to wait for log pipes: {e}; no logs are captured"));
                return;
            }
            let waited = before.elapsed();
            // First, or whoever becomes busy now would be looked at twice in a row.
            self.look_at_the_busy();
            for event in &ready {
                match event.token {
                    BELL => {
                        if self.obey() == Onward::No {
                            return;
                        }
                    }
                    TIMER => {
                        self.timer.hush();
                        self.timer_runs = false;
                        self.retry();
                    }
                    JOURNALD => self.retry(),
                    token => self.turn(token, event.hangup),
                }
            }
            // Where more may be ready, those that were not looked at would wait as well.
            if let Some(breath) = self.pace.after(waited)
                && ready.len() < AT_ONCE
            {
                self.bell.wait(breath);
            }
        }
    }

    fn obey(&mut self) -> Onward {
        self.bell.hush();
        while let Ok((folder, bytes)) = self.freed.1.try_recv() {
            self.room_made(folder, bytes);
        }
        loop {
            match self.commands.try_recv() {
                Ok(Command::Add { run, plan, streams }) => self.add(run, *plan, streams),
                Ok(Command::Finish { run, last_words, done }) => done(self.finish(run, last_words)),
                Ok(Command::Flush { done }) => {
                    self.flush();
                    done();
                }
                Ok(Command::Empty { series, done }) => self.empty(series, done),
                Ok(Command::Reopen { done }) => {
                    self.files.let_go_of_renamed();
                    self.flush();
                    done();
                }
                Ok(Command::Subscribe(FollowerEnd(follower))) => self.subscribe(follower),
                Ok(Command::Shutdown) | Err(TryRecvError::Disconnected) => {
                    self.flush();
                    return Onward::No;
                }
                Err(TryRecvError::Empty) => return Onward::Yes,
            }
        }
    }

    fn add(&mut self, run: RunId, plan: Plan, pipes: [OwnedFd; 2]) {
        let plan = Arc::new(plan);
        for (pipe, err) in pipes.into_iter().zip([false, true]) {
            let instance = u16::try_from(plan.instance.index).unwrap_or(u16::MAX);
            let lane = Lane { app: plan.instance.app, instance, err };
            let token = self.next_token;
            self.next_token += 1;
            let sink = if err { &plan.err } else { &plan.out };
            for series in sink.files() {
                self.gaps.inherit(series, lane, &plan);
                self.files.suit(series, &plan);
            }
            self.streams.insert(token, Box::new(Stream::new(run, lane, Arc::clone(&plan), pipe)));
            self.lanes.insert((lane, token));
            self.begin(token);
        }
        if !self.gaps.is_empty() {
            self.run_timer();
        }
    }

    /// A stream's first turn, unless one of the same lane is not done yet: then it waits, for they share a spool.
    fn begin(&mut self, token: u64) {
        if self.has_to_wait(token) {
            return self.wait_a_while(token);
        }
        let Some(stream) = self.streams.get_mut(&token) else { return };
        match stream.take_over(&mut self.files) {
            Ok(true) => {
                self.watch(token);
                self.drain(token);
            }
            Ok(false) => self.watch(token),
            Err(stuck) => self.stuck(token, stuck),
        }
    }

    fn has_to_wait(&self, token: u64) -> bool {
        let Some(stream) = self.streams.get(&token) else { return false };
        let shares = |other: &Stream| other.finished || stream.has_spool() || other.has_spool();
        let before = self.lanes.range((stream.lane, 0)..(stream.lane, token));
        before.filter_map(|(_, other)| self.streams.get(other)).any(|other| shares(other))
    }

    /// Puts a stream into the epoll set. If the kernel has no room for it, it is looked at by the timer instead.
    fn watch(&mut self, token: u64) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        match self.epoll.add(&stream.pipe, token) {
            Ok(()) => stream.state = State::Watched,
            Err(e) => self.stuck(token, Stuck::because(format!("failed to watch a log pipe: {e}"))),
        }
    }

    /// Whoever keeps what was set aside must know what the app has, for a cap on the whole. Not all has a stream now: instances
    /// are stopped, or yet to come.
    fn rotated(&mut self, series: Series) {
        let mut of_app: Option<(AppId, Known)> = None;
        let writes = |s: &Stream| s.sink().files().contains(&series);
        if let Some(stream) = self.streams.values().find(|s| writes(s)) {
            let (app, plan) = (stream.lane.app, &stream.plan);
            let own = self.streams.values().filter(|other| other.lane.app == app);
            let mut all: Vec<Series> = own.flat_map(|stream| stream.sink().files()).cloned().collect();
            all.sort();
            all.dedup();
            of_app = Some((app, Known { name: plan.name.clone(), series: all, caps: plan.caps }));
        }
        if let Some((app, known)) = of_app {
            self.keep.know_some(app, known);
        }
        self.keep.rotated(series);
    }

    /// A pipe has something to say, or its last writer is gone.
    fn turn(&mut self, token: u64, hangup: bool) {
        let watched = |s: &&mut Box<Stream>| matches!(s.state, State::Watched | State::Busy | State::Dropping);
        let Some(stream) = self.streams.get_mut(&token).filter(watched) else { return };
        // Asked first, because a file is not made for a stream that ends without a word.
        if hangup && crate::kernel::pump::waiting(&stream.pipe) == 0 {
            self.epoll.remove(&stream.pipe);
            stream.state = State::Ended;
            return;
        }
        if stream.state == State::Dropping {
            // Tried again by the timer, not at each turn: a disk that is almost full would have a gap after every other line.
            return self.give_up(token);
        }
        if let Err(stuck) = self.tell_of_gaps(token) {
            return self.stuck(token, stuck);
        }
        let Some(stream) = self.streams.get_mut(&token) else { return };
        match stream.pour(&mut self.files, TURN) {
            Ok(mut poured) => {
                stream.grow_if_busy(&poured, &mut self.budget);
                self.pace.full |= poured.full;
                if poured.end {
                    self.epoll.remove(&stream.pipe);
                    stream.state = State::Ended;
                }
                let stuck = poured.stuck.take();
                self.keep_pace(token, &poured);
                self.poured(poured);
                if let Some(stuck) = stuck {
                    self.stuck(token, stuck);
                }
            }
            Err(stuck) => self.stuck(token, stuck),
        }
    }

    fn grew(&mut self, series: &Series) {
        self.followers.retain(|follower| follower.tell(series.key()));
    }

    fn poured(&mut self, poured: Poured) {
        for series in &poured.grew {
            self.grew(series);
        }
        for series in poured.rotated {
            self.rotated(series);
        }
        if let Some(notice) = poured.notice {
            self.notice(notice);
        }
        if poured.gave_up_splicing && !self.said_copying {
            self.said_copying = true;
            self.notice(
                "a filesystem takes no splices: log lines are copied, and a daemon killed meanwhile may lose some"
                    .to_owned(),
            );
        }
    }

    fn notice(&mut self, notice: String) {
        if notice != self.noticed {
            self.noticed.clone_from(&notice);
            (self.report)(PumpEvent::Notice(notice));
        }
    }

    fn drain(&mut self, token: u64) {
        if let Err(stuck) = self.tell_of_gaps(token) {
            return self.stuck(token, stuck);
        }
        let Some(stream) = self.streams.get_mut(&token) else { return };
        let (poured, outcome) = stream.drain(&mut self.files);
        self.poured(poured);
        if let Err(stuck) = outcome {
            self.stuck(token, stuck);
        }
    }

    fn close(&mut self, token: u64) {
        if let Some(stream) = self.streams.remove(&token) {
            self.lanes.remove(&(stream.lane, token));
            self.epoll.remove(&stream.pipe);
            self.budget += stream.grown;
            // Who shares one opens it again.
            stream.sink().files().iter().for_each(|series| self.files.close(series));
        }
    }

    fn flush(&mut self) {
        self.files.let_go_of_renamed();
        for token in self.tokens(|s| matches!(s.state, State::Watched | State::Busy) && s.waiting() > 0) {
            self.drain(token);
        }
    }

    /// Empties logs, after what is on its way to them: that was written before somebody asked. What was set aside is removed by
    /// who keeps it, or one that is being packed would come back.
    fn empty(&mut self, all: Vec<Series>, done: Box<dyn FnOnce(Result<Emptied, String>) + Send>) {
        self.flush();
        let mut sum = Emptied::default();
        for series in &all {
            match self.files.empty(series) {
                Ok(emptied) => {
                    sum.files += emptied.files;
                    sum.bytes += emptied.bytes;
                }
                Err(e) => return done(Err(e.to_string())),
            }
        }
        self.keep.clear(
            all.clone(),
            Box::new(move |freed| {
                done(Ok(Emptied { files: sum.files + freed.files, bytes: sum.bytes + freed.bytes }));
            }),
        );
        for series in &all {
            self.grew(series);
        }
    }

    fn subscribe(&mut self, follower: Follower) {
        let files = || self.streams.values().flat_map(|stream| stream.sink().files());
        if files().all(|series| follower.tell(series.key())) {
            self.followers.push(follower);
        }
    }

    fn tokens(&self, which: impl Fn(&Stream) -> bool) -> Vec<u64> {
        self.streams.iter().filter(|(_, stream)| which(stream)).map(|(token, _)| *token).collect()
    }
}
