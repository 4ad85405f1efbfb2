//! Making a run: fresh cgroup, limits, mark, log pipes, process. All steps up to clone3, in the order that loses nothing.
//!
//! Decides nothing about whether to start. What a reader would get wrong: success here means that a child exists, not that
//! its program runs; that is what the exec-status pipe says, later.

use super::cgroup::{RunDir, Tree};
use super::clone::{self, Cloned, Lent};
use super::limits;
use super::mark::RunMark;
use super::plan::{ChildPlan, Identity, Program, Stage};
use super::process;
use super::slots::{Slot, Slots};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, fchown, fcntl_setfl, openat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Uid};

/// Whose run it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The app.
    pub app: u32,
    /// The instance.
    pub instance: u32,
    /// The run.
    pub run: u64,
}

/// A run whose pipes exist and whose process does not yet: what the keeper must hold before it does.
#[derive(Debug)]
pub struct Prepared {
    place: Place,
    cgroup: RunDir,
    /// The reading ends of standard output and error, non-blocking.
    pub logs: [OwnedFd; 2],
    /// The app's ends.
    ends: [OwnedFd; 2],
}

/// A child on its way to its program.
#[derive(Debug)]
pub struct Launched {
    /// Its number.
    pub pid: u32,
    /// What it is known by.
    pub pidfd: OwnedFd,
    /// Says how far it got, see [`read_status`].
    pub status: OwnedFd,
    /// The reading ends of standard output and error.
    pub logs: [OwnedFd; 2],
    /// What it borrows from our table until it says that it was born.
    pub slot: Option<Slot>,
    /// What it borrows from our memory until the status pipe ends.
    pub lent: Option<Lent>,
}

/// Makes the run's cgroup with limits and mark, and its log pipes.
///
/// # Errors
/// Which step, on what, and why; nothing is left behind.
pub fn prepare(tree: &Tree, place: Place, mut mark: RunMark, program: &Program) -> Result<Prepared, String> {
    limits::check(&program.limits, tree.controllers()).map_err(|lacking| lacking.why)?;
    let Place { app, instance, run } = place;
    let path = tree.run_path(app, instance, run);
    let cgroup =
        tree.make_run(app, instance, run).map_err(|e| format!("failed to make the cgroup {}: {e}", path.display()))?;
    let made = || -> Result<_, String> {
        // In the instance's cgroup, which may be older than this daemon: see `Controllers`.
        path.parent().map_or(Ok(()), |instance| tree.controllers().enable_in(instance))?;
        limits::impose(&path, &program.limits, tree.controllers(), true)?;
        let (out, out_end) = log_pipe(program.identity.as_ref())?;
        let (err, err_end) = log_pipe(program.identity.as_ref())?;
        mark.pipes = [process::inode(&out).unwrap_or(0), process::inode(&err).unwrap_or(0)];
        mark.write(&cgroup).map_err(|e| format!("failed to mark the cgroup {}: {e}", path.display()))?;
        Ok(([out, err], [out_end, err_end]))
    }();
    match made {
        Ok((logs, ends)) => Ok(Prepared { place, cgroup, logs, ends }),
        Err(e) => {
            let _ = tree.remove_run(app, instance, run);
            Err(e)
        }
    }
}

/// A pipe whose writing end is open for reading as well. So the app is its own reader of last resort: its writes never fail
/// for want of one (EPIPE), whoever of us is dead. It belongs to the app's user, so that `/dev/stdout` can be opened again.
fn log_pipe(identity: Option<&Identity>) -> Result<(OwnedFd, OwnedFd), String> {
    let say = |e: rustix::io::Errno| format!("failed to make a log pipe: {e}");
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(say)?;
    let path = format!("/proc/self/fd/{}", write.as_raw_fd());
    let both = openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(say)?;
    fcntl_setfl(&read, OFlags::NONBLOCK).map_err(say)?;
    if let Some(id) = identity {
        fchown(&both, Some(Uid::from_raw(id.uid)), Some(Gid::from_raw(id.gid))).map_err(say)?;
    }
    Ok((read, both))
}

/// Opens a log pipe again through a process that holds it: the way back after keeper and daemon died together. Only a pipe
/// with the marked inode is taken; an app may have sent its output elsewhere, into a pipe that is none of our business.
#[must_use]
pub fn reopen_log_pipe(pid: u32, descriptor: u32, marked_inode: u64) -> Option<OwnedFd> {
    let path = format!("/proc/{pid}/fd/{descriptor}");
    let found = rustix::fs::stat(&path).ok()?;
    if found.st_ino != marked_inode || rustix::fs::FileType::from_raw_mode(found.st_mode) != rustix::fs::FileType::Fifo
    {
        return None;
    }
    let fd = openat(CWD, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok()?;
    (process::inode(&fd) == Some(marked_inode)).then_some(fd)
}

/// Makes the process. The keeper holds the pipes by now.
///
/// # Errors
/// In words; nothing is left behind.
pub fn start(tree: &Tree, slots: &mut Slots, prepared: Prepared, program: Program) -> Result<Launched, String> {
    let Prepared { place, cgroup, logs, ends } = prepared;
    let made = || -> Result<_, String> {
        let (status, status_end) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|e| format!("failed to make a status pipe: {e}"))?;
        fcntl_setfl(&status, OFlags::NONBLOCK).map_err(|e| format!("failed to set up a status pipe: {e}"))?;
        let null = openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| format!("failed to open /dev/null: {e}"))?;
        let procs = tree.by_hand().then(|| cgroup.procs_for_writing()).transpose();
        let procs = procs.map_err(|e| format!("failed to open cgroup.procs: {e}"))?;
        let own = [
            status_end.as_fd(),
            null.as_fd(),
            ends[0].as_fd(),
            ends[1].as_fd(),
            cgroup.as_fd(),
            procs.as_ref().map_or(cgroup.as_fd(), AsFd::as_fd),
        ];
        let slot = slots.fill(own);
        let kept = slot.as_ref().and_then(|slot| slots.get(slot));
        let [status_fd, stdin, stdout, stderr, cgroup_fd, procs_fd] = kept.unwrap_or(own);
        let plan = ChildPlan {
            status: status_fd,
            stdio: [stdin, stdout, stderr],
            cgroup: cgroup_fd,
            procs: procs.as_ref().map(|_| procs_fd),
            share_below: kept.map(|_| slots.end()),
            parent_is_keeper: true,
            program,
        };
        match clone::clone(plan) {
            Ok(cloned) => Ok((cloned, status, slot)),
            Err(e) => {
                slot.into_iter().for_each(|slot| slots.release(slot));
                Err(format!("failed to create a process: {e}"))
            }
        }
    }();
    match made {
        Ok((Cloned { pid, pidfd, lent }, status, slot)) => Ok(Launched { pid, pidfd, status, logs, slot, lent }),
        Err(e) => {
            let _ = tree.remove_run(place.app, place.instance, place.run);
            Err(e)
        }
    }
}

/// What the exec-status pipe says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Still on its way.
    Underway,
    /// The program was executed: it said that it was born, and then exec closed the pipe.
    Executed,
    /// It gave up at that stage, with that errno.
    Failed(Stage, i32),
    /// It never said a word: something killed it between clone3 and its first instruction (the kill_seq trap, an
    /// out-of-memory kill, a kill from outside).
    KilledAtBirth,
}

/// Reads what the exec-status pipe says by now. `so_far` keeps what came before; at most six bytes ever come.
#[must_use]
pub fn read_status(pipe: impl AsFd, so_far: &mut Vec<u8>) -> Status {
    let mut bytes = [0u8; 8];
    loop {
        match rustix::io::read(&pipe, &mut bytes) {
            Ok(0) => {
                return match so_far[..] {
                    [] => Status::KilledAtBirth,
                    [_, stage, a, b, c, d] => Stage::from_number(stage)
                        .map_or(Status::Executed, |s| Status::Failed(s, i32::from_le_bytes([a, b, c, d]))),
                    _ => Status::Executed,
                };
            }
            Ok(n) => so_far.extend_from_slice(&bytes[..n]),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Status::Underway,
        }
    }
}

/// The words for a failed stage: `failed to execute its program: no such file or directory`.
#[must_use]
pub fn failure_text(stage: Stage, errno: i32) -> String {
    format!("failed to {}: {}", stage.doing(), nix::errno::Errno::from_raw(errno).desc().to_lowercase())
}
