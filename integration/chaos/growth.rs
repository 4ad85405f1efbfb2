//! What keeper and daemon hold: descriptors and memory, as the kernel counts them.

use std::fs;

/// What one process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub descriptors: usize,
    /// Proportional set size in KiB: what the process costs, shared pages by share.
    pub pss: u64,
    /// Private pages in KiB.
    pub private: u64,
}

/// None if it is gone.
pub fn held(pid: u32) -> Option<Held> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let field = |name: &str| -> u64 {
        let lines = rollup.lines().filter_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
        lines.sum()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some(Held { descriptors, pss: field("Pss:"), private: field("Private_Clean:") + field("Private_Dirty:") })
}
