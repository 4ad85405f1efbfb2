//! Marks that released versions left on cgroups: a run lives through every upgrade, and with it what its first daemon wrote.
//!
//! What a reader would get wrong: this is a golden file without a file. The bytes stand here, since only a cgroup keeps them.

use crate::rig::ground;
use opm::kernel::mark::{MainMark, RunMark, read_failed, read_stop, write_stop};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
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

/// As it is written since 2026-11-21: the app's name comes last, since it may hold spaces.
const NAMED: &[u8] = b"1 7 3 2 123456789 4242 987654 11 12 my web";

fn run(name: Option<&str>) -> RunMark {
    RunMark {
        generation: 7,
        restarts: 3,
        failures: 2,
        started: 123_456_789,
        keeper: (4242, 987_654),
        pipes: [11, 12],
        name: name.map(str::to_owned),
    }
}

#[test]
fn marks_of_version_0_1_are_read_and_written_as_they_were() {
    let cgroup = Marked::new("golden");
    cgroup.set("user.opm.run", RUN);
    cgroup.set("user.opm.main", b"4243 555 31337");
    cgroup.set("user.opm.stop", b"99887766");
    cgroup.set("user.opm.failed", &[3, 2, 0, 0, 0]);
    assert_eq!(RunMark::read(&cgroup.1), Some(run(None)), "before the name was part of it");
    assert_eq!(MainMark::read(&cgroup.1), Some(MainMark { pid: 4243, start_time: 555, inode: 31_337 }));
    assert_eq!(read_stop(&cgroup.1), Some((99_887_766, None)));
    assert_eq!(read_failed(&cgroup.1), Some((3, 2)));
    cgroup.set("user.opm.run", NAMED);
    cgroup.set("user.opm.down", b"8");
    assert_eq!(RunMark::read(&cgroup.1), Some(run(Some("my web"))));
    assert_eq!(read_stop(&cgroup.1), Some((99_887_766, Some(8))));
    run(Some("my web")).write(&cgroup.1).unwrap();
    write_stop(&cgroup.1, 1, Some(9)).unwrap();
    let written = ["user.opm.run", "user.opm.stop", "user.opm.down"].map(|name| cgroup.get(name));
    assert_eq!(written, [NAMED.to_vec(), b"1".to_vec(), b"9".to_vec()]);
    run(Some(&"x".repeat(128))).write(&cgroup.1).unwrap();
    assert!(RunMark::read(&cgroup.1).is_some_and(|mark| mark.name.is_some_and(|name| name.len() == 128)));
}

/// An app of the same uid can write anything there.
#[test]
fn forged_marks_are_no_marks() {
    let cgroup = Marked::new("forged");
    let valid = prop::sample::select(vec![RUN, NAMED, b"4243 555 31337"]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8, 1..20usize), 0..4);
    let mut runner = TestRunner::new(Config { cases: 5_000, failure_persistence: None, ..Config::default() });
    let held = runner.run(&(valid, changes), |(valid, changes)| {
        let mut bytes = valid.to_vec();
        for (at, byte, how, times) in changes {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 => bytes.truncate(at),
                2 => drop(bytes.splice(at..at, b"99999999999999999999".repeat(times))),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = byte),
            }
        }
        for name in ["user.opm.run", "user.opm.main", "user.opm.stop", "user.opm.down", "user.opm.failed"] {
            cgroup.set(name, &bytes);
        }
        let _ = (RunMark::read(&cgroup.1), MainMark::read(&cgroup.1), read_stop(&cgroup.1), read_failed(&cgroup.1));
        Ok(())
    });
    held.unwrap();
}
