//! Means: Linux, and nothing but Linux. clone3, pidfds, cgroups, procfs, pipes, files.
//!
//! Knows no policy: it does what it is asked and says what happened. `unsafe` lives in `clone.rs` alone. Overlap between
//! rustix and nix is settled here once: rustix for files, pipes, epoll and pidfds; nix for users and groups and for passing
//! descriptors over sockets; libc only in `clone.rs`, and for constants.

pub mod apps;
pub mod cgroup;
pub mod clock;
pub mod clone;
pub mod controllers;
pub mod counters;
pub mod device;
pub mod epoll;
pub mod files;
pub mod freezer;
pub mod launch;
pub mod limits;
pub mod mark;
pub mod memory;
pub mod mount;
pub mod own_log;
pub mod passing;
pub mod plan;
pub mod probe;
pub mod process;
pub mod pump;
pub mod rlimit;
pub mod root;
pub mod slots;
pub mod subtree;
pub mod user;
