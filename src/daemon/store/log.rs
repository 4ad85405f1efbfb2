//! The log of changes, open for more: a line at its end, durable when that is said.
//!
//! Owns its descriptor and where it ends. It must not know what the lines say. What a reader would get wrong: a line
//! that could not be made durable is cut off again, since whoever asked is told that nothing was saved.

use crate::kernel::files::write_all_at;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// The log becomes at least that long before the index is written whole in its place. Small enough that reading it costs a start
/// nothing that anybody feels (a few hundred changes), large enough that hundreds of orders share the cost of one index.
const LEAST: u64 = 128 << 10;

#[derive(Debug)]
pub(super) struct Log {
    fd: OwnedFd,
    len: u64,
    /// From here on the index is to be written whole: what is written in all stays in proportion to what is changed.
    long_from: u64,
    /// Of the last line.
    check: String,
}

impl Log {
    /// A log that was just written: so long, its last line with that check, after an index of that size.
    pub(super) fn new(fd: OwnedFd, len: usize, check: String, index_len: usize) -> Self {
        Self { fd, len: len as u64, long_from: LEAST.max(index_len as u64), check }
    }

    /// The check that the next line comes after.
    pub(super) fn check(&self) -> &str {
        &self.check
    }

    pub(super) fn is_long(&self) -> bool {
        self.len >= self.long_from
    }

    /// Whether nobody wrote to it, cut it off or removed it.
    pub(super) fn is_as_we_left_it(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|s| u64::try_from(s.st_size) == Ok(self.len) && s.st_nlink > 0)
    }

    /// Writes a line, with that check, at the end. It is durable when this returns: fdatasync(2) also writes the new length, which is
    /// needed to read what was appended.
    ///
    /// # Errors
    /// Nothing was added, as far as that can be had; the log must not be used any more.
    pub(super) fn append(&mut self, line: &[u8], check: String) -> Result<(), Errno> {
        let written = write_all_at(&self.fd, line, self.len).and_then(|()| rustix::fs::fdatasync(&self.fd));
        if written.is_err() {
            // What cannot be cut off is spoiled.
            let _ = rustix::fs::ftruncate(&self.fd, self.len).or_else(|_| write_all_at(&self.fd, b"x", self.len));
            let _ = rustix::fs::fdatasync(&self.fd);
            return written;
        }
        self.len += line.len() as u64;
        self.check = check;
        Ok(())
    }
}
