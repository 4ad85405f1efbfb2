//! The chaos test: dozens of nasty apps, several clients, and everything that can befall opm itself, for as long as you like.
//!
//! ```text
//! integration/check.sh chaos                              a minute of it, and the tests beside it
//! OPM_CHAOS_SECONDS=3600 integration/check.sh chaos       an hour
//! OPM_CHAOS_SEED=7 OPM_CHAOS_SECONDS=60 integration/check.sh chaos      the same choices again; each run prints its seed
//! OPM_CHAOS_CYCLES=10000 integration/check.sh chaos       that many crash cycles, none of which may leave anything
//! ```
//!
//! What a reader would get wrong: the observer never asks opm. What lives it reads from cgroups and from a marker in the
//! children's environment; what a run came to, from the app's own account. Opm's answers are then held against that. Needs
//! root, a cgroup2 mount, gcc and unshare(1): the small disk is mounted in a mount namespace of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs, unreachable_pub)]

mod chance;
mod clients;
mod cycles;
mod faults;
mod growth;
mod kinds;
mod lines;
mod observer;
mod quiet;
mod records;
#[path = "../host/rig/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the host tests, which use more of it")]
mod rig;
mod yard;

use chance::{Chance, option, seed};
use quiet::Book;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use yard::Yard;

/// Runs one ignored test of this binary in a mount namespace of its own, its output going where ours goes.
fn in_own_mounts(test: &str) {
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .status()
        .unwrap_or_else(|e| panic!("the chaos test needs unshare(1): {e}"));
    assert!(status.success(), "{test}: {status}");
}

/// Storms with quiet moments in between.
#[test]
fn nothing_that_befalls_opm_costs_an_app_a_code_or_a_copy() {
    in_own_mounts("inner_chaos");
}

#[test]
#[ignore = "run by the test above, in its mount namespace"]
fn inner_chaos() {
    let seed = seed();
    let seconds = option("OPM_CHAOS_SECONDS", 60);
    eprintln!("chaos: repeat with OPM_CHAOS_SEED={seed} OPM_CHAOS_SECONDS={seconds} integration/check.sh chaos");
    let mut chance = Chance::new(seed);
    // One seed in six has to do with few descriptors, next to what so many apps need: 320 are not for them (`descriptors_reserved`).
    let few = chance.one_in(6).then(|| 394 + chance.below(40) as u32);
    let apps = option("OPM_CHAOS_APPS", if few.is_some() { 12 } else { 36 });
    let mut yard = Yard::new(seed, apps as usize, &mut chance);
    yard.few_descriptors = few;
    let (yard, mut book) = (yard, Book::default());
    yard.tell(&format!(
        "pause: {}, upgrade: {}, descriptors: {:?}",
        yard.can_pause, yard.can_upgrade, yard.few_descriptors
    ));
    let end = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|all| {
        let watch = all.spawn(|| observer::observer(&yard));
        // However it ends, the observer must too.
        let _done = OnDrop(|| yard.watching.store(false, Ordering::Relaxed));
        while yard.complaints().is_empty() {
            quiet::quiet(&yard, &mut book);
            if Instant::now() >= end {
                break;
            }
            storm(&yard, &mut chance, end);
        }
        yard.watching.store(false, Ordering::Relaxed);
        eprintln!("the observer looked {} times", watch.join().unwrap());
    });
    eprintln!(
        "{} runs, {} ended unseen; {:#?}",
        book.records.runs(),
        book.records.not_observed,
        yard.counts.lock().unwrap()
    );
    let complaints = yard.complaints();
    assert!(complaints.is_empty(), "seed {seed}: {} complaints, the first: {}", complaints.len(), complaints[0]);
    assert!(book.records.runs() > 0);
}

/// 20 writers at 10,000 lines a second, 50 kills and, where the binary knows how, 20 upgrades.
#[test]
fn no_line_is_missing_doubled_or_torn_however_daemons_die() {
    let seed = seed();
    eprintln!("numbered lines: seed {seed}");
    lines::numbered_lines(seed);
}

#[test]
fn crash_cycles_leave_nothing_behind() {
    cycles::cycles(seed());
}

/// A few seconds of everything at once.
fn storm(yard: &Yard, chance: &mut Chance, end: Instant) {
    let long = Duration::from_secs(3) + chance.up_to(Duration::from_secs(9));
    let until = (Instant::now() + long).min(end);
    yard.storming.store(true, Ordering::Relaxed);
    std::thread::scope(|all| {
        let _done = OnDrop(|| yard.storming.store(false, Ordering::Relaxed));
        for _ in 0..5 {
            let chance = chance.fork();
            all.spawn(|| clients::client(yard, chance));
        }
        let chance = chance.fork();
        all.spawn(|| faults::faults(yard, chance));
        while Instant::now() < until && yard.complaints().is_empty() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
