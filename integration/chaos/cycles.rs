//! Crash cycles by the thousand: descriptors, cgroups and memory of keeper and daemon stay what they were.
//!
//! What a reader would get wrong: memory is judged by its slope over quiet moments, not by its size: allocators keep what
//! they once had, journals fill up to their bound, and both stop growing where a leak goes on.

use crate::chance::option;
use crate::faults::pair;
use crate::growth::{Held, held};
use crate::rig::wait;
use crate::yard::Yard;
use std::time::{Duration, Instant};

/// How many times it is looked, the first of them after warming up.
const LOOKS: u64 = 10;

/// `OPM_CHAOS_CYCLES` crashes of apps that are started again at once, and a restart by order now and then.
pub fn cycles(seed: u64) {
    let cycles = option("OPM_CHAOS_CYCLES", 2000);
    let yard = Yard::without_small_disk(seed);
    let flags = ["--max-restarts", "100000000", "--restart-delay", "0", "--min-uptime", "0"];
    let names: Vec<String> = (0..4).map(|n| format!("crash{n}")).collect();
    for name in &names {
        let mut start = yard.command();
        start.arg("start").arg(&yard.program).args(["--name", name]).args(flags);
        start.args(["--env", &format!("CHAOS_ACCOUNT={}", yard.account.display()), "--", "crash"]);
        crate::rig::cli::run(&mut start).ok();
    }
    let begun = Instant::now();
    let mut seen: Vec<[Held; 2]> = Vec::new();
    for look in 1..=LOOKS {
        let due = cycles * look / LOOKS;
        wait::until_or(
            &format!("{due} crashes"),
            Duration::from_secs(600),
            || crashes(&yard) >= due,
            || (crashes(&yard), yard.rig.rows()),
        );
        yard.rig.ok(&["stop", "all"]);
        wait::until("their cgroups to be gone", || yard.rig.runs().is_empty());
        seen.push(rested(&yard, seen.first()));
        yard.rig.ok(&["start", "all"]);
    }
    yard.rig.ok(&["stop", "all"]);
    let all = crashes(&yard);
    yard.tell(&format!(
        "{all} crashes in {:?}: {:.0} a second",
        begun.elapsed(),
        all as f64 / begun.elapsed().as_secs_f64()
    ));
    for (look, [keeper, daemon]) in seen.iter().enumerate() {
        yard.tell(&format!("look {look}: keeper {keeper:?}, daemon {daemon:?}"));
    }
    for who in [0, 1] {
        let private: Vec<u64> = seen.iter().map(|held| held[who].private).collect();
        let (early, late) = (median(&private[1..4]), median(&private[private.len() - 3..]));
        // A page for every tenth cycle would be a leak; an allocator's next arena is none.
        let most = 768 + (who as u64) * 1024;
        assert!(late <= early + most, "{} grew from {early} to {late} KiB: {private:?}", ["keeper", "daemon"][who]);
    }
}

/// How many runs have ended so far.
fn crashes(yard: &Yard) -> u64 {
    std::fs::read_to_string(&yard.account).unwrap_or_default().lines().filter(|l| l.starts_with("code")).count() as u64
}

/// What both hold when nothing runs. Descriptors come back to what they were, as soon as connections are closed.
fn rested(yard: &Yard, first: Option<&[Held; 2]>) -> [Held; 2] {
    let look = || {
        let pair = pair(yard);
        [held(pair.keeper.expect("a keeper").0).unwrap(), held(pair.daemon.expect("a daemon").0).unwrap()]
    };
    let mut now = look();
    wait::until_or(
        "descriptors to be what they were",
        wait::PATIENCE,
        || {
            now = look();
            first.is_none_or(|first| now.iter().zip(first).all(|(now, first)| now.descriptors <= first.descriptors + 1))
        },
        || (first.copied(), look()),
    );
    now
}

fn median(of: &[u64]) -> u64 {
    let mut of = of.to_vec();
    of.sort_unstable();
    of[of.len() / 2]
}
