//! Moving bytes from a pipe into a file, and what a thread that does only that needs: a bell and a timer.
//!
//! Owns the system calls of log capture. It must not decide what goes where. What a reader would get wrong: the file must
//! not be opened for appending (splice(2) says EINVAL), and nothing here may read the pipe where splice works: only splice
//! consumes and writes in one kernel step, so that a SIGKILL loses no byte and doubles none.

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{self, Errno};
use rustix::pipe::{PipeFlags, SpliceFlags};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What became of one attempt to move bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// So many are in the file now, and no longer in the pipe.
    Bytes(usize),
    /// The pipe is empty.
    Nothing,
    /// The pipe is empty, and nobody can write to it any more.
    End,
    /// This filesystem does not take splices.
    NotSpliceable,
}

/// Moves at most `most` bytes from the pipe to `offset` of the file, in one kernel step.
///
/// # Errors
/// The file could not take them (ENOSPC, EDQUOT, EIO, EFBIG); they are still in the pipe.
pub fn splice(pipe: impl AsFd, file: impl AsFd, offset: u64, most: usize) -> io::Result<Moved> {
    let mut offset = offset;
    loop {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        return match rustix::pipe::splice(&pipe, None, &file, Some(&mut offset), most, flags) {
            Ok(0) => Ok(Moved::End),
            Ok(n) => Ok(Moved::Bytes(n)),
            Err(Errno::AGAIN) => Ok(Moved::Nothing),
            Err(Errno::INTR) => continue,
            Err(Errno::INVAL) => Ok(Moved::NotSpliceable),
            Err(e) => Err(e),
        };
    }
}

/// Reads from the pipe and writes to `offset` of the file: for filesystems that take no splices. `rest` holds what was read
/// and not yet written; a SIGKILL between the two loses it.
///
/// # Errors
/// The file could not take them; they are in `rest` or still in the pipe.
pub fn copy(pipe: impl AsFd, file: impl AsFd, offset: u64, rest: &mut Vec<u8>) -> io::Result<Moved> {
    if rest.is_empty() {
        rest.reserve_exact(64 << 10);
        match rustix::io::retry_on_intr(|| rustix::io::read(&pipe, rustix::buffer::spare_capacity(rest))) {
            Ok(0) => return Ok(Moved::End),
            Ok(_) => {}
            Err(Errno::AGAIN) => return Ok(Moved::Nothing),
            Err(e) => return Err(e),
        }
    }
    let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&file, rest, offset))?;
    rest.drain(..written);
    Ok(Moved::Bytes(written))
}

/// How many of the bytes that wait in the pipe reach up to and with the first line feed; all that wait, if there is none among
/// them. They stay there: tee(2) makes a second copy, which is looked at.
///
/// # Errors
/// Out of descriptors or pipe memory.
pub fn to_line_feed(pipe: impl AsFd) -> io::Result<usize> {
    let (look, copy) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let _ = rustix::pipe::fcntl_setpipe_size(&copy, capacity(&pipe));
    match rustix::pipe::tee(&pipe, &copy, capacity(&pipe), SpliceFlags::NONBLOCK) {
        Ok(_) | Err(Errno::AGAIN) => {}
        Err(e) => return Err(e),
    }
    drop(copy);
    let mut block = vec![0; 64 << 10];
    let mut before = 0;
    loop {
        let read = io::retry_on_intr(|| io::read(&look, &mut block[..]))?;
        if read == 0 {
            return Ok(before);
        }
        if let Some(at) = block[..read].iter().position(|b| *b == b'\n') {
            return Ok(before + at + 1);
        }
        before += read;
    }
}

/// Throws away at most `most` bytes of what waits in the pipe, and says how many.
pub fn discard(pipe: impl AsFd, most: usize) -> usize {
    let mut block = vec![0; most.min(64 << 10)];
    let mut gone = 0;
    while gone < most {
        let length = block.len().min(most - gone);
        match io::retry_on_intr(|| io::read(&pipe, &mut block[..length])) {
            Ok(0) | Err(_) => break,
            Ok(n) => gone += n,
        }
    }
    gone
}

/// How many bytes wait in the pipe.
pub fn waiting(pipe: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(pipe).unwrap_or(0)
}

/// How many bytes the pipe holds at most.
pub fn capacity(pipe: impl AsFd) -> usize {
    rustix::pipe::fcntl_getpipe_size(pipe).unwrap_or(64 << 10)
}

/// Makes the pipe hold `bytes`; false if this user may not have that much (pipe(7), `pipe-user-pages-soft`).
pub fn grow(pipe: impl AsFd, bytes: usize) -> bool {
    rustix::pipe::fcntl_setpipe_size(pipe, bytes).is_ok()
}

/// Wakes a thread that waits in epoll: an eventfd.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    /// It was rung and nobody has heard it yet: a thousand who ring at once cost one system call.
    rung: AtomicBool,
}

impl Bell {
    /// A silent one.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, rung: AtomicBool::new(false) })
    }

    /// Rings: readable until [`Bell::hush`]. What was done before it is seen by whoever looks after that.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Fails only when 2^64 - 2 rings went unheard; then it rings anyway.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Stops ringing. Look for what there is to do after it, not before.
    pub fn hush(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        // Last: had it been first, a ring in between would be taken out of the eventfd and no later one be written.
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// Waits until it rings, but no longer than that.
    pub fn wait(&self, most: Duration) {
        let mut bell = [PollFd::new(&self.fd, PollFlags::IN)];
        // Woken early by a signal, or by a time that cannot be: whoever waits here looks again anyway.
        if let Ok(most) = Timespec::try_from(most) {
            let _ = rustix::event::poll(&mut bell, Some(&most));
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A timer that is readable once it has run out: a timerfd on CLOCK_MONOTONIC.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// One that does not run.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags).map(Self)
    }

    /// Runs out once, after `delay`; what it was set to before is forgotten, and it is no longer readable.
    ///
    /// # Errors
    /// None that are known.
    pub fn set(&self, delay: Duration) -> io::Result<()> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let tv_sec = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        let it_value = Timespec { tv_sec, tv_nsec: i64::from(delay.subsec_nanos()) };
        let new = Itimerspec { it_interval: zero, it_value };
        rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &new).map(drop)
    }

    /// Takes note that it has run out.
    pub fn hush(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
