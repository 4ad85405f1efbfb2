//! The log pump: one thread that moves what apps write into their files, and sleeps while they are quiet.
//!
//! Owns the way to that thread: commands, reports, followers. It must not move anything; `worker` does. What a reader would get
//! wrong: the keeper holds the same pipes, so what this process closes loses nothing and ends nothing for the app.

use super::files::{Emptied, LogFiles};
use super::follow::{self, Filter, Follow, Follower};
use super::keeping::KeepHandle;
use super::place::Plan;
use super::series::Series;
use super::worker::Worker;
use crate::kernel::pump::Bell;
use crate::model::RunId;
use rustix::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// Something for the pump to do.
pub enum Command {
    /// Capture a run.
    Add {
        /// Which run.
        run: RunId,
        /// Where its output goes.
        plan: Box<Plan>,
        /// The read ends for standard output and standard error, O_NONBLOCK.
        streams: [OwnedFd; 2],
    },
    /// The run is over: move what is left, and let go of its pipes.
    Finish {
        /// Which run.
        run: RunId,
        /// How many of the last bytes that it wrote to standard error are wanted, at most.
        last_words: usize,
        /// Told when that is done, or when the disk is full and it must wait.
        done: Box<dyn FnOnce(LastBytes) + Send>,
    },
    /// Move everything that is in the pipes now.
    Flush {
        /// Told when it is in the files, those apart that cannot take it.
        done: Box<dyn FnOnce() + Send>,
    },
    /// Empty these logs: the files that are written, and those that were set aside.
    Empty {
        /// Which.
        series: Vec<Series>,
        /// Told what was emptied.
        done: Box<dyn FnOnce(Result<Emptied, String>) + Send>,
    },
    /// Let go of files that were renamed: somebody rotates them.
    Reopen {
        /// Told when that is done.
        done: Box<dyn FnOnce() + Send>,
    },
    /// Tell somebody when files grow.
    #[doc(hidden)]
    Subscribe(FollowerEnd),
    /// Move everything that is in the pipes now, and end.
    Shutdown,
}

/// The last that a run wrote to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastBytes {
    /// At most as many as were wanted.
    pub bytes: Vec<u8>,
    /// It wrote more before these.
    pub cut: bool,
}

/// The pump's end of a follower; made by [`PumpHandle::follow`].
#[derive(Debug)]
pub struct FollowerEnd(pub(super) Follower);

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

/// Starts the pump's thread. `keep`: who is told of files that were set aside, and asked for room. `spools`: the folder for what is on its way to files in lines; it must outlive this process. `journald`: its
/// socket. `report` is called on that thread.
///
/// # Errors
/// Out of descriptors or threads.
pub fn spawn(
    spools: PathBuf,
    journald: &Path,
    keep: KeepHandle,
    report: Box<dyn Fn(PumpEvent) + Send>,
) -> Result<(PumpHandle, JoinHandle<()>), String> {
    let fail = |e: &dyn std::fmt::Display| format!("failed to start the log pump: {e}");
    let (send, commands) = channel();
    let bell = Arc::new(Bell::new().map_err(|e| fail(&e))?);
    let worker = Worker::new(LogFiles::new(spools, journald), keep, report, commands, Arc::clone(&bell))
        .map_err(|e| fail(&e))?;
    let thread = std::thread::Builder::new()
        .name("opm-logs".to_owned())
        // Pages that are never touched cost nothing; reading the time zone, in a debug build, took more than 256 KiB.
        .stack_size(1 << 20)
        .spawn(move || worker.run())
        .map_err(|e| fail(&e))?;
    Ok((PumpHandle(Arc::new(Sending { commands: Some(send), bell })), thread))
}
