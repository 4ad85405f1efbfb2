//! The clocks: CLOCK_BOOTTIME for deciding, the wall clock for showing, and a timer on the former.
//!
//! What a reader would get wrong: CLOCK_MONOTONIC stands still in suspend, so a backoff would last as long as the lid is shut;
//! the wall clock jumps. CLOCK_BOOTTIME does neither (clock_gettime(2)).

use crate::model::{BootId, Moment, Wall};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};
use std::fs;

/// Now, on CLOCK_BOOTTIME.
#[must_use]
pub fn now() -> Moment {
    let t = clock_gettime(ClockId::Boottime);
    Moment(unsigned(t.tv_sec) * 1_000_000_000 + unsigned(t.tv_nsec))
}

/// Now, on the wall clock. One that is set to before 1970 (a board without a battery) is taken for 1970.
#[must_use]
pub fn wall() -> Wall {
    let t = clock_gettime(ClockId::Realtime);
    Wall(unsigned(t.tv_sec) * 1000 + unsigned(t.tv_nsec) / 1_000_000)
}

/// Now, on the wall clock, in microseconds since 1970: for log lines.
#[must_use]
pub fn wall_micros() -> u64 {
    let t = clock_gettime(ClockId::Realtime);
    unsigned(t.tv_sec) * 1_000_000 + unsigned(t.tv_nsec) / 1000
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Which boot this is.
///
/// # Errors
/// /proc is not mounted.
pub fn boot_id() -> std::io::Result<BootId> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| BootId(id.trim().into()))
}

/// A timer that becomes readable when its moment has come.
#[derive(Debug)]
pub struct Alarm {
    fd: OwnedFd,
    set: Option<Moment>,
}

impl Alarm {
    /// A timer that is not set.
    ///
    /// # Errors
    /// timerfd_create(2).
    pub fn new() -> rustix::io::Result<Self> {
        timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map(|fd| Self { fd, set: None })
    }

    /// Sets it to that moment, or to none. Makes no system call when nothing changes.
    pub fn set(&mut self, when: Option<Moment>) {
        if self.set == when {
            return;
        }
        // Zero disarms; a moment that has passed fires at once.
        let nanos = when.map_or(0, |m| m.0.max(1));
        let value = Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        let _ = timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &spec);
        self.set = when;
    }

    /// Takes note that it has fired.
    pub fn clear(&mut self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&self.fd, &mut count);
        self.set = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
