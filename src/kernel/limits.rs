//! Limits of a run: memory.max, cpu.max, pids.max, written through cgroups-rs on the run's own cgroup.
//!
//! On the run and not on the instance, so that two runs that overlap in a reload do not share one memory.max. What a reader
//! would get wrong: a limit that no controller enforces is refused, with the reason; it is never ignored.

use super::controllers::Controllers;
use cgroups_rs::MaxValue;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use std::path::Path;

/// What a run may use. None: no limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes (memory.max). With it goes memory.oom.group: for want of memory the kernel ends the whole run, not a part.
    pub memory: Option<u64>,
    /// Thousandths of a CPU (cpu.max).
    pub cpu: Option<u32>,
    /// Processes and threads (pids.max).
    pub pids: Option<u32>,
}

/// The period of cpu.max, microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

impl Limits {
    /// The controllers that these need, each with the name of the limit.
    fn needed(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        [
            self.memory.map(|_| ("memory", "a memory limit")),
            self.cpu.map(|_| ("cpu", "a CPU limit")),
            self.pids.map(|_| ("pids", "a limit on processes")),
        ]
        .into_iter()
        .flatten()
    }

    /// Whether these can be enforced with those controllers.
    ///
    /// # Errors
    /// Which cannot, and why.
    pub fn check(self, controllers: &Controllers) -> Result<(), String> {
        for (controller, limit) in self.needed() {
            controllers.check(controller).map_err(|why| {
                format!("{limit} cannot be enforced here, without the cgroup2 controller '{controller}': {why}")
            })?;
        }
        Ok(())
    }

    /// Writes them on the run's cgroup.
    ///
    /// # Errors
    /// Which file, and why.
    pub fn apply(self, run: &Path) -> Result<(), String> {
        let say = |file: &str, e: cgroups_rs::error::Error| format!("failed to write {file} in {}: {e}", run.display());
        if let Some(bytes) = self.memory {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            MemController::new(run.to_owned(), true).set_limit(bytes).map_err(|e| say("memory.max", e))?;
            std::fs::write(run.join("memory.oom.group"), "1")
                .map_err(|e| format!("failed to write memory.oom.group in {}: {e}", run.display()))?;
        }
        if let Some(milli) = self.cpu {
            let quota = i64::from(milli) * (PERIOD as i64) / 1000;
            CpuController::new(run.to_owned(), true)
                .set_cfs_quota_and_period(Some(quota.max(1000)), Some(PERIOD))
                .map_err(|e| say("cpu.max", e))?;
        }
        if let Some(pids) = self.pids {
            PidController::new(run.to_owned(), true)
                .set_pid_max(MaxValue::Value(i64::from(pids)))
                .map_err(|e| say("pids.max", e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_its_controller_is_refused_by_name() {
        let limits = Limits { memory: Some(1), pids: Some(5), ..Limits::default() };
        let refusal = limits.check(&Controllers::of(&["memory", "cpu"], &[])).unwrap_err();
        assert!(refusal.contains("'pids'") && refusal.contains("memory, cpu"), "{refusal}");
        assert!(limits.check(&Controllers::default()).unwrap_err().contains("'memory'"));
        let busy = limits.check(&Controllers::of(&["memory"], &[("pids", "it is busy")])).unwrap_err();
        assert!(busy.ends_with("it is busy"), "{busy}");
        assert_eq!(limits.check(&Controllers::of(&["memory", "pids"], &[])), Ok(()));
    }
}
