//! Whatever is in a file or comes over a wire: no panic, no memory without bound, a clear error; and what is good beside it
//! stays.
//!
//! Owns the mutations and where they are thrown. What a reader would get wrong: random bytes are refused at the first one and
//! reach nothing. So valid inputs (the golden files of every released version) are flipped, cut, doubled and stuffed.
//! `PROPTEST_CASES=100000 cargo test --test fuzz` throws more; a failure prints what it was and is kept by nobody: make a
//! test of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod bodies;
mod files;
mod mutate;
mod state;
mod wire;
mod words;

use proptest::test_runner::Config;
use std::path::{Path, PathBuf};

/// So many cases, times what was asked for: `PROPTEST_CASES` counts for a cheap target; one that writes files takes a part.
fn config(default: u32, cost: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    bound_memory();
    Config {
        cases: asked.map_or(default, |n: u32| (n / cost).max(default)),
        failure_persistence: None,
        ..Config::default()
    }
}

/// More than any of these inputs deserves: what allocates beyond ends the test.
fn bound_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = 2 << 30;
    let Rlimit { current, maximum } = getrlimit(Resource::As);
    if current.is_none_or(|now| now > most) {
        setrlimit(Resource::As, Rlimit { current: Some(most), maximum }).unwrap();
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v0.1")
}

/// A golden file's bytes.
fn seed(path: &str) -> Vec<u8> {
    let path = golden().join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
