//! Reading a log file: its last lines, then what is added to it.
//!
//! Owns how bytes are cut into lines. It must not wait: it gives what is there and says when that is all; the pump's
//! followers say when there is more. What a reader would get wrong: memory is bounded, not the time, for finding the last
//! lines of a huge file without line feeds reads all of it; call this where waiting for a disk is allowed.

use crate::api::{LogLine, LogStream};
use crate::kernel::files::{Dir, FileError};
use crate::model::RawText;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A line longer than this comes in pieces.
pub const PIECE_MOST: usize = 1 << 20;
const BLOCK: usize = 64 << 10;

/// Whose lines they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The app's name.
    pub name: String,
    /// The instance's number.
    pub instance: u32,
    /// Which stream.
    pub stream: LogStream,
}

/// A log file being read from some line on. The file may be missing, be emptied, or give way to a new one of its name.
#[derive(Debug)]
pub struct Tail {
    folder: PathBuf,
    name: String,
    source: Source,
    reader: Option<Reader>,
}

impl Tail {
    /// Begins with the last `lines` lines of the file `name` in `folder`. What stands after the last line feed counts as one.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn begin(folder: &Path, name: &str, source: Source, lines: u64) -> Result<Self, String> {
        let mut tail = Self { folder: folder.to_owned(), name: name.to_owned(), source, reader: None };
        if let Some((file, size)) = tail.open().map_err(|e| e.to_string())? {
            let at = start_of_last(&file, size, lines).map_err(|e| tail.failed(&e))?;
            tail.reader = Some(Reader::new(file, at));
        }
        Ok(tail)
    }

    /// The next line, or a piece of one (`complete` false: the next one goes on with it). None: that is all for now.
    ///
    /// # Errors
    /// It cannot be read.
    #[expect(clippy::should_implement_trait, reason = "None is not the end, and it may fail")]
    pub fn next(&mut self) -> Result<Option<LogLine>, String> {
        loop {
            let piece = self.reader.as_mut().map(Reader::next).transpose().map_err(|e| self.failed(&e))?;
            if let Some((bytes, complete)) = piece.flatten() {
                let Source { name, instance, stream } = self.source.clone();
                return Ok(Some(LogLine {
                    name,
                    instance,
                    stream,
                    line: RawText::from(bytes),
                    complete,
                    time: None,
                    run: None,
                    missing: None,
                    log: String::new(),
                    at: String::new(),
                }));
            }
            // All is read. Is this still the file of that name, and has it only ever grown?
            match (self.open().map_err(|e| e.to_string())?, &self.reader) {
                (Some((file, _)), Some(reader)) if reader.is(&file).map_err(|e| self.failed(&e))? => {
                    if !reader.was_emptied().map_err(|e| self.failed(&e))? {
                        return Ok(None);
                    }
                    self.reader = Some(Reader::new(file, 0));
                }
                (Some((file, _)), _) => self.reader = Some(Reader::new(file, 0)),
                (None, _) => return Ok(None),
            }
        }
    }

    fn open(&self) -> Result<Option<(File, u64)>, FileError> {
        match Dir::open(&self.folder).and_then(|dir| dir.open_for_reading(&self.name)) {
            Ok((file, size)) => Ok(Some((File::from(file), size))),
            Err(e) if e.is_missing() => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn failed(&self, e: &io::Error) -> String {
        format!("failed to read {}: {e}", self.folder.join(&self.name).display())
    }
}

/// An open file, and how far it was read.
#[derive(Debug)]
struct Reader {
    file: File,
    /// What was read ends here.
    at: u64,
    /// What was read; up to `given` it was given out.
    held: Vec<u8>,
    given: usize,
}

impl Reader {
    fn new(file: File, at: u64) -> Self {
        Self { file, at, held: Vec::new(), given: 0 }
    }

    /// The next line or piece, and whether its end came.
    fn next(&mut self) -> io::Result<Option<(Vec<u8>, bool)>> {
        let mut searched = self.given;
        loop {
            if let Some(end) = self.held[searched..].iter().position(|b| *b == b'\n') {
                let line = self.held[self.given..searched + end].to_vec();
                self.given = searched + end + 1;
                return Ok(Some((line, true)));
            }
            searched = self.held.len();
            let room = PIECE_MOST - (self.held.len() - self.given).min(PIECE_MOST);
            if room == 0 || !self.read_block(room.min(BLOCK), &mut searched)? {
                let piece = self.held.split_off(self.given);
                self.held.clear();
                self.given = 0;
                return Ok((!piece.is_empty()).then_some((piece, false)));
            }
        }
    }

    /// Reads more, after dropping what was given out; false at the end of the file.
    fn read_block(&mut self, most: usize, searched: &mut usize) -> io::Result<bool> {
        self.held.drain(..self.given);
        *searched -= self.given;
        self.given = 0;
        let before = self.held.len();
        self.held.resize(before + most, 0);
        let read = read_at(&self.file, &mut self.held[before..], self.at);
        self.held.truncate(before + *read.as_ref().unwrap_or(&0));
        self.at += *read.as_ref().unwrap_or(&0) as u64;
        read.map(|n| n > 0)
    }

    fn is(&self, other: &File) -> io::Result<bool> {
        let (ours, theirs) = (self.file.metadata()?, other.metadata()?);
        Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
    }

    fn was_emptied(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() < self.at)
    }
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Where the last `lines` lines of a file begin, found from its end in blocks.
fn start_of_last(file: &File, size: u64, lines: u64) -> io::Result<u64> {
    if lines == 0 {
        return Ok(size);
    }
    let mut block = vec![0; BLOCK];
    let mut left = lines;
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK)];
        let read = read_at(file, part, start)?;
        for (i, byte) in part[..read].iter().enumerate().rev() {
            let at = start + i as u64;
            // The line feed at the very end ends the last line; it does not begin another.
            if *byte == b'\n' && at + 1 != size {
                left -= 1;
                if left == 0 {
                    return Ok(at + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}
