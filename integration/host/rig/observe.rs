//! The independent observer: what the kernel says lives in a test's cgroup subtree. It never asks opm.

use super::cli::readable;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One run's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `3.0`: app id and instance.
    pub instance: String,
    /// The run's number.
    pub number: u64,
    /// Who lives there.
    pub pids: Vec<u32>,
    pub path: PathBuf,
}

/// A process, so that a later look can tell it from another one under the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub pid: u32,
    /// Field 22 of /proc/PID/stat.
    pub starttime: u64,
}

/// Where cgroup2 is mounted, as the kernel says.
pub fn cgroup2_mount() -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next()? == "cgroup2").then(|| PathBuf::from(left.split(' ').nth(4).unwrap_or_default()))
    })
}

/// The processes in one cgroup; none if it is gone.
pub fn procs(cgroup: &Path) -> Vec<u32> {
    fs::read_to_string(cgroup.join("cgroup.procs"))
        .map(|text| text.lines().filter_map(|l| l.parse().ok()).collect())
        .unwrap_or_default()
}

fn below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(Result::ok).filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Every run under a root, populated or not, by number.
pub fn runs(root: &Path) -> Vec<Run> {
    let mut all: Vec<Run> = below(&root.join("apps"))
        .iter()
        .flat_map(|instance| below(instance))
        .filter_map(|path| {
            let number = path.file_name()?.to_str()?.strip_prefix("run-")?.parse().ok()?;
            let instance = path.parent()?.file_name()?.to_str()?.to_owned();
            Some(Run { instance, number, pids: procs(&path), path })
        })
        .collect();
    all.sort_by_key(|run| run.number);
    all
}

/// Everybody in a subtree.
pub fn everybody(root: &Path) -> Vec<u32> {
    let mut all = procs(root);
    for child in below(root) {
        all.extend(everybody(&child));
    }
    all
}

/// Ends whatever lives in a test's own subtree, and removes it. `cgroup.kill` spoils a cgroup for later births (kernel
/// 6.12+), which is why this is done only to a subtree that nobody will use again.
pub fn destroy(root: &Path) {
    if !root.exists() {
        return;
    }
    let _ = fs::write(root.join("cgroup.kill"), "1");
    // No assertion: this runs while a failed test unwinds.
    super::wait::holds_within(Duration::from_secs(10), || everybody(root).is_empty());
    remove(root);
}

fn remove(dir: &Path) {
    for child in below(dir) {
        remove(&child);
    }
    let _ = fs::remove_dir(dir);
}

/// The identity of a process; none if it does not live (a zombie does not).
pub fn identity(pid: u32) -> Option<Identity> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses: what follows starts after the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (!matches!(*fields.first()?, "Z" | "X"))
        .then(|| Identity { pid, starttime: fields.get(19).and_then(|f| f.parse().ok()).unwrap_or(0) })
}

pub fn alive(pid: u32) -> bool {
    identity(pid).is_some()
}

/// Its arguments.
pub fn command_line(pid: u32) -> Vec<String> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    raw.split(|b| *b == 0).filter(|a| !a.is_empty()).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

/// A hold on a process that this rig started, directly or through opm.
#[derive(Debug)]
pub struct Grip(OwnedFd, u32);

impl Grip {
    /// Takes hold, provided that it still lives in that cgroup (or below) once held: so the number cannot mean another one.
    #[track_caller]
    pub fn on(pid: u32, root: &Path) -> Self {
        let fd = pidfd_open(Pid::from_raw(pid.try_into().unwrap()).unwrap(), PidfdFlags::empty())
            .unwrap_or_else(|e| panic!("failed to take hold of process {pid}: {e}"));
        assert!(everybody(root).contains(&pid), "process {pid} is not ours: it is not under {}", root.display());
        Self(fd, pid)
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.0, signal).unwrap_or_else(|e| panic!("failed to signal process {}: {e}", self.1));
    }

    /// Sends SIGKILL and waits until it is gone.
    #[track_caller]
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        assert!(self.gone_within(Duration::from_secs(10)), "process {} outlives SIGKILL", self.1);
    }

    pub fn gone_within(&self, limit: Duration) -> bool {
        readable(&self.0, limit)
    }
}
