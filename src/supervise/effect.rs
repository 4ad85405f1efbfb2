//! What the core asks for. The daemon performs these in the order given, and answers with inputs.
//!
//! Owns the words going out. It must not perform anything. What a reader would get wrong: an effect is a wish, not a fact;
//! whether it came true is an [`Input`](super::Input).

use super::StopMark;
use crate::model::{Answer, AppId, DesiredApp, Event, Generation, InstanceId, Limits, OrderId, RunId, Signal, WriteId};

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make this change of the desired state durable, then answer `Persisted` or `PersistFailed`.
    Persist {
        /// What to answer.
        write: WriteId,
        /// What changed.
        change: Change,
    },
    /// Make the run: fresh cgroup, limits, marks, pipes, process. Answered by `Spawned` or `SpawnFailed`, and later by
    /// `Exited` and `Emptied`.
    Spawn(Box<Spawn>),
    /// Mark on the run's cgroup that it is being ended, so that a later daemon goes on with the ladder. Never waits.
    MarkStop {
        /// Which run.
        run: RunId,
        /// What the mark says.
        mark: StopMark,
    },
    /// Have a run that lives be under these limits, instead of whatever it is under, and stop watching its memory. Answered by
    /// `Limited`.
    Limit {
        /// Which run.
        run: RunId,
        /// What to answer.
        turn: u64,
        /// The limits. What they do not ask for is taken off.
        limits: Box<Limits>,
    },
    /// Wait for the next event of the run's memory (its usage passed memory.high), one since the last answer included; then answer
    /// `Weighed`, and wait no more.
    WatchMemory {
        /// Which run.
        run: RunId,
        /// Do not wait: answer now.
        look: bool,
    },
    /// Let the run have what memory it takes (memory.high), and stop watching it: it is being ended.
    Unthrottle {
        /// Which run.
        run: RunId,
    },
    /// Send a signal.
    Signal {
        /// Which run.
        run: RunId,
        /// The signal.
        signal: Signal,
        /// To whom.
        whom: Whom,
    },
    /// Deliver somebody's signal to the run's main process, and answer `Delivered`.
    Deliver {
        /// Whose.
        order: OrderId,
        /// Which of its outcomes.
        slot: u32,
        /// Which run.
        run: RunId,
        /// The signal.
        signal: Signal,
    },
    /// Have the kernel hold everything in the run (`cgroup.freeze`). Answered by `Frozen` when it does, whenever that is, or
    /// `FreezerRefused`; and by `Thawed` if somebody else has it let go of later.
    Freeze {
        /// Which run.
        run: RunId,
        /// What to answer.
        turn: u64,
    },
    /// Have the kernel let go of it.
    Thaw {
        /// Which run.
        run: RunId,
        /// What to answer, with `Thawed` or `FreezerRefused`; none: nobody waits, since it is on its way down.
        turn: Option<u64>,
    },
    /// Kill everything in the run: `cgroup.kill`, and SIGKILL to the main process through its pidfd, which may have left.
    Kill {
        /// Which run.
        run: RunId,
    },
    /// The run is over: remove its cgroup, close what belongs to it, acknowledge its exit record.
    Retire {
        /// Which run.
        run: RunId,
    },
    /// Write this into the journal.
    Record(Event),
    /// Tell whoever asked.
    Reply {
        /// Which order.
        order: OrderId,
        /// What it came to.
        answer: Answer,
    },
    /// The app is deleted and nothing of it lives: remove what the kernel holds for it (its instances' empty cgroups).
    Forget {
        /// Which app.
        app: AppId,
        /// How many instances it had at most.
        instances: u32,
    },
    /// End the daemon; every order is answered.
    Quit {
        /// Apps are left running for the next daemon.
        keep_apps: bool,
    },
}

/// A run to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// Its number.
    pub run: RunId,
    /// Whose.
    pub instance: InstanceId,
    /// What the mark says.
    pub generation: Generation,
    /// Automatic restarts so far, for the mark.
    pub restarts: u32,
    /// Early failures in a row so far, for the mark.
    pub failures: u32,
    /// What to run, and in which environment.
    pub app: DesiredApp,
}

/// Whom a signal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The main process, through its pidfd.
    Main,
    /// Every process in the run's cgroup.
    Everyone,
}

/// A change of the desired state. Everything in one change becomes durable together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Apps added or changed, as they are now wanted.
    pub put: Vec<(AppId, DesiredApp)>,
    /// Apps forgotten.
    pub removed: Vec<AppId>,
    /// The id that the next new app gets.
    pub next_id: AppId,
}
