//! A lane's bytes between its pipe and the files that are made of its lines.
//!
//! Owns the files of one lane in the runtime folder, which outlive a killed daemon but not a reboot, as the pipes do. It must not
//! look at what it holds, nor decide what is done with. What a reader would get wrong: places in it are counted from the first byte
//! that the lane ever wrote, and only ever grow, although the files are emptied again and again.
//!
//! ```text
//! 3.0.out.a   3.0.out.b    two files, one of which holds the bytes
//! 3.0.out.at  32 bytes     magic 7 | which one 1 | the place of its first byte 8 | what was noted 8 | of which boot 8
//! ```
//! Bytes come by splice(2), at the file's length, so that a SIGKILL falls on neither side. They leave by a *flip*: what is not
//! done with is copied into the other file, the state is written, and only then is the old file emptied. The state is written by
//! one pwrite(2) that is whole or not there: the kernel looks for a SIGKILL between pages only (generic_perform_write), of the
//! file and of what is written from, hence the alignment. Killed at any point, the state says which file counts.

use super::index::Lane;
use crate::api::LogStream;
use crate::kernel::clock;
use crate::kernel::files::{Dir, FileError};
use crate::kernel::pump::{self, Moved};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A file this large is emptied when all of it is done with: what little came costs no flip.
const SMALL: u64 = 16 << 10;
/// A file this large is emptied when half of it is done with, so that no byte is copied twice on average.
const LARGE: u64 = 1 << 20;

const MAGIC: &[u8; 7] = b"opmsp1\n";
const ENDS: [&str; 2] = ["a", "b"];
const STATE: &str = "at";

/// What a lane wrote and is not done with.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    lane: Lane,
    state: OwnedFd,
    /// The file that counts.
    file: OwnedFd,
    /// The other one, empty, if there is one.
    other: Option<OwnedFd>,
    at: At,
    /// How many bytes are in the file.
    length: u64,
    way: Way,
}

/// The state, as it stands on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    /// The number of the file that counts, 0 or 1.
    which: usize,
    /// The place of its first byte.
    base: u64,
    /// The place that was noted last.
    noted: u64,
}

#[derive(Debug)]
enum Way {
    Splice,
    /// With what was read and not yet written.
    Copy(Vec<u8>),
}

/// As it is written: see the module's head.
#[repr(align(32))]
struct Aligned([u8; 32]);

impl At {
    fn encode(self) -> Aligned {
        let mut out = [0; 32];
        out[..7].copy_from_slice(MAGIC);
        out[7] = u8::from(self.which == 1);
        out[8..16].copy_from_slice(&self.base.to_le_bytes());
        out[16..24].copy_from_slice(&self.noted.to_le_bytes());
        out[24..].copy_from_slice(&boot().to_le_bytes());
        Aligned(out)
    }

    /// None: there is none, or it is of another boot. Of a spool that lay on a disk then, nobody knows what was written back.
    fn decode(bytes: &[u8; 32]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let at = Self { which: usize::from(bytes[7]), base: number(8), noted: number(16) };
        (bytes.starts_with(MAGIC) && at.which < 2 && number(24) == boot()).then_some(at)
    }
}

/// Which boot this is, as a number.
fn boot() -> u64 {
    static BOOT: OnceLock<u64> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let id = clock::boot_id().map(|id| id.0.to_string()).unwrap_or_default();
        let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        u64::from_str_radix(&digits, 16).unwrap_or(0)
    })
}

fn name(lane: Lane, end: &str) -> String {
    let stream = match lane.stream() {
        LogStream::Out => "out",
        LogStream::Err => "err",
    };
    format!("{}.{}.{stream}.{end}", lane.app.0, lane.instance)
}

impl Spool {
    /// The lane's spool as it was left, or an empty one. `at_least`: the last place up to which anything was made of the lane's
    /// bytes. A spool that does not reach it (gone with a reboot, or removed) begins there.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn open(folder: &Path, lane: Lane, at_least: u64) -> Result<Self, FileError> {
        let dir = Dir::make(folder)?;
        let state = open(&dir, &name(lane, STATE), OFlags::empty())?;
        let mut bytes = [0; 32];
        let read = retry_on_intr(|| rustix::io::pread(&state, &mut bytes, 0));
        let read = read.map_err(|e| dir.error("read", name(lane, STATE), e))?;
        let found = At::decode(&bytes).filter(|_| read == bytes.len());
        let at = found.unwrap_or(At { which: 0, base: at_least, noted: at_least });
        // What a flip that was cut short left in it.
        dir.remove(name(lane, ENDS[1 - at.which]))?;
        let file = open(&dir, &name(lane, ENDS[at.which]), OFlags::empty())?;
        let length = rustix::fs::fstat(&file).map_err(|e| dir.error("stat", name(lane, ENDS[at.which]), e))?.st_size;
        let length = u64::try_from(length).unwrap_or(0);
        let mut spool =
            Self { folder: folder.to_owned(), lane, state, file, other: None, at, length, way: Way::Splice };
        if found.is_none() || spool.end() < at_least {
            // In this order: killed between the two, it still does not reach that place, or is still no state.
            spool.empty().map_err(|e| dir.error("empty", name(lane, ENDS[at.which]), e))?;
            let fresh = At { base: at_least, noted: at_least, ..at };
            spool.write_state(fresh).map_err(|e| dir.error("write", name(lane, STATE), e))?;
        }
        Ok(spool)
    }

    /// Moves at most `most` bytes from the pipe behind those that it holds. [`Moved::NotSpliceable`] is said once; from then on
    /// bytes are copied, and a daemon that is killed meanwhile loses those it had read.
    ///
    /// # Errors
    /// There is no room for them (ENOSPC); they are still in the pipe, or kept here ([`Spool::unwritten`]).
    pub fn fill(&mut self, pipe: impl AsFd, most: usize) -> Result<Moved, FileError> {
        let moved = match &mut self.way {
            Way::Splice => pump::splice(pipe, &self.file, self.length, most),
            Way::Copy(rest) => pump::copy(pipe, &self.file, self.length, rest),
        };
        match moved.map_err(|e| self.failed("write", ENDS[self.at.which], e))? {
            Moved::Bytes(n) => {
                self.length += n as u64;
                Ok(Moved::Bytes(n))
            }
            Moved::NotSpliceable => {
                self.way = Way::Copy(Vec::new());
                Ok(Moved::NotSpliceable)
            }
            moved @ (Moved::Nothing | Moved::End) => Ok(moved),
        }
    }

    /// The place of the first byte that it holds.
    #[must_use]
    pub fn begin(&self) -> u64 {
        self.at.base
    }

    /// The place behind the last byte that it holds.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.at.base + self.length
    }

    /// How many bytes were read from the pipe and found no room: none where splice works.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        match &self.way {
            Way::Splice => 0,
            Way::Copy(rest) => rest.len(),
        }
    }

    /// Puts the bytes from that place on, at most `most`, behind those in `out`: none if it does not hold that place.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn read(&self, from: u64, most: usize, out: &mut Vec<u8>) -> Result<(), FileError> {
        let Some(at) = from.checked_sub(self.at.base).filter(|at| *at < self.length) else { return Ok(()) };
        read_at(&self.file, at, (self.length - at).min(most as u64), out)
            .map_err(|e| self.failed("read", ENDS[self.at.which], e))
    }

    /// Everything before that place is done with, in every file that is made of it; it may go. That it stays, because there is no
    /// room for a flip, harms nobody.
    pub fn settle(&mut self, done: u64) {
        let done = done.clamp(self.begin(), self.end());
        let rest = self.end() - done;
        if self.length < SMALL || (rest > 0 && (self.length < LARGE || rest > self.length / 2)) {
            return;
        }
        let _ = self.flip(done);
    }

    /// Remembers a place for whoever has no index to put it in.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&mut self, place: u64) -> Result<(), FileError> {
        self.write_state(At { noted: place, ..self.at }).map_err(|e| self.failed("write", STATE, e))
    }

    /// The place that was noted last, not before its begin.
    #[must_use]
    pub fn noted(&self) -> u64 {
        self.at.noted.max(self.at.base)
    }

    /// All is done with, and no more will come. The next spool of this lane begins where its caller says.
    ///
    /// # Errors
    /// It is still there.
    pub fn remove(self) -> Result<(), String> {
        Self::forget(&self.folder, self.lane)
    }

    /// Removes a lane's spool without looking into it. That there is none is fine.
    ///
    /// # Errors
    /// It is still there.
    pub fn forget(folder: &Path, lane: Lane) -> Result<(), String> {
        let dir = match Dir::open(folder) {
            Err(e) if e.is_missing() => return Ok(()),
            dir => dir.map_err(|e| e.to_string())?,
        };
        // The state first: files without it count for nothing.
        let all = [STATE, ENDS[0], ENDS[1]].map(|end| name(lane, end));
        all.iter().try_for_each(|name| dir.remove(name)).map_err(|e| e.to_string())
    }

    /// Whether the lane has one.
    #[must_use]
    pub fn exists(folder: &Path, lane: Lane) -> bool {
        folder.join(name(lane, STATE)).exists()
    }

    fn flip(&mut self, done: u64) -> Result<(), Errno> {
        let which = 1 - self.at.which;
        let other = match self.other.take() {
            Some(other) => other,
            None => {
                let dir = Dir::open(&self.folder).map_err(|_| Errno::NOENT)?;
                open(&dir, &name(self.lane, ENDS[which]), OFlags::TRUNC).map_err(|_| Errno::NOENT)?
            }
        };
        // If anything fails before the state is written, `other` is closed here, and the next flip truncates it.
        let rest = copy_rest(&self.file, done - self.at.base, &other)?;
        self.write_state(At { which, base: done, noted: self.at.noted })?;
        let old = std::mem::replace(&mut self.file, other);
        self.length = rest;
        self.other = rustix::fs::ftruncate(&old, 0).is_ok().then_some(old);
        Ok(())
    }

    fn empty(&mut self) -> Result<(), Errno> {
        rustix::fs::ftruncate(&self.file, 0)?;
        self.length = 0;
        Ok(())
    }

    fn write_state(&mut self, at: At) -> Result<(), Errno> {
        let bytes = at.encode();
        match retry_on_intr(|| rustix::io::pwrite(&self.state, &bytes.0, 0))? {
            32 => {
                self.at = at;
                Ok(())
            }
            _ => Err(Errno::NOSPC),
        }
    }

    fn failed(&self, operation: &'static str, end: &str, errno: Errno) -> FileError {
        FileError::os(operation, &self.folder.join(name(self.lane, end)), errno)
    }
}

fn open(dir: &Dir, name: &str, how: OFlags) -> Result<OwnedFd, FileError> {
    let flags = how | OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)).map_err(|e| dir.error("open", name, e))
}

fn read_at(file: impl AsFd, mut at: u64, most: u64, out: &mut Vec<u8>) -> Result<(), Errno> {
    let before = out.len();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    loop {
        let left = most - (out.len() - before);
        if left == 0 {
            return Ok(());
        }
        out.reserve_exact(left);
        match retry_on_intr(|| rustix::io::pread(&file, rustix::buffer::spare_capacity(out), at))? {
            0 => return Ok(()),
            n => at += n as u64,
        }
        // There may have been room for more than was asked for.
        out.truncate(before.saturating_add(most));
    }
}

/// Copies what stands behind `from` to the start of the other file; says how much that was.
fn copy_rest(file: impl AsFd, from: u64, other: impl AsFd) -> Result<u64, Errno> {
    let (mut copied, mut piece) = (0, Vec::new());
    loop {
        piece.clear();
        read_at(&file, from + copied, 256 << 10, &mut piece)?;
        if piece.is_empty() {
            return Ok(copied);
        }
        let mut left = &piece[..];
        while !left.is_empty() {
            match retry_on_intr(|| rustix::io::pwrite(&other, left, copied))? {
                0 => return Err(Errno::NOSPC),
                n => {
                    left = &left[n..];
                    copied += n as u64;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "spool/tests.rs"]
mod tests;
