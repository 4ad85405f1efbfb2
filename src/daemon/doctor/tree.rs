//! What the cgroup tree offers, judged. Pure.

use super::{CONTROLLERS, Inside};
use crate::api::Check;
use crate::kernel::probe::TreeFacts;
use std::path::Path;

pub(super) fn judge(facts: &TreeFacts, inside: Option<&Inside>, uid: u32, systemd: bool) -> Vec<Check> {
    let mut checks = vec![mount(facts)];
    if facts.mount.is_err() {
        return checks;
    }
    if let Some(inside) = inside {
        checks.push(subtree(&inside.root, uid, systemd));
    }
    let offer = &facts.offer;
    // At the very top there is no cgroup.kill; without a daemon that may be where we look.
    if offer.events {
        let newer = |from: &str| format!("a kernel from {from} on");
        checks.push(if offer.kill {
            Check::ok("cgroup.kill", "there")
        } else {
            Check::bad(
                "cgroup.kill",
                "not there",
                "a tree that forks faster than it is killed is not stopped",
                newer("5.14"),
            )
        });
        checks.push(if offer.freeze {
            Check::ok("cgroup.freeze", "there")
        } else {
            Check::note("cgroup.freeze", "not there", "'opm pause' does not work", newer("5.2"))
        });
        if offer.peak == Some(false) {
            checks.push(Check::note(
                "cgroup.memory_peak",
                "not there",
                "the peak of memory in exit records",
                newer("5.19"),
            ));
        } else if offer.peak == Some(true) {
            checks.push(Check::ok("cgroup.memory_peak", "there"));
        }
    }
    checks.extend(CONTROLLERS.iter().map(|name| controller(name, facts, inside, uid, systemd)));
    checks
}

fn mount(facts: &TreeFacts) -> Check {
    let mend = "mount -t cgroup2 none /sys/fs/cgroup; in a container: --cgroupns=private and a writable /sys/fs/cgroup";
    match &facts.mount {
        Err(why) => Check::bad("cgroup.mount", why.clone(), "opm cannot run at all", mend),
        Ok(path) if facts.read_only => Check::bad(
            "cgroup.mount",
            format!("{} is read-only", path.display()),
            "opm can make no cgroup for its apps",
            "in a container: --privileged, or --cgroupns=private with -v /sys/fs/cgroup:/sys/fs/cgroup:rw",
        ),
        Ok(path) if facts.hybrid => Check::ok("cgroup.mount", format!("{}, beside version 1", path.display())),
        Ok(path) => Check::ok("cgroup.mount", path.display().to_string()),
    }
}

/// A daemon that serves has a subtree that it can write; this is about whether it may keep it.
fn subtree(root: &Path, uid: u32, systemd: bool) -> Check {
    let unit = root.extension().is_some_and(|extension| extension == "service");
    if unit || !systemd {
        return Check::ok("cgroup.subtree", root.display().to_string());
    }
    let user = if uid == 0 { "" } else { " --user" };
    Check::note(
        "cgroup.subtree",
        format!("{}, which is no service of systemd's", root.display()),
        "systemd may move or end what runs in it",
        format!("'opm kill', then 'systemctl{user} start opm': it stops the apps and starts them again under the unit"),
    )
}

fn controller(name: &str, facts: &TreeFacts, inside: Option<&Inside>, uid: u32, systemd: bool) -> Check {
    let id = format!("cgroup.controller.{name}");
    let lost = match name {
        "cpu" => "--cpus and --cpu-weight are refused",
        "memory" => "--memory-max, --memory-high, --max-memory-restart are refused; memory is not told exactly",
        "pids" => "--pids is refused: nothing stops a fork bomb but the user's own limit",
        _ => "--io-max and --io-weight are refused",
    };
    let has = |list: &[String]| list.iter().any(|one| one == name);
    let offered = has(&facts.offer.controllers);
    match inside {
        Some(inside) if has(&inside.enabled) => return Check::ok(&id, "enabled"),
        None if offered => return Check::ok(&id, "offered"),
        Some(_) | None => {}
    }
    if let Some((_, why)) = inside.filter(|_| offered).and_then(|i| i.refused.iter().find(|(one, _)| one == name)) {
        let mend =
            "'opm daemon stop --keep-apps', then any order; if it stays, something else put processes into that cgroup";
        return Check::note(&id, why.clone(), lost, mend);
    }
    if !has(&facts.kernel) {
        let (found, mend) = if facts.hybrid {
            ("belongs to cgroup version 1 here", "boot with systemd.unified_cgroup_hierarchy=1 (or without cgroup v1)")
        } else {
            ("this kernel does not offer it", "a kernel that has it, or without cgroup_disable= on its command line")
        };
        return Check::note(&id, found, lost, mend);
    }
    let (found, mend) = match (systemd, uid) {
        (true, 0) => ("not delegated to the unit", "in the unit: Delegate=yes ('opm startup' writes it so)".to_owned()),
        (true, _) => (
            "not delegated to this user",
            format!(
                "sudo mkdir -p /etc/systemd/system/user@.service.d; printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | \
                 sudo tee /etc/systemd/system/user@.service.d/delegate.conf; sudo systemctl daemon-reload; and when it suits: \
                 sudo systemctl restart user@{uid} (ends what runs there), or a reboot"
            ),
        ),
        (false, _) => ("not enabled above", format!("echo +{name} > {}", above(facts).display())),
    };
    Check::note(&id, found, lost, mend)
}

fn above(facts: &TreeFacts) -> std::path::PathBuf {
    facts.place.parent().unwrap_or(&facts.place).join("cgroup.subtree_control")
}
