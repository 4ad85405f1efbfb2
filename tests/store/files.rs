//! The file primitives: not through symlinks, not into FIFOs, not beyond a bound, and only in folders that are ours.

use opm::kernel::files::{Dir, Writing};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn only_regular_files_within_the_bound_are_read() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::make(&temp.path().join("a/b/c")).unwrap();
    assert_eq!(fs::metadata(temp.path().join("a")).unwrap().permissions().mode() & 0o777, 0o700);
    dir.replace("good", b"12345").unwrap();
    assert_eq!(dir.read("good", 5).unwrap(), b"12345");
    assert!(dir.read("good", 4).unwrap_err().to_string().contains("the most is 4"));
    symlink("good", dir.path().join("link")).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    rustix::fs::mkfifoat(&dir, "fifo", 0o600.into()).unwrap();
    for name in ["link", "folder", "fifo"] {
        assert!(dir.read(name, 100).is_err(), "{name}");
        assert!(dir.open_for_writing(name, Writing::At).is_err(), "{name}");
    }
    assert!(dir.read("nothing", 1).unwrap_err().is_missing());
}

#[test]
fn a_replaced_symlink_leaves_what_it_led_to() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::make(&temp.path().join("d")).unwrap();
    let outside = temp.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    symlink(&outside, dir.path().join("name")).unwrap();
    symlink(&outside, dir.path().join("name.new")).unwrap();
    dir.replace("name", b"ours").unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
    assert_eq!(fs::read(dir.path().join("name")).unwrap(), b"ours");
    assert_eq!(fs::symlink_metadata(dir.path().join("name")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_folder_that_others_may_write_to_or_a_symlink_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let open = temp.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(Dir::make(&open).unwrap_err().to_string().contains("others may write to it"));
    symlink(temp.path(), temp.path().join("link")).unwrap();
    assert!(Dir::make(&temp.path().join("link")).is_err());
}
