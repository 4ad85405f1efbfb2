//! The thread that waits for the disk, so that nobody else has to.
//!
//! Owns the queue to it, the sharing of one fsync among concurrent writes, and the journal's retries. It must not decide
//! what is written. What a reader would get wrong: it sleeps in its queue without a timer as long as everything is written;
//! only while the journal owes lines does it wake by itself.

use super::commit::Disk;
use super::dump;
use crate::daemon::journal::Journal;
use crate::model::{BootId, DesiredApp, Event, Moment, RunId, Wall, WriteId};
use crate::supervise::Change;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the journal waits before it tries again what it could not write.
const RETRY: Duration = Duration::from_secs(5);
/// serde_json recurses at most 128 deep, which fits many times over.
const STACK: usize = 512 << 10;

/// Something for the store to do. Each is done in the order it was sent.
pub enum Command {
    /// Make a change durable. Answered by `Persisted` or `PersistFailed`, in the order asked.
    Persist {
        /// What to answer.
        write: WriteId,
        /// What changed.
        change: Change,
    },
    /// Write an event into the journal.
    Record {
        /// What happened.
        event: Event,
        /// When, for people.
        wall: Wall,
        /// When, for policy.
        moment: Moment,
        /// Answer `Recorded` with this once it is written, so that the keeper may forget the exit.
        ack: Option<RunId>,
    },
    /// Write the dump.
    Save {
        /// What it shall hold.
        apps: Vec<DesiredApp>,
        /// Told how it went.
        done: Box<dyn FnOnce(Result<(), String>) + Send>,
    },
    /// Say so once everything before this is done.
    Barrier(Box<dyn FnOnce() + Send>),
}

/// What the store says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// The change is durable.
    Persisted(WriteId),
    /// Nothing of the change is on disk.
    PersistFailed {
        /// Which.
        write: WriteId,
        /// Why, in words.
        error: String,
    },
    /// The exit of this run is in the journal.
    Recorded(RunId),
    /// The journal cannot be written; it is tried again.
    Trouble(String),
    /// It can be again, and nothing is owed.
    TroubleOver,
}

/// The way to the store. When the last one is dropped, the store does what it was sent and ends.
#[derive(Debug, Clone)]
pub struct StoreHandle {
    commands: Sender<Command>,
}

impl StoreHandle {
    /// Sends a command. It is dropped if the store's thread is gone, which is only so when it panicked.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

/// Starts the store's thread. `reply` is called on that thread.
///
/// # Errors
/// No thread could be made.
pub fn spawn(
    disk: Disk,
    journal: Journal,
    reply: Box<dyn Fn(StoreEvent) + Send>,
) -> Result<(StoreHandle, JoinHandle<()>), String> {
    let (commands, queue) = channel();
    let boot = disk.boot.clone();
    let store = Store { disk, journal, boot, reply, in_trouble: false };
    std::thread::Builder::new()
        .name("opm-store".to_owned())
        .stack_size(STACK)
        .spawn(move || store.run(&queue))
        .map(|thread| (StoreHandle { commands }, thread))
        .map_err(|e| format!("failed to start the store's thread: {e}"))
}

struct Store {
    disk: Disk,
    journal: Journal,
    boot: BootId,
    reply: Box<dyn Fn(StoreEvent) + Send>,
    /// The journal was said to be in trouble.
    in_trouble: bool,
}

impl Store {
    fn run(mut self, queue: &Receiver<Command>) {
        loop {
            let first = if self.journal.owes() {
                match queue.recv_timeout(RETRY) {
                    Ok(command) => Some(command),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return self.write_owed(),
                }
            } else {
                match queue.recv() {
                    Ok(command) => Some(command),
                    Err(_) => return,
                }
            };
            // Whatever came while the disk was busy shares the next round of fsyncs.
            let mut changes = Vec::new();
            for command in first.into_iter().chain(queue.try_iter()) {
                self.perform(command, &mut changes);
            }
            // The journal first: it is not fsynced, and the keeper waits to hear that an exit is recorded.
            self.write_owed();
            self.persist(&mut changes);
        }
    }

    /// Changes are gathered; what must come after them makes them durable first.
    fn perform(&mut self, command: Command, changes: &mut Vec<(WriteId, Change)>) {
        match command {
            Command::Persist { write, change } => changes.push((write, change)),
            Command::Record { event, wall, moment, ack } => {
                self.journal.queue(event, wall, &self.boot, moment, ack);
            }
            Command::Save { apps, done } => {
                self.persist(changes);
                done(dump::write(&self.disk.state, &apps));
            }
            Command::Barrier(done) => {
                self.persist(changes);
                self.write_owed();
                done();
            }
        }
    }

    /// All of them with one commit. One that can never be written fails alone; what the disk refuses fails for all.
    fn persist(&mut self, changes: &mut Vec<(WriteId, Change)>) {
        if changes.is_empty() {
            return;
        }
        let checked: Vec<_> = changes.drain(..).map(|(w, c)| (w, self.disk.check(&c).map(|()| c))).collect();
        let good = || checked.iter().filter_map(|(_, change)| change.as_ref().ok());
        let written = if good().next().is_some() { self.disk.commit(good()) } else { Ok(()) };
        for (write, change) in checked {
            (self.reply)(match change.and(written.clone()) {
                Ok(()) => StoreEvent::Persisted(write),
                Err(error) => StoreEvent::PersistFailed { write, error },
            });
        }
        self.disk.shorten_the_log();
    }

    fn write_owed(&mut self) {
        let reply = &self.reply;
        match self.journal.write(|run| reply(StoreEvent::Recorded(run))) {
            Ok(()) if self.in_trouble => {
                self.in_trouble = false;
                reply(StoreEvent::TroubleOver);
            }
            Ok(()) => {}
            Err(error) if !self.in_trouble => {
                self.in_trouble = true;
                reply(StoreEvent::Trouble(error));
            }
            Err(_) => {}
        }
    }
}
