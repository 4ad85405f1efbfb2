//! Processes that are known by pidfd, and what /proc says of them.
//!
//! What a reader would get wrong: a pid is a number that the kernel gives away again. Here it is only ever a way to open a
//! pidfd, and the pidfd is believed only after the cgroup still lists the pid (see [`super::cgroup::RunDir::members`]).

use super::clone::Wait;
use super::mark::MainMark;
use crate::model::Signal;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::{fs, io};

/// Sets what `ps` calls this process: executed by the path of a descriptor, it would be that number.
pub fn set_own_name(name: &std::ffi::CStr) {
    let _ = rustix::thread::set_name(name);
}

/// The main process by its mark, alive or not yet reaped (see [`has_ended`]): a member of the cgroup, or, having left it (su,
/// systemd-run), still the process with the marked inode or, where the kernel does not tell pidfds apart, start time.
///
/// # Errors
/// As [`open`]: nobody knows whether it lives.
pub fn marked_main(mark: MainMark) -> io::Result<Option<OwnedFd>> {
    let Some(fd) = open(mark.pid)? else { return Ok(None) };
    // On pidfs (6.9+) the inode is the identity itself, for as long as the machine is up. Before, every pidfd has the same one, and
    // start time has to do, which a daemon in another time namespace reads otherwise (time_namespaces(7)).
    let same =
        if is_pidfs(&fd) { inode(&fd) == Some(mark.inode) } else { start_time(mark.pid) == Some(mark.start_time) };
    Ok(same.then_some(fd))
}

/// `PID_FS_MAGIC` of linux/magic.h.
const PIDFS: rustix::fs::FsWord = 0x5049_4446;

/// Whether pidfds have inode numbers of their own here (6.9+).
#[must_use]
pub fn is_pidfs(pidfd: impl AsFd) -> bool {
    rustix::fs::fstatfs(pidfd).is_ok_and(|s| s.f_type == PIDFS)
}

/// A pidfd of whatever has that number now; none if nobody has.
///
/// # Errors
/// pidfd_open(2), mostly that there is no descriptor left.
pub fn open(pid: u32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        // EINVAL: the number of a thread.
        Err(Errno::SRCH | Errno::INVAL) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The inode of a pidfd.
#[must_use]
pub fn inode(pidfd: impl AsFd) -> Option<u64> {
    rustix::fs::fstat(pidfd).ok().map(|s| s.st_ino)
}

/// Whether the process behind a pidfd has ended, reaped or not (a pidfd becomes readable at exit).
#[must_use]
pub fn has_ended(pidfd: impl AsFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
}

/// Sends a signal. One that has ended is not an error: that is what signals race with.
///
/// # Errors
/// EPERM: it runs as somebody else now.
pub fn signal(pidfd: impl AsFd, signal: Signal) -> std::io::Result<()> {
    match super::clone::send_signal(pidfd.as_fd(), signal.number()) {
        Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(()),
        other => other,
    }
}

/// How a process ended that its parent has not reaped, by proc_pid_stat(5), field 52. Some parents never reap (the first
/// process of many a container), so waiting for that may be waiting for ever. None: it lives, it is reaped, or the kernel does
/// not tell us; never a made-up 0.
#[must_use]
pub fn unreaped_exit(pid: u32, pidfd: impl AsFd) -> Option<Wait> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let close = stat.iter().rposition(|b| *b == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&stat[close + 1..]).ok()?.split_whitespace().collect();
    let status: i32 = fields.get(52 - 3)?.parse().ok()?;
    // Whoever may not trace the process reads 0 there, and may not read this link either. Of a zombie it leads nowhere.
    let refused = rustix::fs::readlink(format!("/proc/{pid}/exe"), Vec::new()) == Err(Errno::ACCESS);
    // Asked last: still the number of this process, so it was when the file was read.
    let number = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd())).ok()?;
    let still = number.lines().find_map(|l| l.strip_prefix("Pid:"))?.trim().parse() == Ok(pid);
    (fields.first() == Some(&"Z") && still && !refused).then(|| Wait::from_status(status))
}

/// Start time in clock ticks since boot (proc_pid_stat(5), field 22).
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in field 2 may hold spaces and parentheses; the last ')' ends it.
    let close = stat.iter().rposition(|b| *b == b')')?;
    std::str::from_utf8(&stat[close + 1..]).ok()?.split_whitespace().nth(19)?.parse().ok()
}

/// Resident memory of a process in bytes, shared pages divided among their users where the kernel says so (smaps_rollup's
/// Pss), else plainly resident.
#[must_use]
pub fn memory(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let pss = rollup.and_then(|text| {
        text.lines().find_map(|l| l.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
    });
    pss.map(|kib| kib * 1024).or_else(|| {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    })
}

/// What a process's largest resident set tells of its program; 0, nothing. A child is made in our memory and begins with the peak of
/// that (exec(2) carries it over), so what is not above our own peak may be ours.
#[must_use]
pub fn beyond_ours(max_rss: u64) -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let ours = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss().unsigned_abs() * 1024);
    if max_rss > ours { max_rss } else { 0 }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    /// rustix has no safe way to name them, and for a while they were dropped without a word.
    #[test]
    fn real_time_signals_arrive() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = open(child.id()).unwrap().unwrap();
        signal(&pidfd, Signal::from_number(40).unwrap()).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(40));
        signal(&pidfd, Signal::KILL).unwrap();
    }

    #[test]
    fn what_is_not_above_our_own_peak_is_not_told_as_somebody_elses() {
        assert_eq!((beyond_ours(4096), beyond_ours(1 << 50)), (0, 1 << 50));
    }
}
