//! The store and the journal on real files: what survives which damage. Hermetic: a temporary folder, no root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may end by panicking")]

mod changes;
mod crash;
mod damage;
mod dump;
mod files;
mod full;
mod journal;
mod killed;
mod measure;
mod support;
mod thread;
