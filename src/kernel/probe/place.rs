//! A folder or file of opm's: whose it is, who may reach it, and how much room there is. Reads only; one trial needs a file, and
//! makes one that has no name.

use super::Trial;
use rustix::fs::{CWD, Mode, OFlags, openat, statvfs};
use rustix::pipe::{PipeFlags, SpliceFlags};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// One of opm's places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub path: PathBuf,
    /// What is there; none: nothing. Else why it could not be looked at.
    pub seen: Result<Option<Seen>, String>,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permissions, the lower twelve bits.
    pub mode: u32,
    /// It is a folder.
    pub folder: bool,
    /// It is a socket.
    pub socket: bool,
    /// Bytes that are free for us on its filesystem.
    pub free: u64,
    /// Of so many.
    pub size: u64,
    /// Inodes that are free; none: this filesystem does not count them.
    pub free_inodes: Option<u64>,
    /// splice(2) into a file there; none: not tried.
    pub splice: Option<Trial>,
}

/// Looks. `try_splice`: into a file without a name, in that folder.
#[must_use]
pub fn look(path: &Path, try_splice: bool) -> Place {
    let seen = match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string().to_lowercase().split(" (os error ").next().unwrap_or_default().to_owned()),
        Ok(found) => {
            let room = statvfs(path).ok();
            let room = room.as_ref();
            Ok(Some(Seen {
                uid: found.uid(),
                gid: found.gid(),
                mode: found.mode() & 0o7777,
                folder: found.is_dir(),
                socket: found.file_type().is_socket(),
                free: room.map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize)),
                size: room.map_or(0, |fs| fs.f_blocks.saturating_mul(fs.f_frsize)),
                free_inodes: room.filter(|fs| fs.f_files > 0).map(|fs| fs.f_favail),
                splice: if try_splice && found.is_dir() { splice_into(path) } else { None },
            }))
        }
    };
    Place { path: path.to_owned(), seen }
}

/// None: this filesystem has no files without names, or none for us.
fn splice_into(folder: &Path) -> Option<Trial> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(CWD, folder, flags, Mode::from_raw_mode(0o600)).ok()?;
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
    rustix::io::write(&write, b"x").ok()?;
    let moved = rustix::pipe::splice(&read, None, &file, Some(&mut 0), 1, SpliceFlags::NONBLOCK);
    // A full disk is told by the figures.
    match moved.map_err(io::Error::from) {
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Some(Trial::from(&e)),
        Err(_) => None,
        Ok(_) => Some(Trial::Works),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn looking_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let seen = look(dir.path(), true).seen.unwrap().unwrap();
        assert!(seen.folder && !seen.socket && seen.size >= seen.free, "{seen:?}");
        assert_eq!(seen.mode & 0o700, 0o700);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(look(&dir.path().join("nothing"), true).seen, Ok(None));
    }
}
