//! What a process that has come to rest gives back.
//!
//! Owns where that lies. What a reader would get wrong: of a program's file far more is mapped than was ever run, since each fault
//! maps the 64 KiB around it, and what was needed once, to start, stays mapped for ever. To let go of it costs nobody anything: it
//! is in the page cache, and what is run again is mapped again, some 100 faults of a microsecond for a daemon that is asked something.

use super::clone;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Pages of our own program that hold what its file holds.
#[derive(Debug, PartialEq, Eq)]
pub struct ProgramPages {
    start: usize,
    end: usize,
}

impl ProgramPages {
    pub(super) fn start(&self) -> usize {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Gives back what was needed to get here and may never be needed again: free memory between what lives for long, which the
/// allocator by itself keeps, and mapped pages of the program.
pub fn give_back() {
    let_go_of_the_program();
    clone::trim_heap();
}

/// The latter alone.
pub fn let_go_of_the_program() {
    let Ok(program) = fs::metadata("/proc/self/exe") else { return };
    let maps = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for pages in program_pages(&maps, program.ino()) {
        clone::unmap(&pages);
    }
}

/// The mappings of that file that may not be written to and hold nothing of their own, in memory or swapped out: not what was relocated,
/// nor where a debugger set a breakpoint (proc_pid_smaps(5), where Swap comes after Anonymous).
fn program_pages(smaps: &str, inode: u64) -> Vec<ProgramPages> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(kib) = line.strip_prefix("Anonymous:") {
            current = current.filter(|_| kib.trim() == "0 kB");
        } else if let Some(kib) = line.strip_prefix("Swap:") {
            found.extend(current.take().filter(|_| kib.trim() == "0 kB"));
        } else if !line.split(' ').next().is_some_and(|word| word.ends_with(':')) {
            current = mapping(line, inode);
        }
    }
    found
}

/// "start-end rwxp offset device inode path".
fn mapping(line: &str, inode: u64) -> Option<ProgramPages> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let how = fields.next()?;
    let is_ours = fields.nth(2)?.parse() == Ok(inode);
    let hexadecimal = |text| usize::from_str_radix(text, 16).ok();
    let pages = ProgramPages { start: hexadecimal(start)?, end: hexadecimal(end)? };
    (is_ours && how.starts_with('r') && !how.contains('w') && how.ends_with('p')).then_some(pages)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    const MAPS: &str = "\
1000-2000 r--p 00000000 fe:00 77 /usr/bin/opm\nSize: 4 kB\nAnonymous:             0 kB\nSwap:                  0 kB\nVmFlags: rd mr\n\
2000-5000 r-xp 00001000 fe:00 77 /usr/bin/opm\nAnonymous:             0 kB\nSwap:                  0 kB\n\
5000-6000 r--p 00004000 fe:00 77 /usr/bin/opm\nAnonymous:             4 kB\nSwap:                  0 kB\n\
5800-6000 r--p 00004000 fe:00 77 /usr/bin/opm\nAnonymous:             0 kB\nSwap:                  4 kB\n\
6000-7000 rw-p 00005000 fe:00 77 /usr/bin/opm\nAnonymous:             0 kB\nSwap:                  0 kB\n\
7000-8000 rw-p 00000000 00:00 0 \nAnonymous:             0 kB\nSwap:                  0 kB\n\
8000-9000 r-xp 00000000 fe:00 78 /usr/lib/libc.so.6\nAnonymous:             0 kB\nSwap:                  0 kB\n";

    #[test]
    fn what_was_relocated_swapped_out_or_may_be_written_to_is_kept_and_so_is_what_is_not_the_program() {
        let pages = |start, end| ProgramPages { start, end };
        assert_eq!(program_pages(MAPS, 77), [pages(0x1000, 0x2000), pages(0x2000, 0x5000)]);
        assert_eq!(program_pages("garbage\n\n-\nAnonymous: 0 kB\n", 77), []);
    }

    /// Whoever runs this test runs what was let go of.
    #[test]
    fn a_program_goes_on_without_its_pages() {
        let name = std::env::current_exe().unwrap_or_default();
        let ours = |line: &str| line.ends_with(&*name.to_string_lossy()) && line.contains(" r-xp ");
        let maps = || fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let mapped = || -> u64 {
            let mut here = false;
            maps().lines().fold(0, |sum, line| {
                if line.contains('-') && line.contains(' ') && !line.starts_with(char::is_uppercase) {
                    here = ours(line);
                }
                let rss = line
                    .strip_prefix("Rss:")
                    .filter(|_| here)
                    .and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<u64>().ok());
                sum + rss.unwrap_or(0)
            })
        };
        // All of it, or what runs here anyway might be most of what was there: a read of this file maps what it reads.
        let memory = fs::File::open("/proc/self/mem").unwrap();
        for line in maps().lines().filter(|line| ours(line)) {
            let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let (start, rest) = line.split_once('-').unwrap();
            for page in (hex(start)..hex(rest.split(' ').next().unwrap_or_default())).step_by(4096) {
                memory.read_exact_at(&mut [0], page).unwrap();
            }
        }
        let before = mapped();
        give_back();
        let after = mapped();
        assert!(after * 2 < before, "{before} KiB of the program were mapped, and then {after}");
    }
}
