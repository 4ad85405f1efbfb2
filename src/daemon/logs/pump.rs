//! The log pump: one thread that moves what apps write into their files, and sleeps while they are quiet.
//!
//! Owns the read ends of the apps' pipes in this process, and whose turn it is. It must not look at what it moves. What a
//! reader would get wrong: the keeper holds the same pipes, so closing an end here loses nothing and ends nothing for the app;
//! and since its copy keeps the open file alive, an end must leave the epoll set before it is closed.

use super::files::LogFiles;
use super::follow::{self, Filter, Follow, Follower};
use super::stream::{Poured, State, Stream};
use crate::config::Paths;
use crate::kernel::epoll::{Epoll, Ready};
use crate::kernel::pump::{Bell, Timer};
use crate::model::{AppName, RunId};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
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

/// Something for the pump to do.
pub enum Command {
    /// Capture a run.
    Add {
        /// Which run.
        run: RunId,
        /// The app.
        name: AppName,
        /// The instance's number.
        instance: u32,
        /// The read ends for standard output and standard error, O_NONBLOCK.
        streams: [OwnedFd; 2],
    },
    /// The run is over: move what is left, and let go of its pipes.
    Finish {
        /// Which run.
        run: RunId,
        /// Told when that is done, or when the disk is full and it must wait.
        done: Box<dyn FnOnce() + Send>,
    },
    /// Move everything that is in the pipes now.
    Flush {
        /// Told when it is in the files, those apart that cannot take it.
        done: Box<dyn FnOnce() + Send>,
    },
    /// Tell somebody when files grow.
    #[doc(hidden)]
    Subscribe(FollowerEnd),
    /// Move everything that is in the pipes now, and end.
    Shutdown,
}

/// The pump's end of a follower; made by [`PumpHandle::follow`].
#[derive(Debug)]
pub struct FollowerEnd(Follower);

/// What the pump says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PumpEvent {
    /// Files cannot take what apps write; it stays in their pipes and is tried again.
    Trouble(String),
    /// They can again.
    TroubleOver,
    /// Something that people should know and that does not pass.
    Notice(String),
}

/// The way to the pump. When the last one is dropped, the pump ends as by [`Command::Shutdown`].
#[derive(Debug, Clone)]
pub struct PumpHandle(Arc<Sending>);

#[derive(Debug)]
struct Sending {
    commands: Option<Sender<Command>>,
    bell: Arc<Bell>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.commands = None;
        self.bell.ring();
    }
}

impl PumpHandle {
    /// Sends a command. It is dropped if the pump has ended.
    pub fn send(&self, command: Command) {
        if let Some(commands) = &self.0.commands {
            let _ = commands.send(command);
            self.0.bell.ring();
        }
    }

    /// Tells from now on when files grow. What the filter names now is told once at the beginning, so that nothing falls
    /// between a look at the file and this.
    #[must_use]
    pub fn follow(&self, filter: Filter) -> Follow {
        let (follow, follower) = follow::pair(filter);
        self.send(Command::Subscribe(FollowerEnd(follower)));
        follow
    }
}

/// Starts the pump's thread. `report` is called on that thread.
///
/// # Errors
/// Out of descriptors or threads.
pub fn spawn(paths: Paths, report: Box<dyn Fn(PumpEvent) + Send>) -> Result<(PumpHandle, JoinHandle<()>), String> {
    let fail = |e: &dyn std::fmt::Display| format!("failed to start the log pump: {e}");
    let (send, commands) = channel();
    let bell = Arc::new(Bell::new().map_err(|e| fail(&e))?);
    let (epoll, timer) = (Epoll::new().map_err(|e| fail(&e))?, Timer::new().map_err(|e| fail(&e))?);
    epoll.add(&*bell, BELL).and_then(|()| epoll.add(&timer, TIMER)).map_err(|e| fail(&e))?;
    let pump = Pump {
        files: LogFiles::new(paths.logs.clone()),
        paths,
        report,
        commands,
        bell: Arc::clone(&bell),
        epoll,
        timer,
        streams: BTreeMap::new(),
        next_token: FIRST_STREAM,
        followers: Vec::new(),
        budget: GROWN_MOST,
        timer_runs: false,
        in_trouble: false,
        said_copying: false,
    };
    let thread = std::thread::Builder::new()
        .name("opm-logs".to_owned())
        .stack_size(256 << 10)
        .spawn(move || pump.run())
        .map_err(|e| fail(&e))?;
    Ok((PumpHandle(Arc::new(Sending { commands: Some(send), bell })), thread))
}

struct Pump {
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

impl Pump {
    fn run(mut self) {
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
                Ok(Command::Finish { run, done }) => {
                    self.finish(run);
                    done();
                }
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
            self.streams.insert(token, Stream::new(run, file, pipe));
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
        match stream.drain(&mut self.files) {
            Ok(poured) => self.poured(token, poured),
            Err(why) => self.stuck(token, why),
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

    /// The bytes of a run that is over outlive it only while the disk refuses them.
    fn finish(&mut self, run: RunId) {
        for token in self.tokens(|s| s.run == run && !s.finished) {
            self.drain(token);
            let Some(stream) = self.streams.get_mut(&token) else { continue };
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
