//! The log files that are open for writing: few, and always those that their names lead to.
//!
//! Owns the folder and the bounded set of open files. It must not write. What a reader would get wrong: the place to write
//! to is the file's length *now*, asked at every turn. Whoever empties a log file in place finds it filled from its start, not
//! after a hole; and after a crash the length says what the splice before it has done.

use crate::kernel::files::{Dir, FileError, Writing};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// So many are open at most; a quiet app's file is opened again when it speaks.
const OPEN_MOST: usize = 64;

/// The folder, and the open files in it, most recently used last.
#[derive(Debug)]
pub(super) struct LogFiles {
    path: PathBuf,
    open: Vec<(Arc<str>, OwnedFd)>,
}

impl LogFiles {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: Vec::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of that name, made if it is missing (and its folder too), and where to write.
    pub(super) fn open(&mut self, name: &Arc<str>) -> Result<(BorrowedFd<'_>, u64), FileError> {
        if let Some(at) = self.open.iter().position(|(open, _)| open == name) {
            let found = self.open.remove(at);
            match rustix::fs::fstat(&found.1) {
                // Removed: what is written there now, nobody will ever read.
                Ok(stat) if stat.st_nlink > 0 => return Ok(self.push(found, u64::try_from(stat.st_size).unwrap_or(0))),
                Ok(_) | Err(_) => {}
            }
        }
        // The folder is opened anew each time: it may have been removed, or renamed by whoever rotates logs by hand.
        let (file, size) = Dir::make(&self.path)?.open_for_writing(&**name, Writing::At)?;
        if self.open.len() >= OPEN_MOST {
            self.open.remove(0);
        }
        Ok(self.push((Arc::clone(name), file), size))
    }

    fn push(&mut self, file: (Arc<str>, OwnedFd), size: u64) -> (BorrowedFd<'_>, u64) {
        self.open.push(file);
        // Just pushed, hence there.
        let last = self.open.len() - 1;
        (self.open[last].1.as_fd(), size)
    }

    /// Lets go of files that somebody renamed: the next bytes go where the name leads.
    pub(super) fn let_go_of_renamed(&mut self) {
        match Dir::open(&self.path) {
            Ok(dir) => self.open.retain(|(name, file)| dir.still_names(&**name, file)),
            Err(_) => self.open.clear(),
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end by panicking")]
    use super::*;

    #[test]
    fn few_files_are_open_and_the_least_recently_used_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = LogFiles::new(dir.path().to_owned());
        let names: Vec<Arc<str>> = (0..200).map(|n| format!("{n}.log").into()).collect();
        for name in &names {
            files.open(name).unwrap();
            files.open(&names[0]).unwrap();
        }
        assert_eq!(files.count(), OPEN_MOST);
        assert!(files.open.iter().any(|(name, _)| *name == names[0]), "the one in use stays");
        assert!(files.open.iter().any(|(name, _)| *name == names[199]));
    }
}
