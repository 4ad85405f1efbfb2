//! The order within a flip: each step is made to fail, as if the daemon had been killed before it.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::model::AppId;
use std::fs::File;

const LANE: Lane = Lane { app: AppId(3), instance: 0, err: false };

/// A spool that holds 2 MiB, and what they are.
fn full(folder: &Path) -> (Spool, Vec<u8>) {
    let spool = Spool::open(folder, LANE, 0).unwrap();
    let bytes: Vec<u8> = (0..1_u32 << 19).flat_map(u32::to_le_bytes).collect();
    std::fs::write(folder.join("3.0.out.a"), &bytes).unwrap();
    drop(spool);
    (Spool::open(folder, LANE, 0).unwrap(), bytes)
}

#[track_caller]
fn has(spool: &Spool, from: usize, bytes: &[u8]) {
    let mut out = Vec::new();
    spool.read(from as u64, usize::MAX, &mut out).unwrap();
    assert!(out == bytes[from..], "{} bytes of {}", out.len(), bytes.len() - from);
}

const DONE: usize = 1_500_000;

fn cut_short(at: impl FnOnce(&mut Spool, OwnedFd)) {
    let home = tempfile::tempdir().unwrap();
    let (mut spool, bytes) = full(home.path());
    let unwritable = File::open("/dev/null").unwrap();
    at(&mut spool, unwritable.into());
    spool.flip(DONE as u64).unwrap_err();
    assert_eq!(spool.begin(), 0);
    has(&spool, DONE, &bytes);
    has(&Spool::open(home.path(), LANE, 0).unwrap(), DONE, &bytes);
    // What is in the way is gone.
    spool = Spool::open(home.path(), LANE, 0).unwrap();
    spool.flip(DONE as u64).unwrap();
    assert_eq!(spool.begin(), DONE as u64);
    has(&spool, DONE, &bytes);
    has(&Spool::open(home.path(), LANE, 0).unwrap(), DONE, &bytes);
}

#[test]
fn nothing_is_gone_before_the_rest_is_copied() {
    cut_short(|spool, unwritable| spool.other = Some(unwritable));
}

#[test]
fn nothing_is_gone_before_the_state_says_so() {
    cut_short(|spool, unwritable| spool.state = unwritable);
}

#[test]
fn a_flip_that_failed_leaves_nothing_for_the_next_one() {
    let home = tempfile::tempdir().unwrap();
    let (mut spool, bytes) = full(home.path());
    let state = std::mem::replace(&mut spool.state, File::open("/dev/null").unwrap().into());
    spool.flip(100).unwrap_err();
    spool.state = state;
    spool.flip(DONE as u64).unwrap();
    has(&spool, DONE, &bytes);
    assert_eq!(std::fs::metadata(home.path().join("3.0.out.b")).unwrap().len(), (bytes.len() - DONE) as u64);
}
