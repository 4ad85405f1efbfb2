//! opm's own cgroup subtree: `supervisor/`, `apps/<app>.<instance>/run-<n>/`, and what can be read and done there.
//!
//! Knows the tree's shape and the kernel's traps; decides nothing. What a reader would get wrong:
//!
//! - **The kill_seq trap.** After `1` was ever written to `cgroup.kill` of a cgroup or an ancestor, every later
//!   clone3(CLONE_INTO_CGROUP) into it is SIGKILLed at birth, for ever, and so is every clone by a caller whose own cgroup was
//!   ever killed (kernels with commit b69bb476dee9: 6.12, 6.18, 7.2 seen; not 6.1). So each run gets a fresh cgroup,
//!   `cgroup.kill` is written to run cgroups only, and `supervisor/` is made anew.
//! - `populated` changes are told at most every 10 ms; a zombie does not count as a member.
//! - Inner nodes hold no processes, or their controllers cannot be enabled (EBUSY).

use super::clone;
use super::controllers::Controllers;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::{self, Errno};
use std::fs;
use std::path::{Path, PathBuf};

/// The subtree, opened.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    apps: OwnedFd,
    controllers: Controllers,
    /// Children are put into their cgroup by hand, because cloning into it does not work here.
    by_hand: bool,
}

pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Searchable by all, as cgroup directories are; apps of other users read their own cgroup's files.
const MODE: Mode = Mode::from_raw_mode(0o755);

impl Tree {
    /// Opens the subtree that the keeper made, enables what controllers it may have, and tries a clone.
    ///
    /// # Errors
    /// In words.
    pub fn open(root: &Path) -> Result<Self, String> {
        let path = root.join("apps");
        let apps = openat(CWD, &path, DIRECTORY, Mode::empty())
            .map_err(|e| format!("failed to open {}: {e}", path.display()))?;
        let controllers = Controllers::enable(root);
        let mut tree = Self { root: root.to_owned(), apps, controllers, by_hand: false };
        tree.by_hand = !tree.selftest();
        Ok(tree)
    }

    /// The self-test: a child that ends at once, cloned into a fresh cgroup. Killed at birth means the kill_seq trap in our
    /// own cgroup; an error means a kernel before 5.7. Either way children are then put in by hand. The same cgroup shows which
    /// files a run's will have.
    fn selftest(&mut self) -> bool {
        let name = "selftest";
        let _ = unlinkat(&self.apps, name, AtFlags::REMOVEDIR);
        let works = mkdirat(&self.apps, name, MODE)
            .and_then(|()| openat(&self.apps, name, DIRECTORY, Mode::empty()))
            .is_ok_and(|dir| matches!(clone::clone_nothing(Some(dir.as_fd())), Ok((clone::Wait::Code(0), _))));
        self.controllers.look_at(&self.root.join("apps").join(name));
        let _ = unlinkat(&self.apps, name, AtFlags::REMOVEDIR);
        works
    }

    /// The subtree's own directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The controllers, and why not the others.
    #[must_use]
    pub fn controllers(&self) -> &Controllers {
        &self.controllers
    }

    /// Whether children must enter their cgroup by hand.
    #[must_use]
    pub fn by_hand(&self) -> bool {
        self.by_hand
    }

    /// The run's directory as a path, for people.
    #[must_use]
    pub fn run_path(&self, app: u32, instance: u32, run: u64) -> PathBuf {
        self.root.join("apps").join(run_name(app, instance, run))
    }

    /// Makes a run's cgroup: fresh, or not at all.
    ///
    /// # Errors
    /// EEXIST if it is there already; mkdir(2) on cgroups adds EAGAIN and ENOSPC (too many of them).
    pub fn make_run(&self, app: u32, instance: u32, run: u64) -> io::Result<RunDir> {
        let name = run_name(app, instance, run);
        match mkdirat(&self.apps, &name, MODE) {
            Err(Errno::NOENT) => {
                let parent = format!("{app}.{instance}");
                mkdirat(&self.apps, parent, MODE)?;
                mkdirat(&self.apps, &name, MODE)?;
            }
            other => other?,
        }
        self.open_run(app, instance, run)
    }

    /// Opens a run's cgroup that exists.
    ///
    /// # Errors
    /// ENOENT if it does not.
    pub fn open_run(&self, app: u32, instance: u32, run: u64) -> io::Result<RunDir> {
        openat(&self.apps, run_name(app, instance, run), DIRECTORY, Mode::empty()).map(RunDir)
    }

    /// Removes an empty run cgroup, together with empty cgroups that the app made inside it.
    ///
    /// # Errors
    /// EBUSY while something lives in it.
    pub fn remove_run(&self, app: u32, instance: u32, run: u64) -> io::Result<()> {
        match unlinkat(&self.apps, run_name(app, instance, run), AtFlags::REMOVEDIR) {
            Err(Errno::BUSY) => {
                remove_below(&self.run_path(app, instance, run));
                unlinkat(&self.apps, run_name(app, instance, run), AtFlags::REMOVEDIR)
            }
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// Removes an instance's cgroup, if it holds no run.
    pub fn remove_instance(&self, app: u32, instance: u32) {
        let _ = unlinkat(&self.apps, format!("{app}.{instance}"), AtFlags::REMOVEDIR);
    }

    /// Every instance there is a cgroup for, in order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn instances(&self) -> std::io::Result<Vec<(u32, u32)>> {
        instances_in(&self.root.join("apps"))
    }

    /// Every run of that instance there is a cgroup for, in order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn runs_of(&self, app: u32, instance: u32) -> std::io::Result<Vec<u64>> {
        runs_of(&self.root.join("apps"), app, instance)
    }
}

/// Every run there is a cgroup for below that root: app, instance, run, in order. Names that are not ours are passed over, and so is an
/// instance that cannot be looked at.
///
/// # Errors
/// The directory of instances cannot be read; a root that does not exist has no runs.
pub fn runs_in(root: &Path) -> std::io::Result<Vec<(u32, u32, u64)>> {
    let apps = root.join("apps");
    let mut found = Vec::new();
    for (app, instance) in instances_in(&apps)? {
        let runs = runs_of(&apps, app, instance).unwrap_or_default();
        found.extend(runs.into_iter().map(|run| (app, instance, run)));
    }
    Ok(found)
}

fn instances_in(apps: &Path) -> std::io::Result<Vec<(u32, u32)>> {
    in_order(apps, parse_instance)
}

fn runs_of(apps: &Path, app: u32, instance: u32) -> std::io::Result<Vec<u64>> {
    in_order(&apps.join(format!("{app}.{instance}")), |name| name.strip_prefix("run-")?.parse().ok())
}

/// What names in a directory come to, in order; nothing if there is none, or none any more.
fn in_order<T: Ord>(dir: &Path, meaning: impl Fn(&str) -> Option<T>) -> std::io::Result<Vec<T>> {
    let names = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        other => other?,
    };
    let mut found = Vec::new();
    for name in names {
        match name {
            Ok(name) => found.extend(name.file_name().to_str().and_then(&meaning)),
            // Removed while it is read.
            Err(e) if e.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => return Ok(vec![]),
            Err(e) => return Err(e),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether anything lives in that run's cgroup.
#[must_use]
pub fn run_is_populated(root: &Path, (app, instance, run): (u32, u32, u64)) -> bool {
    openat(CWD, root.join("apps").join(run_name(app, instance, run)), DIRECTORY, Mode::empty())
        .is_ok_and(|dir| RunDir(dir).populated().unwrap_or(true))
}

pub(super) fn run_name(app: u32, instance: u32, run: u64) -> String {
    format!("{app}.{instance}/run-{run}")
}

fn parse_instance(name: &str) -> Option<(u32, u32)> {
    let (app, instance) = name.split_once('.')?;
    Some((app.parse().ok()?, instance.parse().ok()?))
}

/// Removes the cgroups inside, deepest first. An app that was delegated some, or a container runtime, leaves them behind.
pub(super) fn remove_below(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_below(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// One run's cgroup directory.
#[derive(Debug)]
pub struct RunDir(pub(super) OwnedFd);

/// A cgroup as cgroup.events tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunState {
    /// Something lives in it or below, zombies not counted.
    pub populated: bool,
    /// All that does is frozen.
    pub frozen: bool,
}

impl AsFd for RunDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl RunDir {
    /// Opens a run's directory by its path.
    ///
    /// # Errors
    /// openat(2).
    pub fn at(path: &Path) -> io::Result<Self> {
        openat(CWD, path, DIRECTORY, Mode::empty()).map(Self)
    }

    /// Whether anything lives in it or below, zombies not counted (cgroup.events).
    ///
    /// # Errors
    /// The file cannot be read; the caller then does not know.
    pub fn populated(&self) -> io::Result<bool> {
        self.state().map(|state| state.populated)
    }

    /// What cgroup.events says.
    ///
    /// # Errors
    /// The file cannot be read; the caller then does not know.
    pub fn state(&self) -> io::Result<RunState> {
        let text = self.read("cgroup.events")?;
        Ok(RunState { populated: is_populated(&text), frozen: says(&text, "frozen 1") })
    }

    /// cgroup.events, to be watched with EPOLLPRI and read from the start after each change.
    ///
    /// # Errors
    /// openat(2).
    pub fn events(&self) -> io::Result<OwnedFd> {
        openat(&self.0, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    }

    /// The processes in it and in cgroups below. A 0 stands for one in a pid namespace that we cannot see into.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn processes(&self) -> io::Result<Vec<u32>> {
        let mut all: Vec<u32> = self.read("cgroup.procs")?.lines().filter_map(|l| l.parse().ok()).collect();
        let below = rustix::fs::Dir::read_from(&self.0)?.flatten().filter(|e| {
            e.file_type() == rustix::fs::FileType::Directory && !e.file_name().to_bytes().starts_with(b".")
        });
        for entry in below {
            if let Ok(dir) = openat(&self.0, entry.file_name(), DIRECTORY, Mode::empty()) {
                all.extend(Self(dir).processes()?);
            }
        }
        Ok(all)
    }

    /// Everybody in it of whom there can be one, by number and pidfd. Listing again *after* opening is what closes the race: had a pid been reused in between, its
    /// new owner would not be listed here.
    #[must_use]
    pub fn members(&self) -> Vec<(u32, OwnedFd)> {
        let opened: Vec<_> = self
            .processes()
            .unwrap_or_default()
            .into_iter()
            .filter_map(|p| Some((p, super::process::open(p).ok()??)))
            .collect();
        let still = self.processes().unwrap_or_default();
        opened.into_iter().filter(|(pid, _)| still.contains(pid)).collect()
    }

    /// SIGKILL to everything in it and below, in one step that no fork escapes (cgroup.kill, from 5.14).
    ///
    /// # Errors
    /// openat(2), write(2).
    pub fn kill(&self) -> io::Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// `cgroup.procs` for writing, for a child that enters by hand.
    ///
    /// # Errors
    /// openat(2).
    pub fn procs_for_writing(&self) -> io::Result<OwnedFd> {
        openat(&self.0, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
    }

    /// A number from a one-number file such as memory.current.
    #[must_use]
    pub fn number(&self, file: &str) -> Option<u64> {
        self.read(file).ok()?.trim().parse().ok()
    }

    /// A number by its key from a file of "key value" lines such as cpu.stat.
    #[must_use]
    pub fn keyed(&self, file: &str, key: &str) -> Option<u64> {
        value_of(&self.read(file).ok()?, key)
    }

    /// All of a file.
    #[must_use]
    pub fn text(&self, file: &str) -> Option<String> {
        self.read(file).ok()
    }

    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        read_at(&self.0, file)
    }

    pub(super) fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let fd = openat(&self.0, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        io::write(&fd, text.as_bytes()).map(|_| ())
    }
}

/// All of a file.
pub(super) fn read_at(dir: &OwnedFd, file: &str) -> io::Result<String> {
    let fd = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        match io::read(&fd, &mut chunk)? {
            0 => break,
            n => text.extend_from_slice(&chunk[..n]),
        }
    }
    String::from_utf8(text).map_err(|_| Errno::ILSEQ)
}

/// The number after that key.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(key)?.trim().parse().ok())
}

/// Whether cgroup.events, read anew from its start, says that something lives.
///
/// # Errors
/// The cgroup is gone (ENODEV), or the file cannot be read.
pub fn still_populated(events: impl AsFd) -> io::Result<bool> {
    anew(events).map(|text| is_populated(&text))
}

/// cgroup.events, from its start.
pub(super) fn anew(events: impl AsFd) -> io::Result<String> {
    let mut text = [0u8; 128];
    let n = io::pread(events, &mut text[..], 0)?;
    Ok(String::from_utf8_lossy(&text[..n]).into_owned())
}

fn is_populated(events: &str) -> bool {
    says(events, "populated 1")
}

/// Whether it has that line.
pub(super) fn says(events: &str, line: &str) -> bool {
    events.lines().any(|l| l == line)
}
