//! Limits of runs that live, written off the loop: whoever lowers memory.max or memory.high has to take the memory back himself, which
//! may take seconds, or for ever where what holds it hangs; and devices are looked up in file systems that may hang.
//!
//! A thread for each run that is being limited, so that one that hangs keeps no other waiting; what is asked for it meanwhile waits,
//! the newest only. It must not decide. What a reader would get wrong: what is not asked for is taken off, so an answer says how all
//! of a run's limits are, not what has changed.

use super::handle::{Handle, Mail};
use crate::kernel::controllers::Controllers;
use crate::kernel::limits;
use crate::model::{Limits, RunId};
use crate::supervise::Input;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One run to be limited.
struct Job {
    run: RunId,
    turn: u64,
    path: PathBuf,
    limits: Box<Limits>,
}

/// The way to the threads.
pub(super) struct Limiter {
    handle: Handle,
    controllers: Arc<Controllers>,
    /// Runs that a thread is at, and what is to be written next.
    busy: HashMap<RunId, Option<Job>>,
}

impl Limiter {
    pub(super) fn new(handle: Handle, controllers: Controllers) -> Self {
        Self { handle, controllers: Arc::new(controllers), busy: HashMap::new() }
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
        let job = Job { run, turn, path, limits };
        if let Some(next) = self.busy.get_mut(&run) {
            // Nobody listens any more for the answer to what was asked before.
            *next = Some(job);
            return None;
        }
        self.start(job)
    }

    /// A thread is done with that run. Some: what is known at once of what is next for it.
    pub(super) fn done(&mut self, run: RunId) -> Option<Input> {
        let next = self.busy.remove(&run).flatten()?;
        self.start(next)
    }

    fn start(&mut self, job: Job) -> Option<Input> {
        let Job { run, turn, path, limits } = job;
        let (handle, controllers) = (self.handle.clone(), self.controllers.clone());
        let work = move || {
            let result = write(&path, *limits, &controllers);
            let result = (result.is_ok() || path.exists()).then_some(result);
            handle.send(Mail::Limited { run, turn, result });
        };
        match std::thread::Builder::new().name("opm-limits".to_owned()).stack_size(256 << 10).spawn(work) {
            Ok(_) => {
                self.busy.insert(run, None);
                None
            }
            Err(e) => Some(Input::Limited { run, turn, failure: Some(format!("failed to make a thread: {e}")) }),
        }
    }
}

fn write(run: &Path, limits: Limits, controllers: &Controllers) -> Result<(), String> {
    let limits = limits::resolved(limits)?;
    run.parent().map_or(Ok(()), |instance| controllers.enable_in(instance))?;
    limits::impose(run, &limits, controllers, false)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn next(mail: &mut UnboundedReceiver<Mail>) -> (RunId, u64, Option<Result<(), String>>) {
        let told = |mail| if let Mail::Limited { run, turn, result } = mail { Some((run, turn, result)) } else { None };
        mail.blocking_recv().and_then(told).unwrap()
    }

    #[test]
    fn a_run_that_hangs_keeps_no_other_waiting_and_gets_the_newest_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let (send, mut mail) = unbounded_channel();
        let mut limiter = Limiter::new(Handle::new(send), Controllers::of(&["pids"], &[]));
        let path = |run: u64| dir.path().join(format!("{run}/run"));
        for run in [1, 2] {
            fs::create_dir_all(path(run)).unwrap();
            fs::write(path(run).join("pids.max"), "").unwrap();
        }
        // Whoever writes there waits for somebody to read.
        let control = dir.path().join("1/cgroup.subtree_control");
        fs::write(&control, "pids").unwrap();
        let slow = path(1).join("pids.max");
        fs::remove_file(&slow).unwrap();
        mknodat(CWD, &slow, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();

        let limit = |limiter: &mut Limiter, run, turn| {
            assert_eq!(limiter.limit(RunId(run), turn, path(run), Box::default()), None);
        };
        limit(&mut limiter, 1, 1);
        limit(&mut limiter, 1, 2);
        limit(&mut limiter, 1, 3);
        limit(&mut limiter, 2, 4);
        assert_eq!(next(&mut mail), (RunId(2), 4, Some(Ok(()))));
        assert_eq!(limiter.done(RunId(2)), None);

        assert_eq!(fs::read_to_string(&slow).unwrap(), "max");
        assert_eq!(next(&mut mail), (RunId(1), 1, Some(Ok(()))));
        assert_eq!(limiter.done(RunId(1)), None);
        assert_eq!(fs::read_to_string(&slow).unwrap(), "max");
        assert_eq!(next(&mut mail), (RunId(1), 3, Some(Ok(()))), "the second is superseded");
        assert_eq!(limiter.done(RunId(1)), None);
        assert!(limiter.busy.is_empty());

        fs::remove_dir_all(path(1)).unwrap();
        limit(&mut limiter, 1, 5);
        assert_eq!(next(&mut mail), (RunId(1), 5, None), "gone, which is told elsewhere");
    }
}
