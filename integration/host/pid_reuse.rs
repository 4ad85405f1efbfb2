//! PID reuse, forced: in a PID namespace with a small `pid_max` a stranger gets the very number that an app had. It is never
//! taken for the app, and never signalled.

use crate::rig::observe::{Grip, alive};
use crate::rig::{Rig, run_inside, wait};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// `pid_max` belongs to the PID namespace since Linux 6.14; before, writing it would change the whole machine.
fn pid_max_is_per_namespace() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).filter_map(|p| p.parse::<u32>().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 14)
}

fn inside(test: &str) {
    assert!(
        pid_max_is_per_namespace(),
        "this test needs Linux 6.14, where pid_max belongs to the PID namespace: run it in a VM"
    );
    // PIDs up to 300 are not given away again after a wrap: the first 300 are spent before the rig starts anything.
    let before =
        "i=0; while [ $i -lt 310 ]; do /bin/true; i=$((i+1)); done; echo 500 > /proc/sys/kernel/pid_max || exit 99";
    let said = run_inside(&["--pid", "--fork", "--mount-proc", "--kill-child"], before, test);
    assert!(said.code == Some(0) && said.out().contains("1 passed"), "{said}");
}

/// A stranger under this number, outside opm's cgroups.
fn squat(rig: &Rig, pid: u32) -> Child {
    let mut squatter = Command::new(&rig.prog).arg(format!("squat:{pid}")).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(squatter.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, format!("squatting {pid}\n"));
    assert!(alive(pid) && !rig.everybody().contains(&pid));
    squatter
}

fn end(mut squatter: Child, pid: u32) {
    assert!(alive(pid), "the stranger under the app's old number was killed");
    squatter.kill().unwrap();
    squatter.wait().unwrap();
}

#[test]
fn a_stranger_with_a_dead_apps_pid_is_never_signalled() {
    inside("pid_reuse::inner_under_a_living_daemon");
}

#[test]
fn a_stranger_with_a_dead_apps_pid_is_never_adopted() {
    inside("pid_reuse::inner_under_a_new_pair");
}

/// The app is dead and waits for its delay; a stranger has its number. Orders and restarts pass it by.
#[test]
#[ignore = "run by the test above, inside its namespace"]
fn inner_under_a_living_daemon() {
    let rig = Rig::new();
    rig.start("victim", &["--restart-delay", "60s"], &["pause"]);
    let pid = rig.pid("victim");
    assert!(pid > 300, "{pid} would not be given away again");
    rig.grip("victim").kill();
    rig.await_state("victim", "backoff");
    let squatter = squat(&rig, pid);
    assert!(rig.row("victim")["pid"].is_null());
    rig.ok(&["start", "victim"]);
    rig.ok(&["stop", "victim"]);
    rig.kill_daemon();
    rig.ok(&["restart", "victim"]);
    assert_ne!(rig.pid("victim"), pid);
    rig.ok(&["delete", "all"]);
    assert!(rig.app_pids().is_empty());
    end(squatter, pid);
}

/// Keeper and daemon are dead, then the app dies, and its main mark's number goes to a stranger while a helper of the app still
/// lives in the run. The next pair must not believe the mark.
#[test]
#[ignore = "run by the test above, inside its namespace"]
fn inner_under_a_new_pair() {
    let rig = Rig::new();
    rig.start("victim", &[], &["daemon", "append:up:helper", "pause", "--", "pause"]);
    rig.start("simple", &[], &["pause"]);
    rig.await_lines("up", 1);
    let (pid, simple) = (rig.pid("victim"), rig.pid("simple"));
    rig.kill_pair();
    let grips = [pid, simple].map(|pid| Grip::on(pid, &rig.cgroup));
    grips.iter().for_each(Grip::kill);
    // Their parent is now the namespace's first process, which reaps them.
    wait::until("the numbers to be free", || {
        [pid, simple].iter().all(|p| !std::path::Path::new(&format!("/proc/{p}")).exists())
    });
    let (one, two) = (squat(&rig, pid), squat(&rig, simple));
    rig.ok(&["ls", "--json"]);
    rig.await_row("simple", "started anew", |row| row["state"] == "online" && row["pid"] != simple);
    rig.await_lines("up", 2);
    rig.await_row("victim", "started anew", |row| row["state"] == "online" && row["pid"] != pid);
    wait::until("one copy of each", || rig.app_pids().len() == 3);
    rig.ok(&["restart", "all"]);
    rig.ok(&["delete", "all"]);
    assert!(rig.app_pids().is_empty());
    end(one, pid);
    end(two, simple);
}
