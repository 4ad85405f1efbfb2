//! The flags that say what apps may use, for `opm start` and for `opm limit`.

use crate::model::ByteSize;
use crate::model::limits::{IoMax, LimitChange, OomKill, Weight};
use crate::model::policy::Cpus;
use std::str::FromStr;

/// A limit, or `none` to take it off.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OrNone<T>(Option<T>);

impl<T: FromStr<Err = String>> FromStr for OrNone<T> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|value| Self(Some(value))) }
    }
}

/// Sizes, shares and counts; each also takes 'none'.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "What each instance may use ('none': as much as there is)")]
pub(super) struct LimitFlags {
    /// The kernel's hard limit on its memory (300M, 1G): at it the app is killed, if nothing can be taken back
    #[arg(long, value_name = "SIZE")]
    memory_max: Option<OrNone<ByteSize>>,
    /// Above this the kernel takes memory back and slows the app down
    #[arg(long, value_name = "SIZE")]
    memory_high: Option<OrNone<ByteSize>>,
    /// How much of it may be swapped out
    #[arg(long, value_name = "SIZE")]
    memory_swap_max: Option<OrNone<ByteSize>>,
    /// Restart it, gracefully, when all its processes together hold more than this; page cache does not count
    #[arg(long, value_name = "SIZE", alias = "max-memory")]
    max_memory_restart: Option<OrNone<ByteSize>>,
    /// Whom the kernel kills for want of memory: group (all of the app), process (one)
    #[arg(long, value_name = "WHOM", value_parser = crate::config::asked::word::<OomKill>)]
    oom_kill: Option<OomKill>,
    /// How much processor time it may have (0.5, 2)
    #[arg(long, value_name = "N")]
    cpus: Option<OrNone<Cpus>>,
    /// Its share of busy processors, 1 to 10000; the usual is 100
    #[arg(long, value_name = "WEIGHT")]
    cpu_weight: Option<OrNone<Weight>>,
    /// How many processes and threads it may have
    #[arg(long, value_name = "N", value_parser = count)]
    pids: Option<OrNone<u32>>,
    /// Its share of busy disks, 1 to 10000
    #[arg(long, value_name = "WEIGHT")]
    io_weight: Option<OrNone<Weight>>,
    /// How much it may read and write each second: /dev/sda:rbps=10M,wbps=5M,riops=100,wiops=50; may be given for several disks
    #[arg(long, value_name = "DISK:LIMITS")]
    io_max: Vec<OrNone<IoMax>>,
}

fn count(text: &str) -> Result<OrNone<u32>, String> {
    let number = |text: &str| text.parse().map_err(|_| format!("'{text}' is not a number, nor 'none'"));
    if text == "none" { Ok(OrNone(None)) } else { number(text).map(|count| OrNone(Some(count))) }
}

impl LimitFlags {
    /// What they say; the disks that are named are all that are limited.
    pub(super) fn into_change(self) -> LimitChange {
        let io_max = (!self.io_max.is_empty()).then(|| self.io_max.into_iter().filter_map(|io| io.0).collect());
        LimitChange {
            memory_max: self.memory_max.map(|limit| limit.0),
            memory_high: self.memory_high.map(|limit| limit.0),
            memory_swap_max: self.memory_swap_max.map(|limit| limit.0),
            max_memory_restart: self.max_memory_restart.map(|limit| limit.0),
            oom_kill: self.oom_kill,
            cpus: self.cpus.map(|limit| limit.0),
            cpu_weight: self.cpu_weight.map(|limit| limit.0),
            pids: self.pids.map(|limit| limit.0),
            io_weight: self.io_weight.map(|limit| limit.0),
            io_max,
        }
    }
}
