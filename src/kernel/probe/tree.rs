//! What the cgroup tree offers: the mount, and what is to be found at opm's place in it. Reads only.

use crate::kernel::mount;
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::fs;
use std::path::{Path, PathBuf};

/// The tree as it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFacts {
    /// Where cgroup2 is mounted, or why that is not known.
    pub mount: Result<PathBuf, String>,
    /// It cannot be written to.
    pub read_only: bool,
    /// cgroup version 1 has controllers: they are not to be had here.
    pub hybrid: bool,
    /// Controllers that the tree has at all, at its top.
    pub kernel: Vec<String>,
    /// Where opm is, or would be.
    pub place: PathBuf,
    /// What is offered there.
    pub offer: Offer,
}

/// What a cgroup offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// Controllers.
    pub controllers: Vec<String>,
    /// cgroup.kill (5.14).
    pub kill: bool,
    /// cgroup.freeze (5.2).
    pub freeze: bool,
    /// cgroup.events: without it nothing is known at all.
    pub events: bool,
    /// memory.peak (5.19); none: no memory controller where it would be.
    pub peak: Option<bool>,
}

impl TreeFacts {
    /// Looks. `root`: the daemon's, where one runs.
    #[must_use]
    pub fn look(root: Option<&Path>) -> Self {
        let found = mount::cgroup2_mount().map_err(|e| e.to_string());
        let mount = found.clone().unwrap_or_else(|_| "/sys/fs/cgroup".into());
        let own = || mount::own_cgroup().map_or_else(|_| mount.clone(), |own| mount::below(&mount, &own));
        let place = root.map_or_else(|| would_be(&mount).unwrap_or_else(own), Path::to_owned);
        // A file of the memory controller stands in the children of whoever enabled it.
        let apps = place.join("apps");
        let peak = apps.join("memory.current").exists().then(|| apps.join("memory.peak").exists());
        Self {
            read_only: statvfs(&mount).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY)),
            hybrid: fs::read_to_string("/proc/cgroups").is_ok_and(|text| version_1_has_some(&text)),
            kernel: words(&mount.join("cgroup.controllers")),
            offer: Offer {
                controllers: words(&place.join("cgroup.controllers")),
                kill: place.join("cgroup.kill").exists(),
                freeze: place.join("cgroup.freeze").exists(),
                events: place.join("cgroup.events").exists(),
                peak,
            },
            place,
            mount: found,
        }
    }
}

/// Without a daemon: where a user's manager has its services, which is as much as theirs will be given.
fn would_be(mount: &Path) -> Option<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let manager = mount.join(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
    (uid != 0 && manager.is_dir()).then_some(manager)
}

/// From `/proc/cgroups`: a name, the number of its hierarchy, 0 being version 2's, and more. What is mounted does not tell: in a
/// container it may be the host that has version 1.
fn version_1_has_some(cgroups: &str) -> bool {
    let hierarchy = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    cgroups.lines().filter(|line| !line.starts_with('#')).filter_map(hierarchy).any(|number| number != "0")
}

fn words(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_known_by_its_hierarchies() {
        let head = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
        assert!(version_1_has_some(&format!("{head}cpuset\t0\t9\t1\nmemory\t9\t98\t1\n")));
        assert!(!version_1_has_some(&format!("{head}cpuset\t0\t9\t1\nmemory\t0\t98\t1\n")));
    }
}
