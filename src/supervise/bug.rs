//! Deliberate mistakes, for the simulation to catch. A build without the feature `seeded-bugs` has none: `on` is then
//! constantly false, and the branches fall away.
//!
//! Owns the list and the switch. It must not be asked for anything but a mistake. What a reader would get wrong: the switch
//! is per thread and never changes while a core runs, so the core stays a pure function of its inputs.

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident,)+) => {
        /// A mistake that somebody could make.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[doc = $doc])* $name,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

bugs! {
    /// A change is acted upon before it is durable.
    ActsBeforeDurable,
    /// A stop begins when it is durable.
    StopWaitsForDisk,
    /// A refused write is applied all the same.
    RollbackForgotten,
    /// What the disk refused is not tried again.
    UnsavedForgotten,
    /// An app is forgotten though its deletion could not be saved.
    DeletedUnsaved,
    /// A successor is started while leftovers live.
    SuccessorBesideLeftovers,
    /// A successor is started when the cgroup is empty, the main process having left it.
    SuccessorBeforeExit,
    /// "Stopped" is said when the main process has ended.
    StoppedSaidEarly,
    /// A run of an older generation is let be.
    GenerationIgnored,
    /// Orders count as restarts, and forgive nothing.
    OrdersCount,
    /// The backoff has no cap.
    BackoffWithoutCap,
    /// Early failures are followed at once.
    NoBackoff,
    /// A healthy run does not forgive.
    HealthyDoesNotClear,
    /// Any number of failures is fine.
    StartLimitIgnored,
    /// An errored instance is never tried again.
    ErroredForGood,
    /// The attempt of an errored instance may fail like any other.
    ProbationForgotten,
    /// An exit nobody observed counts as clean.
    UnobservedIsClean,
    /// A backoff goes on after a stop.
    BackoffOutlivesStop,
    /// What does not end in time is not killed.
    KillForgotten,
    /// What a main process leaves behind is not asked to end.
    LeftoversNotSwept,
    /// Reports about runs that are over are taken for the current run's.
    LateReportsHeard,
    /// A run is never retired.
    RetireForgotten,
    /// A reply is given twice.
    RepliesTwice,
    /// Orders that a later one contradicts are never answered.
    SupersededForgotten,
    /// An order sent again is carried out again.
    KeyIgnored,
    /// More or fewer instances: the others are replaced as well.
    ScalingTouchesAll,
    /// A reset forgets restarts, but not failures.
    ResetKeepsFailures,
    /// A daemon takes the end of a run that is recorded for a new one.
    RecordedTwice,
    /// A new daemon runs what had settled.
    SettledRunAgain,
    /// A new daemon goes by records of an older generation.
    OldRecordSettles,
    /// A new daemon does not see a run whose main process has ended.
    EndedRunNotAdopted,
    /// A new daemon does not go on with a stop.
    StopMarkIgnored,
    /// A new daemon leaves the runs of forgotten apps alone.
    GhostsIgnored,
    /// Something is started while the daemon closes.
    StartsWhileClosing,
    /// The daemon ends with orders unanswered.
    QuitsInSilence,
    /// What is asked to end is left frozen.
    StopForgetsThaw,
    /// What a frozen main process leaves behind is left frozen.
    LeftoversStayFrozen,
    /// "Paused" is said when the freezer has been asked.
    PausedSaidEarly,
    /// A new daemon does not see that a run is frozen.
    FreezerNotAdopted,
    /// What the freezer said to an earlier question is taken for the answer to this one.
    OldTurnsHeard,
    /// Whoever waits for the freezer waits for ever.
    FreezerNeverLate,
    /// A start replaces what is paused.
    StartReplacesPaused,
    /// A new daemon goes on with a stop, and then starts it again, since the disk says so.
    DownMarkIgnored,
    /// A new daemon starts what was stopped, since the disk says so.
    DownRecordIgnored,
    /// A stop of what is being replaced leaves the mark as it is.
    MarkNotRaised,
    /// A start takes a generation that a stop was marked with.
    MarkedGenerationReused,
    /// A daemon that ends marks what it stops as ordered down.
    ShutdownIsAnOrder,
    /// A new daemon gives away the name of an app that is deleted and still lives.
    GhostNamesFree,
    /// A new daemon answers at once that what lives of a deleted app is deleted.
    GhostSaidDeleted,
    /// A new daemon takes it that what lives is under its limits.
    LimitsNotAdopted,
    /// Another limit is a reason to replace what runs.
    LimitsReplaceRuns,
    /// Limits of what runs are changed once and not again.
    LaterLimitsForgotten,
    /// What passed its memory mark before it was watched is not noticed.
    MarkNotLookedAt,
    /// After a look that found nothing to do a run's memory is not watched again.
    MarkLookedAtOnce,
    /// To pass the memory mark is a failure like any other.
    HeavyIsAFailure,
    /// A new daemon takes the end of a run that passed its memory mark for an order.
    HeavyMarkIgnored,
}

#[cfg(feature = "seeded-bugs")]
std::thread_local! {
    static SEEDED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Makes this mistake from now on, in this thread; none: makes none.
#[cfg(feature = "seeded-bugs")]
pub fn seed(bug: Option<Bug>) {
    SEEDED.with(|seeded| seeded.set(bug));
}

#[cfg(feature = "seeded-bugs")]
pub(super) fn on(bug: Bug) -> bool {
    SEEDED.with(std::cell::Cell::get) == Some(bug)
}

#[cfg(not(feature = "seeded-bugs"))]
pub(super) const fn on(_: Bug) -> bool {
    false
}
