//! Marks: what a new daemon must know about a live run that the kernel does not already say, kept as `user.opm.*` extended
//! attributes on the run's cgroup directory. Kernel memory that lives and dies with the cgroup.
//!
//! Owns their text. What a reader would get wrong: an app of the same uid can forge them, so nothing here is trusted to be
//! well-formed, and no secret is kept here: any local user can read them.

use rustix::fd::AsFd;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::{self, Errno};

/// What was written about a run before its process was made: `user.opm.run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMark {
    /// The generation it belongs to.
    pub generation: u64,
    /// Automatic restarts so far.
    pub restarts: u32,
    /// Early failures in a row so far.
    pub failures: u32,
    /// When it was spawned, nanoseconds on CLOCK_BOOTTIME.
    pub started: u64,
    /// The keeper that is its parent, by pid and start time: from any other keeper no exit record will come.
    pub keeper: (u32, u64),
    /// The inodes of its log pipes, output and error: if keeper and daemon die together, a process that holds one is where it
    /// can be opened again.
    pub pipes: [u64; 2],
    /// The name of its app, which may have been deleted by the time that somebody reads this. None: written before 2026-11-21.
    pub name: Option<String>,
}

/// Who the main process is: `user.opm.main`, written by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MainMark {
    /// Its pid.
    pub pid: u32,
    /// Its start time in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
    /// Its pidfd's inode; unique per process from 6.9 on, the same for all before.
    pub inode: u64,
}

const RUN: &str = "user.opm.run";
const MAIN: &str = "user.opm.main";
const STOP: &str = "user.opm.stop";
const DOWN: &str = "user.opm.down";
const FAILED: &str = "user.opm.failed";
const LIMITED: &str = "user.opm.limited";
const HEAVY: &str = "user.opm.heavy";

impl RunMark {
    /// Writes it on the run's directory.
    ///
    /// # Errors
    /// fsetxattr(2).
    pub fn write(&self, run: impl AsFd) -> io::Result<()> {
        let text = format!(
            "1 {} {} {} {} {} {} {} {} {}",
            self.generation,
            self.restarts,
            self.failures,
            self.started,
            self.keeper.0,
            self.keeper.1,
            self.pipes[0],
            self.pipes[1],
            self.name.as_deref().unwrap_or_default(),
        );
        fsetxattr(run, RUN, text.as_bytes(), XattrFlags::empty())
    }

    /// Reads it; none if absent or not ours to understand.
    pub fn read(run: impl AsFd) -> Option<Self> {
        let text = read(run, RUN)?;
        // The name comes last, since it may hold spaces.
        let mut fields = text.splitn(10, ' ');
        let mut next = || fields.next()?.parse::<u64>().ok();
        if next()? != 1 {
            return None;
        }
        Some(Self {
            generation: next()?,
            restarts: next()?.try_into().ok()?,
            failures: next()?.try_into().ok()?,
            started: next()?,
            keeper: (next()?.try_into().ok()?, next()?),
            pipes: [next()?, next()?],
            name: fields.next().filter(|name| !name.is_empty()).map(str::to_owned),
        })
    }
}

impl MainMark {
    /// Reads it; none if absent (the child has not got that far) or malformed.
    pub fn read(run: impl AsFd) -> Option<Self> {
        let text = read(run, MAIN)?;
        let mut fields = text.split(' ').map(|f| f.parse::<u64>().ok());
        let mut next = || fields.next().flatten();
        Some(Self { pid: next()?.try_into().ok()?, start_time: next()?, inode: next()? })
    }
}

/// Marks that the run is being ended, and when what is left of it is killed (nanoseconds on CLOCK_BOOTTIME). `down`: an order wants
/// its instance down, when that generation is the newest. In an attribute of its own, and first: a version before 2026-11-21 reads
/// the other as it always did.
///
/// # Errors
/// fsetxattr(2).
pub fn write_stop(run: impl AsFd, deadline: u64, down: Option<u64>) -> io::Result<()> {
    if let Some(generation) = down {
        fsetxattr(&run, DOWN, generation.to_string().as_bytes(), XattrFlags::empty())?;
    }
    fsetxattr(run, STOP, deadline.to_string().as_bytes(), XattrFlags::empty())
}

/// The deadline of the stop ladder under way, if one is, and the generation at which it was ordered down, if it was.
pub fn read_stop(run: impl AsFd) -> Option<(u64, Option<u64>)> {
    let deadline = read(&run, STOP)?.parse().ok()?;
    Some((deadline, read(run, DOWN).and_then(|text| text.parse().ok())))
}

/// Marks that limits were written on the run which are not those of a fresh one.
///
/// # Errors
/// fsetxattr(2).
pub fn write_limited(run: impl AsFd) -> io::Result<()> {
    fsetxattr(run, LIMITED, b"1", XattrFlags::empty())
}

/// Whether such limits were ever written.
pub fn read_limited(run: impl AsFd) -> bool {
    read(run, LIMITED).is_some()
}

/// Marks that the run is being ended since it passed its memory mark: the mark and what was seen, bytes.
///
/// # Errors
/// fsetxattr(2).
pub fn write_heavy(run: impl AsFd, mark: u64, seen: u64) -> io::Result<()> {
    fsetxattr(run, HEAVY, format!("{mark} {seen}").as_bytes(), XattrFlags::empty())
}

/// The memory mark that it passed, and what was seen, if that is why it is being ended.
pub fn read_heavy(run: impl AsFd) -> Option<(u64, u64)> {
    let text = read(run, HEAVY)?;
    let (mark, seen) = text.split_once(' ')?;
    Some((mark.parse().ok()?, seen.parse().ok()?))
}

/// The stage number and errno that a child left when it gave up before exec.
pub fn read_failed(run: impl AsFd) -> Option<(u8, i32)> {
    let mut value = [0u8; 16];
    match fgetxattr(run, FAILED, &mut value[..]) {
        Ok(5) => Some((value[0], i32::from_le_bytes([value[1], value[2], value[3], value[4]]))),
        Ok(_) | Err(_) => None,
    }
}

/// A short text attribute. Anything longer than ours ever are is not ours (ERANGE).
fn read(run: impl AsFd, name: &str) -> Option<String> {
    let mut value = [0u8; 512];
    match fgetxattr(run, name, &mut value[..]) {
        Ok(n) => String::from_utf8(value[..n].to_vec()).ok(),
        Err(Errno::NODATA | Errno::RANGE) => None,
        Err(_) => None,
    }
}
