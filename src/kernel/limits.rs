//! Limits of a run, written on the run's own cgroup: through cgroups-rs where it serves.
//!
//! On the run and not on the instance, so that two runs that overlap in a reload do not share one memory.max. What a reader
//! would get wrong: a limit that no controller enforces is refused, with the reason; it is never ignored. And writing one may
//! take long: the kernel takes memory back on the time of whoever lowers memory.max or memory.high (before 6.16 there is no other way),
//! and kills while that is not enough. So a run that lives is limited off the event loop.

use super::controllers::{Controllers, Lacking};
use super::{device, mark};
use crate::model::limits::{IoMax, Limits, OomKill};
use cgroups_rs::MaxValue;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::memory::{MemController, SetMemory};
use cgroups_rs::pid::PidController;
use std::fmt::Display;
use std::fs;
use std::path::Path;

/// The period of cpu.max, microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;
/// The usual weight for processors and disks.
const WEIGHT: u16 = 100;

/// Whether these can be enforced with those controllers.
///
/// # Errors
/// Which cannot, and why.
pub fn check(limits: &Limits, controllers: &Controllers) -> Result<(), Lacking> {
    let memory = [limits.memory_max, limits.memory_high, limits.memory_swap_max];
    let needed = [
        ("memory", "a memory limit", memory.iter().any(Option::is_some)),
        ("memory", "max_memory_restart", limits.max_memory_restart.is_some()),
        ("cpu", "a CPU limit", limits.cpus.is_some()),
        ("cpu", "a CPU weight", limits.cpu_weight.is_some()),
        ("pids", "a limit on processes", limits.pids.is_some()),
        ("io", "a disk weight", limits.io_weight.is_some()),
        ("io", "a disk limit", !limits.io_max.is_empty()),
    ];
    for (controller, limit, _) in needed.into_iter().filter(|(.., asked)| *asked) {
        controllers.check(controller).map_err(|why| Lacking {
            why: format!("{limit} cannot be enforced here, without the cgroup2 controller '{controller}': {}", why.why),
            mend: why.mend,
        })?;
    }
    let no_swap = "a kernel with CONFIG_SWAP has it, unless it is started with swapaccount=0 or cgroup.memory=noswap";
    let files = [
        ("memory.swap.max", "memory_swap_max", no_swap, limits.memory_swap_max.is_some()),
        ("cpu.max", "cpus", "a kernel with CONFIG_CFS_BANDWIDTH has it", limits.cpus.is_some()),
        ("cpu.weight", "cpu_weight", "a kernel with CONFIG_FAIR_GROUP_SCHED has it", limits.cpu_weight.is_some()),
        ("io.weight", "io_weight", "a kernel with CONFIG_BLK_CGROUP_IOCOST has it", limits.io_weight.is_some()),
        ("io.max", "io_max", "a kernel with CONFIG_BLK_DEV_THROTTLING has it", !limits.io_max.is_empty()),
    ];
    match files.into_iter().find(|(file, .., asked)| *asked && controllers.lacks(file)) {
        Some((file, limit, mend, _)) => Err(Lacking {
            why: format!("{limit} cannot be enforced here: this kernel has no {file}"),
            mend: Some(mend.to_owned()),
        }),
        None => Ok(()),
    }
}

/// The same limits with each device by its numbers, and each once. Asks file systems, which may hang.
///
/// # Errors
/// There is no such device.
pub fn resolved(mut limits: Limits) -> Result<Limits, String> {
    for io in &mut limits.io_max {
        io.device = device::numbers(&io.device)?;
    }
    limits.io_max = merged(limits.io_max);
    Ok(limits)
}

/// What is asked of one device in several places, as two paths or two partitions of it may be: the smallest of each, since all of
/// it holds. The kernel takes one line for a device, and forgets the one before.
fn merged(all: Vec<IoMax>) -> Vec<IoMax> {
    fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
        one.into_iter().chain(other).min()
    }
    let mut merged: Vec<IoMax> = Vec::new();
    for io in all {
        if let Some(same) = merged.iter_mut().find(|same| same.device == io.device) {
            same.rbps = least(same.rbps, io.rbps);
            same.wbps = least(same.wbps, io.wbps);
            same.riops = least(same.riops, io.riops);
            same.wiops = least(same.wiops, io.wiops);
        } else {
            merged.push(io);
        }
    }
    merged
}

/// Writes them on the cgroup of a run, devices resolved, and marks it, so that a later daemon knows that there is something to look
/// after. `fresh`: nothing was ever written there, so what is not asked for is as it should be; else it is taken off.
///
/// # Errors
/// Which file, and why. The others are written all the same.
pub fn impose(run: &Path, limits: &Limits, controllers: &Controllers, fresh: bool) -> Result<(), String> {
    if *limits != Limits::default() {
        // First: a mark without a limit harms nobody.
        let marked = super::cgroup::RunDir::at(run).and_then(mark::write_limited);
        marked.map_err(|e| format!("failed to mark {}: {}", run.display(), std::io::Error::from(e)))?;
    }
    apply(run, limits, controllers, fresh)
}

fn apply(run: &Path, limits: &Limits, controllers: &Controllers, fresh: bool) -> Result<(), String> {
    let has = |name: &str| controllers.check(name).is_ok();
    let mut written = Written { run, failed: Vec::new() };
    if has("memory") {
        memory(&mut written, limits, fresh);
    }
    if has("cpu") {
        cpu(&mut written, limits, fresh);
    }
    if has("pids") && (limits.pids.is_some() || !fresh) {
        let most = limits.pids.map_or(MaxValue::Max, |pids| MaxValue::Value(i64::from(pids)));
        written.note("pids.max", PidController::new(run.to_owned(), true).set_pid_max(most));
    }
    if has("io") {
        io(&mut written, limits, fresh);
    }
    if written.failed.is_empty() { Ok(()) } else { Err(written.failed.join("; ")) }
}

/// What has been written so far, and what could not be.
struct Written<'a> {
    run: &'a Path,
    failed: Vec<String>,
}

impl Written<'_> {
    fn note<E: Display>(&mut self, file: &str, result: Result<(), E>) {
        if let Err(e) = result {
            self.failed.push(format!("failed to write {file} in {}: {e}", self.run.display()));
        }
    }

    /// By hand: cgroups-rs does not know that file.
    fn write(&mut self, file: &str, text: &str) {
        self.note(file, fs::write(self.run.join(file), text));
    }
}

fn memory(written: &mut Written<'_>, limits: &Limits, fresh: bool) {
    let memory = MemController::new(written.run.to_owned(), true);
    let bytes = |size: Option<crate::model::ByteSize>| size.map(|size| i64::try_from(size.0).unwrap_or(i64::MAX));
    // Whom the kernel kills is settled before it can come to that.
    if !fresh || limits.oom_kill == OomKill::Group {
        written.write("memory.oom.group", if limits.oom_kill == OomKill::Group { "1" } else { "0" });
    }
    if limits.memory_swap_max.is_some() || !fresh && written.run.join("memory.swap.max").exists() {
        // Not there without swap accounting; then there is nothing to take off.
        written.note("memory.swap.max", memory.set_memswap_limit(bytes(limits.memory_swap_max).unwrap_or(-1)));
    }
    let high = bytes(limits.high());
    if high.is_some() || !fresh {
        let high = Some(high.map_or(MaxValue::Max, MaxValue::Value));
        let none = SetMemory { low: None, high: None, min: None, max: None };
        written.note("memory.high", memory.set_mem(SetMemory { high, ..none }));
    }
    if limits.memory_max.is_some() || !fresh {
        written.note("memory.max", memory.set_limit(bytes(limits.memory_max).unwrap_or(-1)));
    }
}

fn cpu(written: &mut Written<'_>, limits: &Limits, fresh: bool) {
    let cpu = CpuController::new(written.run.to_owned(), true);
    if limits.cpus.is_some() || !fresh {
        let quota = limits.cpus.map_or(-1, |cpus| (i64::from(cpus.0) * (PERIOD as i64) / 1000).max(1000));
        written.note("cpu.max", cpu.set_cfs_quota_and_period(Some(quota), Some(PERIOD)));
    }
    if limits.cpu_weight.is_some() || !fresh {
        // "Shares" in its name; on cgroup2 it writes cpu.weight.
        written.note("cpu.weight", cpu.set_shares(u64::from(limits.cpu_weight.map_or(WEIGHT, |weight| weight.0))));
    }
}

/// By hand: cgroups-rs writes the weight of one scheduler only (io.bfq.weight), and cannot take a limit of a device off.
fn io(written: &mut Written<'_>, limits: &Limits, fresh: bool) {
    // Not there without a scheduler or cost model that knows weights.
    if limits.io_weight.is_some() || !fresh && written.run.join("io.weight").exists() {
        written.write("io.weight", &format!("default {}", limits.io_weight.map_or(WEIGHT, |weight| weight.0)));
    }
    if !fresh {
        let now = fs::read_to_string(written.run.join("io.max")).unwrap_or_default();
        let limited = now.lines().filter_map(|line| line.split_whitespace().next());
        for device in limited.filter(|device| limits.io_max.iter().all(|io| io.device != *device)) {
            written.write("io.max", &format!("{device} rbps=max wbps=max riops=max wiops=max"));
        }
    }
    for io in &limits.io_max {
        written.write("io.max", &io_line(io));
    }
}

/// One write for one device.
fn io_line(io: &IoMax) -> String {
    let most = |value: Option<u64>| value.map_or_else(|| "max".to_owned(), |value| value.to_string());
    let IoMax { device, rbps, wbps, riops, wiops } = io;
    let (rbps, wbps) = (most(rbps.map(|size| size.0)), most(wbps.map(|size| size.0)));
    let (riops, wiops) = (most(riops.map(u64::from)), most(wiops.map(u64::from)));
    format!("{device} rbps={rbps} wbps={wbps} riops={riops} wiops={wiops}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::ByteSize;
    use crate::model::policy::Cpus;

    #[test]
    fn a_limit_without_its_controller_is_refused_by_name() {
        let limits = Limits { memory_max: Some(ByteSize(1)), pids: Some(5), ..Limits::default() };
        let refusal = check(&limits, &Controllers::of(&["memory", "cpu"], &[])).unwrap_err().why;
        assert!(refusal.contains("'pids'") && refusal.contains("memory, cpu"), "{refusal}");
        assert!(check(&limits, &Controllers::default()).unwrap_err().why.contains("'memory'"));
        let busy = check(&limits, &Controllers::of(&["memory"], &[("pids", "it is busy")])).unwrap_err().why;
        assert!(busy.ends_with("it is busy"), "{busy}");
        assert_eq!(check(&limits, &Controllers::of(&["memory", "pids"], &[])), Ok(()));
        let mark = Limits { max_memory_restart: Some(ByteSize(1)), ..Limits::default() };
        assert!(check(&mark, &Controllers::of(&["cpu"], &[])).unwrap_err().why.contains("max_memory_restart"));
    }

    #[test]
    fn a_limit_whose_file_this_kernel_lacks_is_refused_by_name() {
        let mut controllers = Controllers::of(&["memory", "io"], &[]);
        let swap = Limits { memory_swap_max: Some(ByteSize(0)), ..Limits::default() };
        let weight = Limits { io_weight: Some("50".parse().unwrap()), ..Limits::default() };
        let dir = cgroup();
        controllers.look_at(dir.path());
        assert_eq!((check(&swap, &controllers), check(&weight, &controllers)), (Ok(()), Ok(())));
        for file in ["memory.swap.max", "io.weight", "cpu.max"] {
            fs::remove_file(dir.path().join(file)).unwrap();
        }
        controllers.look_at(dir.path());
        let lacking = check(&swap, &controllers).unwrap_err();
        assert!(lacking.why.starts_with("memory_swap_max") && lacking.mend.is_some(), "{lacking:?}");
        assert!(check(&weight, &controllers).unwrap_err().why.ends_with("io.weight"));
        assert!(!controllers.lacks("io.max") && !controllers.lacks("cpu.max"), "the controller is not on");
        assert_eq!(check(&Limits::default(), &controllers), Ok(()));
    }

    #[test]
    fn limits_of_one_device_are_all_in_force() {
        let asked = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IoMax>>();
        let io_max = asked(&["8:0 rbps=10M riops=7", "8:16 wbps=1M", "8:0 rbps=20M wbps=5M", "8:0 rbps=1M"]);
        assert_eq!(merged(io_max), asked(&["8:0 rbps=1M wbps=5M riops=7", "8:16 wbps=1M"]));
    }

    /// A directory with the files of a cgroup. The kernel's answer to what is written there is no part of this.
    fn cgroup() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("memory.max", "max"),
            ("memory.high", "max"),
            ("memory.swap.max", "max"),
            ("memory.oom.group", "0"),
            ("cpu.max", "max 100000\n"),
            ("cpu.weight", "100"),
            ("pids.max", "max"),
            ("io.weight", "default 100"),
            ("io.max", ""),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        dir
    }

    fn says(dir: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(dir.path().join(file)).unwrap()
    }

    #[test]
    fn what_is_asked_for_is_written_and_what_is_not_is_taken_off() {
        let all = Controllers::of(&["cpu", "memory", "pids", "io"], &[]);
        let dir = cgroup();
        let limits = Limits {
            memory_max: Some(ByteSize(64 << 20)),
            max_memory_restart: Some(ByteSize(32 << 20)),
            memory_swap_max: Some(ByteSize(0)),
            cpus: Some(Cpus(1500)),
            cpu_weight: Some("200".parse().unwrap()),
            pids: Some(40),
            io_weight: Some("50".parse().unwrap()),
            io_max: vec!["8:0 rbps=1M".parse().unwrap()],
            ..Limits::default()
        };
        apply(dir.path(), &limits, &all, true).unwrap();
        let expected = [
            ("memory.max", "67108864"),
            ("memory.high", "33554432"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("cpu.max", "150000 100000"),
            ("cpu.weight", "200"),
            ("pids.max", "40"),
            ("io.weight", "default 50"),
            ("io.max", "8:0 rbps=1048576 wbps=max riops=max wiops=max"),
        ];
        for (file, text) in expected {
            assert_eq!(says(&dir, file).trim_end_matches('\n'), text, "{file}");
        }
        let none = Limits { oom_kill: OomKill::Process, ..Limits::default() };
        // A file keeps the rest of what it held; the kernel's do not.
        fs::write(dir.path().join("memory.high"), "max").unwrap();
        for file in ["memory.max", "memory.high", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max"] {
            fs::write(dir.path().join(file), if file == "cpu.max" { "5 100000\n" } else { "" }).unwrap();
        }
        apply(dir.path(), &none, &all, false).unwrap();
        let expected = [
            ("memory.max", "max"),
            ("memory.high", "max"),
            ("memory.swap.max", "max"),
            ("memory.oom.group", "0"),
            ("cpu.weight", "100"),
            ("pids.max", "max"),
            ("io.weight", "default 100"),
            ("io.max", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ];
        for (file, text) in expected {
            assert_eq!(says(&dir, file), text, "{file}");
        }
        assert!(says(&dir, "cpu.max").starts_with("max 100000"));
    }

    #[test]
    fn a_run_without_limits_costs_one_write_and_one_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.oom.group"), "0").unwrap();
        apply(dir.path(), &Limits::default(), &Controllers::of(&["memory", "cpu", "pids", "io"], &[]), true).unwrap();
        assert_eq!(says(&dir, "memory.oom.group"), "1");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let limits = Limits { io_weight: Some("7".parse().unwrap()), pids: Some(4), ..Limits::default() };
        let gone = dir.path().join("gone");
        let failed = apply(&gone, &limits, &Controllers::of(&["io", "pids"], &[]), true).unwrap_err();
        assert!(failed.contains("pids.max") && failed.contains("io.weight"), "{failed}");
    }
}
