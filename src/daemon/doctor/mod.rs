//! `opm doctor`, the part that needs the kernel or the daemon: gathers facts, and has them judged.
//!
//! Facts come from `kernel::probe` and from the loop; each judging function takes facts and gives lines, and looks at nothing itself.
//! It must change nothing, and touch no app. What a reader would get wrong: the same code runs in the daemon and, where there is none,
//! in the command line, whose cgroup and limits are not the daemon's. What only a daemon can know is then left out, not guessed.

mod kernel;
mod limits;
mod places;
mod tree;

use crate::api::{Check, Examination};
use crate::config::{Mistake, Paths, Settings, settings};
use crate::kernel::mount;
use crate::kernel::probe::{self, CloneAt, KernelFacts, LimitFacts, Place, TreeFacts};
use std::path::{Path, PathBuf};

/// What only the daemon knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inside {
    /// Its subtree.
    pub(super) root: PathBuf,
    /// Cloning into a cgroup works there.
    pub(super) clones: bool,
    /// Controllers that it uses.
    pub(super) enabled: Vec<String>,
    /// Controllers that are offered to it and refused, and why.
    pub(super) refused: Vec<(String, String)>,
    pub(super) instances: u64,
    pub(super) troubles: Vec<String>,
    /// The path of the installed program.
    pub(super) program: PathBuf,
}

/// Everything that is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    kernel: KernelFacts,
    tree: TreeFacts,
    limits: LimitFacts,
    places: Vec<(&'static str, Place)>,
    settings: Result<Settings, Mistake>,
    /// Who looks.
    uid: u32,
    /// Whose opm it is.
    owner: u32,
    systemd: bool,
    /// The installed program is another file than the one that runs.
    replaced: bool,
    inside: Option<Inside>,
}

/// Looks at everything and judges it, without a daemon.
#[must_use]
pub fn examine(paths: &Paths) -> Examination {
    Examination { pid: None, ..examine_inside(paths, None) }
}

/// The same within the daemon. Waits for disks; not for the loop.
pub(super) fn examine_inside(paths: &Paths, inside: Option<Inside>) -> Examination {
    Examination {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: Some(std::process::id()),
        checks: judge(&gather(paths, inside)),
    }
}

fn gather(paths: &Paths, inside: Option<Inside>) -> Facts {
    let tree = TreeFacts::look(inside.as_ref().map(|inside| &*inside.root));
    let own = || mount::own_cgroup().ok().map(|own| tree.mount.as_ref().map_or(own.clone(), |m| mount::below(m, &own)));
    let own = own().unwrap_or_else(|| tree.place.clone());
    let at = inside.as_ref().map_or(CloneAt::Cgroup(&own), |inside| CloneAt::Known(inside.clones));
    let socket = paths.socket();
    let uid = rustix::process::geteuid().as_raw();
    // The system's is root's, whoever asks.
    let owner = if paths.system && paths.home.is_none() { 0 } else { uid };
    let places: [(&str, &Path, bool); 5] = [
        ("state", &paths.state, false),
        ("logs", &paths.logs, true),
        ("runtime", &paths.runtime, false),
        ("socket", &socket, false),
        ("config", &paths.config, false),
    ];
    Facts {
        kernel: probe::kernel(at),
        limits: probe::limits(),
        places: places.into_iter().map(|(name, path, splice)| (name, probe::look(path, splice))).collect(),
        settings: settings::read(&paths.config, owner),
        uid,
        owner,
        systemd: Path::new("/run/systemd/system").is_dir(),
        replaced: inside.as_ref().is_some_and(|inside| is_another_file(&inside.program)),
        tree,
        inside,
    }
}

/// Whether that path leads to another file than the one that this process executes.
fn is_another_file(program: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let own = identity(Path::new("/proc/self/exe"));
    own.is_some() && identity(program) != own
}

fn judge(facts: &Facts) -> Vec<Check> {
    let Facts { kernel, tree, limits, places, settings, uid, owner, systemd, replaced, inside } = facts;
    let instances = inside.as_ref().map(|inside| inside.instances);
    let mut checks = kernel::judge(kernel);
    checks.extend(tree::judge(tree, inside.as_ref(), *uid, *systemd));
    checks.extend(limits::judge(limits, instances, inside.is_some()));
    checks.extend(places::judge(places, settings, *owner, *uid));
    if let Some(inside) = inside {
        checks.extend(daemon(inside, *replaced));
    }
    checks
}

/// How the daemon stands by its own account.
fn daemon(inside: &Inside, replaced: bool) -> Vec<Check> {
    let program = inside.program.display();
    let mut checks = vec![if replaced {
        Check::note(
            "daemon.program",
            format!("{program} was replaced since the daemon started"),
            "the daemon is still the one before",
            "opm daemon reload",
        )
    } else {
        Check::ok("daemon.program", format!("{program} is what runs"))
    }];
    if inside.troubles.is_empty() {
        checks.push(Check::ok("daemon.troubles", "none"));
    }
    checks.extend(inside.troubles.iter().map(|trouble| {
        Check::bad("daemon.troubles", trouble.clone(), "what it says", "'opm daemon logs' may say more")
    }));
    checks
}

/// The controllers that opm wants.
const CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "io"];

/// What is refused of that list, in words; from the loop's own knowledge.
pub(super) fn refusals(check: impl Fn(&str) -> Result<(), String>) -> Vec<(String, String)> {
    CONTROLLERS.iter().filter_map(|name| Some(((*name).to_owned(), check(name).err()?))).collect()
}

/// Bytes as people write them.
fn bytes(n: u64) -> String {
    let (mut value, mut unit) = (n as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" || value >= 100.0 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests;
