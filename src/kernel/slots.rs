//! Low descriptor numbers kept for what children need, so that making a child costs the same however many descriptors the
//! daemon has.
//!
//! A child that gets a copy of the table must have all of it copied and then close all of it: with 1,000 apps that took more
//! time than clone3 itself. With CLONE_FILES it shares the table instead, and its first act is close_range(2) with
//! CLOSE_RANGE_UNSHARE, which copies only what lies *below* the range: these slots. What a reader would get wrong: until it
//! has done that, and said so, the child reads its descriptors from *our* table. So a slot is not touched before that word.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{DupFlags, dup3};

/// Descriptors of one child: status, standard input, output and error, cgroup, and cgroup.procs where that is needed.
pub const WIDTH: usize = 6;
/// Children that may be on their way at once; more are made with a copy of the table. Each child copies what all of these may hold,
/// and lets go of it again.
pub const CHILDREN: usize = 16;

/// The numbers kept.
#[derive(Debug)]
pub struct Slots {
    null: OwnedFd,
    places: Vec<[OwnedFd; WIDTH]>,
    free: Vec<usize>,
    end: RawFd,
}

/// One child's numbers, until they are given back.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot(usize);

impl Slots {
    /// Keeps numbers right above those that are open now. To be made early, while those are few.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new() -> rustix::io::Result<Self> {
        let null = openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let one = || rustix::io::fcntl_dupfd_cloexec(&null, 3);
        let mut places = Vec::with_capacity(CHILDREN);
        for _ in 0..CHILDREN {
            places.push([one()?, one()?, one()?, one()?, one()?, one()?]);
        }
        let highest = places.iter().flatten().map(AsRawFd::as_raw_fd).max();
        let end = highest.map_or(0, |highest| highest + 1);
        Ok(Self { null, places, free: (0..CHILDREN).collect(), end })
    }

    /// Puts these descriptors into free slots; none if there are none.
    #[must_use]
    pub fn fill(&mut self, fds: [BorrowedFd<'_>; WIDTH]) -> Option<Slot> {
        let index = self.free.pop()?;
        let filled = self
            .places
            .get_mut(index)
            .is_some_and(|place| place.iter_mut().zip(fds).all(|(slot, fd)| dup3(fd, slot, DupFlags::CLOEXEC).is_ok()));
        let slot = Slot(index);
        if !filled {
            self.release(slot);
            return None;
        }
        Some(slot)
    }

    /// The slot's descriptors.
    #[must_use]
    pub fn get(&self, slot: &Slot) -> Option<[BorrowedFd<'_>; WIDTH]> {
        self.places.get(slot.0).map(|place| place.each_ref().map(AsFd::as_fd))
    }

    /// The number above all slots.
    #[must_use]
    pub fn end(&self) -> RawFd {
        self.end
    }

    /// Gives a slot back, once its child has said that it has a table of its own, or is dead. What it held is let go, the
    /// number is kept.
    pub fn release(&mut self, slot: Slot) {
        for place in self.places.get_mut(slot.0).into_iter().flatten() {
            let _ = dup3(&self.null, place, DupFlags::CLOEXEC);
        }
        self.free.push(slot.0);
    }
}

impl Drop for Slots {
    /// A daemon that ends in good order closes what it has, and a child that has no table of its own yet would lose its
    /// descriptors with it: seen as exit code 127 of apps started while one daemon made room for the next. So what such a child
    /// may need is left to the end of the process, which takes nothing from a table that somebody shares.
    fn drop(&mut self) {
        if self.free.len() < CHILDREN {
            std::mem::forget(std::mem::take(&mut self.places));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn slots_are_kept_and_let_go_of_what_they_held() {
        let mut slots = Slots::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let taken: Vec<_> = (0..CHILDREN).map(|_| slots.fill([write.as_fd(); WIDTH]).unwrap()).collect();
        assert_eq!(slots.fill([write.as_fd(); WIDTH]), None, "no more than there are");
        assert!(slots.get(&taken[0]).unwrap().iter().all(|fd| fd.as_raw_fd() < slots.end()));
        drop(write);
        for slot in taken {
            slots.release(slot);
        }
        let mut byte = [0u8; 1];
        assert_eq!(rustix::io::read(&read, &mut byte), Ok(0), "nobody holds the pipe any more");
        assert!(slots.fill([read.as_fd(); WIDTH]).is_some());
    }

    #[test]
    fn a_child_on_its_way_keeps_its_descriptors_over_our_end() {
        let mut slots = Slots::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let slot = slots.fill([write.as_fd(); WIDTH]).unwrap();
        let number = slots.get(&slot).unwrap()[0].as_raw_fd();
        drop((slots, write));
        rustix::io::write(clone_of(number), b"x").unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0u8; 1]), Ok(1));
    }

    /// What a child that shares our table would find at that number.
    fn clone_of(number: RawFd) -> OwnedFd {
        let path = format!("/proc/self/fd/{number}");
        openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }
}
