//! Where a test may kill the daemon: between any two effects. Compiled in with the `failpoints` feature only.
//!
//! `OPM_FAILPOINT=<name>:<n>` aborts the daemon just before its n-th effect of that name, once: a marker file beside the
//! socket makes the daemons after it pass by.

#[cfg(not(feature = "failpoints"))]
mod real {
    use crate::supervise::Effect;
    pub(in crate::daemon) fn before(_: &Effect) {}
    pub(in crate::daemon) fn named(_: &str) {}
}

#[cfg(feature = "failpoints")]
mod real {
    use crate::supervise::Effect;
    use std::sync::atomic::{AtomicU64, Ordering};

    static SEEN: AtomicU64 = AtomicU64::new(0);

    pub(in crate::daemon) fn before(effect: &Effect) {
        named(match effect {
            Effect::Persist { .. } => "persist",
            Effect::Spawn(_) => "spawn",
            Effect::MarkStop { .. } => "mark_stop",
            Effect::Signal { .. } => "signal",
            Effect::Deliver { .. } => "deliver",
            Effect::Freeze { .. } => "freeze",
            Effect::Thaw { .. } => "thaw",
            Effect::Limit { .. } => "limit",
            Effect::WatchMemory { .. } => "watch_memory",
            Effect::Unthrottle { .. } => "unthrottle",
            Effect::Kill { .. } => "kill",
            Effect::Retire { .. } => "retire",
            Effect::Record(_) => "record",
            Effect::Reply { .. } => "reply",
            Effect::Forget { .. } => "forget",
            Effect::Quit { .. } => "quit",
        });
    }

    pub(in crate::daemon) fn named(name: &str) {
        let Ok(wanted) = std::env::var("OPM_FAILPOINT") else { return };
        let Some((point, count)) = wanted.split_once(':') else { return };
        if point != name || Some(SEEN.fetch_add(1, Ordering::Relaxed) + 1) != count.parse().ok() {
            return;
        }
        let marker = std::env::var_os("OPM_HOME").map(|home| std::path::Path::new(&home).join("run/failpoint-fired"));
        if marker.is_some_and(|m| std::fs::File::create_new(m).is_ok()) {
            std::process::abort();
        }
    }
}

pub(super) use real::{before, named};
