//! Looking at what many runs use, in a row: from their common directory, without opening each one's own.
//!
//! Reads only. What a reader would get wrong: it is the looking up of names that costs, more than the reading. By its whole path a run is
//! eight names deep, from here three.

use super::cgroup::{DIRECTORY, RunDir, read_at, run_name, value_of};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io;
use std::path::Path;

/// `apps/`, opened for looking at many runs in a row: from here the way to each is short.
#[derive(Debug)]
pub struct Apps {
    dir: OwnedFd,
    /// Runs may have the memory controller.
    memory: bool,
}

impl Apps {
    /// That of the subtree at this root.
    ///
    /// # Errors
    /// openat(2).
    pub fn at(root: &Path) -> io::Result<Self> {
        let dir = openat(CWD, root.join("apps"), DIRECTORY, Mode::empty())?;
        let memory =
            read_at(&dir, "cgroup.subtree_control").is_ok_and(|all| all.split_whitespace().any(|c| c == "memory"));
        Ok(Self { dir, memory })
    }

    /// A run of it, which may be gone.
    #[must_use]
    pub fn run(&self, app: u32, instance: u32, run: u64) -> RunAt<'_> {
        RunAt { apps: self, name: run_name(app, instance, run) }
    }
}

/// A run's cgroup that is not opened.
#[derive(Debug)]
pub struct RunAt<'a> {
    apps: &'a Apps,
    name: String,
}

impl RunAt<'_> {
    /// The CPU time of all that ever was in it, microseconds.
    #[must_use]
    pub fn cpu_micros(&self) -> Option<u64> {
        value_of(&self.read("cpu.stat")?, "usage_usec ")
    }

    /// The memory that all of it uses, bytes, where a controller counts it.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        self.apps.memory.then(|| self.read("memory.current")).flatten()?.trim().parse().ok()
    }

    /// Opens it.
    ///
    /// # Errors
    /// openat(2).
    pub fn open(&self) -> io::Result<RunDir> {
        openat(&self.apps.dir, &self.name, DIRECTORY, Mode::empty()).map(RunDir)
    }

    /// A file that the kernel makes in one go, and so tells in one read(2).
    fn read(&self, file: &str) -> Option<String> {
        let fd =
            openat(&self.apps.dir, format!("{}/{file}", self.name), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .ok()?;
        let mut text = [0u8; 2048];
        let n = io::read(&fd, &mut text[..]).ok()?;
        String::from_utf8(text[..n].to_vec()).ok()
    }
}
