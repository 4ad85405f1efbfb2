//! Exit records of runs: whose a zombie was, and how it ended, kept until a daemon says that it is in the journal.
//!
//! What a reader would get wrong: the keeper is the subreaper of everything below, so most of what it reaps are orphans of
//! apps. Only a run's *main* process leaves a record.

use crate::kernel::clone::Ended;
use crate::kernel::mark::MainMark;
use crate::kernel::{mount, process};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The records, and what is needed to make them.
pub(super) struct Exits {
    /// The subtree's root directory.
    root: PathBuf,
    /// The same as `/proc/PID/cgroup` shows it, with `apps` and without the mount.
    apps: Option<PathBuf>,
    /// Mains that the daemon told us of: by pid, since that is what a zombie has. Entries go when the pid is reaped.
    mains: BTreeMap<u32, u64>,
    records: BTreeMap<u64, Ended>,
}

impl Exits {
    pub(super) fn new(root: PathBuf) -> Self {
        // We are in <root>/supervisor, so our own path says how the kernel names the root.
        let apps = mount::own_cgroup().ok().and_then(|own| own.parent().map(|root| root.join("apps")));
        Self { root, apps, mains: BTreeMap::new(), records: BTreeMap::new() }
    }

    /// What another keeper in this very process knew.
    pub(super) fn resume(root: PathBuf, mains: Vec<(u32, u64)>, records: Vec<(u64, Ended)>) -> Self {
        Self { mains: mains.into_iter().collect(), records: records.into_iter().collect(), ..Self::new(root) }
    }

    pub(super) fn mains(&self) -> impl Iterator<Item = (u32, u64)> {
        self.mains.iter().map(|(pid, run)| (*pid, *run))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Ended)> {
        self.records.iter().map(|(run, ended)| (*run, *ended))
    }

    pub(super) fn register(&mut self, run: u64, pid: u32) {
        // One that was reaped already has its record by its mark; its pid must not be taken for the next owner's.
        if !self.records.contains_key(&run) {
            self.mains.insert(pid, run);
        }
    }

    /// Makes a record of that zombie, if it was a run's main process. It must not have been reaped yet.
    pub(super) fn record(&mut self, ended: Ended) -> Option<u64> {
        let run = match self.mains.remove(&ended.pid) {
            Some(run) => run,
            None => self.marked(ended.pid)?,
        };
        self.records.insert(run, ended);
        Some(run)
    }

    /// Whose main process that zombie is by the mark on its cgroup. `/proc/PID/cgroup` of a zombie still names it.
    fn marked(&self, pid: u32) -> Option<u64> {
        let path = mount::find_own(&fs::read(format!("/proc/{pid}/cgroup")).ok()?)?;
        let mut parts = path.strip_prefix(self.apps.as_ref()?).ok()?.iter();
        let (instance, name) = (parts.next()?, parts.next()?);
        let run = name.to_str()?.strip_prefix("run-")?.parse().ok()?;
        let path = self.root.join("apps").join(instance).join(name);
        let directory = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mark = MainMark::read(&directory)?;
        (mark.pid == pid && process::start_time(pid) == Some(mark.start_time)).then_some(run)
    }

    pub(super) fn acknowledge(&mut self, run: u64) {
        self.records.remove(&run);
    }

    pub(super) fn get(&self, run: u64) -> Option<Ended> {
        self.records.get(&run).copied()
    }

    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = u64> {
        self.records.keys().copied()
    }
}
