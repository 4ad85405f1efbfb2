//! What the kernel can do, judged. Pure.

use crate::api::Check;
use crate::kernel::probe::{KernelFacts, Trial};

/// The oldest that opm is tried on.
const OLDEST: (u32, u32) = (5, 14);

pub(super) fn judge(facts: &KernelFacts) -> Vec<Check> {
    let newer = |from: &str| format!("a kernel from {from} on (this one is {})", facts.release);
    let has = |id: &str, there: bool, from: &str, lost: &str| {
        if there { Check::ok(id, "works") } else { Check::note(id, "not there", lost, newer(from)) }
    };
    let needed = |id: &str, trial: &Trial, from: &str, lost: &str| match trial {
        Trial::Works => Check::ok(id, "works"),
        Trial::Fails(why) | Trial::Refused(why) => Check::bad(
            id,
            why.clone(),
            lost,
            format!("{}; in a container, a seccomp profile that lets it through", newer(from)),
        ),
    };
    let no_pidfd = "opm cannot know which process it sees";
    vec![
        version(&facts.release),
        match &facts.clone_into_cgroup {
            Trial::Works => Check::ok("kernel.clone_into_cgroup", "works"),
            // In a session's cgroup nobody may do it; the daemon's own is another matter.
            Trial::Refused(_) => {
                Check::ok("kernel.clone_into_cgroup", "the kernel has it; the daemon tries it in its own cgroup")
            }
            Trial::Fails(why) => Check::note(
                "kernel.clone_into_cgroup",
                why.clone(),
                "apps enter their cgroup by hand before they execute: a little slower, as safe",
                format!(
                    "start the daemon anew from a fresh cgroup ('opm daemon stop --keep-apps', then any order), or {}",
                    newer("5.7")
                ),
            ),
        },
        needed("kernel.pidfd", &facts.pidfd, "5.3", no_pidfd),
        needed("kernel.pidfd_wait", &facts.pidfd_wait, "5.4", no_pidfd),
        needed(
            "kernel.pidfd_signal",
            &facts.pidfd_signal,
            "5.1",
            "a signal may reach a process that has the number of one that ended",
        ),
        has(
            "kernel.pidfd_inode",
            facts.pidfd_inode,
            "6.9",
            "after a daemon's death a main process is known by number and start time",
        ),
        has(
            "kernel.pidfd_exit",
            facts.pidfd_exit,
            "6.15",
            "how an app ended is not known if it ended while keeper and daemon were both dead; it counts as a failure",
        ),
        needed("kernel.splice", &facts.splice, "2.6.17", "log lines can be lost or doubled when the daemon is killed"),
        needed("kernel.tee", &facts.tee, "2.6.17", "log lines can be torn when a file is set aside"),
        if facts.pressure {
            Check::ok("kernel.pressure", "works")
        } else {
            Check::note(
                "kernel.pressure",
                "no /proc/pressure",
                "memory, CPU and I/O pressure of apps is not told",
                "boot with psi=1 (CONFIG_PSI)",
            )
        },
    ]
}

fn version(release: &str) -> Check {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST => Check::bad(
            "kernel.version",
            release,
            "opm is made for kernels from 5.14 on; without cgroup.kill a fork bomb can outrun it",
            "a kernel from 5.14 on",
        ),
        _ => Check::ok("kernel.version", release),
    }
}
