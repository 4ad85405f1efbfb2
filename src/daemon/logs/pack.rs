//! Log files that were set aside, packed and unpacked: zstd and gzip, as `zstdcat` and `zcat` know them.
//!
//! Owns both directions, and the order of steps that loses nothing. It must not decide what is packed or when. What a reader would
//! get wrong: the packed form is worth nothing while the other is there. A crash may leave both, or half of a `.new`; whoever
//! looks next clears that.

use crate::kernel::files::{Cause, Dir, FileError};
use crate::model::LogCompress;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rustix::fs::{Advice, Mode, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// So much is read at once.
const CHUNK: usize = 128 << 10;
/// What zstd does unless asked: a log line shrinks to a tenth, at 4 MiB of memory.
const LEVEL: i32 = 3;

/// What stands in a file of a log: unpacked, if the end of its name says that it is packed.
///
/// # Errors
/// It cannot be opened, or is no regular file. `is_missing`: it was packed or removed since its name was read; look again.
pub fn open(folder: &Path, name: &OsStr) -> Result<Box<dyn Read + Send>, FileError> {
    let (file, _) = Dir::foreign_if_there(folder)?.open_for_reading(name)?;
    let file = BufReader::with_capacity(CHUNK, File::from(file));
    Ok(match packing(name) {
        LogCompress::None => Box::new(file),
        LogCompress::Gzip => Box::new(MultiGzDecoder::new(file)),
        LogCompress::Zstd => Box::new(
            zstd::Decoder::with_buffer(file)
                .map_err(|e| FileError::new("unpack", &folder.join(name), Cause::Refused(e.to_string())))?,
        ),
    })
}

/// By the end of its name. One that is called `app.zst` by its user is not packed for that.
fn packing(name: &OsStr) -> LogCompress {
    let numbered = |rest: &[u8]| {
        let digits = rest.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        digits >= 6 && rest.iter().rev().nth(digits) == Some(&b'.')
    };
    let name = name.as_bytes();
    if name.strip_suffix(b".zst").is_some_and(numbered) {
        LogCompress::Zstd
    } else if name.strip_suffix(b".gz").is_some_and(numbered) {
        LogCompress::Gzip
    } else {
        LogCompress::None
    }
}

/// What packing is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make the new file.
    Begin,
    /// Pack some more.
    Copy,
    /// Make it durable.
    Sync,
    /// Give it its name.
    Name,
    /// Make that name durable.
    SyncName,
    /// Remove what was packed.
    Remove,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// There is only the packed one now.
    Done,
    /// All is as it was: it was asked to stop.
    Stopped,
}

/// Packs the file `part`, giving the packed one the name `to` and the old one's time and permissions. `go_on` is asked before each
/// step up to the naming whether to; it is the only thing that can take long. Killed at any step, nothing is lost.
///
/// # Errors
/// The file is as it was. When only the last steps failed, the packed one is there too, and is cleared by the next look.
pub fn pack(
    folder: &Path,
    part: &OsStr,
    to: &OsStr,
    how: LogCompress,
    go_on: &mut dyn FnMut(Step) -> bool,
) -> Result<Packed, FileError> {
    let folder = Dir::foreign_if_there(folder)?;
    let mut new = to.to_owned();
    new.push(".new");
    let from = File::from(folder.open_for_reading(part)?.0);
    let mut job = Packing { folder: &folder, part, new: &new, go_on };
    match job.make(&from, how) {
        Ok(Packed::Done) => {}
        other => {
            // What it holds is what a full disk may lack.
            let _ = folder.remove(&new);
            return other;
        }
    }
    (job.go_on)(Step::Name);
    folder.rename(&new, to).inspect_err(|_| drop(folder.remove(&new)))?;
    if rustix::fs::fstat(&from).is_ok_and(|stat| stat.st_nlink == 0) {
        // Somebody removed it meanwhile, and did not mean it to come back packed.
        folder.remove(to)?;
        return Ok(Packed::Done);
    }
    (job.go_on)(Step::SyncName);
    folder.sync()?;
    (job.go_on)(Step::Remove);
    folder.remove(part)?;
    Ok(Packed::Done)
}

struct Packing<'a> {
    folder: &'a Dir,
    part: &'a OsStr,
    new: &'a OsString,
    go_on: &'a mut dyn FnMut(Step) -> bool,
}

impl Packing<'_> {
    /// Makes the packed file, durable, under its temporary name.
    fn make(&mut self, from: &File, how: LogCompress) -> Result<Packed, FileError> {
        let stat = rustix::fs::fstat(from).map_err(|e| self.folder.error("look at", self.part, e))?;
        let _ = rustix::fs::fadvise(from, 0, None, Advice::Sequential);
        if !(self.go_on)(Step::Begin) {
            return Ok(Packed::Stopped);
        }
        let file = File::from(self.folder.create_empty(self.new)?);
        let packed = match how {
            LogCompress::Zstd => zstd::Encoder::new(file, LEVEL).and_then(|mut to| {
                to.include_checksum(true)?;
                to.set_pledged_src_size(u64::try_from(stat.st_size).ok())?;
                self.copy(from, &mut to)?.then(|| to.finish()).transpose()
            }),
            LogCompress::Gzip => {
                let mut to = GzEncoder::new(file, flate2::Compression::default());
                self.copy(from, &mut to).and_then(|whole| whole.then(|| to.finish()).transpose())
            }
            LogCompress::None => Err(ErrorKind::Unsupported.into()),
        };
        let Some(file) = packed.map_err(|e| self.fail("pack", &e))? else { return Ok(Packed::Stopped) };
        self.like(&file, &stat).map_err(|e| self.folder.error("pack", self.part, e))?;
        if !(self.go_on)(Step::Sync) {
            return Ok(Packed::Stopped);
        }
        rustix::fs::fsync(&file).map_err(|e| self.folder.error("fsync", self.new, e))?;
        // Nobody will read it soon, and the apps have better use for the memory.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        // Who still writes to it, opm does not know; but what was not packed must not be removed.
        if rustix::fs::fstat(from).map(|now| now.st_size) != Ok(stat.st_size) {
            return Err(self.fail("pack", &io::Error::other("it is still being written to")));
        }
        Ok(Packed::Done)
    }

    /// False: it was asked to stop.
    fn copy(&mut self, mut from: &File, to: &mut dyn Write) -> io::Result<bool> {
        let mut chunk = vec![0; CHUNK];
        loop {
            if !(self.go_on)(Step::Copy) {
                return Ok(false);
            }
            match from.read(&mut chunk) {
                Ok(0) => return Ok(true),
                Ok(n) => to.write_all(&chunk[..n])?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Ages go by the time, and whoever may read the one may read the other.
    fn like(&self, file: &File, old: &Stat) -> Result<(), Errno> {
        rustix::fs::fchmod(file, Mode::from_raw_mode(old.st_mode & 0o666))?;
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec: tv_nsec as _ };
        rustix::fs::futimens(
            file,
            &Timestamps {
                last_access: time(old.st_atime, old.st_atime_nsec),
                last_modification: time(old.st_mtime, old.st_mtime_nsec),
            },
        )
    }

    fn fail(&self, operation: &'static str, e: &io::Error) -> FileError {
        let cause = Errno::from_io_error(e).map_or_else(|| Cause::Refused(e.to_string()), Cause::Os);
        FileError::new(operation, &self.folder.path().join(self.part), cause)
    }
}
