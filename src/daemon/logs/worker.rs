//! The log pump's thread: whose turn it is, and what happens to a stream whose file cannot take it.
//!
//! Owns the read ends of the apps' pipes in this process. It must not look at what it moves. What a reader would get wrong:
//! an end must leave the epoll set before it is closed, since the keeper's copy keeps the open file alive and epoll would go on
//! reporting it; and a stream that is stuck must leave it too, or the wait would return at once, for ever.

use super::files::LogFiles;
use super::follow::Follower;
use super::pump::{Command, FollowerEnd, LastBytes, PumpEvent};
use super::stream::{Poured, State, Stream};
use crate::config::Paths;
use crate::kernel::epoll::{Epoll, Ready};
use crate::kernel::pump::{Bell, Timer};
use crate::model::{AppName, RunId};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

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
const FIRST_STREAM: u64 = 2;

pub(super) struct Worker {
    paths: Paths,
    files: LogFiles,
    report: Box<dyn Fn(PumpEvent) + Send>,
    commands: Receiver<Command>,
    bell: Arc<Bell>,
    epoll: Epoll,
    timer: Timer,
    /// By token. Tokens are never used again, so what epoll says of a stream just removed finds nothing.
    streams: BTreeMap<u64, Stream>,
    next_token: u64,
    followers: Vec<Follower>,
    /// How much pipes may still be grown by.
    budget: usize,
    timer_runs: bool,
    /// `Trouble` was said.
    in_trouble: bool,
    said_copying: bool,
}

/// Whether the thread goes on.
#[derive(PartialEq, Eq)]
enum Onward {
    Yes,
    No,
}

impl Worker {
    pub(super) fn new(
        paths: Paths,
        report: Box<dyn Fn(PumpEvent) + Send>,
        commands: Receiver<Command>,
        bell: Arc<Bell>,
    ) -> Result<Self, rustix::io::Errno> {
        let (epoll, timer) = (Epoll::new()?, Timer::new()?);
        epoll.add(&*bell, BELL)?;
        epoll.add(&timer, TIMER)?;
        Ok(Self {
            files: LogFiles::new(paths.logs.clone()),
            paths,
            report,
            commands,
            bell,
            epoll,
            timer,
            streams: BTreeMap::new(),
            next_token: FIRST_STREAM,
            followers: Vec::new(),
            budget: GROWN_MOST,
            timer_runs: false,
            in_trouble: false,
            said_copying: false,
        })
    }

    pub(super) fn run(mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        loop {
            if let Err(e) = self.epoll.wait(&mut ready, true) {
                // Only a descriptor of ours that went bad does this. Without logs apps would come to a halt.
                (self.report)(PumpEvent::Notice(format!("failed to wait for log pipes: {e}; no logs are captured")));
                return;
            }
            for event in &ready {
                match event.token {
                    BELL => {
                        if self.obey() == Onward::No {
                            return;
                        }
                    }
                    TIMER => self.retry(),
                    token => self.turn(token, event.hangup),
                }
            }
        }
    }

    fn obey(&mut self) -> Onward {
        self.bell.hush();
        loop {
            match self.commands.try_recv() {
                Ok(Command::Add { run, name, instance, streams }) => self.add(run, &name, instance, streams),
                Ok(Command::Finish { run, last_words, done }) => done(self.finish(run, last_words)),
                Ok(Command::Flush { done }) => {
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

    fn add(&mut self, run: RunId, name: &AppName, instance: u32, pipes: [OwnedFd; 2]) {
        for (pipe, err) in pipes.into_iter().zip([false, true]) {
            let path = self.paths.log_file(name.as_str(), instance, err);
            let file = path.file_name().unwrap_or_default().to_string_lossy().into();
            let token = self.next_token;
            self.next_token += 1;
            self.streams.insert(token, Stream::new(run, file, err, pipe));
            self.watch(token);
        }
    }

    /// Puts a stream into the epoll set. If the kernel has no room for it, it is looked at by the timer instead.
    fn watch(&mut self, token: u64) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        match self.epoll.add(&stream.pipe, token) {
            Ok(()) => stream.state = State::Watched,
            Err(e) => self.stuck(token, format!("failed to watch a log pipe: {e}")),
        }
    }

    /// The file cannot take the stream's bytes: they wait in the pipe. Watching it further would be a busy loop.
    fn stuck(&mut self, token: u64, why: String) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        self.epoll.remove(&stream.pipe);
        stream.state = State::Stuck;
        if !std::mem::replace(&mut self.timer_runs, true) {
            let _ = self.timer.set(RETRY);
        }
        if !self.in_trouble {
            self.in_trouble = true;
            (self.report)(PumpEvent::Trouble(why));
        }
    }

    /// A pipe has something to say, or its last writer is gone.
    fn turn(&mut self, token: u64, hangup: bool) {
        let Some(stream) = self.streams.get_mut(&token).filter(|s| s.state == State::Watched) else { return };
        // Asked first, because a file is not made for a stream that ends without a word.
        if hangup && stream.waiting() == 0 {
            self.epoll.remove(&stream.pipe);
            stream.state = State::Ended;
            return;
        }
        match stream.pour(&mut self.files, TURN) {
            Ok(poured) => {
                stream.grow_if_busy(&mut self.budget);
                if poured.end {
                    self.epoll.remove(&stream.pipe);
                    stream.state = State::Ended;
                }
                self.poured(token, poured);
            }
            Err(why) => self.stuck(token, why),
        }
    }

    fn poured(&mut self, token: u64, poured: Poured) {
        let Some(stream) = self.streams.get(&token) else { return };
        if poured.bytes > 0 {
            self.followers.retain(|follower| follower.tell(&stream.file));
        }
        if poured.gave_up_splicing && !self.said_copying {
            self.said_copying = true;
            (self.report)(PumpEvent::Notice(format!(
                "the filesystem of {} takes no splices: log lines are copied, and a daemon killed meanwhile may lose some",
                self.files.path().display()
            )));
        }
    }

    fn drain(&mut self, token: u64) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        let (poured, outcome) = stream.drain(&mut self.files);
        self.poured(token, poured);
        if let Err(why) = outcome {
            self.stuck(token, why);
        }
    }

    /// The timer has run out: try what was stuck, oldest first.
    fn retry(&mut self) {
        self.timer.hush();
        self.timer_runs = false;
        for token in self.tokens(|s| s.state == State::Stuck) {
            // `drain` puts it back among the stuck if it still is.
            if let Some(stream) = self.streams.get_mut(&token) {
                stream.state = State::Ended;
            }
            self.drain(token);
            match self.streams.get(&token) {
                Some(stream) if stream.state == State::Stuck => {}
                Some(stream) if stream.finished => self.close(token),
                Some(_) => self.watch(token),
                None => {}
            }
        }
        if self.in_trouble && self.tokens(|s| s.state == State::Stuck).is_empty() {
            self.in_trouble = false;
            (self.report)(PumpEvent::TroubleOver);
        }
    }

    /// The bytes of a run that is over outlive it only while the disk refuses them. Gives the last that it wrote to standard
    /// error, if any are wanted.
    fn finish(&mut self, run: RunId, last_words: usize) -> LastBytes {
        let mut last = LastBytes::default();
        for token in self.tokens(|s| s.run == run && !s.finished) {
            self.drain(token);
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            if stream.err && last_words > 0 {
                last = stream.last_bytes(&self.files, last_words);
            }
            if stream.state == State::Stuck && stream.waiting() > 0 {
                stream.finished = true;
            } else {
                self.close(token);
            }
        }
        let lingering = self.tokens(|s| s.finished);
        for token in lingering.iter().take(lingering.len().saturating_sub(LINGER_MOST)) {
            if let Some(stream) = self.streams.get(token) {
                let (bytes, file) = (stream.waiting(), &stream.file);
                (self.report)(PumpEvent::Notice(format!("dropped {bytes} bytes that {file} could not take")));
            }
            self.close(*token);
        }
        last
    }

    fn close(&mut self, token: u64) {
        if let Some(stream) = self.streams.remove(&token) {
            self.epoll.remove(&stream.pipe);
            self.budget += stream.grown;
        }
    }

    fn flush(&mut self) {
        self.files.let_go_of_renamed();
        for token in self.tokens(|s| s.state == State::Watched && s.waiting() > 0) {
            self.drain(token);
        }
    }

    fn subscribe(&mut self, follower: Follower) {
        if self.streams.values().all(|stream| follower.tell(&stream.file)) {
            self.followers.push(follower);
        }
    }

    fn tokens(&self, which: impl Fn(&Stream) -> bool) -> Vec<u64> {
        self.streams.iter().filter(|(_, stream)| which(stream)).map(|(token, _)| *token).collect()
    }
}
