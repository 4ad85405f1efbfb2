//! What is left to do when the keeper of a unit is gone: the unit's ExecStopPost=, whoever or whatever ended the keeper.
//!
//! Owns two acts on the unit's cgroup: ending what an ordered stop left over, and making room for the next keeper. It must not
//! decide which; that depends on systemd, which only its caller has asked. What a reader would get wrong: this process is in
//! `<unit>/.control`, and it works on its own unit's subtree only, whatever the note in the runtime folder says.

use crate::kernel::cgroup::{RunDir, run_is_populated, runs_in, still_populated};
use crate::kernel::{controllers, mount, process};
use crate::model::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterStop {
    /// The stop was ordered, and with it that of the apps: whatever still lives is asked to end, and then killed.
    pub end_what_is_left: bool,
    /// This systemd puts the next main process into the unit's own cgroup, which the kernel refuses (EBUSY) while that hands
    /// controllers down: take them off. The limits go with them; the next daemon sets them again.
    pub take_controllers_off: bool,
}

/// How long they may take to end when asked: the default grace of apps.
const GRACE: Duration = Duration::from_secs(10);
/// How long what was killed may take to be gone, before it is called stuck.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// Does it, and says what was done, in words.
///
/// # Errors
/// The unit's cgroup cannot be found, or is not the one that opm works in.
pub fn after_stop(runtime: &Path, what: AfterStop) -> Result<Vec<String>, String> {
    let note = runtime.join("cgroup-root");
    let root = match fs::read(&note) {
        Ok(path) => PathBuf::from(OsString::from_vec(path)),
        // It never came as far as having a cgroup of its own.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(format!("failed to read {}: {e}", note.display())),
    };
    let own = mount::cgroup2_mount()
        .and_then(|mount| mount::own_cgroup().map(|own| mount::below(&mount, &own)))
        .map_err(|e| format!("failed to find the own cgroup: {e}"))?;
    if !own.starts_with(&root) {
        return Err(format!("{} is not of this unit, whose processes are in {}", root.display(), own.display()));
    }
    let mut done = Vec::new();
    if what.end_what_is_left {
        done.extend(end(&root)?);
    }
    if what.take_controllers_off {
        controllers::take_off(&root).map_err(|(file, e)| format!("failed to write {}: {e}", file.display()))?;
    }
    Ok(done)
}

fn end(root: &Path) -> Result<Option<String>, String> {
    let all = runs_in(root).map_err(|e| format!("failed to list {}: {e}", root.display()))?;
    let living: Vec<_> = all.into_iter().filter(|run| run_is_populated(root, *run)).collect();
    let mut left = Vec::new();
    for (app, instance, run) in &living {
        let path = root.join(format!("apps/{app}.{instance}/run-{run}"));
        // Gone by itself meanwhile is as good.
        let Ok(dir) = RunDir::at(&path) else { continue };
        // Where no daemon was there to do it, nobody has asked them yet. What each wants to be asked with stands in its spec, which
        // only a daemon reads.
        for (_, pidfd) in dir.members() {
            let _ = process::signal(&pidfd, Signal::TERM);
            let _ = process::signal(&pidfd, Signal::CONT);
        }
        let _ = dir.freeze(false);
        left.push((path, dir));
    }
    // All of them are on their way, so one deadline is fair to all.
    let grace = Instant::now() + GRACE;
    left.retain(|(_, dir)| !is_gone(dir, grace));
    for (path, dir) in &left {
        dir.kill().map_err(|e| format!("failed to kill what is in {}: {e}", path.display()))?;
    }
    let give_up = Instant::now() + LAST_BREATH;
    left.retain(|(_, dir)| !is_gone(dir, give_up));
    let stuck: Vec<String> = left.iter().map(|(path, _)| path.display().to_string()).collect();
    Ok(match (living.len(), &stuck[..]) {
        (0, _) => None,
        (ended, []) => Some(format!("ended {ended} that the stop had left over")),
        (_, stuck) => Some(format!("killed, and stuck in the kernel: {}", stuck.join(", "))),
    })
}

fn is_gone(dir: &RunDir, give_up: Instant) -> bool {
    let Ok(events) = dir.events() else { return true };
    while still_populated(&events).unwrap_or(false) {
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout));
    }
    true
}
