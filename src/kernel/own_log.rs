//! What opm itself has to say, to whoever reads its standard error: the journal, a file of opm's own, or a person.
//!
//! Owns the form of a line, and the file: its name, and that it stays small. It must not decide what is worth saying. What a
//! reader would get wrong: keeper and daemon write into the same file by descriptors of their own, so either may set it aside at
//! any moment. Each asks the kernel before it speaks what its descriptor's file is called now (proc_pid_fd(5)), and opens the new
//! one if that is no longer the name; whoever sets aside holds a lock and looks again under it. What was written meanwhile
//! stands in the file that was set aside.

use super::clock;
use crate::model::Wall;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, Stat, flock, fstat, open, stat};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The file, in opm's folder of logs.
pub const NAME: &str = "opm-daemon.log";

/// How large it grows before it is set aside.
const MOST: u64 = 1 << 20;
/// So many that were set aside are kept: `.1` is the newer.
const KEPT: u32 = 2;

/// How bad it is, as syslog(3) counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something did not work that somebody relied on.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Something happened.
    Info,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }

    /// What journald takes off the beginning of a line (sd-daemon(3)).
    fn priority(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warn => 4,
            Self::Info => 6,
        }
    }
}

/// Who reads standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reader {
    /// systemd-journald, which knows the time and the process by itself.
    Journal,
    /// A person at a terminal.
    Terminal,
    /// The file of opm's own.
    File(PathBuf),
    /// Somebody else: a file, a pipe of a container's.
    Other,
}

/// Who reads what is said from now on.
#[must_use]
pub fn reader() -> Reader {
    let stderr = io::stderr();
    let journal = std::env::var("JOURNAL_STREAM").ok();
    let own = fstat(&stderr).map(|file| format!("{}:{}", file.st_dev, file.st_ino)).ok();
    if journal.is_some() && journal == own {
        return Reader::Journal;
    }
    if stderr.is_terminal() {
        return Reader::Terminal;
    }
    match names(&stderr) {
        Some(names) => Reader::File(names.meant),
        None => Reader::Other,
    }
}

/// Says something. `who`: `keeper` or `daemon`. If nobody can be told, that is no reason to fail.
pub fn say(who: &str, level: Level, message: &str) {
    let reader = reader();
    if let Some(next) = successor(io::stderr(), MOST, KEPT) {
        let _ = rustix::stdio::dup2_stderr(&next);
    }
    let line = line(&reader, who, level, message, clock::wall());
    // In one write, so that lines of both stay lines.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// From now on standard error is the file in that folder.
///
/// # Errors
/// It cannot be opened.
pub fn redirect(folder: &Path) -> io::Result<()> {
    let file = append(&folder.join(NAME))?;
    rustix::stdio::dup2_stderr(&file)?;
    Ok(())
}

fn line(reader: &Reader, who: &str, level: Level, message: &str, now: Wall) -> String {
    let message: String = message
        .chars()
        .map(|c| if c == '\n' { ' ' } else { c })
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    match reader {
        Reader::Journal => format!("<{}>{message}\n", level.priority()),
        Reader::Terminal => format!("opm: {message}\n"),
        Reader::File(_) | Reader::Other => {
            format!("{} {} opm-{who}[{}]: {message}\n", time(now), level.word(), std::process::id())
        }
    }
}

/// `2026-11-21T08:00:00.123Z`. By hand, because the keeper has no library for it.
fn time(Wall(millis): Wall) -> String {
    let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
    // Of a calendar whose year begins in March, leap days are last; and 719,468 days of it had passed in 1970.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (h, m, s, ms) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// What a descriptor's file is called.
struct Names {
    /// As it was meant.
    meant: PathBuf,
    /// It is called otherwise by now, or not at all.
    moved: bool,
}

/// None: it is no file of opm's own.
fn names(fd: impl AsFd) -> Option<Names> {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).ok()?;
    let name = link.file_name()?.as_bytes();
    // `.1`, ` (deleted)`, or what another program that rotates logs makes of it.
    name.starts_with(NAME.as_bytes())
        .then(|| Names { meant: link.with_file_name(NAME), moved: name != NAME.as_bytes() })
}

/// The file to write to instead, if the descriptor's was set aside or has become too large, which is seen to here. None also
/// where nothing can be done about it.
fn successor(fd: impl AsFd, most: u64, kept: u32) -> Option<OwnedFd> {
    let Names { meant, moved } = names(&fd)?;
    if !moved && fstat(&fd).is_ok_and(|file| size(&file) < most) {
        return None;
    }
    if !moved {
        set_aside(&meant, most, kept);
    }
    append(&meant).ok()
}

fn set_aside(path: &Path, most: u64, kept: u32) {
    // A description of its own, since keeper and daemon share that of standard error and so would share a lock on it.
    let Ok(file) = open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) else { return };
    // Whoever holds it is doing this. Never waited for: the keeper waits for nobody.
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return;
    }
    let (Ok(held), Ok(named)) = (fstat(&file), stat(path)) else { return };
    if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino) || size(&held) < most {
        return;
    }
    let nth = |n: u32| path.with_file_name(format!("{NAME}.{n}"));
    let free = (1..kept).find(|n| !nth(*n).exists()).unwrap_or(kept);
    for n in (1..free).rev() {
        let _ = fs::rename(nth(n), nth(n + 1));
    }
    let _ = fs::rename(path, nth(1));
}

fn size(file: &Stat) -> u64 {
    u64::try_from(file.st_size).unwrap_or(0)
}

fn append(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    open(path, flags, Mode::from_raw_mode(0o600))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_reader_gets_what_it_understands() {
        let now = Wall(1_795_248_000_123);
        let text = |reader| line(&reader, "daemon", Level::Warn, "a\nb\x1b", now);
        assert_eq!(text(Reader::Journal), "<4>a b\\u{1b}\n");
        assert_eq!(text(Reader::Terminal), "opm: a b\\u{1b}\n");
        let pid = std::process::id();
        assert_eq!(text(Reader::Other), format!("2026-11-21T08:00:00.123Z warn opm-daemon[{pid}]: a b\\u{{1b}}\n"));
    }

    #[test]
    fn the_calendar_is_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_799, "2000-02-29T23:59:59.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(Wall(seconds * 1000)), text);
        }
    }

    /// As keeper and daemon do, only more of them and all the time: each with a descriptor of its own.
    #[test]
    fn no_line_is_lost_however_many_set_the_file_aside() {
        const WRITERS: u32 = 4;
        const LINES: u32 = 500;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let path = &path;
                scope.spawn(move || {
                    let mut fd = append(path).unwrap();
                    for n in 0..LINES {
                        if let Some(next) = successor(&fd, 200, 10_000) {
                            fd = next;
                        }
                        rustix::io::write(&fd, format!("{writer}-{n}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let mut files = 0;
        let mut lines = BTreeSet::new();
        for entry in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            files += 1;
            for line in fs::read_to_string(entry.path()).unwrap().lines() {
                assert!(lines.insert(line.to_owned()), "twice: {line}");
            }
        }
        assert_eq!(lines.len(), (WRITERS * LINES) as usize);
        assert!(files > 1, "{files}");
    }

    #[test]
    fn two_are_kept_and_a_removed_file_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut fd = append(&path).unwrap();
        for n in 0..5 {
            rustix::io::write(&fd, format!("{n}").as_bytes()).unwrap();
            fd = successor(&fd, 1, 2).unwrap();
        }
        let read = |end: &str| fs::read_to_string(dir.path().join(format!("{NAME}{end}"))).unwrap();
        assert_eq!([read(""), read(".1"), read(".2")], ["", "4", "3"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        fs::remove_file(&path).unwrap();
        let fd = successor(&fd, 1, 2).unwrap();
        assert!(successor(&fd, 1, 2).is_none(), "small, and where it should be");
        let other = append(&dir.path().join("x.log")).unwrap();
        rustix::io::write(&other, b"x").unwrap();
        assert!(successor(&other, 1, 2).is_none(), "not ours to set aside");
    }
}
