//! The bytes of one file of a log, by its number, whatever it is called by now.
//!
//! Owns finding and opening it: being written, set aside, packed, removed. It must not make sense of the bytes. What a reader would
//! get wrong: the file may be set aside, packed or removed between any two steps here, so what was not found under one name is
//! looked for under the next, in the order in which it gets them.

use super::lookup::Lookup;
use crate::daemon::logs::pack;
use crate::daemon::logs::series::{Packing, Part, Series};
use crate::kernel::files::Dir;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A file, open.
pub(super) struct Content {
    bytes: Bytes,
    pub(super) number: u64,
    /// Set aside when it was opened: nothing will be added.
    pub(super) finished: bool,
    /// Which file it is.
    pub(super) identity: (u64, u64),
    /// When it was last written to, in us since 1970.
    pub(super) modified: u64,
    pub(super) index: Option<Lookup>,
}

enum Bytes {
    Plain(File),
    /// Unpacked up to `at`.
    Packed {
        folder: PathBuf,
        name: OsString,
        unpacker: Box<dyn Read + Send>,
        at: u64,
    },
}

/// What became of a file.
pub(super) enum Found {
    Content(Content),
    /// It was not begun yet.
    NotYet,
    /// It is gone; the oldest that is there and newer has this number.
    Gone(u64),
    /// The numbers were begun anew: the file that is written has this one, which is lower.
    Anew(u64),
}

fn failed(path: &Path, e: &io::Error) -> String {
    format!("failed to read {}: {e}", path.display())
}

/// A file of a log under one name.
fn named(series: &Series, name: &OsStr) -> Result<Option<File>, String> {
    let folder = series.folder();
    let dir = if series.is_foreign() { Dir::foreign_if_there(folder) } else { Dir::open(folder) };
    match dir.and_then(|dir| dir.open_for_reading(name)) {
        Ok((file, _)) => Ok(Some(File::from(file))),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// The file of this number.
pub(super) fn find(series: &Series, number: u64) -> Result<Found, String> {
    // Twice, since it may be set aside just after it was looked for there.
    for _ in 0..2 {
        if let Some(content) = set_aside(series, number)? {
            return Ok(Found::Content(content));
        }
        match current(series)? {
            Some(content) if content.number == number => return Ok(Found::Content(content)),
            Some(content) if content.number < number => return Ok(Found::Anew(content.number)),
            Some(_) | None => {}
        }
    }
    let there = Listing::default().numbers(series)?;
    Ok(there.into_iter().find(|n| *n > number).map_or(Found::NotYet, Found::Gone))
}

fn set_aside(series: &Series, number: u64) -> Result<Option<Content>, String> {
    let name = series.rotated(number, Packing::None);
    if let Some(file) = named(series, &name)? {
        let meta = file.metadata().map_err(|e| failed(&series.folder().join(&name), &e))?;
        return Ok(Some(Content::new(Bytes::Plain(file), number, true, &meta, rotated_index(series, number))));
    }
    for packing in [Packing::Zstd, Packing::Gzip] {
        let name = series.rotated(number, packing);
        // Looked at first, so that a folder that is not ours to read from is refused as with any other file.
        let Some(file) = named(series, &name)? else { continue };
        let meta = file.metadata().map_err(|e| failed(&series.folder().join(&name), &e))?;
        let Some(unpacker) = unpacker(series.folder(), &name)? else { continue };
        let bytes = Bytes::Packed { folder: series.folder().to_owned(), name, unpacker, at: 0 };
        return Ok(Some(Content::new(bytes, number, true, &meta, rotated_index(series, number))));
    }
    Ok(None)
}

/// The index follows its file a moment later.
fn rotated_index(series: &Series, number: u64) -> Option<Lookup> {
    let own = || Lookup::open(series, &series.rotated_index(number));
    let not_yet = || Lookup::open(series, &series.index()).filter(|lookup| lookup.header.number == number);
    // Once more, since it may have followed between the two looks.
    own().or_else(not_yet).or_else(own)
}

/// The file that is written.
pub(super) fn current(series: &Series) -> Result<Option<Content>, String> {
    let Some(mut file) = named(series, series.name())? else { return Ok(None) };
    let (meta, index) = loop {
        let meta = file.metadata().map_err(|e| failed(&series.path(), &e))?;
        let index = Lookup::open(series, &series.index());
        if index.as_ref().is_some_and(|lookup| is_of(lookup, &meta)) {
            break (meta, index);
        }
        // Not set aside between the two looks?
        let Some(again) = named(series, series.name())? else { return Ok(None) };
        let now = again.metadata().map_err(|e| failed(&series.path(), &e))?;
        if (now.dev(), now.ino()) == (meta.dev(), meta.ino()) {
            break (meta, index);
        }
        file = again;
    };
    let (number, index) = match index {
        Some(lookup) if is_of(&lookup, &meta) => (lookup.header.number, Some(lookup)),
        // It was just made, and its index comes before its first byte: it counts as not there yet.
        _ if meta.len() == 0 => return Ok(None),
        // Put there by hand, or older than indices are.
        other => (Listing::default().next(series, other.as_ref())?, None),
    };
    Ok(Some(Content::new(Bytes::Plain(file), number, false, &meta, index)))
}

fn is_of(lookup: &Lookup, meta: &Metadata) -> bool {
    let born = meta.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_nanos());
    let Lookup { header, .. } = lookup;
    // What belongs to a file that is not there yet belongs to none that has a byte.
    header.inode == 0 && meta.len() == 0
        || header.inode == meta.ino() && (header.born == 0 || born == 0 || u128::from(header.born) == born)
}

/// None: it was removed.
fn unpacker(folder: &Path, name: &OsStr) -> Result<Option<Box<dyn Read + Send>>, String> {
    match pack::open(folder, name) {
        Ok(unpacker) => Ok(Some(unpacker)),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

impl Content {
    fn new(bytes: Bytes, number: u64, finished: bool, meta: &Metadata, index: Option<Lookup>) -> Self {
        let modified = u64::try_from(meta.mtime()).unwrap_or(0) * 1_000_000 + meta.mtime_nsec() as u64 / 1000;
        Self { bytes, number, finished, identity: (meta.dev(), meta.ino()), modified, index }
    }

    /// How much there is. None: only who unpacks it knows.
    pub(super) fn size(&self) -> io::Result<Option<u64>> {
        match &self.bytes {
            Bytes::Plain(file) => file.metadata().map(|meta| Some(meta.len())),
            Bytes::Packed { .. } => Ok(None),
        }
    }

    /// Up to where it may be read.
    pub(super) fn end(&self, index: Option<&Lookup>) -> io::Result<u64> {
        let committed = index.filter(|_| !self.finished).and_then(Lookup::committed);
        Ok(self.size()?.unwrap_or(u64::MAX).min(committed.unwrap_or(u64::MAX)))
    }

    /// Reads what is there; 0 at the end.
    pub(super) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            let read = match &mut self.bytes {
                Bytes::Plain(file) => file.read_at(buffer, offset),
                Bytes::Packed { folder, name, unpacker: source, at } => {
                    if offset < *at {
                        let again = unpacker(folder, name).map_err(io::Error::other)?;
                        (*source, *at) = (again.ok_or_else(|| io::Error::other("it was removed"))?, 0);
                    }
                    *at += io::copy(&mut source.by_ref().take(offset - *at), &mut io::sink())?;
                    if *at < offset {
                        return Ok(0);
                    }
                    let read = source.read(buffer);
                    *at += *read.as_ref().unwrap_or(&0) as u64;
                    read
                }
            };
            match read {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

/// The names in the folders of logs, each folder listed once.
#[derive(Debug, Default)]
pub(super) struct Listing(BTreeMap<PathBuf, Vec<OsString>>);

impl Listing {
    /// The files of a log that were set aside, oldest first.
    pub(super) fn parts(&mut self, series: &Series) -> Result<Vec<Part>, String> {
        let folder = series.folder();
        let names = match self.0.entry(folder.to_owned()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let mut names = match std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                    Ok(entries) => entries.into_iter().map(|entry| entry.file_name()).collect(),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
                    Err(e) => return Err(failed(folder, &e)),
                };
                names.sort_unstable();
                entry.insert(names)
            }
        };
        // A folder may hold those of thousands of logs.
        let own = series.name().as_bytes();
        let first = names.partition_point(|name| name.as_bytes() < own);
        let count = names[first..].iter().take_while(|name| name.as_bytes().starts_with(own)).count();
        Ok(series.parts(&names[first..first + count]))
    }

    /// The numbers of all files of a log that are there, oldest first.
    pub(super) fn numbers(&mut self, series: &Series) -> Result<Vec<u64>, String> {
        let mut numbers: Vec<u64> = self.parts(series)?.into_iter().map(|part| part.number).collect();
        if let Some(content) = current(series)? {
            // It may have been set aside since the listing.
            numbers.retain(|number| *number < content.number);
            numbers.push(content.number);
        }
        Ok(numbers)
    }

    /// The number of a file that no index knows, or of the next one if there is none: past all that are known.
    pub(super) fn next(&mut self, series: &Series, index: Option<&Lookup>) -> Result<u64, String> {
        let newest = self.parts(series)?.last().map_or(0, |part| part.number);
        Ok(index.map_or(0, |lookup| lookup.header.number).max(newest + 1))
    }
}
