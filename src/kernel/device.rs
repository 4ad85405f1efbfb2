//! Which disk something is on, by its numbers: what io.max goes by.
//!
//! What a reader would get wrong: the kernel limits whole disks. A partition's numbers are refused by it (ENODEV), so those of its
//! disk are looked up; and a file system may be on no disk at all (tmpfs, overlayfs), or on several (btrfs).

use rustix::fs::{FileType, major, makedev, minor, stat};
use std::fs;
use std::path::Path;

/// The numbers (`8:0`) of the disk that is meant: a device, something on it, or these numbers themselves.
///
/// # Errors
/// There is none.
pub fn numbers(text: &str) -> Result<String, String> {
    let devices = Path::new("/sys/dev/block");
    if !text.starts_with('/') {
        return numbered(devices, text);
    }
    let found = stat(text).map_err(|e| format!("failed to look up {text}: {}", std::io::Error::from(e)))?;
    let of = match FileType::from_raw_mode(found.st_mode) {
        FileType::BlockDevice => found.st_rdev,
        FileType::CharacterDevice => return Err(format!("{text} is no disk: it is a character device")),
        _ => found.st_dev,
    };
    let (of, name) = (makedev(major(of), minor(of)), format!("{}:{}", major(of), minor(of)));
    if major(of) == 0 {
        return Err(format!("{text} is on no disk of its own; name the disk, as in /dev/sda"));
    }
    Ok(disk_of(devices, &name).unwrap_or(name))
}

/// The disk that somebody means by numbers.
fn numbered(devices: &Path, name: &str) -> Result<String, String> {
    if devices.is_dir() && !devices.join(name).exists() {
        return Err(format!("there is no disk with the numbers {name}"));
    }
    Ok(disk_of(devices, name).unwrap_or_else(|| name.to_owned()))
}

/// The disk that these numbers are a partition of, if they are.
fn disk_of(devices: &Path, name: &str) -> Option<String> {
    let device = devices.join(name);
    if !device.join("partition").exists() {
        return None;
    }
    // The link leads to .../sda/sda1.
    let disk = fs::canonicalize(device).ok()?.parent()?.join("dev");
    fs::read_to_string(disk).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_partition_means_its_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, links) = (dir.path().join("devices/sda"), dir.path().join("block"));
        fs::create_dir_all(disk.join("sda1")).unwrap();
        fs::create_dir(&links).unwrap();
        fs::write(disk.join("dev"), "8:0\n").unwrap();
        fs::write(disk.join("sda1/partition"), "1\n").unwrap();
        for (name, to) in [("8:0", disk.clone()), ("8:1", disk.join("sda1"))] {
            std::os::unix::fs::symlink(to, links.join(name)).unwrap();
        }
        assert_eq!(disk_of(&links, "8:1").as_deref(), Some("8:0"));
        assert_eq!(disk_of(&links, "8:0"), None);
        assert_eq!(numbered(&links, "8:1").as_deref(), Ok("8:0"));
        assert!(numbered(&links, "8:16").unwrap_err().contains("8:16"));
        assert_eq!(numbered(&dir.path().join("no sysfs"), "8:16").as_deref(), Ok("8:16"));
    }

    #[test]
    fn what_is_on_no_disk_is_refused_with_the_reason() {
        assert!(numbers("/proc").unwrap_err().contains("on no disk"));
        assert!(numbers("/dev/null").unwrap_err().contains("character device"));
        assert!(numbers("/dev/no-such-disk").unwrap_err().contains("no-such-disk"));
    }
}
