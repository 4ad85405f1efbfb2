//! The core in a made-up world: a fake kernel, a virtual clock, a disk that refuses, a daemon that dies between any two effects.
//!
//! `OPM_SIM_SEED=7` lives through the one day of that seed; `OPM_SIM_RUNS=5000` through more days than usual. With the feature
//! `seeded-bugs` the core is broken on purpose, one mistake at a time, and each must be noticed.

#![allow(unreachable_pub, reason = "modules of a test are reached from nowhere else")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so")]

#[cfg(feature = "seeded-bugs")]
mod bugs;
mod chaos;
mod kernel;
mod policy;
mod rng;
mod stories;
mod watch;
mod world;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn random_days_end_well() {
    let seeds = match number("OPM_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("OPM_SIM_RUNS").unwrap_or(400),
    };
    for seed in seeds {
        if let Err(broken) = chaos::day(seed) {
            panic!("{}\n\nOPM_SIM_SEED={seed}: '{}' does not hold: {}", broken.story, broken.invariant, broken.how);
        }
    }
}
