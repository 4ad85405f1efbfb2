//! Limits of runs that live, written off the loop: whoever lowers memory.max or memory.high has to take the memory back himself, which
//! may take seconds, and devices are looked up in file systems that may hang.
//!
//! One thread, made when it is first needed, that writes in the order of the questions. It must not decide. What a reader would get
//! wrong: what is not asked for is taken off, so an answer says how all of a run's limits are, not what has changed.

use super::handle::{Handle, Mail};
use crate::kernel::controllers::Controllers;
use crate::kernel::limits;
use crate::model::{Limits, RunId};
use crate::supervise::Input;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// One run to be limited.
struct Job {
    run: RunId,
    turn: u64,
    path: PathBuf,
    limits: Box<Limits>,
}

/// The way to the thread.
pub(super) struct Limiter {
    handle: Handle,
    controllers: Arc<Controllers>,
    queue: Option<Sender<Job>>,
}

impl Limiter {
    pub(super) fn new(handle: Handle, controllers: Controllers) -> Self {
        Self { handle, controllers: Arc::new(controllers), queue: None }
    }

    /// Has the run be under these limits. Some: it is known at once how that goes.
    pub(super) fn limit(&mut self, run: RunId, turn: u64, path: PathBuf, limits: Box<Limits>) -> Option<Input> {
        if let Err(lacking) = limits::check(&limits, &self.controllers) {
            return Some(Input::Limited { run, turn, failure: Some(lacking.why) });
        }
        if self.controllers.enabled().is_empty() {
            // Nothing was ever limited here, and nothing can be.
            return Some(Input::Limited { run, turn, failure: None });
        }
        let queue = match self.queue.take().map_or_else(|| self.start(), Ok) {
            Ok(queue) => self.queue.insert(queue),
            Err(e) => {
                let failure = Some(format!("failed to make a thread: {e}"));
                return Some(Input::Limited { run, turn, failure });
            }
        };
        // The thread ends with its queue and not before.
        let _ = queue.send(Job { run, turn, path, limits });
        None
    }

    fn start(&self) -> std::io::Result<Sender<Job>> {
        let (queue, jobs) = channel();
        let (handle, controllers) = (self.handle.clone(), self.controllers.clone());
        let work = move || write(&jobs, &handle, &controllers);
        std::thread::Builder::new().name("opm-limits".to_owned()).stack_size(256 << 10).spawn(work)?;
        Ok(queue)
    }
}

fn write(jobs: &Receiver<Job>, handle: &Handle, controllers: &Controllers) {
    for Job { run, turn, path, limits } in jobs {
        let failure = one(&path, *limits, controllers).err();
        // It ended meanwhile, which is told elsewhere and settles whoever waits.
        if failure.is_none() || path.exists() {
            handle.send(Mail::Limited { run, turn, failure });
        }
    }
}

fn one(run: &Path, limits: Limits, controllers: &Controllers) -> Result<(), String> {
    let limits = limits::resolved(limits)?;
    run.parent().map_or(Ok(()), |instance| controllers.enable_in(instance))?;
    limits::impose(run, &limits, controllers, false)
}
