//! The keeping of what was set aside: packing it, and letting go of it.
//!
//! Owns the thread, and the way to it. It must not be waited for, nor touch a file that is being written. What a reader would get
//! wrong: mostly there is no thread. It comes with the first thing to do, and stays only while something is going to be too old; then
//! it sleeps until that moment.

mod caps;
mod job;
mod orphans;
mod room;
mod shelf;
mod work;

pub use work::Known;

use super::series::Series;
use crate::model::AppId;
use job::Job;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use work::Work;

/// Only what is touched of it costs memory; a debug build of the packer touches a lot.
const STACK: usize = 2 << 20;
/// The lowest priority for the processor and, since that follows from it, for the disk (ioprio_set(2)).
const NICE: i32 = 19;

/// What was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// How many files. None: there is nothing more to remove.
    pub files: u32,
    /// What they gave back.
    pub bytes: u64,
}

/// The way to the keeping. When the last one is dropped, it ends where it stands; the next daemon's [`KeepHandle::sweep`] goes on.
#[derive(Clone)]
pub struct KeepHandle(Arc<Sending>);

struct Sending(Arc<Shared>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.urgent.fetch_add(1, Ordering::Relaxed);
        self.0.bell.notify_all();
    }
}

struct Shared {
    inbox: Mutex<Inbox>,
    bell: Condvar,
    /// How many wait for what is being packed.
    urgent: AtomicUsize,
}

struct Inbox {
    jobs: VecDeque<Job>,
    /// With the thread, while there is one.
    work: Option<Work>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn push(&mut self, job: Job) {
        if !self.jobs.iter().any(|other| other.is_same(&job)) {
            self.jobs.push_back(job);
        }
    }

    /// The next to do. Who waits for all to be settled comes last.
    fn pop(&mut self) -> Option<Job> {
        let settled = |job: &Job| matches!(job, Job::Settled(_));
        let at = self.jobs.iter().position(Job::is_urgent);
        let at = at.or_else(|| self.jobs.iter().position(|job| !settled(job))).unwrap_or(0);
        self.jobs.remove(at)
    }
}

impl KeepHandle {
    /// For the logs in this folder. `report` is told what people should know, each trouble once while it lasts.
    #[must_use]
    pub fn new(logs: PathBuf, report: Box<dyn Fn(String) + Send>) -> Self {
        let inbox = Inbox { jobs: VecDeque::new(), work: Some(Work::new(logs, report)), closed: false };
        let shared = Shared { inbox: Mutex::new(inbox), bell: Condvar::new(), urgent: AtomicUsize::new(0) };
        Self(Arc::new(Sending(Arc::new(shared))))
    }

    /// What logs an app has now, and what is kept of them. Logs that it had and has no more are kept as those of one that is gone.
    pub fn know(&self, app: AppId, known: Known) {
        self.send(Job::Know(app, known));
    }

    /// What is known of an app by who does not know all of its logs: those not named stay as they are.
    pub fn know_some(&self, app: AppId, known: Known) {
        self.send(Job::KnowSome(app, known));
    }

    /// An app was added, or has another spec: what is kept of its logs may have changed, and logs of an app of that name that was
    /// deleted are nobody's no more.
    pub fn seen(&self, app: AppId, known: Known) {
        self.send(Job::Seen(app, known));
    }

    /// The app is gone. Its logs stay until they are too old.
    pub fn forget(&self, app: AppId) {
        self.send(Job::Forget(app));
    }

    /// A file of this log was set aside, index and all.
    pub fn rotated(&self, series: Series) {
        self.send(Job::Rotated(series));
    }

    /// Once, when the daemon knows all of its apps: clears what a crash left, applies the caps, and lets go of what is nobody's and
    /// too old.
    pub fn sweep(&self) {
        self.send(Job::Sweep);
    }

    /// A file in that folder could not take bytes for lack of room, just now. The oldest files that were set aside on that
    /// filesystem go, whoever's they are, until there is some. If none is left, then `done` hears of none.
    pub fn make_room(&self, folder: PathBuf, done: Box<dyn FnOnce(Freed) + Send>) {
        self.send(Job::MakeRoom(folder, done));
    }

    /// Removes all that was set aside of these logs.
    pub fn clear(&self, series: Vec<Series>, done: Box<dyn FnOnce(Freed) + Send>) {
        self.send(Job::Clear(series, done));
    }

    /// Tells when all that is to be done by now is done.
    pub fn settled(&self, done: Box<dyn FnOnce() + Send>) {
        self.send(Job::Settled(Box::new(|()| done())));
    }

    /// Whether there is a thread.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        self.0.0.lock().work.is_none()
    }

    fn send(&self, job: Job) {
        let shared = &self.0.0;
        let mut inbox = shared.lock();
        if job.is_urgent() {
            shared.urgent.fetch_add(1, Ordering::Relaxed);
        }
        inbox.push(job);
        let Some(mut work) = inbox.work.take() else {
            shared.bell.notify_one();
            return;
        };
        // Most of what is told asks for nothing to be done, and so for no thread.
        while let Some(Job::Know(..) | Job::KnowSome(..) | Job::Seen(..) | Job::Forget(_) | Job::Rotated(_)) =
            inbox.jobs.front()
        {
            let Some(job) = inbox.jobs.pop_front() else { break };
            work.tell(job).into_iter().for_each(|job| inbox.push(job));
        }
        if inbox.jobs.is_empty() {
            inbox.work = Some(work);
            return;
        }
        drop(inbox);
        wake(shared, work);
    }
}

/// Starts the thread. If it cannot be, what there is to do waits for the next who sends something; but nobody is kept waiting.
fn wake(shared: &Arc<Shared>, work: Work) {
    // Handed over by a third hand, because a thread that cannot be started drops what it was given.
    let hand = Arc::new(Mutex::new(Some(work)));
    let (taken, thread) = (Arc::clone(&hand), Arc::clone(shared));
    let started = std::thread::Builder::new().name("opm-keep".to_owned()).stack_size(STACK).spawn(move || {
        if let Some(work) = taken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = rustix::process::setpriority_process(None, NICE);
            run(&thread, work);
        }
    });
    let Err(e) = started else { return };
    let Some(mut work) = hand.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    work.say_once("thread".to_owned(), format!("failed to start the thread that keeps rotated logs: {e}"));
    let mut inbox = shared.lock();
    inbox.work = Some(work);
    let (waiting, jobs) = inbox.jobs.drain(..).partition::<Vec<_>, _>(Job::is_urgent);
    inbox.jobs = jobs.into();
    drop(inbox);
    for job in waiting {
        shared.urgent.fetch_sub(1, Ordering::Relaxed);
        if let Job::MakeRoom(_, done) | Job::Clear(_, done) = job {
            done(Freed::default());
        }
    }
}

fn run(shared: &Shared, mut work: Work) {
    loop {
        let mut inbox = shared.lock();
        if inbox.closed {
            return;
        }
        let Some(job) = inbox.pop() else {
            let Some(due) = work.next_due() else {
                inbox.work = Some(work);
                return;
            };
            match due.duration_since(SystemTime::now()) {
                Ok(wait) if !wait.is_zero() => drop(shared.bell.wait_timeout(inbox, wait)),
                Ok(_) | Err(_) => work.overdue(SystemTime::now()).into_iter().for_each(|job| inbox.push(job)),
            }
            continue;
        };
        drop(inbox);
        if job.is_urgent() {
            shared.urgent.fetch_sub(1, Ordering::Relaxed);
        }
        let more = work.act(job, &|| shared.urgent.load(Ordering::Relaxed) == 0);
        let mut inbox = shared.lock();
        more.into_iter().for_each(|job| inbox.push(job));
    }
}
