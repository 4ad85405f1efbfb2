//! The observer that does not ask opm: it reads cgroups and the marker in the children's environment, all along.
//!
//! Owns two verdicts: no instance ever has two live runs, and no marked process is ever outside the apps' cgroups. What a
//! reader would get wrong: two reads are two moments. What looks like two runs is confirmed by a pidfd: a process that is
//! listed in the one run before and still alive after another was seen listed in the other lived at the same time.

use crate::rig::observe::{self, Run, identity};
use crate::yard::Yard;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Watches until told to stop; gives how often it looked.
pub fn observer(yard: &Yard) -> u64 {
    let mut looks = 0;
    while yard.watching.load(Ordering::Relaxed) {
        for runs in several(&yard.rig.runs()).values() {
            two_live(yard, runs);
        }
        if looks % 16 == 0 {
            marked_outside(yard);
        }
        looks += 1;
        // A sampling rate, not a wait: whatever it is, no verdict depends on it.
        std::thread::sleep(Duration::from_millis(3));
    }
    looks
}

/// The instances of which more than one run is populated.
fn several(runs: &[Run]) -> BTreeMap<String, Vec<Run>> {
    let mut by_instance: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for run in runs.iter().filter(|run| !run.pids.is_empty()) {
        by_instance.entry(run.instance.clone()).or_default().push(run.clone());
    }
    by_instance.retain(|_, runs| runs.len() > 1);
    by_instance
}

fn two_live(yard: &Yard, runs: &[Run]) {
    for old in runs {
        for new in runs.iter().filter(|new| new.number > old.number) {
            let Some(witness) = new.pids.first() else { continue };
            let Some(fd) = Pid::from_raw(witness.cast_signed()).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok())
            else {
                continue;
            };
            let before = observe::procs(&new.path).contains(witness);
            let listed: Vec<_> = observe::procs(&old.path).into_iter().map(|p| (p, observe::command_line(p))).collect();
            let after = !crate::rig::cli::readable(&fd, Duration::ZERO);
            if before && after && !listed.is_empty() {
                yard.complain(format!(
                    "two live runs of {}: {} has {witness}, {} has {listed:?}",
                    old.instance, new.number, old.number
                ));
            }
        }
    }
}

/// A variable in the environment that a process was executed with.
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let all = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{name}=");
    all.split(|b| *b == 0).find_map(|v| Some(String::from_utf8_lossy(v.strip_prefix(prefix.as_bytes())?).into_owned()))
}

/// Its cgroup, as the kernel names it from the mount.
fn cgroup(pid: u32) -> Option<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    table.lines().find_map(|l| l.strip_prefix("0::").map(str::to_owned))
}

/// Every marked process: its pid, its marker and its cgroup.
pub fn marked(yard: &Yard) -> Vec<(u32, String, String)> {
    let prefix = format!("{:x}-{}-", yard.seed, std::process::id());
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let before = identity(pid)?;
        let marker = variable(pid, "OPM_CHAOS").filter(|m| m.starts_with(&prefix))?;
        let cgroup = cgroup(pid)?;
        // Neither gone nor somebody else under the same number while we read.
        (identity(pid)? == before && variable(pid, "OPM_CHAOS")? == marker).then_some((pid, marker, cgroup))
    })
    .collect()
}

fn marked_outside(yard: &Yard) {
    let apps = yard.rig.cgroup.join("apps");
    let name = yard.rig.cgroup.file_name().unwrap().to_string_lossy().into_owned();
    let mut homes: BTreeMap<String, (u32, String)> = BTreeMap::new();
    for (pid, marker, cgroup) in marked(yard) {
        let Some((_, below)) = cgroup.split_once(&format!("{name}/apps/")) else {
            yard.complain(format!("process {pid} of {marker} is in {cgroup}, not below {}", apps.display()));
            continue;
        };
        // One app, one number: the part before the dot.
        let id = below.split('.').next().unwrap_or_default().to_owned();
        if let Some((other, before)) = homes.insert(marker.clone(), (pid, id.clone()))
            && before != id
            && [pid, other].iter().all(|p| observe::alive(*p))
        {
            yard.complain(format!("{marker} lives under two numbers: {other} in {before}, {pid} in {id}"));
        }
    }
}
