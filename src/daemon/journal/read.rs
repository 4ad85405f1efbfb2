//! Reading the journal's files: as a stream, bounded, whatever is in them.
//!
//! Owns how lines are cut. It must not judge what they say. What a reader would get wrong: a last line without its line
//! feed was torn, and so was one that ends early; neither is counted as damage.

use super::line::{Line, NoLine};
use crate::kernel::files::Dir;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

/// The most that a line may have. Ours have a few hundred bytes.
const LINE_MOST: usize = 1 << 20;

/// Gives each line of the file to `each`. A missing file has none.
///
/// # Errors
/// In words, what could not be read or understood; all else was given.
pub(super) fn lines(dir: &Dir, name: &str, mut each: impl FnMut(Line)) -> Result<(), String> {
    let file = match dir.open_for_reading(name) {
        Ok((file, _)) => File::from(file),
        Err(e) if e.is_missing() => return Ok(()),
        Err(e) => return Err(e.to_string()),
    };
    let mut skipped = 0_u64;
    let read = lines_from(&file, |line, _| {
        match line {
            Ok(line) => each(line),
            Err(NoLine::Torn) => {}
            Err(NoLine::Alien) => skipped += 1,
        }
        ControlFlow::Continue(())
    });
    let path = dir.path().join(name);
    read.map_err(|e| format!("failed to read {}: {e}", path.display()))?;
    if skipped > 0 {
        return Err(format!("{skipped} lines of {} could not be understood and were left out", path.display()));
    }
    Ok(())
}

/// Gives each whole line from where the file is positioned, with how many bytes it takes, until `each` has enough.
///
/// # Errors
/// It cannot be read.
pub(super) fn lines_from(
    file: &File,
    mut each: impl FnMut(Result<Line, NoLine>, u64) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::new();
    loop {
        let (line, bytes) = match next(&mut reader, &mut line)? {
            Cut::Whole(bytes) => (Line::parse(&line), bytes),
            Cut::TooLong(bytes) => (Err(NoLine::Alien), bytes),
            Cut::End => return Ok(()),
        };
        if each(line, bytes).is_break() {
            return Ok(());
        }
    }
}

enum Cut {
    /// `line` holds it, without its line feed; so many bytes with it.
    Whole(u64),
    /// It was passed over.
    TooLong(u64),
    /// Nothing follows, or a line that has no end.
    End,
}

fn next(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Cut> {
    line.clear();
    let (mut too_long, mut bytes) = (false, 0);
    loop {
        let chunk = match reader.fill_buf() {
            Ok([]) => return Ok(Cut::End),
            Ok(chunk) => chunk,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let end = chunk.iter().position(|b| *b == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        too_long |= line.len() + part.len() > LINE_MOST;
        if !too_long {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        bytes += used as u64;
        if end.is_some() {
            return Ok(if too_long { Cut::TooLong(bytes) } else { Cut::Whole(bytes) });
        }
    }
}

/// Whether the last byte of a file is a line feed. If it cannot be read, better a line feed too many than lines glued.
pub(super) fn ends_with_line_feed(dir: &Dir, name: &str, size: u64) -> bool {
    let Ok((file, _)) = dir.open_for_reading(name) else { return false };
    let mut file = File::from(file);
    let mut last = [0];
    let at = SeekFrom::Start(size.saturating_sub(1));
    file.seek(at).and_then(|_| file.read_exact(&mut last)).is_ok() && last == *b"\n"
}
