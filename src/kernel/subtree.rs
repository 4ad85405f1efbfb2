//! Making opm's own subtree, and the keeper's place in it.
//!
//! Owns what is done once, by the keeper: at its start and at its end. What a reader would get wrong: a process is not moved if that
//! can be helped. To write into `cgroup.procs` waits until every fork of the machine has let go of a lock (8 to 18 ms, an RCU grace
//! period, unless somebody else has just waited for it); to be born in a cgroup waits for nobody.

use super::cgroup::{DIRECTORY, remove_below};
use super::{clone, mount};
use rustix::fd::AsFd;
use rustix::fs::{Mode, open};
use rustix::io;
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs;
use std::io as std_io;
use std::path::Path;

/// Who goes on as the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// This process.
    Here,
    /// Another one, a copy of this, which has nothing left to do.
    Elsewhere,
}

/// Makes what is missing of the subtree and enters `supervisor/`. If it `may_be_another` process that goes on from here, it is born
/// there.
///
/// # Errors
/// In words: which directory, and why.
pub fn enter(root: &Path, may_be_another: bool) -> Result<Keeper, String> {
    let say = |what: &str, path: &Path, e: &dyn std::fmt::Display| format!("failed to {what} {}: {e}", path.display());
    make(root).map_err(|e| say("make", root, &e))?;
    // Whoever else systemd or a shell put at the root would keep the controllers from being enabled.
    let (apps, supervisor) = (root.join("apps"), root.join("supervisor"));
    make(&apps).map_err(|e| say("make", &apps, &e))?;
    let inside = mount::cgroup2_mount()
        .and_then(|mount| mount::own_cgroup().map(|own| mount::below(&mount, &own)))
        .is_ok_and(|own| own == supervisor);
    if inside {
        return Ok(Keeper::Here);
    }
    // Fresh if it can be: nobody knows what was done to one that lies about. It cannot if a dying pair is still in it.
    let _ = fs::remove_dir(&supervisor);
    make(&supervisor).map_err(|e| say("make", &supervisor, &e))?;
    if may_be_another && let Ok(who) = go_on_in(&supervisor) {
        return Ok(who);
    }
    fs::write(supervisor.join("cgroup.procs"), "0").map_err(|e| say("enter", &supervisor, &e))?;
    Ok(Keeper::Here)
}

/// Leaves `supervisor/` for where the process came from, and removes the subtree if no run is left in it. Not under systemd,
/// where both belong to the unit.
pub fn leave(root: &Path, came_from: &Path) {
    if came_from.starts_with(root) || fs::write(came_from.join("cgroup.procs"), "0").is_err() {
        return;
    }
    // Not below `apps/<app>.<instance>`: a run that ended while no daemon looked is known by its cgroup alone. What is not
    // empty refuses by itself.
    remove_below(&root.join("supervisor"));
    for dir in [root.join("apps"), root.to_owned()] {
        for child in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(child.path());
        }
    }
    let _ = fs::remove_dir(root);
}

/// Goes on in a copy of this process that lives in that cgroup. Not on an old kernel, nor if the copy was killed at birth (the
/// kill_seq trap).
fn go_on_in(cgroup: &Path) -> std_io::Result<Keeper> {
    let cgroup = open(cgroup, DIRECTORY, Mode::empty())?;
    let (heard, word) = pipe_with(PipeFlags::CLOEXEC)?;
    if clone::go_on_in(cgroup.as_fd())? {
        // Unheard, we would be two; and we must not be the ones who could hear it.
        drop(heard);
        return Ok(if io::write(&word, b"+").is_ok() { Keeper::Here } else { Keeper::Elsewhere });
    }
    drop(word);
    match io::retry_on_intr(|| io::read(&heard, &mut [0])) {
        Ok(0) => Err(std_io::Error::other("it was killed at birth")),
        // If it cannot be known, it lives.
        Ok(_) | Err(_) => Ok(Keeper::Elsewhere),
    }
}

fn make(path: &Path) -> std_io::Result<()> {
    match fs::create_dir(path) {
        Err(e) if e.kind() == std_io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == std_io::ErrorKind::NotFound => fs::create_dir_all(path),
        other => other,
    }
}
