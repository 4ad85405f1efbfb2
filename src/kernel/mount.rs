//! Where the cgroup2 tree is mounted and where in it this process lives: read from the kernel, never assumed.
//!
//! What a reader would get wrong: on hybrid hosts the mount is at `/sys/fs/cgroup/unified` with few or no controllers, and
//! `/proc/self/cgroup` lists version 1 hierarchies before the `0::` line that counts.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The first cgroup2 mount in `/proc/self/mountinfo`.
///
/// # Errors
/// The file cannot be read, or no cgroup2 is mounted.
pub fn cgroup2_mount() -> io::Result<PathBuf> {
    find_mount(&fs::read("/proc/self/mountinfo")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup2 file system is mounted"))
}

/// This process's own cgroup, as a path below the mount, beginning with `/`.
///
/// # Errors
/// The file cannot be read, or has no `0::` line.
pub fn own_cgroup() -> io::Result<PathBuf> {
    find_own(&fs::read("/proc/self/cgroup")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "/proc/self/cgroup has no '0::' line"))
}

/// A line is "id parent major:minor root mountpoint options [optional...] - type source superoptions" (proc_pid_mountinfo(5)).
fn find_mount(mountinfo: &[u8]) -> Option<PathBuf> {
    mountinfo.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b' ');
        let point = fields.nth(4)?;
        let kind = fields.skip_while(|f| *f != b"-").nth(1)?;
        (kind == b"cgroup2").then(|| unescape(point))
    })
}

pub(crate) fn find_own(cgroup: &[u8]) -> Option<PathBuf> {
    cgroup
        .split(|b| *b == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"))
        .map(|path| PathBuf::from(OsString::from_vec(path.to_vec())))
}

/// Spaces, tabs, line feeds and backslashes are written as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            digits.iter().try_fold(0u16, |n, d| d.is_ascii_digit().then(|| n * 8 + u16::from(d - b'0')))
        });
        match octal.and_then(|n| u8::try_from(n).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// Joins a cgroup path such as `/user.slice` to the mount.
#[must_use]
pub fn below(mount: &Path, cgroup: &Path) -> PathBuf {
    mount.join(cgroup.strip_prefix("/").unwrap_or(cgroup))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_on_hybrid_and_unified_hosts() {
        let hybrid = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let odd = b"1 2 0:3 / /a\\040b\\134c rw - cgroup2 none rw\n";
        assert_eq!(find_mount(odd), Some("/a b\\c".into()));
        assert_eq!(find_mount(b"garbage\n\n1 2 3\n"), None);
    }

    #[test]
    fn the_own_cgroup_is_the_line_of_version_two() {
        assert_eq!(find_own(b"9:name=systemd:/\n4:memory:/x\n0::/user.slice/a b\n"), Some("/user.slice/a b".into()));
        assert_eq!(find_own(b"4:memory:/x\n"), None);
    }
}
