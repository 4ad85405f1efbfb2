//! What the keeping is asked to do, and what it asks of itself.
//!
//! Owns the order of importance. It must not wait. What a reader would get wrong: a job is small, so that who waits for room never
//! waits for a queue: packing goes file by file, and stops between two reads.

use super::Freed;
use super::work::{Known, Work};
use crate::daemon::logs::series::Series;
use crate::model::AppId;
use std::path::PathBuf;

pub(super) type Done<T> = Box<dyn FnOnce(T) + Send>;

/// Something to do.
pub(super) enum Job {
    Know(AppId, Known),
    KnowSome(AppId, Known),
    Seen(AppId, Known),
    Forget(AppId),
    Rotated(Series),
    /// Caps, floor and packing of one app.
    Tidy(AppId),
    Orphans,
    Sweep,
    MakeRoom(PathBuf, Done<Freed>),
    Clear(Vec<Series>, Done<Freed>),
    Settled(Done<()>),
}

impl Job {
    /// Somebody waits: no packing is worth that.
    pub(super) fn is_urgent(&self) -> bool {
        match self {
            Self::MakeRoom(..) | Self::Clear(..) => true,
            Self::Know(..)
            | Self::KnowSome(..)
            | Self::Seen(..)
            | Self::Forget(_)
            | Self::Rotated(_)
            | Self::Tidy(_)
            | Self::Orphans
            | Self::Sweep
            | Self::Settled(_) => false,
        }
    }

    /// Once is enough.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tidy(a), Self::Tidy(b)) => a == b,
            (Self::Rotated(a), Self::Rotated(b)) => a == b,
            (Self::Orphans, Self::Orphans) => true,
            (
                Self::Know(..)
                | Self::KnowSome(..)
                | Self::Seen(..)
                | Self::Forget(_)
                | Self::Rotated(_)
                | Self::Tidy(_)
                | Self::Orphans
                | Self::Sweep
                | Self::MakeRoom(..)
                | Self::Clear(..)
                | Self::Settled(_),
                _,
            ) => false,
        }
    }
}

impl Work {
    /// What needs no look at a disk. Gives what does.
    pub(super) fn tell(&mut self, job: Job) -> Vec<Job> {
        match job {
            Job::Know(app, known) => self.know(app, known),
            Job::KnowSome(app, known) => self.know_some(app, known),
            Job::Seen(app, known) => self.seen(app, known),
            Job::Forget(app) => self.forget(app).into_iter().collect(),
            Job::Rotated(series) => self.rotated(&series),
            job @ (Job::Tidy(_) | Job::Orphans | Job::Sweep | Job::MakeRoom(..) | Job::Clear(..) | Job::Settled(_)) => {
                vec![job]
            }
        }
    }

    /// Gives what is to be done then.
    pub(super) fn act(&mut self, job: Job, go_on: &dyn Fn() -> bool) -> Vec<Job> {
        match job {
            job @ (Job::Know(..) | Job::KnowSome(..) | Job::Seen(..) | Job::Forget(_) | Job::Rotated(_)) => {
                return self.tell(job);
            }
            Job::Tidy(app) => return if self.tidy(app, go_on) { vec![Job::Tidy(app)] } else { Vec::new() },
            Job::Sweep => return self.sweep(),
            Job::Orphans => self.tidy_orphans(),
            Job::MakeRoom(folder, done) => done(self.make_room(&folder)),
            Job::Clear(series, done) => done(self.clear(&series)),
            Job::Settled(done) => done(()),
        }
        Vec::new()
    }
}
