//! What could not be done to a file, in words: the operation, the file, the cause.

use rustix::io::Errno;
use std::fmt;
use std::path::{Path, PathBuf};

/// Something that could not be done to a file, naming both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    operation: &'static str,
    path: PathBuf,
    /// Why.
    pub cause: Cause,
}

/// Why something could not be done to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The kernel said no.
    Os(Errno),
    /// We said no: it is not what opm would have put there.
    Refused(String),
}

impl FileError {
    /// What the kernel said to an operation on a file.
    #[must_use]
    pub fn os(operation: &'static str, path: &Path, errno: Errno) -> Self {
        Self::new(operation, path, Cause::Os(errno))
    }

    /// `operation` as in "failed to `operation` `path`: `cause`".
    #[must_use]
    pub fn new(operation: &'static str, path: &Path, cause: Cause) -> Self {
        Self { operation, path: path.to_owned(), cause }
    }

    /// Whether there is no room for it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.cause, Cause::Os(Errno::NOSPC | Errno::DQUOT))
    }

    /// Whether there simply is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.cause == Cause::Os(Errno::NOENT)
    }

    /// Whether [`Dir::keep_as`] failed because this filesystem has no hard links (vfat, some FUSE).
    #[must_use]
    pub fn no_links_here(&self) -> bool {
        matches!(self.cause, Cause::Os(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK))
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {} {}: ", self.operation, self.path.display())?;
        match &self.cause {
            Cause::Os(errno) => errno.fmt(f),
            Cause::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for FileError {}
