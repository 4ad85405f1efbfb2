//! Which program the next daemon is made from: the installed one, or, if that has proved unable to serve, the last that did.
//!
//! Owns the files, kept open: a package upgrade unlinks the program that serves, and its descriptor is all that is left of it.
//! What a reader would get wrong: a file is known by device and inode, and the file of a program that failed is kept open for no
//! other reason than that its inode is not given to the next one.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A program, whatever its path names by now.
#[derive(Debug)]
pub(super) struct Binary {
    pub(super) file: OwnedFd,
}

impl Binary {
    fn open(path: &Path) -> io::Result<Self> {
        // Without waiting, whatever somebody has put there: a fifo would hold us up for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Self { file: openat(CWD, path, flags, Mode::empty())? })
    }

    /// The path to execute it by. Being that of a descriptor, it names this very file, and works for a process that has it too.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    fn is(&self, other: &Self) -> bool {
        // If it cannot be asked, it is another: then it is tried, and falls back.
        let id = |b: &Self| fstat(&b.file).ok().map(|s| (s.st_dev, s.st_ino));
        id(self).is_some_and(|ours| id(other) == Some(ours))
    }
}

/// The programs that are known.
#[derive(Debug)]
pub(super) struct Binaries {
    /// Where the installed one is.
    pub(super) path: PathBuf,
    /// The last that became ready.
    good: Option<Rc<Binary>>,
    /// The last that did not.
    bad: Option<Rc<Binary>>,
}

/// What to start.
pub(super) struct Choice {
    pub(super) binary: Rc<Binary>,
    /// Another has served and would again, should this one not become ready.
    pub(super) trial: bool,
    /// The installed one is not even tried, and this is why.
    pub(super) missing: Option<String>,
}

impl Binaries {
    pub(super) fn new(path: PathBuf, good: Option<Rc<Binary>>) -> Self {
        Self { path, good, bad: None }
    }

    /// What the next daemon is to be made from.
    pub(super) fn choose(&self) -> io::Result<Choice> {
        let installed = match (Binary::open(&self.path), &self.good) {
            (Ok(installed), _) => installed,
            (Err(e), Some(good)) => {
                let missing = Some(format!("failed to open {}: {e}", self.path.display()));
                return Ok(Choice { binary: good.clone(), trial: false, missing });
            }
            (Err(e), None) => return Err(io::Error::other(format!("failed to open {}: {e}", self.path.display()))),
        };
        Ok(match (&self.good, &self.bad) {
            (Some(good), _) if good.is(&installed) => Choice { binary: good.clone(), trial: false, missing: None },
            (Some(good), Some(bad)) if bad.is(&installed) => {
                Choice { binary: good.clone(), trial: false, missing: None }
            }
            (good, _) => Choice { binary: Rc::new(installed), trial: good.is_some(), missing: None },
        })
    }

    /// That one serves.
    pub(super) fn became_ready(&mut self, binary: &Rc<Binary>) {
        self.good = Some(binary.clone());
    }

    /// That one was on trial and failed.
    pub(super) fn failed(&mut self, binary: &Rc<Binary>) {
        self.bad = Some(binary.clone());
    }

    /// Whatever is installed may try again.
    pub(super) fn forgive(&mut self) {
        self.bad = None;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_failed_is_not_tried_again_until_it_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("opm");
        fs::write(&path, "one").unwrap();
        let mut binaries = Binaries::new(path.clone(), None);
        let one = binaries.choose().unwrap();
        assert!(!one.trial, "there is nothing to go back to yet");
        binaries.became_ready(&one.binary);
        assert!(!binaries.choose().unwrap().trial, "the same again");

        let replace = |text: &str| {
            fs::write(dir.path().join("new"), text).unwrap();
            fs::rename(dir.path().join("new"), &path).unwrap();
        };
        replace("two");
        let two = binaries.choose().unwrap();
        assert!(two.trial && !two.binary.is(&one.binary));
        binaries.failed(&two.binary);
        let next = binaries.choose().unwrap();
        assert!(next.binary.is(&one.binary) && !next.trial, "back to what served");
        binaries.forgive();
        assert!(binaries.choose().unwrap().binary.is(&two.binary), "somebody insists");
        binaries.failed(&two.binary);

        replace("three");
        let three = binaries.choose().unwrap();
        assert!(three.trial && !three.binary.is(&two.binary), "another file gets its chance");
        binaries.became_ready(&three.binary);

        fs::remove_file(&path).unwrap();
        let kept = binaries.choose().unwrap();
        assert!(kept.binary.is(&three.binary) && kept.missing.is_some(), "a package that is being replaced");
    }
}
