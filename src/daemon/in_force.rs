//! What limits the kernel has for a run, asked now. What the spec asks for is another matter, and shown beside it.
//!
//! Reads, and nothing else. What a reader would get wrong: a file that is not there and one that says `max` come to the same,
//! no limit; but only the first also means that nobody counts.

use crate::api::InForce;
use crate::kernel::cgroup::RunDir;
use crate::model::limits::OomKill;

/// What everybody has who did not ask for more or less.
const USUAL_WEIGHT: u64 = 100;

/// All of it; none where no controller looks after the run.
pub(super) fn in_force(run: &RunDir) -> Option<InForce> {
    let found = InForce {
        memory_max_bytes: run.number("memory.max"),
        memory_high_bytes: run.number("memory.high"),
        memory_peak_bytes: run.number("memory.peak"),
        swap_bytes: run.number("memory.swap.current").filter(|bytes| *bytes > 0),
        swap_max_bytes: run.number("memory.swap.max"),
        cpus: run.text("cpu.max").as_deref().and_then(cpus),
        cpu_weight: run.number("cpu.weight").filter(|weight| *weight != USUAL_WEIGHT),
        pids: run.number("pids.current"),
        pids_max: run.number("pids.max"),
        io_weight: run.keyed("io.weight", "default ").filter(|weight| *weight != USUAL_WEIGHT),
        io_max: run.text("io.max").map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default(),
        oom_kill: run.number("memory.oom.group").map(|group| {
            let whom = if group == 1 { OomKill::Group } else { OomKill::Process };
            whom.as_str().to_owned()
        }),
    };
    (found != InForce::default()).then_some(found)
}

/// `50000 100000` is half a CPU; `max 100000` no limit.
fn cpus(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (period > 0.0).then(|| (quota / period * 1000.0).round() / 1000.0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_limited_is_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::at(dir.path()).unwrap();
        assert_eq!(in_force(&run), None);
        for (file, text) in [
            ("memory.max", "max\n"),
            ("memory.oom.group", "1\n"),
            ("cpu.max", "50000 100000\n"),
            ("cpu.weight", "100\n"),
            ("pids.current", "3\n"),
            ("io.weight", "default 200\n"),
            ("io.max", "8:0 rbps=1048576 wbps=max riops=max wiops=max\n"),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let expected = InForce {
            cpus: Some(0.5),
            pids: Some(3),
            io_weight: Some(200),
            io_max: vec!["8:0 rbps=1048576 wbps=max riops=max wiops=max".to_owned()],
            oom_kill: Some("group".to_owned()),
            ..InForce::default()
        };
        assert_eq!(in_force(&run), Some(expected));
    }
}
