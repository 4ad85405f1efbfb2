//! One epoll set with typed tokens: how both the event loop and the log pump learn that something is ready.
//!
//! Level-triggered, since a reader that stops early must be told again. What a reader would get wrong: a descriptor must be
//! removed *before* it is closed. A child between clone3 and exec may hold a copy of it, and then the kernel goes on
//! reporting a descriptor that we no longer have (epoll(7), questions and answers).

use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io;

/// An epoll set. Tokens are chosen by the owner and come back with each event.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

/// One thing that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// What it was added with.
    pub token: u64,
    /// The writing side is gone, or the process behind a pidfd is (EPOLLHUP, EPOLLERR).
    pub hangup: bool,
}

/// The most that is told of at a time. Where it is so many, there may be more.
pub const AT_ONCE: usize = 64;

impl Epoll {
    /// A new, empty set.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        epoll::create(epoll::CreateFlags::CLOEXEC).map(|fd| Self { fd })
    }

    /// Watches for readability.
    ///
    /// # Errors
    /// Out of memory, or of the user's watches.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        epoll::add(&self.fd, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
    }

    /// Watches for writability, until that was told once.
    ///
    /// # Errors
    /// As [`Epoll::add`].
    pub fn add_writable_once(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        let flags = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
        epoll::add(&self.fd, fd, epoll::EventData::new_u64(token), flags)
    }

    /// Watches for exceptional conditions: how kernfs files such as cgroup.events say that they changed (EPOLLPRI).
    ///
    /// # Errors
    /// As [`Epoll::add`].
    pub fn add_priority(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        epoll::add(&self.fd, fd, epoll::EventData::new_u64(token), epoll::EventFlags::PRI)
    }

    /// Watches for nothing but hang-up and errors, which the kernel always reports: a pidfd hangs up once its process has been
    /// reaped (from 6.12 or so; before, this says nothing ever).
    ///
    /// # Errors
    /// As [`Epoll::add`].
    pub fn add_hangup(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        epoll::add(&self.fd, fd, epoll::EventData::new_u64(token), epoll::EventFlags::empty())
    }

    /// Stops watching. Harmless for one that is not watched.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.fd, fd);
    }

    /// What is ready now, up to [`AT_ONCE`]. Waits if `block`, else returns at once.
    ///
    /// # Errors
    /// Anything but an interruption, which counts as nothing ready.
    pub fn wait(&self, out: &mut Vec<Ready>, block: bool) -> io::Result<()> {
        out.clear();
        let mut events =
            [const { epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) } }; AT_ONCE];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let count = match epoll::wait(&self.fd, &mut events[..], if block { None } else { Some(&now) }) {
            Ok(count) => count,
            Err(io::Errno::INTR) => 0,
            Err(e) => return Err(e),
        };
        out.extend(events[..count].iter().map(|e| {
            let (flags, data) = (e.flags, e.data);
            Ready { token: data.u64(), hangup: flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR) }
        }));
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
