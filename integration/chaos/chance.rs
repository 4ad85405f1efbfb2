//! Chance by seed: the one source of randomness in here, and the options that people give by environment.
//!
//! What a reader would get wrong: a seed repeats the *choices* (which app, which order, which fault, after how long), never
//! the interleaving of real processes. A failing seed is run again several times, or for longer.

use std::time::Duration;

/// A stream of choices (splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another stream, which goes its own way.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    pub fn up_to(&mut self, limit: Duration) -> Duration {
        limit.mul_f64((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// A number from the environment.
pub fn option(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().unwrap_or_else(|e| panic!("{name}={v}: {e}")))
}

/// The seed asked for, or a fresh one.
pub fn seed() -> u64 {
    let mut random = [0_u8; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).unwrap();
    option("OPM_CHAOS_SEED", u32::from_ne_bytes(random).into())
}
