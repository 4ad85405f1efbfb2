//! The folders with logs in them, as they are at one moment: each read once, for all logs in it.
//!
//! Owns looking at what was set aside, clearing what a crash left of it, and removing. It must not decide what goes. What a reader
//! would get wrong: what is not named like a rotated file of a log that we know is none of our business, whatever it is.

use super::caps::{Kept, Space};
use crate::daemon::logs::series::Series;
use crate::kernel::files::{Dir, FileError};
use rustix::fs::{AtFlags, FileType, Stat};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// All folders that were looked into.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    folders: BTreeMap<PathBuf, Option<Shelf>>,
    /// What could not be done meanwhile: in which folder, and why.
    pub(super) troubles: Vec<(PathBuf, FileError)>,
}

#[derive(Debug)]
struct Shelf {
    folder: Dir,
    device: u64,
    /// The names of rotated files, by what the name of the log may be.
    names: HashMap<OsString, Vec<OsString>>,
}

impl Shelf {
    fn open(path: &Path) -> Result<Self, FileError> {
        let folder = Dir::foreign_if_there(path)?;
        let mut names: HashMap<OsString, Vec<OsString>> = HashMap::new();
        for name in folder.names()? {
            if let Some(log) = log_of(&name) {
                names.entry(log.to_owned()).or_default().push(name);
            }
        }
        let device = rustix::fs::fstat(&folder).map_err(|e| folder.error("look at", "", e))?.st_dev;
        Ok(Self { folder, device, names })
    }

    /// None: there is no regular file of that name.
    fn stat(&self, name: &OsStr) -> Option<Stat> {
        let stat = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat)
    }
}

/// `web.log` for `web.log.000017`, `web.log.000017.zst`, and `web.log.000017.zst.new`.
fn log_of(name: &OsStr) -> Option<&OsStr> {
    let name = name.as_bytes();
    let name = name.strip_suffix(b".new").unwrap_or(name);
    let name = name.strip_suffix(b".zst").or_else(|| name.strip_suffix(b".gz")).unwrap_or(name);
    let digits = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let log = name[..name.len() - digits].strip_suffix(b".")?;
    (digits > 0).then_some(OsStr::from_bytes(log))
}

impl Shelves {
    fn shelf(&mut self, path: &Path) -> Option<&Shelf> {
        if !self.folders.contains_key(path) {
            let shelf = Shelf::open(path).map_err(|e| {
                if !e.is_missing() {
                    self.troubles.push((path.to_owned(), e));
                }
            });
            self.folders.insert(path.to_owned(), shelf.ok());
        }
        self.folders.get(path)?.as_ref()
    }

    /// Which filesystem a folder is on.
    pub(super) fn device(&mut self, folder: &Path) -> Option<u64> {
        Some(self.shelf(folder)?.device)
    }

    /// What its filesystem holds. None: there is no such folder, or it cannot be asked.
    pub(super) fn space(&mut self, folder: &Path) -> Option<Space> {
        self.shelf(folder)?;
        let fs = rustix::fs::statvfs(folder).ok()?;
        Some(Space { size: fs.f_blocks.saturating_mul(fs.f_frsize), free: fs.f_bavail.saturating_mul(fs.f_frsize) })
    }

    /// The files of a log that were set aside, oldest first. What a crash left of packing is cleared.
    pub(super) fn parts(&mut self, series: &Series) -> Vec<Kept> {
        let Some(shelf) = self.shelf(series.folder()) else { return Vec::new() };
        let Some(names) = shelf.names.get(series.name()) else { return Vec::new() };
        let parts = series.parts(names);
        let mut troubles = Vec::new();
        for name in names.iter().filter(|name| is_left_over(series, name, names)) {
            if let Err(e) = shelf.folder.remove(name) {
                troubles.push((series.folder().to_owned(), e));
            }
        }
        let kept = parts.into_iter().filter_map(|part| {
            let stat = shelf.stat(&part.name)?;
            Some(Kept {
                series: series.clone(),
                part,
                modified: modified(&stat),
                bytes: bytes(&stat),
                held: held(&stat),
            })
        });
        let kept = kept.collect();
        self.troubles.extend(troubles);
        kept
    }

    /// Which files of a log were set aside.
    pub(super) fn numbers(&mut self, series: &Series) -> Vec<u64> {
        let names = self.shelf(series.folder()).and_then(|shelf| shelf.names.get(series.name()));
        names.map_or_else(Vec::new, |names| series.parts(names).into_iter().map(|part| part.number).collect())
    }

    /// The file that is being written: how long it is, and when that was last done.
    pub(super) fn current(&mut self, series: &Series) -> Option<(u64, SystemTime)> {
        let stat = self.shelf(series.folder())?.stat(series.name())?;
        Some((bytes(&stat), modified(&stat)))
    }

    /// Removes a file that was set aside, and its index. The index last: without it a file that stays would lose its times.
    pub(super) fn remove(&mut self, kept: &Kept) -> bool {
        let series = &kept.series;
        self.remove_name(series.folder(), &kept.part.name) && self.remove_index(series, kept.part.number)
    }

    /// Removes the index of a file that was set aside.
    pub(super) fn remove_index(&mut self, series: &Series, number: u64) -> bool {
        self.remove_name(series.indices(), series.rotated_index(number).as_ref())
    }

    /// Removes the file that is being written, which nobody writes any more, and its index.
    pub(super) fn remove_current(&mut self, series: &Series) -> bool {
        self.remove_name(series.folder(), series.name()) && self.remove_name(series.indices(), series.index().as_ref())
    }

    fn remove_name(&mut self, path: &Path, name: &OsStr) -> bool {
        match Dir::foreign_if_there(path).and_then(|folder| folder.remove(name)) {
            Ok(()) => true,
            Err(e) if e.is_missing() => true,
            Err(e) => {
                self.troubles.push((path.to_owned(), e));
                false
            }
        }
    }
}

/// Half of a packed file, or a packed one whose original is still there: that one counts.
fn is_left_over(series: &Series, name: &OsString, names: &[OsString]) -> bool {
    let strip = |name: &OsStr, end: &[u8]| name.as_bytes().strip_suffix(end).map(|n| OsStr::from_bytes(n).to_owned());
    if let Some(packed) = strip(name, b".new") {
        return series.parts(std::slice::from_ref(&packed)).iter().any(|part| part.packed);
    }
    let original = strip(name, b".zst").or_else(|| strip(name, b".gz"));
    original.is_some_and(|original| names.contains(&original) && series.parts(std::slice::from_ref(name)).len() == 1)
}

fn modified(stat: &Stat) -> SystemTime {
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(stat.st_mtime).unwrap_or(0), nanos)
}

fn bytes(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn held(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512)
}
