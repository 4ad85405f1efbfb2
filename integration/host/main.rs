//! opm against a real kernel: real processes, real cgroups, the real command line.
//!
//! Each test has a rig of its own (home, cgroup subtree), so all run side by side. What lives is asked of the kernel by an
//! observer that never asks opm; what opm says is then held against it. Needs root, a cgroup2 mount and gcc, and fails
//! saying so where one is missing. The names E1 to E16 are experiments in which PM2 7.0.3 failed, "bug N" are lifecycle bugs
//! of the earlier opm 2.0.0: each such test would be red there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs, unreachable_pub)]

mod bad_input;
mod cgroups;
mod clean_start;
mod daemon_death;
mod env;
mod events;
mod failpoints;
mod identity;
mod kept_after_bugs;
mod log_flags;
mod logs;
mod ls;
mod marks;
mod own_log;
mod pause;
mod pid_reuse;
mod privacy;
mod races;
mod restart_policy;
mod restore;
mod rig;
mod selectors;
mod socket;
mod spec_file;
mod stop;
mod time;
mod trees;
mod unsaved;
mod upgrade;
mod watchdog;
mod why;
