//! Log capture and reading on real pipes and files. Hermetic: a temporary folder, no root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end by panicking")]

mod journald;
mod keeping;
mod lines;
mod pump;
mod reading;
mod rig;
mod rotation;
mod spool;
