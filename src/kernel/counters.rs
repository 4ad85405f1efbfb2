//! What the kernel has counted of a run: its peak, its CPU time, what was killed for want of memory or refused another process.
//!
//! Reads, and nothing else. What a reader would get wrong: the counters live in the run's cgroup and go with it, and a file may not
//! be there (no controller, an older kernel): then nothing is told, and no 0 made up.

use super::cgroup::RunDir;
use crate::model::Tally;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io;

/// All of it, for a run that is at its end.
#[must_use]
pub fn tally(run: &RunDir) -> Tally {
    Tally {
        cpu_us: run.keyed("cpu.stat", "usage_usec "),
        memory_peak: run.number("memory.peak"),
        // "max": no limit.
        memory_max: run.number("memory.max"),
        pids_peak: run.number("pids.peak"),
        pids_max: run.number("pids.max"),
        oom_kills: oom_kills(run),
        pids_refused: run.keyed("pids.events", "max ").unwrap_or(0),
    }
}

/// Whether the kernel killed something in it for want of memory. It counts more than it kills (3 for 2 seen): 0 or not is what it says.
#[must_use]
pub fn oom_kills(run: &RunDir) -> u64 {
    run.keyed("memory.events", "oom_kill ").unwrap_or(0)
}

/// Memory that the run holds and the kernel could not take back without swap: all that memory.high counts but page cache and slabs that
/// can be given up. Left out, page tables, stacks and sockets would keep an app of many threads or connections at memory.high,
/// slowed down and never found to be past it. What it has swapped out counts, too: with swap space memory.high would only ever
/// move it there.
#[must_use]
pub fn held(run: &RunDir) -> Option<u64> {
    let stat = run.read("memory.stat").ok()?;
    let of = |key: &str| {
        stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse::<u64>().ok()).unwrap_or(0)
    };
    // The sum of all that the kernel itself holds for it is told since 5.18.
    let kernel = match of("kernel") {
        0 => ["slab_unreclaimable", "kernel_stack", "pagetables", "percpu"].into_iter().map(of).sum(),
        all => all.saturating_sub(of("slab_reclaimable")),
    };
    Some(of("anon") + of("shmem") + of("sock") + kernel + run.number("memory.swap.current").unwrap_or(0))
}

/// `memory.events`, to be watched with EPOLLPRI. It is ready at once, since nobody has read it: what a run took between its first
/// instruction and this is looked at, too, and may be all that it ever takes.
///
/// # Errors
/// openat(2): ENOENT without the controller, EMFILE.
pub fn memory_events(run: &RunDir) -> io::Result<OwnedFd> {
    openat(run, "memory.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// What happened up to now is no news any more: a file of kernfs is ready until it has been read since the last change.
///
/// # Errors
/// The cgroup is gone (ENODEV).
pub fn memory_events_seen(events: &OwnedFd) -> io::Result<()> {
    io::pread(events, &mut [0u8; 256][..], 0).map(drop)
}

/// Lets the run have what memory it takes: memory.high slows it down no more. It is being ended, and has its grace for that.
///
/// # Errors
/// The file cannot be written.
pub fn unthrottle(run: &RunDir) -> io::Result<()> {
    run.write("memory.high", "max")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn page_cache_is_not_held_and_what_is_not_there_is_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::at(dir.path()).unwrap();
        assert_eq!((held(&run), tally(&run)), (None, Tally::default()));
        let stat = "anon 100\nfile 9000\nkernel 870\nkernel_stack 30\npagetables 30\nsock 4\nanon_thp 5\nshmem 20\nslab_reclaimable 800\nslab_unreclaimable 3\n";
        let before_5_18 = stat.replace("kernel 870\n", "");
        fs::write(dir.path().join("memory.stat"), before_5_18).unwrap();
        assert_eq!(held(&run), Some(187));
        fs::write(dir.path().join("memory.stat"), stat).unwrap();
        fs::write(dir.path().join("memory.events"), "low 0\nhigh 2\nmax 4\noom 1\noom_kill 3\noom_group_kill 1\n")
            .unwrap();
        fs::write(dir.path().join("memory.max"), "max\n").unwrap();
        fs::write(dir.path().join("pids.events"), "max 7\n").unwrap();
        assert_eq!(held(&run), Some(194));
        fs::write(dir.path().join("memory.swap.current"), "1000\n").unwrap();
        assert_eq!(held(&run), Some(1194));
        assert_eq!(tally(&run), Tally { oom_kills: 3, pids_refused: 7, ..Tally::default() });
    }
}
