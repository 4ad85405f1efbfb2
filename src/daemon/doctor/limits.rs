//! Limits of this process, its user and the machine, judged against what there is to supervise. Pure.

use super::super::effects::{FDS_PER_INSTANCE, descriptors_reserved};
use crate::api::Check;
use crate::kernel::probe::LimitFacts;

/// Pages of a log pipe as it begins (64 KiB), two for each instance.
const PIPE_PAGES: u64 = 2 * 16;
/// 2026-01-01: no opm is older.
const FIRST_DAY: u64 = 1_767_225_600;

/// `instances`: how many there are; none: nobody knows. `daemon`: these are the daemon's own limits.
pub(super) fn judge(facts: &LimitFacts, instances: Option<u64>, daemon: bool) -> Vec<Check> {
    let instances = instances.unwrap_or(0);
    let mut checks = Vec::new();
    // A shell's are another's affair: under systemd the unit says what the daemon gets.
    if daemon {
        checks.push(descriptors(facts, instances));
    }
    checks.push(processes(facts));
    checks.push(inotify(facts));
    if !facts.root {
        checks.extend(pipes(facts, instances));
    }
    checks.push(if facts.clock < FIRST_DAY {
        Check::bad(
            "machine.clock",
            format!("the machine's clock says {} seconds since 1970", facts.clock),
            "times in logs and records are wrong; log files are set aside by age too early or too late",
            "set it: timedatectl set-ntp true",
        )
    } else {
        Check::ok("machine.clock", "plausible")
    });
    checks
}

fn descriptors(facts: &LimitFacts, instances: u64) -> Check {
    let id = "limits.descriptors";
    let Some(limit) = facts.descriptors else { return Check::ok(id, "no limit") };
    let room = limit.saturating_sub(descriptors_reserved(limit)) / FDS_PER_INSTANCE;
    let found = format!("{limit}: room for {room} instances, {instances} there");
    let mend = "LimitNOFILE=1024:524288 in the opm unit, then restart it";
    match () {
        () if instances > room => Check::bad(id, found, "instances beyond that cannot be started", mend),
        () if room < instances.saturating_mul(5) / 4 || room < 256 => {
            Check::note(id, found, "there is little room for more", mend)
        }
        () => Check::ok(id, found),
    }
}

fn processes(facts: &LimitFacts) -> Check {
    let id = "limits.processes";
    match facts.processes {
        _ if facts.root => Check::ok(id, "no limit for root"),
        None => Check::ok(id, "no limit"),
        Some(limit) if limit < 1024 => Check::note(
            id,
            limit.to_string(),
            "all of this user's processes together may not be more: apps fail to fork",
            "LimitNPROC= of the unit, or nproc in /etc/security/limits.conf",
        ),
        Some(limit) => Check::ok(id, limit.to_string()),
    }
}

fn inotify(facts: &LimitFacts) -> Check {
    let id = "limits.inotify";
    let (Some(watches), Some(instances)) = (facts.inotify_watches, facts.inotify_instances) else {
        return Check::note(
            id,
            "fs.inotify cannot be read",
            "whether there is room for watching files is not known",
            "mount /proc",
        );
    };
    let found = format!("{watches} watches, {instances} instances for each user");
    if watches < 8192 || instances < 128 {
        let mend = "printf 'fs.inotify.max_user_watches=524288\\nfs.inotify.max_user_instances=512\\n' | sudo tee \
                    /etc/sysctl.d/60-inotify.conf, then: sudo sysctl --system";
        return Check::note(id, found, "apps that watch files (development servers) run out of watches", mend);
    }
    Check::ok(id, found)
}

fn pipes(facts: &LimitFacts, instances: u64) -> Option<Check> {
    let id = "limits.pipes";
    let pages = facts.pipe_pages?;
    if pages == 0 {
        return Some(Check::ok(id, "no limit"));
    }
    let room = pages / PIPE_PAGES;
    let found = format!("{pages} pages: full log pipes for {room} instances, {instances} there");
    if instances <= room {
        return Some(Check::ok(id, found));
    }
    let needed = instances.saturating_mul(PIPE_PAGES).saturating_mul(2);
    Some(Check::note(
        id,
        found,
        "log pipes of the others hold 8 KiB instead of 64: an app that writes in bursts waits more often",
        format!(
            "echo fs.pipe-user-pages-soft={needed} | sudo tee /etc/sysctl.d/60-pipes.conf, then: sudo sysctl --system"
        ),
    ))
}
