//! What the kernel says of a live run, asked now: who is in its cgroup, what it uses, when it will be killed.
//!
//! What a reader would get wrong: every answer may be missing. Without a controller there is no number, and none is made up.

use super::Clocks;
use crate::api::{Now, Process, Row};
use crate::kernel::cgroup::RunDir;
use crate::kernel::mark;
use crate::model::Moment;
use crate::model::state::When;
use std::path::Path;

/// So many processes are named.
const NAMED: usize = 20;

fn dir(row: &Row) -> Option<RunDir> {
    RunDir::at(Path::new(row.cgroup.as_ref()?)).ok()
}

/// What it says of the run in this row.
pub(super) fn now(row: &Row) -> Option<Now> {
    let dir = dir(row)?;
    let pids = dir.processes().ok()?;
    let processes = pids.iter().take(NAMED).map(|pid| Process { pid: *pid, command: comm(*pid) }).collect();
    Some(Now {
        processes,
        count: u32::try_from(pids.len()).unwrap_or(u32::MAX),
        memory_bytes: dir.number("memory.current"),
        // "max": no limit.
        memory_max_bytes: dir.number("memory.max"),
        pids: dir.number("pids.current"),
        pids_max: dir.number("pids.max"),
        oom_kills: dir.keyed("memory.events", "oom_kill "),
        pids_refused: dir.keyed("pids.events", "max "),
    })
}

/// When what is left of a run that is being ended is killed: the mark of the ladder, which any daemon goes on with.
pub(super) fn kill_at(row: &Row, clocks: Clocks) -> Option<String> {
    if row.state != "stopping" {
        return None;
    }
    let (deadline, _) = mark::read_stop(dir(row)?)?;
    Some(clocks.text(When::Moment(Moment(deadline))))
}

fn comm(pid: u32) -> Option<String> {
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}
