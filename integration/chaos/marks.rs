//! Marks that released versions left on cgroups: a run lives through every upgrade, and with it what its first daemon wrote.
//!
//! What a reader would get wrong: this is a golden file without a file. The bytes stand here, since only a cgroup keeps them.

use crate::rig::ground;
use opm::kernel::mark::{MainMark, RunMark, read_failed, read_stop, write_stop};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, XattrFlags, fgetxattr, fsetxattr, openat};

/// A cgroup that is removed again.
struct Marked(std::path::PathBuf, OwnedFd);

impl Marked {
    fn new(name: &str) -> Self {
        let path = ground::insist_on_a_host().join(format!("opm-test-marks-{name}-{}", ground::unique()));
        std::fs::create_dir(&path).unwrap();
        let dir = openat(CWD, &path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Self(path, dir)
    }

    fn set(&self, name: &str, value: &[u8]) {
        fsetxattr(&self.1, name, value, XattrFlags::empty()).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        let mut value = [0; 256];
        let length = fgetxattr(&self.1, name, &mut value[..]).unwrap();
        value[..length].to_vec()
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

const RUN: &[u8] = b"1 7 3 2 123456789 4242 987654 11 12";

fn run() -> RunMark {
    RunMark { generation: 7, restarts: 3, failures: 2, started: 123_456_789, keeper: (4242, 987_654), pipes: [11, 12] }
}

#[test]
fn marks_of_version_0_1_are_read_and_written_as_they_were() {
    let cgroup = Marked::new("golden");
    cgroup.set("user.opm.run", RUN);
    cgroup.set("user.opm.main", b"4243 555 31337");
    cgroup.set("user.opm.stop", b"99887766");
    cgroup.set("user.opm.failed", &[3, 2, 0, 0, 0]);
    assert_eq!(RunMark::read(&cgroup.1), Some(run()));
    assert_eq!(MainMark::read(&cgroup.1), Some(MainMark { pid: 4243, start_time: 555, inode: 31_337 }));
    assert_eq!(read_stop(&cgroup.1), Some(99_887_766));
    assert_eq!(read_failed(&cgroup.1), Some((3, 2)));
    run().write(&cgroup.1).unwrap();
    write_stop(&cgroup.1, 1).unwrap();
    assert_eq!((cgroup.get("user.opm.run"), cgroup.get("user.opm.stop")), (RUN.to_vec(), b"1".to_vec()));
}

/// An app of the same uid can write anything there.
#[test]
fn forged_marks_are_no_marks() {
    let cgroup = Marked::new("forged");
    let mut chance = crate::chance::Chance::new(crate::chance::seed());
    for _ in 0..20_000 {
        let mut bytes = [RUN, b"4243 555 31337"][chance.below(2)].to_vec();
        for _ in 0..=chance.below(3) {
            let at = chance.below(bytes.len().max(1)).min(bytes.len());
            match chance.below(4) {
                0 => bytes.insert(at, chance.next() as u8),
                1 => bytes.truncate(at),
                2 => drop(bytes.splice(at..at, b"99999999999999999999".repeat(1 + chance.below(20)))),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = chance.next() as u8),
            }
        }
        for name in ["user.opm.run", "user.opm.main", "user.opm.stop", "user.opm.failed"] {
            cgroup.set(name, &bytes);
        }
        let _ = (RunMark::read(&cgroup.1), MainMark::read(&cgroup.1), read_stop(&cgroup.1), read_failed(&cgroup.1));
    }
}
