//! What the core is told: facts about runs, answers about writes, and orders.
//!
//! Owns the words coming in. It must not decide anything. What a reader would get wrong: reports may come late, twice,
//! or never; each carries its `RunId`, and one about a run that the core has done with is dropped.

use crate::model::exit::Usage;
use crate::model::{
    AppName, ExitStatus, Generation, InstanceId, MarkPassed, Moment, Order, OrderId, OrderKey, RunId, Tally, WriteId,
};

/// Something the core is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A run that adoption found in the cgroup tree, live or left over. All of these come before [`Input::Converge`].
    Adopted(Adopted),
    /// Adoption is complete: act from now on. Before this the core takes orders but decides nothing.
    Converge,
    /// Somebody asks for something.
    Ordered {
        /// What to reply to. Unique within the daemon's life.
        order: OrderId,
        /// How the client calls it, so that it may send it again.
        key: Option<OrderKey>,
        /// What is asked.
        request: Order,
    },
    /// The client of an order is gone; nobody waits for the reply. The order itself stands.
    Abandoned {
        /// Which.
        order: OrderId,
    },
    /// A write is durable. Writes are answered in the order they were asked for.
    Persisted {
        /// Which.
        write: WriteId,
    },
    /// A write failed; nothing of it is on disk. Its content is merged into the next write that is asked for.
    PersistFailed {
        /// Which.
        write: WriteId,
        /// Why, in words.
        error: String,
    },
    /// The run's program was executed.
    Spawned {
        /// Which run.
        run: RunId,
        /// Its main process.
        pid: u32,
    },
    /// The run never got to its program. Nothing of it lives, and its cgroup is empty: this ends the run.
    SpawnFailed {
        /// Which run.
        run: RunId,
        /// The stage and the cause, in words.
        failure: String,
        /// False: it is this machine that could not (no memory, no descriptors), not the spec.
        /// Both count as a failed run; the word is for people.
        of_the_spec: bool,
    },
    /// The run's main process ended.
    Exited {
        /// Which run.
        run: RunId,
        /// How.
        status: ExitStatus,
        /// What it used, where anybody counted.
        usage: Option<Usage>,
        /// The kernel killed something in this run for want of memory.
        out_of_memory: bool,
    },
    /// The main process has ended and others are left in the run's cgroup.
    LeftBehind {
        /// Which run.
        run: RunId,
        /// How many.
        left: u32,
    },
    /// Everything in the run is held by the freezer (`cgroup.events`: frozen 1), as it was asked to.
    Frozen {
        /// Which run.
        run: RunId,
        /// Which question this answers; 0 for one of the daemon before.
        turn: u64,
    },
    /// The freezer has let go of the run: it was asked to, or somebody else asked it.
    Thawed {
        /// Which run.
        run: RunId,
        /// Which question this answers, or which answer it takes back.
        turn: u64,
    },
    /// The freezer could not be asked, or not be watched; then what was asked of it was taken back.
    FreezerRefused {
        /// Which run.
        run: RunId,
        /// Which question this answers.
        turn: u64,
        /// Why, in words.
        error: String,
    },
    /// Somebody's signal was sent, or could not be.
    Delivered {
        /// Whose.
        order: OrderId,
        /// Which of its outcomes.
        slot: u32,
        /// Why not, in words.
        failure: Option<String>,
    },
    /// The run's cgroup is empty. The run is over when this and [`Input::Exited`] have both come, in whichever order.
    Emptied {
        /// Which run.
        run: RunId,
        /// What all of it used, where the kernel still says.
        tally: Option<Box<Tally>>,
    },
    /// The limits that were asked for are in force, or not all of them.
    Limited {
        /// Which run.
        run: RunId,
        /// Which question this answers.
        turn: u64,
        /// Why not, in words.
        failure: Option<String>,
    },
    /// How much memory a run holds that the kernel could not take back; none if it could not be asked.
    Weighed {
        /// Which run.
        run: RunId,
        /// Bytes.
        held: Option<u64>,
    },
}

/// A run found at adoption: what its cgroup and its marks say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Which run.
    pub run: RunId,
    /// Whose.
    pub instance: InstanceId,
    /// The name of its app, as marked.
    pub name: Option<AppName>,
    /// The generation it was marked with.
    pub generation: Generation,
    /// Automatic restarts so far, as marked at spawn.
    pub restarts: u32,
    /// Early failures in a row before it, as marked at spawn.
    pub failures: u32,
    /// When it was spawned, as marked.
    pub started: Moment,
    /// What its main process is doing.
    pub main: AdoptedMain,
    /// The stop ladder that was under way, as marked: when it kills.
    pub stopping: Option<StopMark>,
    /// What the freezer does with it.
    pub freezer: Freezer,
    /// No limits were ever written on it, and nobody has taken off since what every run is under. Otherwise nobody knows.
    pub plain: bool,
}

/// What the freezer does with a run that adoption found. It is watched under turn 0, if it does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freezer {
    /// Nothing.
    Thawed,
    /// It was asked to hold it (`cgroup.freeze` 1), and does not yet hold all of it.
    Freezing,
    /// It holds it (`cgroup.events`: frozen 1).
    Frozen,
}

/// What adoption found out about a run's main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdoptedMain {
    /// Alive, by its pidfd. `Exited` will be reported when it ends.
    Alive {
        /// Its number.
        pid: u32,
    },
    /// Gone, or gone in a moment: `Exited` will be reported, and `Emptied` when the cgroup is empty.
    Ended,
    /// Its marks say nothing usable, and processes live in its cgroup: it is shown as unknown, and nothing is started beside
    /// it. `Exited` (not observed) and `Emptied` are reported when it is empty.
    Unmarked,
}

/// Why a run is being ended, as marked on its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopMark {
    /// When what is left is killed.
    pub deadline: Moment,
    /// An order wants the instance down, when this is the newest generation wanted: a later daemon takes that for an order in
    /// force, even if it was not saved. None: another run comes in its place, or the daemon ends.
    pub down: Option<Generation>,
    /// It passed its memory mark: that is why, and not an order.
    pub heavy: Option<MarkPassed>,
}
