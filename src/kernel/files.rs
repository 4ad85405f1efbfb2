//! Files and directories that nobody can trick us with: opened relative to a held directory, never through a symlink, never
//! a FIFO, always bounded, durable when they say so.
//!
//! Owns how opm touches its own state, journal and log folders. It must not know what is in them. What a reader would get
//! wrong: a rename alone is not durable. On ext4 a new file that was not fsynced is empty after a power cut, and a rename
//! whose directory was not fsynced has not happened. Hence write, fsync, rename, fsync the directory, in that order.

mod failure;
mod whole;

pub use failure::{Cause, FileError};
pub use whole::{write_all, write_all_at};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// At offsets that the caller gives. What splice(2) needs: it refuses files opened for appending.
    At,
    /// The same, and reading.
    Update,
    /// Always at the end.
    Append,
}

/// When names in a folder were last changed, and which folder that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    inode: (u64, u64),
    changed: (i64, u64),
}

/// A directory that is ours: held open, so that it cannot be exchanged under us.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens a directory, making it and its missing parents first (0700, durable).
    ///
    /// # Errors
    /// It cannot be made or opened, is a symlink, belongs to somebody else, or others may write to it.
    pub fn make(path: &Path) -> Result<Self, FileError> {
        make_missing(path)?;
        Self::open(path)
    }

    /// Opens a directory that exists.
    ///
    /// # Errors
    /// As [`Dir::make`].
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::open_at(CWD, path, path)
    }

    /// Opens a directory that is the user's own, making it first if it is missing: it may belong to anybody, and others may write
    /// to it. Files in it are still opened through no symlink, and must be ours or root's.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn foreign(path: &Path) -> Result<Self, FileError> {
        make_missing(path)?;
        Self::foreign_if_there(path)
    }

    /// The same, without making it.
    ///
    /// # Errors
    /// It is missing, or cannot be opened.
    pub fn foreign_if_there(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| FileError::new("open the directory", path, Cause::Os(e)))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens the directory `name` in this one, making it first if it is missing.
    ///
    /// # Errors
    /// As [`Dir::make`].
    pub fn sub(&self, name: &str) -> Result<Self, FileError> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(e) => return Err(self.fail("make the directory", name, Cause::Os(e))),
        }
        Self::open_at(&self.fd, Path::new(name), &self.path.join(name))
    }

    fn open_at(at: impl AsFd, name: &Path, path: &Path) -> Result<Self, FileError> {
        let fail = |cause| FileError::new("open the directory", path, cause);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(at, name, flags, Mode::empty()).map_err(|e| fail(Cause::Os(e)))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| fail(Cause::Os(e)))?;
        let me = rustix::process::geteuid().as_raw();
        if stat.st_uid != me {
            return Err(fail(Cause::Refused(format!("it belongs to user {}, not to user {me}", stat.st_uid))));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(fail(Cause::Refused(format!(
                "others may write to it (mode {:o}); take that away with chmod go-w",
                stat.st_mode & 0o7777
            ))));
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Where it was when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All of a regular file of at most `max` bytes. Does not hang on a FIFO, does not follow a symlink.
    ///
    /// # Errors
    /// It cannot be read, is larger, is no regular file, or belongs to neither us nor root.
    pub fn read(&self, name: &str, max: u64) -> Result<Vec<u8>, FileError> {
        let fail = |cause| self.fail("read", name, cause);
        let (fd, size) = self.open_regular(name.as_ref(), OFlags::RDONLY, "read")?;
        if size > max {
            return Err(fail(Cause::Refused(format!("it has {size} bytes; the most is {max}"))));
        }
        // One byte more than it may have: it could have grown since, and a read of nothing says that this is all.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        loop {
            if bytes.len() == bytes.capacity() {
                bytes.reserve(64 << 10);
            }
            match rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes)) {
                Ok(0) => return Ok(bytes),
                Ok(_) if bytes.len() as u64 > max => {
                    return Err(fail(Cause::Refused(format!("it has more than {max} bytes"))));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(fail(Cause::Os(e))),
            }
        }
    }

    /// Opens a regular file for reading, and says how long it is.
    ///
    /// # Errors
    /// As [`Dir::read`].
    pub fn open_for_reading(&self, name: impl AsRef<OsStr>) -> Result<(OwnedFd, u64), FileError> {
        self.open_regular(name.as_ref(), OFlags::RDONLY, "open")
    }

    /// Opens a regular file for writing, making an empty one (0600) if it is missing.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub fn open_for_writing(&self, name: impl AsRef<OsStr>, writing: Writing) -> Result<(OwnedFd, u64), FileError> {
        let how = match writing {
            Writing::At => OFlags::WRONLY,
            Writing::Update => OFlags::RDWR,
            Writing::Append => OFlags::WRONLY | OFlags::APPEND,
        };
        self.open_regular(name.as_ref(), how | OFlags::CREATE, "open for writing")
    }

    /// O_NONBLOCK, because without it opening a FIFO waits for its other end. It means nothing for regular files.
    fn open_regular(&self, name: &OsStr, how: OFlags, what: &'static str) -> Result<(OwnedFd, u64), FileError> {
        let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600)).map_err(|e| {
            let cause = match e {
                Errno::LOOP => Cause::Refused("it is a symlink".to_owned()),
                e => Cause::Os(e),
            };
            self.fail(what, name, cause)
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| self.fail(what, name, Cause::Os(e)))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.fail(what, name, Cause::Refused("it is not a regular file".to_owned())));
        }
        let me = rustix::process::geteuid().as_raw();
        if stat.st_uid != me && stat.st_uid != 0 {
            let why = format!("it belongs to user {}, not to user {me}", stat.st_uid);
            return Err(self.fail(what, name, Cause::Refused(why)));
        }
        Ok((fd, u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Writes a new file (0600), in place of whatever had that name. Not durable until [`Dir::sync_file`] or
    /// [`Dir::sync_filesystem`], nor its name until [`Dir::sync`]. Only for names that nothing refers to yet: a crash here
    /// leaves a part of it.
    ///
    /// # Errors
    /// It cannot be written; what was written of it is removed.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<OwnedFd, FileError> {
        let fd = self.create_empty(name)?;
        write_all(&fd, bytes).map_err(|e| {
            let _ = self.remove(name);
            self.fail("write", name, Cause::Os(e))
        })?;
        Ok(fd)
    }

    /// Makes a new file (0600) to be written to, in place of whatever had that name.
    ///
    /// # Errors
    /// It cannot be made, or something that is no file has that name.
    pub fn create_empty(&self, name: impl AsRef<OsStr>) -> Result<OwnedFd, FileError> {
        let name = name.as_ref();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600));
        // What a crash left under this name would make O_EXCL fail for ever; O_EXCL makes sure that nothing was planted.
        let opened = match open() {
            Err(Errno::EXIST) => {
                self.remove(name)?;
                open()
            }
            other => other,
        };
        opened.map_err(|e| self.fail("create", name, Cause::Os(e)))
    }

    /// Makes the content of a file just created durable. After a failure the file is removed: pages that could not be
    /// written are dropped by the kernel and marked clean, so a second fsync would lie.
    ///
    /// # Errors
    /// It is not durable.
    pub fn sync_file(&self, name: &str, fd: impl AsFd) -> Result<(), FileError> {
        rustix::fs::fsync(fd).map_err(|e| {
            let _ = self.remove(name);
            self.fail("fsync", name, Cause::Os(e))
        })
    }

    /// Makes the names in this directory durable.
    ///
    /// # Errors
    /// They are not.
    pub fn sync(&self) -> Result<(), FileError> {
        rustix::fs::fsync(&self.fd).map_err(|e| self.fail("fsync", "", Cause::Os(e)))
    }

    /// Makes everything on this directory's filesystem durable, contents and names. For many files at once: 1,000 fsyncs
    /// cost seconds, this one costs little more than one of them. It reports failed writes since Linux 5.8, for all that
    /// went wrong since this directory was opened or last asked, so it may blame us for somebody else's; never the reverse.
    ///
    /// # Errors
    /// Something on it is not durable.
    pub fn sync_filesystem(&self) -> Result<(), FileError> {
        rustix::fs::syncfs(&self.fd).map_err(|e| self.fail("syncfs", "", Cause::Os(e)))
    }

    /// Replaces a file in one step: readers and crashes see the old content or the new, durable when this returns.
    ///
    /// # Errors
    /// The old content stands, except when only the last step failed, the directory's fsync.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let new = format!("{name}.new");
        let fd = self.create(&new, bytes)?;
        self.sync_file(&new, &fd)?;
        self.rename(&new, name).inspect_err(|_| drop(self.remove(&new)))?;
        self.sync()
    }

    /// Renames within this directory, over whatever has the new name. Durable after [`Dir::sync`].
    ///
    /// # Errors
    /// As renameat(2).
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<(), FileError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        rustix::fs::renameat(&self.fd, from, &self.fd, to).map_err(|e| self.fail("rename", from, Cause::Os(e)))
    }

    /// Renames only if nothing has the new name: `false` if something has.
    ///
    /// # Errors
    /// As renameat2(2).
    pub fn rename_aside(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<bool, FileError> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.fd, from, &self.fd, to, flags) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(self.fail("rename", from, Cause::Os(e))),
        }
    }

    /// Gives a file a second name, over whatever has it, so that both names are there afterwards.
    ///
    /// # Errors
    /// As linkat(2); filesystems without hard links say EPERM.
    pub fn keep_as(&self, name: &str, second: &str) -> Result<(), FileError> {
        let new = format!("{second}.new");
        self.remove(&new)?;
        rustix::fs::linkat(&self.fd, name, &self.fd, &new, AtFlags::empty())
            .map_err(|e| self.fail("link", name, Cause::Os(e)))?;
        self.rename(&new, second)?;
        // rename(2) of two names of one file does nothing and leaves both.
        self.remove(&new)
    }

    /// Removes a file. That it is not there is fine.
    ///
    /// # Errors
    /// As unlinkat(2).
    pub fn remove(&self, name: impl AsRef<OsStr>) -> Result<(), FileError> {
        let name = name.as_ref();
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.fail("remove", name, Cause::Os(e))),
        }
    }

    /// The names in it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn names(&self) -> Result<Vec<OsString>, FileError> {
        let fail = |e| self.fail("list", "", Cause::Os(e));
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// The folder as it stands. Whoever adds, renames or removes a name in it changes that (mtime, inode(7)), but for what happens
    /// within one tick of the kernel's clock.
    ///
    /// # Errors
    /// fstat(2) on a descriptor that is open: none in practice.
    pub fn look(&self) -> Result<Look, FileError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|e| self.error("look at", "", e))?;
        Ok(Look { inode: (stat.st_dev, stat.st_ino), changed: (stat.st_mtime, stat.st_mtime_nsec) })
    }

    /// Whether `name` still leads to this open file: nobody removed it or put another in its place.
    pub fn still_names(&self, name: impl AsRef<OsStr>, fd: impl AsFd) -> bool {
        let (Ok(open), Ok(named)) =
            (rustix::fs::fstat(fd), rustix::fs::statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW))
        else {
            return false;
        };
        (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino)
    }

    /// A failure of an operation on the file `name` in this directory, in the words of this file.
    #[must_use]
    pub fn error(&self, operation: &'static str, name: impl AsRef<OsStr>, errno: Errno) -> FileError {
        self.fail(operation, name, Cause::Os(errno))
    }

    fn fail(&self, operation: &'static str, name: impl AsRef<OsStr>, cause: Cause) -> FileError {
        let name = name.as_ref();
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        FileError::new(operation, &path, cause)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes a directory and its missing parents, each 0700 and durable in its parent.
fn make_missing(path: &Path) -> Result<(), FileError> {
    let fail = |e| FileError::new("make the directory", path, Cause::Os(e));
    let make = || rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o700));
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let made = match (make(), parent) {
        (Err(Errno::NOENT), Some(parent)) => {
            make_missing(parent)?;
            make()
        }
        (made, _) => made,
    };
    match (made, parent) {
        (Err(Errno::EXIST), _) | (Ok(()), None) => Ok(()),
        (Ok(()), Some(parent)) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match rustix::fs::openat(CWD, parent, flags, Mode::empty()).and_then(rustix::fs::fsync) {
                // A parent that may be entered but not listed cannot be fsynced by us.
                Ok(()) | Err(Errno::ACCESS) => Ok(()),
                Err(e) => Err(fail(e)),
            }
        }
        (Err(e), _) => Err(fail(e)),
    }
}
